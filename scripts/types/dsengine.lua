---@meta dsengine
-- What a dsengine script can call, for editors with the Lua language server. Generated from `wit/`; not loaded by the
-- engine.
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
-- A handler is a file with a global function `handle_alert(alert)`. Where the configuration names a `class`, the functions
-- are those of the global table of that name, called with `self`; `Class.new(config)` or `Class:new(config)` makes the
-- instance, where there is one. More leading comments: `---@version 1.2` is the script's own version, `---@needs` asks for
-- what the configuration has to grant: `http HOST`, `shared_state`, `pixels`, `env NAME`, `files PATH`.
-- `---@setting seconds number = 10 in 0..3600 -- how long` there declares a setting: a configuration with another one, of
-- another type or out of range is refused, and its default is filled in. Types are number, integer, boolean, string, table,
-- any, lists such as `string[]`, words such as `"low"|"high"`; `required` in place of a default asks for it.
--
-- The language is Luau: Lua 5.1 with `continue`, `+=`, `//`, `{string interpolation}` in backticks, types, `buffer`
-- and `bit32`; without `goto`, integers, `io`, `os`, `load`. Indices count from 1. Boxes are shares 0..1 of the
-- picture, top-left corner and size. Times are seconds of frame time; there is no other clock, so a replay is equal.
--
-- A call that judges a frame has 20 ms of CPU time, 32 MiB of memory and 16 alerts; a delivery has 20 ms of CPU time and
-- 30 s, waiting included. A call that fails or runs into a limit leaves the frame and the state as they were; after a
-- limit the script starts afresh, and only `state` is still there.

---How much an alert matters, in rising order.
---@alias Level "low" | "medium" | "high" | "critical"

---A point: shares of the picture's width and height.
---@class Point
---@field x number Share of the width from the left edge.
---@field y number Share of the height from the top edge.

---An axis-aligned box: top-left corner and size.
---@class BBox
---@field x number Left edge.
---@field y number Top edge.
---@field width number Width.
---@field height number Height.

---A detection as a table: what `should_process` gets, what `frame:to_table()` and an alert hold, what `frame:add`
---takes.
---@class Detection
---@field label string The class's name.
---@field class_id? integer The class's index in the model's output; 0 where left out.
---@field confidence? number The detector's score, 0..1; 1 where left out.
---@field bbox BBox Where it is.
---@field track_id? number The tracker's id, stable while the object is followed. Read only.
---@field attributes? table<string, boolean | number | string> What strategies added, by name. Of alerts only.
---@field index? integer Its place in the frame, from 1. Read only.

---An accepted alert, as handlers receive it.
---@class Alert
---@field id string Unique, sortable by time, the same on every retry.
---@field level Level How much it matters.
---@field rule string The rule that raised it.
---@field source string The source it was seen on.
---@field key string Which alerts are the same.
---@field time string Capture time of the frame, RFC 3339 UTC with milliseconds.
---@field pts_ns number Frame time, nanoseconds.
---@field seq integer The frame's sequence number.
---@field message string What people read.
---@field detections Detection[] The detections behind it.
---@field suppressed integer How many duplicates were held back since the last one that was sent.
---@field digest? Digest The alerts that it stands for; absent if it stands for itself.
---@field tags? string[] Words that its rule and the configuration gave it; absent if there are none.
---@field picture? boolean Whether a picture is kept, of its frame or of a digest's best alert; absent if not.
---@field evidence? InEvidence Where its moment is in the stream that is kept of its source; absent if none is.
---@field expires_seconds? integer How long it is of use, from its acceptance on; absent if that is not said.

---A moment in the encoded stream that is kept of a source.
---@class InEvidence
---@field stream string `detect`: the stream that is analysed; `evidence`: another one.
---@field offset_ms number By how many milliseconds the moment is later there than the alert's time.
---@field offset_by string How that was measured: `sender_reports` or `arrival`.

---The alerts that one alert stands for: a limit held them back.
---@class Digest
---@field reason string The limit: `burst`, `critical` or `rate`.
---@field count integer How many alerts.
---@field first string Capture time of the first of them, RFC 3339 UTC with milliseconds.
---@field last string Capture time of the last of them.
---@field ids string[] The ids that they would have had, in order; the first hundred.
---@field keys string[] Their keys, each once, in order; the first hundred.

---An alert as a strategy raises it; the engine's policy decides what becomes of it.
---@class AlertFields
---@field rule string The name under which it is raised. Not empty.
---@field level? Level How much it matters; none takes the configured default.
---@field key? string | number Which alerts are the same; where left out, those of one tracked object.
---@field message? string What people read; the rule where left out.
---@field detections? integer[] | Selection Indices, from 1, of the detections behind it.
---@field tags? string[] Words for filters, 16 at most: letters, digits and - _ . : / only.
---@field picture? string A JPEG, as of `pixels.encode`, instead of the frame with its boxes.
---@field expires_seconds? integer For so many seconds it is of use, up to a year; then it expires.

