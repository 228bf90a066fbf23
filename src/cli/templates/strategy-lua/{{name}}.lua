---@since 0.1
---@setting zone string required -- the name of the zone to watch
---@setting most integer = 3 in 1..1000 -- how many people raise an alert
-- {{name}}: too many people in the zone.
--
-- What a script can call: scripts/types/dsengine.lua of the engine.

local zone = config.zone
if not table.find(zones.names(), zone) then
    error(`config.zone is '{zone}', and this source has no such zone`, 0)
end
local most = config.most

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
