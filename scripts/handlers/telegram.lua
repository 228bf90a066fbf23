---@since 0.1
---@needs http api.telegram.org
---@setting chat_id number|string required -- the chat: a number, or "@channel"
-- Telegram: a bot sends each alert to a chat. An alert of level low comes without a sound.
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
    local answer, why = http.post("https://api.telegram.org/bot${secret:TELEGRAM}/sendMessage", {
        chat_id = chat,
        text = cut(("%s: %s at %s\n%s"):format(alert.level:upper(), alert.rule, alert.source, alert.message), 4000),
        disable_notification = alert.level == "low",
    })
    if answer and answer.status == 429 then
        -- It says in the body how long to wait.
        local told = answer:json()
        local seconds = if type(told) == "table" and told.parameters then told.parameters.retry_after else nil
        answer.headers["retry-after"] = if seconds then tostring(seconds) else answer.headers["retry-after"]
    end
    return answer, why
end
