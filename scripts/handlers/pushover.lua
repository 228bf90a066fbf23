---@since 0.1
---@needs http api.pushover.net
---@setting token string required -- the application's API token
---@setting user string required -- the user's or group's key
---@setting retry number = 60 in 30..10800 -- seconds between repeats of a critical alert
---@setting expire number = 3600 in 0..10800 -- seconds after which they end
-- Pushover: sends each alert with its picture to a phone. One of level critical repeats until somebody acknowledges it.
--
-- Example:
--   alerts:
--     handlers:
--       - name: pushover
--         module: scripts/handlers/pushover.lua
--         settings: { token: "${env:PUSHOVER_TOKEN}", user: "${env:PUSHOVER_USER}" }
--         grants: { http: [api.pushover.net] }

local PRIORITY = { low = -1, medium = 0, high = 1, critical = 2 }

local token = config.token
local user = config.user

local function cut(text, most)
    local rest = utf8.offset(text, most + 1)
    return if rest then string.sub(text, 1, rest - 1) else text
end

function handle_alert(alert)
    local critical = alert.level == "critical"
    local message = {
        token = token,
        user = user,
        title = cut(alert.rule .. " at " .. alert.source, 250),
        message = cut(if alert.message == "" then alert.rule else alert.message, 1024),
        priority = PRIORITY[alert.level],
        retry = if critical then config.retry else nil,
        expire = if critical then config.expire else nil,
    }
    local photo, url = picture.jpeg(), "https://api.pushover.net/1/messages.json"
    if not photo then
        return http.post(url, message)
    end
    message.attachment = { data = photo, filename = "alert.jpg", type = "image/jpeg" }
    local form, kind = http.multipart(message)
    return http.post(url, form, { headers = { ["content-type"] = kind } })
end
