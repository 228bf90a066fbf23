---@since 0.1
---@setting url string required -- where to post; ${secret:NAME} in it is filled in by the engine, and never seen here
-- {{name}}: posts alerts to a chat's incoming webhook.
--
-- What a script can call: scripts/types/dsengine.lua of the engine.

local url = config.url

-- An answer 2xx is delivered; 408, 425, 429, 5xx and no answer are tried again; any other is an error.
function handle_alert(alert)
    return http.post(url, { text = ("%s: %s"):format(alert.source, alert.message) })
end
