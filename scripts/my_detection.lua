---@since 0.1
---@setting threshold number = 0.8 in 0..1 -- what is scored no higher is not looked at
-- My custom strategy: a start for a detection of your own, as a class.
--
-- It looks only at what the detector is sure of, and adds a detection "group" around all of it where there are at
-- least two objects. Put your own logic into `detect`; what it returns is added for the strategies after this one.
--
-- Example:
--   strategies:
--     - name: my_custom
--       module: scripts/my_detection.lua
--       class: MyCustomStrategy
--       config: { threshold: 0.8 }

MyCustomStrategy = {}
MyCustomStrategy.__index = MyCustomStrategy

function MyCustomStrategy.new(config)
    return setmetatable({ config = config }, MyCustomStrategy)
end

function MyCustomStrategy:detect(frame)
    local detections = {}
    if frame:count() >= 2 then
        local left, top, right, bottom = 1, 1, 0, 0
        for i = 1, frame:count() do
            local x, y, width, height = frame:bbox(i)
            left, top = math.min(left, x), math.min(top, y)
            right, bottom = math.max(right, x + width), math.max(bottom, y + height)
        end
        table.insert(detections, {
            label = "group",
            confidence = 1,
            bbox = { x = left, y = top, width = right - left, height = bottom - top },
        })
    end
    return detections
end

function MyCustomStrategy:should_process(detection)
    return detection.confidence > self.config.threshold
end
