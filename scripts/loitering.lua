---@since 0.1
-- Loitering: someone stays in the zone for longer than allowed.
--
-- config:
--   zone            name of the zone to watch (required)
--   seconds         how long is allowed, on frame time; default 10
--   labels          what counts, a list of labels; default { "person" }
--   min_confidence  lowest confidence that counts, 0..1; default 0.5
--   level           low, medium, high or critical; default "high"
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

local zone = config.zone or error("config.zone is missing: the name of the zone to watch", 0)
local limit = config.seconds or 10
local labels = config.labels or { "person" }
local least = config.min_confidence or 0.5
local level = config.level or "high"

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
