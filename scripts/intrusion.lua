---@since 0.1
-- Intrusion: something of the given kinds stands in the zone.
--
-- config:
--   zone            name of the zone to watch (required)
--   labels          what counts, a list of labels; default { "person" }
--   min_confidence  lowest confidence that counts, 0..1; default 0.5
--   level           low, medium, high or critical; default "high"
--
-- Example:
--   strategies:
--     - name: intrusion
--       module: scripts/intrusion.lua
--       config: { zone: yard, labels: [person, car], min_confidence: 0.6 }
--
-- One alert per object: without a key the policy knows it by its track, and by its place where the track changes, and
-- tells of it once while it stays (alerts.throttle_seconds).

local zone = config.zone or error("config.zone is missing: the name of the zone to watch", 0)
local labels = config.labels or { "person" }
local least = config.min_confidence or 0.5
local level = config.level or "high"

function detect(frame)
    for i in frame:select{ label = labels, min_confidence = least, zone = zone } do
        frame:alert{
            rule = "intrusion",
            level = level,
            detections = { i },
            message = ("%s in %s"):format(frame:label(i), zone),
        }
    end
end
