---@meta dsengine
-- What a dsengine script can call, for editors with the Lua language server. Not loaded by the engine.
--
-- A strategy is a file with a global function `detect(frame)`. It is called for every frame of every source the
-- strategy is enabled for; each source has its own instance, with globals of its own. Optional beside it:
-- `should_process(d)`, a filter: `detect` sees only the detections for which it returns true.
--
--     ---@since 0.1                     the API version the script is written to
--     function detect(frame)
--         for i in frame:select{ label = "person", zone = config.zone } do
--             frame:alert{ rule = "intrusion", level = "high", detections = { i }, message = "someone is there" }
--         end
--     end
--
-- The language is Luau: Lua 5.1 with `continue`, `+=`, `//`, `{string interpolation}` in backticks, types, `buffer`
-- and `bit32`; without `goto`, integers, `io`, `os`, `load`. Indices count from 1. Boxes are shares 0..1 of the
-- picture, top-left corner and size. Times are seconds of frame time; there is no other clock, so a replay is equal.
--
-- A call has 20 ms of CPU time, 32 MiB of memory and 16 alerts. A call that fails or runs into a limit leaves the
-- frame and the state as they were; after a limit the script starts afresh, and only `state` is still there.

---@alias level "low" | "medium" | "high" | "critical"

---@class BBox
---@field x number left edge, 0..1
---@field y number top edge, 0..1
---@field width number 0..1
---@field height number 0..1

---A detection as a table: what `should_process` gets, what `frame:to_table()` holds, what `frame:add` takes.
---@class Detection
---@field label string the class's name
---@field class_id? integer the class's index in the model's output; 0 where left out
---@field confidence? number 0..1; 1 where left out
---@field bbox BBox
---@field track_id? number the tracker's id; read only
---@field index? integer its place in the frame; read only

---The detections that `frame:select` found, by index. `for i in selection do`, `#selection`, `selection[1]`.
---@class Selection
---@field [integer] integer
---@operator len: integer
---@operator call: integer
local Selection = {}

---How many there are.
---@return integer
function Selection:count() end

---The indices as a plain list.
---@return integer[]
function Selection:collect() end

---A followed object. Good for the frame it was got from.
---@class Track
---@field id number stable while the object is followed, never reused
---@field age number seconds since it was first seen
local Track = {}

---Seconds in the zone since the object last entered it; nil while it is outside. The middle of the box's bottom
---edge decides. Being lost from sight for up to a second does not end a stay. An unknown zone is an error.
---@param zone string
---@return number?
function Track:dwell(zone) end

---@class SelectQuery
---@field label? string | string[] only these labels
---@field min_confidence? number only detections scored at least this
---@field zone? string only detections that stand in this zone

---@class AlertFields
---@field rule string the name under which the alert is raised
---@field level? level the configured default where left out
---@field key? string | number which alerts are the same: duplicates of source, rule and key are held back
---@field message? string what people read; the rule where left out
---@field detections? integer[] | Selection the detections behind it

---One frame of one source.
---@class Frame
---@field source string the source's name in the config
---@field seq integer index of the frame in its source, from 0, with gaps where frames were skipped
---@field time number frame time in seconds
---@field width integer of the picture, pixels
---@field height integer of the picture, pixels
local Frame = {}

---How many detections there are.
---@return integer
function Frame:count() end

---@param i integer
---@return string
function Frame:label(i) end

---The class's index in the model's output.
---@param i integer
---@return integer
function Frame:class_id(i) end

---The detector's score, 0..1.
---@param i integer
---@return number
function Frame:confidence(i) end

---@param i integer
---@return number x, number y, number width, number height
function Frame:bbox(i) end

---The tracker's id; nil where the object is not followed.
---@param i integer
---@return number?
function Frame:track_id(i) end

---What the tracker knows of the object; nil where it is not followed.
---@param i integer
---@return Track?
function Frame:track(i) end

---The names of the source's zones.
---@return string[]
function Frame:zones() end

---Whether the detection stands in the zone (middle of the box's bottom edge). An unknown zone is an error.
---@param i integer
---@param zone string
---@return boolean
function Frame:in_zone(i, zone) end

---The detections that fit: the fastest way to ask.
---@param query SelectQuery
---@return Selection
function Frame:select(query) end

---The whole frame as a table. Convenient, and slower than asking for what is needed.
---@return { source: string, seq: integer, time: number, width: integer, height: integer, detections: Detection[] }
function Frame:to_table() end

---Raises an alert. Past 16 in one call they are dropped and counted; messages are cut at 4 KiB.
---@param alert AlertFields
function Frame:alert(alert) end

---Keeps a detection, or a list of them: once called, the others that this script sees are taken away. An empty list
---takes all away. Needs `filters: true` in the config.
---@param which integer | integer[] | Selection
function Frame:keep(which) end

---Takes a detection, or a list of them, away. Needs `filters: true` in the config.
---@param which integer | integer[] | Selection
function Frame:drop(which) end

---Changes a detection for later strategies and for alerts.
---@param i integer
---@param change { label?: string, confidence?: number }
function Frame:edit(i, change) end

---Adds a detection for later strategies. It cannot be addressed by index within this call.
---@param detection Detection
function Frame:add(detection) end

---Judges one frame. May return a list of detections, each added as by `frame:add`.
---@param frame Frame
---@return Detection[]?
function detect(frame) end

---Optional filter: whether `detect` sees this detection.
---@param d Detection
---@return boolean
function should_process(d) end

---The strategy's own block of the configuration. Read-only.
---@type table
config = {}

---Lines in the engine's log. Past 50 a second they are dropped and counted. `print` is `log.info`.
---@class log
log = {}
---@param ... any
function log.debug(...) end
---@param ... any
function log.info(...) end
---@param ... any
function log.warn(...) end
---@param ... any
function log.error(...) end

---@class time
time = {}
---Frame time of the frame at hand, in seconds.
---@return number
function time.now() end

---Values that the engine keeps for this script on this source. They survive a reload and a crash, up to the last
---call that succeeded. At most 1 MiB. While the script's top level runs they can be read, not written.
---@class state
state = {}

---The value of a key; nil where there is none or it expired. Tables are copies.
---@param key string
---@return any
function state.get(key) end

---Sets a key to a boolean, number, text or plain table (a list, or a map with text keys); nil deletes it.
---@param key string
---@param value any
---@param ttl? number seconds of frame time after which it is gone
function state.set(key, value, ttl) end

---@param key string
function state.delete(key) end

---The living keys that start with `prefix`, in order.
---@param prefix? string
---@return string[]
function state.keys(prefix) end

---Runs a module once and returns what it returned: `require("lib/geometry")` for `lib/geometry.lua` beside the script.
---Only while the script loads.
---@param name string
---@return any
function require(name) end
