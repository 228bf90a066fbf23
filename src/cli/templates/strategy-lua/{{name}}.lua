---@since 0.1
-- {{name}}: too many people in the zone.
--
-- config:
--   zone   name of the zone to watch (required)
--   most   how many people raise an alert; default 3
--
-- What a script can call: scripts/types/dsengine.lua of the engine.

local zone = config.zone or error("config.zone is missing: the name of the zone to watch", 0)
if not table.find(zones.names(), zone) then
    error(`config.zone is '{zone}', and this source has no such zone`, 0)
end
local most = config.most or 3

function detect(frame)
    local people = frame:select{ label = "person", min_confidence = 0.5, zone = zone }
    if #people < most then
        return
    end
    frame:alert{
        rule = "{{name}}",
        level = "high",
        key = zone,
        detections = people,
        message = ("%d people in %s"):format(#people, zone),
    }
end
