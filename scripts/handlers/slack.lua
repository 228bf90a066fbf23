---@since 0.1
---@needs http hooks.slack.com
---@setting path string = "${secret:SLACK}" -- what follows https://hooks.slack.com/services/
---@setting url string -- the whole address, where it is another
-- Slack: posts each alert's message to a channel, by an incoming webhook.
--
-- The webhook's address is a secret, because anyone who has it can post. The script holds only the secret's name; the
-- engine fills it in when it sends. The handler of type `slack` is this script, and takes the address as `webhook_url`.
--
-- Example:
--   alerts:
--     handlers:
--       - name: slack
--         module: scripts/handlers/slack.lua
--         class: SlackHandler
--         grants:
--           http: [hooks.slack.com]
--           secrets: { SLACK: "${env:SLACK_PATH}" }

SlackHandler = {}
SlackHandler.__index = SlackHandler

function SlackHandler.new(config)
    return setmetatable({ config = config }, SlackHandler)
end

function SlackHandler:handle_alert(alert)
    return self:send_to_slack(alert.message)
end

function SlackHandler:send_to_slack(message)
    return http.post(self.config.url or "https://hooks.slack.com/services/" .. self.config.path, { text = message })
end
