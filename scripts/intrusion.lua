---@since 0.1
---@setting zone string required -- the name of the zone to watch
---@setting labels string|string[] = ["person"] -- what counts
---@setting min_confidence number = 0.5 in 0..1 -- lowest confidence that counts
---@setting level "low"|"medium"|"high"|"critical" = "high" -- how much an alert matters
-- Intrusion: something of the given kinds stands in the zone.
--
-- Example:
--   strategies:
--     - name: intrusion
--       module: scripts/intrusion.lua
--       config: { zone: yard, labels: [person, car], min_confidence: 0.6 }
--
-- One alert per object: without a key the policy knows it by its track, and by its place where the track changes, and
-- tells of it once while it stays (alerts.throttle_seconds).

local zone = config.zone
local labels = config.labels
local least = config.min_confidence
local level = config.level

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
