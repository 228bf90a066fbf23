---@since 0.1
---@needs http hooks.example.com
---@setting url string required -- where to post to
---@setting labels string[] -- only alerts with a detection of one of these labels; none, all
-- Webhook: posts each alert as JSON. Write your receiver's host into the line above, and grant it.
--
-- Example:
--   alerts:
--     handlers:
--       - name: desk
--         module: scripts/handlers/webhook-json.lua
--         settings: { url: "https://hooks.example.com/alerts" }
--         grants: { http: [hooks.example.com] }

local url = config.url

local function wanted(alert)
    if not config.labels then
        return true
    end
    for _, detection in alert.detections do
        if table.find(config.labels, detection.label) then
            return true
        end
    end
    return false
end

function handle_alert(alert)
    if not wanted(alert) then
        return "skipped"
    end
    -- The id is the same on every retry, so that the receiver can drop repeats.
    return http.post(url, alert, { headers = { ["webhook-id"] = alert.id } })
end