---What has ended: one key of a rule, or every key of it on this source.
---@class ResolveFields
---@field rule string The name under which it was raised. Not empty.
---@field key? string | number The key under which it was raised; every key where left out.

---A change to one detection.
---@class Change
---@field label? string New label, where it changes. Not empty.
---@field confidence? number New confidence, where it changes.

---A followed object, as `tracks.get` tells of it.
---@class TrackRecord
---@field id number Its id.
---@field label string Its label when last seen.
---@field bbox BBox Its box when last seen.
---@field first number Frame time of the first sighting, seconds.
---@field last number Frame time of the last sighting, seconds.

---How samples are laid out. May grow.
---@alias Format "rgb" | "gray"

---A part of the picture.
---@class Crop
---@field format Format Layout of `data`.
---@field width integer Width, pixels.
---@field height integer Height, pixels.
---@field stride integer Bytes from one row to the next.
---@field data buffer The samples, `stride * height` bytes.

---An answer.
---@class Response
---@field status integer The status, 100..599.
---@field headers table<string, string> Headers by name, in lower case.
---@field body string The body, up to the configured size.
local Response = {}

---One frame of one source.
---@class Frame
---@field source string The source's name in the configuration.
---@field seq integer Index of the decoded frame in its source, from 0; skipped frames leave gaps.
---@field time number Frame time, seconds. Never runs backwards within a source.
---@field width integer Width of the upright original picture, pixels.
---@field height integer Height of the upright original picture, pixels.
local Frame = {}

---The detections that `frame:select` found, by index. `for i in selection do`, `#selection`, `selection[1]`. Good for
---the frame it was got from.
---@class Selection
---@field [integer] integer
---@operator len: integer
---@operator call: integer
local Selection = {}

---A followed object, from `frame:track`. Good for the frame it was got from.
---@class Track
---@field id number Its id, stable while the object is followed, never reused.
---@field age number Seconds since it was first seen.
local Track = {}

---Date and time of day in the configuration's `timezone`, from `time.localtime`.
---@class LocalTime
---@field year integer The year.
---@field month integer 1 to 12.
---@field day integer Day of the month, from 1.
---@field hour integer 0 to 23.
---@field minute integer 0 to 59.
---@field second integer 0 to 59.
---@field weekday string `mon` to `sun`.
---@field yday integer Day of the year, from 1.
---@field offset_minutes integer Minutes that local time is ahead of UTC.
---@field zone string The zone's name, `Europe/Vienna`.

---A frame as a plain table.
---@class FrameTable
---@field source string The source's name in the configuration.
---@field seq integer Index of the decoded frame in its source, from 0; skipped frames leave gaps.
---@field time number Frame time, seconds.
---@field width integer Width of the upright original picture, pixels.
---@field height integer Height of the upright original picture, pixels.
---@field detections Detection[] What is seen.

---What `frame:select` looks for; all of it has to fit.
---@class SelectQuery
---@field label? string | string[] Only these labels.
---@field min_confidence? number Only detections scored at least this.
---@field zone? string Only detections that stand in this zone.

---How a request is sent.
---@class RequestOptions
---@field method? string Of `http.request` only. GET without a body, else POST.
---@field headers? table<string, string> Headers. `${secret:NAME}` in them is filled in by the host.
---@field timeout? number Longest wait for the answer, seconds; at most what is left of the delivery's own time.

---How a part of the picture is handed out.
---@class CropOptions
---@field format? Format Layout; rgb where left out.
---@field max_side? number Longest side, pixels; 256 where left out, at most 2048.

---How a part of the picture becomes a JPEG.
---@class EncodeOptions
---@field max_side? number Longest side, pixels; 256 where left out, at most 2048.
---@field quality? number 1..100; 80 where left out.

---How many there are.
---@return integer
function Selection:count() end

---The indices as a plain list.
---@return integer[]
function Selection:collect() end

---Seconds in the zone since the object last entered it; nil while it is outside. The middle of the box's bottom edge
---decides. Being lost from sight for up to a second does not end a stay. An unknown zone is an error.
---@param zone string
---@return number?
function Track:dwell(zone) end

---How many detections there are.
---@return integer
function Frame:count() end

---The class's name.
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

---Where it is.
---@param i integer
---@return number x
---@return number y
---@return number width
---@return number height
function Frame:bbox(i) end

---The tracker's id; nil where the object is not followed.
---@param i integer
---@return number?
function Frame:track_id(i) end

---What strategies before this one added to the detection, by name.
---@param i integer
---@return table<string, boolean | number | string>
function Frame:attributes(i) end

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
---@return FrameTable
function Frame:to_table() end

