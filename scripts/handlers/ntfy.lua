---@since 0.1
---@needs http ntfy.sh
---@setting topic string required -- where to publish; on ntfy.sh anyone who has its name can read it
---@setting server string = "https://ntfy.sh"
---@setting login boolean = false -- true sends the access token "${secret:NTFY}"
-- ntfy: publishes each alert with its picture to a topic, for the app on a phone. For a server of your own, write its
-- host into the line above, grant it, and set `server`.
--
-- Example:
--   alerts:
--     handlers:
--       - name: phone
--         module: scripts/handlers/ntfy.lua
--         settings: { topic: "${env:NTFY_TOPIC}", login: true }
--         grants: { http: [ntfy.sh], secrets: { NTFY: "${env:NTFY_TOKEN}" } }

local PRIORITY = { low = 2, medium = 3, high = 4, critical = 5 }
local TAGS = { low = "information_source", medium = "bell", high = "warning", critical = "rotating_light" }

local topic = config.topic
local server = config.server

function handle_alert(alert)
    local headers = if config.login then { Authorization = "Bearer ${secret:NTFY}" } else {}
    local photo = picture.jpeg()
    if photo then
        -- The picture is the body, so the texts are in the address.
        local function coded(text, most)
            local rest = utf8.offset(text, most + 1)
            text = if rest then string.sub(text, 1, rest - 1) else text
            return (string.gsub(text, "[^%w]", function(c) return ("%%%02X"):format(string.byte(c)) end))
        end
        local title, message = coded(alert.rule .. " at " .. alert.source, 100), coded(alert.message, 500)
        local query = ("?title=%s&message=%s&priority=%d&tags=%s&filename=alert.jpg"):format(title, message,
            PRIORITY[alert.level], TAGS[alert.level])
        return http.put(server .. "/" .. topic .. query, photo, { headers = headers })
    end
    return http.post(server, {
        topic = topic,
        title = alert.rule .. " at " .. alert.source,
        message = alert.message,
        priority = PRIORITY[alert.level],
        tags = { TAGS[alert.level] },
    }, { headers = headers })
end
