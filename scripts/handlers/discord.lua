---@since 0.1
---@needs http discord.com
---@setting path string = "${secret:DISCORD}" -- what follows https://discord.com/api/webhooks/
---@setting username string -- the name that it posts under; none, the webhook's
-- Discord: posts each alert with its picture to a channel, by a webhook of the channel, coloured by its level.
--
-- The webhook's address is a secret, because anyone who has it can post. The script holds only the secret's name.
--
-- Example:
--   alerts:
--     handlers:
--       - name: discord
--         module: scripts/handlers/discord.lua
--         grants: { http: [discord.com], secrets: { DISCORD: "${env:DISCORD_PATH}" } }

local COLOUR = { low = 0x3498DB, medium = 0xF1C40F, high = 0xE67E22, critical = 0xE74C3C }
-- What an alert says mentions nobody.
local NOBODY = json.decode('{ "parse": [] }')

-- The first `most` characters of a text.
local function cut(text, most)
    local rest = utf8.offset(text, most + 1)
    return if rest then string.sub(text, 1, rest - 1) else text
end

function handle_alert(alert)
    -- Without `wait`, Discord answers before it has stored the message.
    local url = "https://discord.com/api/webhooks/" .. config.path .. "?wait=true"
    local photo = picture.jpeg()
    local message = {
        username = config.username,
        allowed_mentions = NOBODY,
        embeds = { {
            title = cut(alert.rule .. " at " .. alert.source, 256),
            description = cut(alert.message, 4000),
            color = COLOUR[alert.level],
            timestamp = alert.time,
            image = if photo then { url = "attachment://alert.jpg" } else nil,
        } },
    }
    if not photo then
        return http.post(url, message)
    end
    local file = { data = photo, filename = "alert.jpg", type = "image/jpeg" }
    local form, kind = http.multipart{ payload_json = json.encode(message), ["files[0]"] = file }
    return http.post(url, form, { headers = { ["content-type"] = kind } })
end