---Raises an alert. Past 16 in one call they are dropped and counted; messages are cut at 4 KiB.
---@param alert AlertFields
function Frame:alert(alert) end

---Says that what was raised has ended: its alerts are resolved, and raised again it is a new alert.
---@param ended ResolveFields
function Frame:resolve(ended) end

---Keeps a detection, or a list of them: once called, the others that this script sees are taken away. An empty list
---takes all away. Needs `filters: true` in the config.
---@param which integer | integer[] | Selection
function Frame:keep(which) end

---Takes a detection, or a list of them, away. Needs `filters: true` in the config.
---@param which integer | integer[] | Selection
function Frame:drop(which) end

---Changes a detection for later strategies and for alerts.
---@param i integer
---@param change Change
function Frame:edit(i, change) end

---Attaches a named value to a detection, for later strategies, alerts and handlers. A detection has at most 16, and
---one call changes at most 32 of one detection. `Frame:attributes` shows it at once.
---@param i integer
---@param name string at most 64 bytes
---@param value? boolean | number | string nil takes it away; a text has at most 256 bytes
function Frame:set_attribute(i, name, value) end

---Adds a detection for later strategies. It cannot be addressed by index within this call.
---@param detection Detection
function Frame:add(detection) end

---The body, read as JSON; nil and why where it is none.
---@return any value
---@return string? failure
function Response:json() end

---Lines in the engine's log. Past 50 a second they are dropped and counted. `print` is `log.info`.
---@class log
log = {}

---For the plugin's author.
---@param ... any
function log.debug(...) end

---For the record.
---@param ... any
function log.info(...) end

---Something to look at.
---@param ... any
function log.warn(...) end

---Something failed.
---@param ... any
function log.error(...) end

---The plugin's own figures on the engine's metrics page, named `dsengine_plugin_<name>`.
---@class metrics
metrics = {}

---Adds to a counter.
---@param name string lower-case letters, digits and underscores
---@param by? number 1 where left out
function metrics.add(name, by) end

---Sets a gauge.
---@param name string
---@param value number
function metrics.set(name, value) end

---Puts a value into a histogram.
---@param name string
---@param value number
function metrics.observe(name, value) end

---Time. There is no other clock: a replay gives the same answers.
---@class time
time = {}

---Frame time of the frame at hand, in seconds; for a handler, of its alert.
---@return number
function time.now() end

---When the frame was captured, in the configuration's `timezone`. Strategies only.
---@param frame Frame
---@return LocalTime
function time.localtime(frame) end

---Values that the engine keeps for this script on this source. They survive a reload and a crash, up to the last call
---that succeeded. At most 1 MiB. While the script's top level runs they can be read, not written.
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

---Deletes a key; unknown ones are ignored.
---@param key string
function state.delete(key) end

---The living keys that start with `prefix`, in order.
---@param prefix? string
---@return string[]
function state.keys(prefix) end

---As `state`, but one for all sources of this plugin; needs `---@needs shared_state`. Each function takes effect at
---once and as a whole; another source's call may come between two of them, so count with `add`.
---@class shared
shared = {}

---The value of a key; nil where there is none or it expired. Tables are copies.
---@param key string
---@return any
function shared.get(key) end

---Sets a key, as `state.set`.
---@param key string
---@param value any
---@param ttl? number seconds of capture time after which it is gone
function shared.set(key, value, ttl) end

---Adds to a number kept under the key, 0 where there is nothing, and returns the sum. What is kept there and is no
---number, nor the text of one, is a fault.
---@param key string
---@param by? number 1 where left out
---@param ttl? number seconds of capture time after which it is gone
---@return number
function shared.add(key, by, ttl) end

---Deletes a key; unknown ones are ignored.
---@param key string
function shared.delete(key) end

---The living keys that start with `prefix`, in order.
---@param prefix? string
---@return string[]
function shared.keys(prefix) end

---Between values and JSON text.
---@class json
json = {}

---A value as JSON text; what cannot be said in JSON is an error.
---@param value any
---@return string
function json.encode(value) end

---The value of a JSON text; nil and why where it is none.
---@param text string at most 1 MiB
---@return any value
---@return string? failure
function json.decode(text) end

---Files that were asked for and granted.
---@class files
files = {}

---A file's contents, at most 1 MiB; nil and why where it cannot be read. Only while the script loads.
---@param path string as in `---@needs files`, or below it
---@return string? contents
---@return string? failure
function files.read(path) end

---The source's zones. The middle of a box's bottom edge decides whether it is inside. Strategies only.
---@class zones
zones = {}

---The names of the zones.
---@return string[]
function zones.names() end

---Whether a box stands in the zone. An unknown zone is an error.
---@param zone string
---@param where integer | BBox a detection's index, or a box
---@return boolean
function zones.contains(zone, where) end

