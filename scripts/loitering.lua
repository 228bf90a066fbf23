---@since 0.1
---@setting zone string required -- the name of the zone to watch
---@setting seconds number = 10 in 0..86400 -- how long is allowed, on frame time
---@setting labels string|string[] = ["person"] -- what counts
---@setting min_confidence number = 0.5 in 0..1 -- lowest confidence that counts
---@setting level "low"|"medium"|"high"|"critical" = "high" -- how much an alert matters
-- Loitering: someone stays in the zone for longer than allowed.
--
-- Example:
--   strategies:
--     - name: loitering
--       module: scripts/loitering.lua
--       config: { zone: entrance, seconds: 30 }
--
-- The time counts from entering the zone; leaving it starts over, being lost from sight for a moment does not.
-- One alert per object: without a key the policy knows it by its track, and by its place where the track changes, and
-- tells of it once while it stays (alerts.throttle_seconds).

local zone = config.zone
local limit = config.seconds
local labels = config.labels
local least = config.min_confidence
local level = config.level

function detect(frame)
    for i in frame:select{ label = labels, min_confidence = least, zone = zone } do
        local track = frame:track(i)
        local stayed = track and track:dwell(zone)
        if stayed and stayed > limit then
            frame:alert{
                rule = "loitering",
                level = level,
                detections = { i },
                message = ("%s %d stayed %.0f s in %s"):format(frame:label(i), track.id, stayed, zone),
            }
        end
    end
end
