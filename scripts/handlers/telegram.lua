---@since 0.1
---@needs http api.telegram.org
---@setting chat_id number|string required -- the chat: a number, or "@channel"
-- Telegram: a bot sends each alert to a chat, with its picture. An alert of level low comes without a sound.
--
-- The bot's token is a secret and part of the address, so the script holds only its name.
--
-- Example:
--   alerts:
--     handlers:
--       - name: telegram
--         module: scripts/handlers/telegram.lua
--         settings: { chat_id: -1001234567890 }
--         grants: { http: [api.telegram.org], secrets: { TELEGRAM: "${env:TELEGRAM_TOKEN}" } }

local chat = config.chat_id

local function cut(text, most)
    local rest = utf8.offset(text, most + 1)
    return if rest then string.sub(text, 1, rest - 1) else text
end

function handle_alert(alert)
    local bot, quiet = "https://api.telegram.org/bot${secret:TELEGRAM}/", alert.level == "low"
    local text = ("%s: %s at %s\n%s"):format(alert.level:upper(), alert.rule, alert.source, alert.message)
    local photo, answer, why = picture.jpeg(), nil, nil
    if photo then
        local form, kind = http.multipart{ chat_id = chat, caption = cut(text, 1000), disable_notification = quiet,
            photo = { data = photo, filename = "alert.jpg", type = "image/jpeg" } }
        answer, why = http.post(bot .. "sendPhoto", form, { headers = { ["content-type"] = kind } })
    else
        local body = { chat_id = chat, text = cut(text, 4000), disable_notification = quiet }
        answer, why = http.post(bot .. "sendMessage", body)
    end
    if answer and answer.status == 429 then
        -- It says in the body how long to wait.
        local told = answer:json()
        local seconds = if type(told) == "table" and told.parameters then told.parameters.retry_after else nil
        answer.headers["retry-after"] = if seconds then tostring(seconds) else answer.headers["retry-after"]
    end
    return answer, why
end