---The corners of the zone. An unknown zone is an error.
---@param zone string
---@return Point[]
function zones.polygon(zone) end

---What the engine knows of followed objects. Strategies only.
---@class tracks
tracks = {}

---The track of this id, while it lives.
---@param id number
---@return TrackRecord?
function tracks.get(id) end

---As `track:dwell`, by id.
---@param id number
---@param zone string
---@return number?
function tracks.dwell(id, zone) end

---The picture of the frame at hand; needs `---@needs pixels`. Strategies only.
---@class pixels
pixels = {}

---Width and height of the upright picture, pixels; nil where the frame has none.
---@return integer? width
---@return integer? height
function pixels.size() end

---Mean red, green and blue, 0..255; nil where nothing of it is in the picture, or there is none.
---@param where? integer | BBox a detection's index, or a box; the whole where left out
---@return number? red
---@return number? green
---@return number? blue
function pixels.mean(where) end

---A part, shrunk where it is larger than asked for; nil where nothing of it is in the picture, or there is none.
---@param where integer | BBox a detection's index, or a box
---@param options? CropOptions
---@return Crop?
function pixels.crop(where, options) end

---A part as the bytes of a JPEG, shrunk likewise; nil likewise.
---@param where? integer | BBox a detection's index, or a box; the whole where left out
---@param options? EncodeOptions
---@return string?
function pixels.encode(where, options) end

---The picture of the alert at hand. Handlers only.
---@class picture
picture = {}

---The bytes of a JPEG; nil where the alert has no picture. Waits up to two seconds for one that is being encoded.
---@param clean? boolean true: without boxes and zones
---@return string?
function picture.jpeg(clean) end

---Requests to granted hosts; to any other they are an error. Handlers only. A status is an answer, whatever it is;
---without one there are nil and why. Redirects are not followed.
---@class http
http = {}

---The fields of a form as `multipart/form-data`: the body of a request, and its `content-type`.
---@param fields table<string, any> a text, number or boolean, or a file: { data, filename, type }
---@return string body
---@return string kind
function http.multipart(fields) end

---Sends a GET.
---@param url string `https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine
---@param options? RequestOptions
---@return Response? answer
---@return string? failure
function http.get(url, options) end

---Sends a POST and waits for its answer. `return http.post(…)` from `handle_alert` is all a handler needs.
---@param url string `https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine
---@param body? string | table a table becomes JSON
---@param options? RequestOptions
---@return Response? answer
---@return string? failure
function http.post(url, body, options) end

---Sends a PUT.
---@param url string `https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine
---@param body? string | table a table becomes JSON
---@param options? RequestOptions
---@return Response? answer
---@return string? failure
function http.put(url, body, options) end

---Sends a PATCH.
---@param url string `https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine
---@param body? string | table a table becomes JSON
---@param options? RequestOptions
---@return Response? answer
---@return string? failure
function http.patch(url, body, options) end

---Sends a DELETE.
---@param url string `https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine
---@param options? RequestOptions
---@return Response? answer
---@return string? failure
function http.delete(url, options) end

---Sends a request with the method of the options.
---@param url string `https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine
---@param body? string | table a table becomes JSON
---@param options? RequestOptions
---@return Response? answer
---@return string? failure
function http.request(url, body, options) end

---Judges one frame. May return a list of detections, each added as by `frame:add`.
---@param frame Frame
---@return Detection[]?
function detect(frame) end

---Optional filter: whether `detect` sees this detection.
---@param d Detection
---@return boolean
function should_process(d) end

---Delivers one alert. Nothing, true, "delivered": done. "skipped": settled without delivery. False, "retry", or nil
---and why: try again later. An answer of `http`: by its status. An error: never.
---@param alert Alert
---@return any outcome
---@return string? why
function handle_alert(alert) end

---Optional: what lives in the script and not in `state`, handed to its successor before a reload. Anything that
---`state` could keep.
---@return any
function suspend() end

---Optional: takes over from a predecessor, before the first frame. An error refuses the reload.
---@param from_version string
---@param handed any what the predecessor's `suspend` returned
function resume(from_version, handed) end

---Optional: called before `resume` where the predecessor's `---@version` is another. Converts what is in `state`;
---what it returns is handed to `resume` instead.
---@param from_version string
---@param handed any what the predecessor's `suspend` returned
---@return any
function migrate(from_version, handed) end

---Runs a module once and returns what it returned: `require("lib/geometry")` for `lib/geometry.lua` beside the
---script. Only while the script loads.
---@param name string
---@return any
function require(name) end

---The plugin's own block of the configuration. Read-only.
---@type table
config = {}

---The configuration's `extensions`, the same for every script. Read-only.
---@type table
extensions = {}

---The environment variables that were asked for and granted. Another name is an error.
---@type table<string, string>
env = {}
