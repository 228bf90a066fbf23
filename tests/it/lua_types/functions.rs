//! What differs between the contract and its shape in Lua: functions, and the fields that are said in another way.

/// A function as scripts call it. An empty `doc` takes the words of the one it mirrors.
pub(super) struct Function {
    /// `Frame:count`, `state.get`, or a global.
    pub(super) name: &'static str,
    /// Name, type, words.
    pub(super) params: &'static [(&'static str, &'static str, &'static str)],
    /// Types, each with words after a blank.
    pub(super) returns: &'static [&'static str],
    /// The contract's function; empty where Lua has one of its own.
    pub(super) mirrors: &'static str,
    pub(super) doc: &'static str,
}

/// A value as scripts see it.
pub(super) struct Record {
    /// Interface and name in the contract; empty where only Lua has it.
    pub(super) wit: &'static str,
    pub(super) lua: &'static str,
    /// Its own words, where the contract's do not fit.
    pub(super) doc: &'static str,
    /// Fields that differ: name there (empty: only here), name here (empty: left out), type, words (empty: theirs).
    pub(super) other: &'static [(&'static str, &'static str, &'static str, &'static str)],
    /// Annotations of its own.
    pub(super) raw: &'static [&'static str],
}

pub(super) const HEAD: &str = r#"
What a dsengine script can call, for editors with the Lua language server. Generated from `wit/`; not loaded by the
engine.

A strategy is a file with a global function `detect(frame)`. It is called for every frame of every source the
strategy is enabled for; each source has its own instance, with globals of its own. Optional beside it:
`should_process(d)`, a filter: `detect` sees only the detections for which it returns true.

    ---@since 0.1                     the API version the script is written to
    function detect(frame)
        for i in frame:select{ label = "person", zone = config.zone } do
            frame:alert{ rule = "intrusion", level = "high", detections = { i }, message = "someone is there" }
        end
    end

A handler is a file with a global function `handle_alert(alert)`. Where the configuration names a `class`, the functions
are those of the global table of that name, called with `self`; `Class.new(config)` or `Class:new(config)` makes the
instance, where there is one. More leading comments: `---@version 1.2` is the script's own version, `---@needs` asks for
what the configuration has to grant: `http HOST`, `shared_state`, `pixels`, `env NAME`, `files PATH`.
`---@setting seconds number = 10 in 0..3600 -- how long` there declares a setting: a configuration with another one, of
another type or out of range is refused, and its default is filled in. Types are number, integer, boolean, string, table,
any, lists such as `string[]`, words such as `"low"|"high"`; `required` in place of a default asks for it.

The language is Luau: Lua 5.1 with `continue`, `+=`, `//`, `{string interpolation}` in backticks, types, `buffer`
and `bit32`; without `goto`, integers, `io`, `os`, `load`. Indices count from 1. Boxes are shares 0..1 of the
picture, top-left corner and size. Times are seconds of frame time; there is no other clock, so a replay is equal.

A call that judges a frame has 20 ms of CPU time, 32 MiB of memory and 16 alerts; a delivery has 20 ms of CPU time and
30 s, waiting included. A call that fails or runs into a limit leaves the frame and the state as they were; after a
limit the script starts afresh, and only `state` is still there.
"#;

pub(super) const RECORDS: &[Record] = &[
    Record { wit: "types.level", lua: "Level", doc: "", other: &[], raw: &[] },
    Record { wit: "types.point", lua: "Point", doc: "", other: &[], raw: &[] },
    Record { wit: "types.bbox", lua: "BBox", doc: "", other: &[], raw: &[] },
    Record {
        wit: "types.detection",
        lua: "Detection",
        doc: "A detection as a table: what `should_process` gets, what `frame:to_table()` and an alert hold, what \
              `frame:add` takes.",
        other: &[
            ("class_id", "class_id", "integer?", "The class's index in the model's output; 0 where left out."),
            ("confidence", "confidence", "number?", "The detector's score, 0..1; 1 where left out."),
            ("track_id", "track_id", "number?", "The tracker's id, stable while the object is followed. Read only."),
            (
                "attributes",
                "attributes",
                "table<string, boolean | number | string>?",
                "What strategies added, by name. Of alerts only.",
            ),
            ("", "index", "integer?", "Its place in the frame, from 1. Read only."),
        ],
        raw: &[],
    },
    Record {
        wit: "types.alert",
        lua: "Alert",
        doc: "",
        other: &[
            ("pts_ns", "pts_ns", "number", "Frame time, nanoseconds."),
            ("", "digest", "Digest?", "The alerts that it stands for; absent if it stands for itself."),
            ("", "tags", "string[]?", "Words that its rule and the configuration gave it; absent if there are none."),
            (
                "",
                "picture",
                "boolean?",
                "Whether a picture is kept, of its frame or of a digest's best alert; absent if not.",
            ),
            (
                "",
                "evidence",
                "InEvidence?",
                "Where its moment is in the stream that is kept of its source; absent if none is.",
            ),
            (
                "",
                "expires_seconds",
                "integer?",
                "How long it is of use, from its acceptance on; absent if that is not said.",
            ),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "InEvidence",
        doc: "A moment in the encoded stream that is kept of a source.",
        other: &[
            ("", "stream", "string", "`detect`: the stream that is analysed; `evidence`: another one."),
            ("", "offset_ms", "number", "By how many milliseconds the moment is later there than the alert's time."),
            ("", "offset_by", "string", "How that was measured: `sender_reports` or `arrival`."),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "Digest",
        doc: "The alerts that one alert stands for: a limit held them back.",
        other: &[
            ("", "reason", "string", "The limit: `burst`, `critical` or `rate`."),
            ("", "count", "integer", "How many alerts."),
            ("", "first", "string", "Capture time of the first of them, RFC 3339 UTC with milliseconds."),
            ("", "last", "string", "Capture time of the last of them."),
            ("", "ids", "string[]", "The ids that they would have had, in order; the first hundred."),
            ("", "keys", "string[]", "Their keys, each once, in order; the first hundred."),
        ],
        raw: &[],
    },
    Record {
        wit: "types.alert-draft",
        lua: "AlertFields",
        doc: "",
        other: &[
            ("level", "level", "Level?", ""),
            (
                "key",
                "key",
                "string | number?",
                "Which alerts are the same; where left out, those of one tracked object.",
            ),
            ("message", "message", "string?", "What people read; the rule where left out."),
            ("detections", "detections", "integer[] | Selection?", "Indices, from 1, of the detections behind it."),
            ("", "tags", "string[]?", "Words for filters, 16 at most: letters, digits and - _ . : / only."),
            ("", "picture", "string?", "A JPEG, as of `pixels.encode`, instead of the frame with its boxes."),
            ("", "expires_seconds", "integer?", "For so many seconds it is of use, up to a year; then it expires."),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "ResolveFields",
        doc: "What has ended: one key of a rule, or every key of it on this source.",
        other: &[
            ("", "rule", "string", "The name under which it was raised. Not empty."),
            ("", "key", "string | number?", "The key under which it was raised; every key where left out."),
        ],
        raw: &[],
    },
    Record { wit: "types.edit", lua: "Change", doc: "", other: &[("index", "", "", "")], raw: &[] },
    Record {
        wit: "tracks.track",
        lua: "TrackRecord",
        doc: "A followed object, as `tracks.get` tells of it.",
        other: &[
            ("id", "id", "number", ""),
            ("first_ns", "first", "number", "Frame time of the first sighting, seconds."),
            ("last_ns", "last", "number", "Frame time of the last sighting, seconds."),
        ],
        raw: &[],
    },
    Record { wit: "pixels.format", lua: "Format", doc: "", other: &[], raw: &[] },
    Record {
        wit: "pixels.crop",
        lua: "Crop",
        doc: "",
        other: &[("data", "data", "buffer", "The samples, `stride * height` bytes.")],
        raw: &[],
    },
    Record {
        wit: "http.response",
        lua: "Response",
        doc: "",
        other: &[("headers", "headers", "table<string, string>", "Headers by name, in lower case.")],
        raw: &[],
    },
    Record {
        wit: "types.frame",
        lua: "Frame",
        doc: "One frame of one source.",
        other: &[
            ("pts_ns", "time", "number", "Frame time, seconds. Never runs backwards within a source."),
            ("captured_unix_ns", "", "", ""),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "Selection",
        doc: "The detections that `frame:select` found, by index. `for i in selection do`, `#selection`, `selection[1]`. \
              Good for the frame it was got from.",
        other: &[],
        raw: &["@field [integer] integer", "@operator len: integer", "@operator call: integer"],
    },
    Record {
        wit: "",
        lua: "Track",
        doc: "A followed object, from `frame:track`. Good for the frame it was got from.",
        other: &[
            ("", "id", "number", "Its id, stable while the object is followed, never reused."),
            ("", "age", "number", "Seconds since it was first seen."),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "LocalTime",
        doc: "Date and time of day in the configuration's `timezone`, from `time.localtime`.",
        other: &[
            ("", "year", "integer", "The year."),
            ("", "month", "integer", "1 to 12."),
            ("", "day", "integer", "Day of the month, from 1."),
            ("", "hour", "integer", "0 to 23."),
            ("", "minute", "integer", "0 to 59."),
            ("", "second", "integer", "0 to 59."),
            ("", "weekday", "string", "`mon` to `sun`."),
            ("", "yday", "integer", "Day of the year, from 1."),
            ("", "offset_minutes", "integer", "Minutes that local time is ahead of UTC."),
            ("", "zone", "string", "The zone's name, `Europe/Vienna`."),
        ],
        raw: &[],
    },
    Record {
        wit: "types.frame",
        lua: "FrameTable",
        doc: "A frame as a plain table.",
        other: &[
            ("pts_ns", "time", "number", "Frame time, seconds."),
            ("captured_unix_ns", "", "", ""),
            ("", "detections", "Detection[]", "What is seen."),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "SelectQuery",
        doc: "What `frame:select` looks for; all of it has to fit.",
        other: &[
            ("", "label", "string | string[]?", "Only these labels."),
            ("", "min_confidence", "number?", "Only detections scored at least this."),
            ("", "zone", "string?", "Only detections that stand in this zone."),
        ],
        raw: &[],
    },
    Record {
        wit: "http.request",
        lua: "RequestOptions",
        doc: "How a request is sent.",
        other: &[
            ("method", "method", "string?", "Of `http.request` only. GET without a body, else POST."),
            ("url", "", "", ""),
            (
                "headers",
                "headers",
                "table<string, string>?",
                "Headers. `${secret:NAME}` in them is filled in by the host.",
            ),
            ("body", "", "", ""),
            (
                "timeout_ms",
                "timeout",
                "number?",
                "Longest wait for the answer, seconds; at most what is left of the delivery's own time.",
            ),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "CropOptions",
        doc: "How a part of the picture is handed out.",
        other: &[
            ("", "format", "Format?", "Layout; rgb where left out."),
            ("", "max_side", "number?", "Longest side, pixels; 256 where left out, at most 2048."),
        ],
        raw: &[],
    },
    Record {
        wit: "",
        lua: "EncodeOptions",
        doc: "How a part of the picture becomes a JPEG.",
        other: &[
            ("", "max_side", "number?", "Longest side, pixels; 256 where left out, at most 2048."),
            ("", "quality", "number?", "1..100; 80 where left out."),
        ],
        raw: &[],
    },
];

/// Functions of the contract that are no functions in Lua, and what they are instead.
pub(super) const NOT_FUNCTIONS: &[(&str, &str)] = &[
    ("config.get", "the table `config`"),
    ("config.all", "the table `config`"),
    ("pixels.current", "nil from each function of `pixels` where there is no picture"),
    ("strategy.describe", "the leading comments"),
    ("handler.describe", "the leading comments"),
    ("strategy.init", "the top level of the script, or `Class.new`"),
    ("handler.init", "the top level of the script, or `Class.new`"),
];

/// The tables of globals.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("log", "Lines in the engine's log. Past 50 a second they are dropped and counted. `print` is `log.info`."),
    ("metrics", "The plugin's own figures on the engine's metrics page, named `dsengine_plugin_<name>`."),
    ("time", "Time. There is no other clock: a replay gives the same answers."),
    (
        "state",
        "Values that the engine keeps for this script on this source. They survive a reload and a crash, up to the last \
         call that succeeded. At most 1 MiB. While the script's top level runs they can be read, not written.",
    ),
    (
        "shared",
        "As `state`, but one for all sources of this plugin; needs `---@needs shared_state`. Each function takes effect \
         at once and as a whole; another source's call may come between two of them, so count with `add`.",
    ),
    ("json", "Between values and JSON text."),
    ("files", "Files that were asked for and granted."),
    ("zones", "The source's zones. The middle of a box's bottom edge decides whether it is inside. Strategies only."),
    ("tracks", "What the engine knows of followed objects. Strategies only."),
    ("pixels", "The picture of the frame at hand; needs `---@needs pixels`. Strategies only."),
    ("picture", "The picture of the alert at hand. Handlers only."),
    (
        "http",
        "Requests to granted hosts; to any other they are an error. Handlers only. A status is an answer, whatever it \
         is; without one there are nil and why. Redirects are not followed.",
    ),
];

const INDEX: (&str, &str, &str) = ("i", "integer", "");
const ANY: (&str, &str, &str) = ("...", "any", "");
const KEY: (&str, &str, &str) = ("key", "string", "");
const TTL: (&str, &str, &str) = ("ttl", "number?", "seconds of frame time after which it is gone");
/// Of a value over all sources, whose frame times have nothing in common.
const SHARED_TTL: (&str, &str, &str) = ("ttl", "number?", "seconds of capture time after which it is gone");
const WHERE: (&str, &str, &str) = ("where", "integer | BBox", "a detection's index, or a box");
const URL: (&str, &str, &str) =
    ("url", "string", "`https` or `http`; `${secret:NAME}` behind its host is filled in by dsengine");
const BODY: (&str, &str, &str) = ("body", "string | table?", "a table becomes JSON");
const OPTIONS: (&str, &str, &str) = ("options", "RequestOptions?", "");
const ANSWER: &[&str] = &["Response? answer", "string? failure"];

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "Selection:count", params: &[], returns: &["integer"], mirrors: "", doc: "How many there are." },
    Function {
        name: "Selection:collect",
        params: &[],
        returns: &["integer[]"],
        mirrors: "",
        doc: "The indices as a plain list.",
    },
    Function {
        name: "Track:dwell",
        params: &[("zone", "string", "")],
        returns: &["number?"],
        mirrors: "",
        doc: "Seconds in the zone since the object last entered it; nil while it is outside. The middle of the box's \
              bottom edge decides. Being lost from sight for up to a second does not end a stay. An unknown zone is an \
              error.",
    },
    Function {
        name: "Frame:count",
        params: &[],
        returns: &["integer"],
        mirrors: "",
        doc: "How many detections there are.",
    },
    Function { name: "Frame:label", params: &[INDEX], returns: &["string"], mirrors: "", doc: "The class's name." },
    Function {
        name: "Frame:class_id",
        params: &[INDEX],
        returns: &["integer"],
        mirrors: "",
        doc: "The class's index in the model's output.",
    },
    Function {
        name: "Frame:confidence",
        params: &[INDEX],
        returns: &["number"],
        mirrors: "",
        doc: "The detector's score, 0..1.",
    },
    Function {
        name: "Frame:bbox",
        params: &[INDEX],
        returns: &["number x", "number y", "number width", "number height"],
        mirrors: "",
        doc: "Where it is.",
    },
    Function {
        name: "Frame:track_id",
        params: &[INDEX],
        returns: &["number?"],
        mirrors: "",
        doc: "The tracker's id; nil where the object is not followed.",
    },
    Function {
        name: "Frame:attributes",
        params: &[INDEX],
        returns: &["table<string, boolean | number | string>"],
        mirrors: "detections.attributes",
        doc: "What strategies before this one added to the detection, by name.",
    },
    Function {
        name: "Frame:track",
        params: &[INDEX],
        returns: &["Track?"],
        mirrors: "",
        doc: "What the tracker knows of the object; nil where it is not followed.",
    },
    Function {
        name: "Frame:zones",
        params: &[],
        returns: &["string[]"],
        mirrors: "",
        doc: "The names of the source's zones.",
    },
    Function {
        name: "Frame:in_zone",
        params: &[INDEX, ("zone", "string", "")],
        returns: &["boolean"],
        mirrors: "",
        doc: "Whether the detection stands in the zone (middle of the box's bottom edge). An unknown zone is an error.",
    },
    Function {
        name: "Frame:select",
        params: &[("query", "SelectQuery", "")],
        returns: &["Selection"],
        mirrors: "detections.in-zone",
        doc: "The detections that fit: the fastest way to ask.",
    },
    Function {
        name: "Frame:to_table",
        params: &[],
        returns: &["FrameTable"],
        mirrors: "",
        doc: "The whole frame as a table. Convenient, and slower than asking for what is needed.",
    },
    Function {
        name: "Frame:alert",
        params: &[("alert", "AlertFields", "")],
        returns: &[],
        mirrors: "",
        doc: "Raises an alert. Past 16 in one call they are dropped and counted; messages are cut at 4 KiB.",
    },
    Function {
        name: "Frame:resolve",
        params: &[("ended", "ResolveFields", "")],
        returns: &[],
        mirrors: "",
        doc: "Says that what was raised has ended: its alerts are resolved, and raised again it is a new alert.",
    },
    Function {
        name: "Frame:keep",
        params: &[("which", "integer | integer[] | Selection", "")],
        returns: &[],
        mirrors: "",
        doc: "Keeps a detection, or a list of them: once called, the others that this script sees are taken away. An \
              empty list takes all away. Needs `filters: true` in the config.",
    },
    Function {
        name: "Frame:drop",
        params: &[("which", "integer | integer[] | Selection", "")],
        returns: &[],
        mirrors: "",
        doc: "Takes a detection, or a list of them, away. Needs `filters: true` in the config.",
    },
    Function {
        name: "Frame:edit",
        params: &[INDEX, ("change", "Change", "")],
        returns: &[],
        mirrors: "",
        doc: "Changes a detection for later strategies and for alerts.",
    },
    Function {
        name: "Frame:set_attribute",
        params: &[
            INDEX,
            ("name", "string", "at most 64 bytes"),
            ("value", "boolean | number | string?", "nil takes it away; a text has at most 256 bytes"),
        ],
        returns: &[],
        mirrors: "",
        doc: "Attaches a named value to a detection, for later strategies, alerts and handlers. A detection has at most \
              16, and one call changes at most 32 of one detection. `Frame:attributes` shows it at once.",
    },
    Function {
        name: "Frame:add",
        params: &[("detection", "Detection", "")],
        returns: &[],
        mirrors: "",
        doc: "Adds a detection for later strategies. It cannot be addressed by index within this call.",
    },
    Function {
        name: "Response:json",
        params: &[],
        returns: &["any value", "string? failure"],
        mirrors: "",
        doc: "The body, read as JSON; nil and why where it is none.",
    },
    Function { name: "log.debug", params: &[ANY], returns: &[], mirrors: "log.write", doc: "For the plugin's author." },
    Function { name: "log.info", params: &[ANY], returns: &[], mirrors: "log.write", doc: "For the record." },
    Function { name: "log.warn", params: &[ANY], returns: &[], mirrors: "log.write", doc: "Something to look at." },
    Function { name: "log.error", params: &[ANY], returns: &[], mirrors: "log.write", doc: "Something failed." },
    Function {
        name: "metrics.add",
        params: &[
            ("name", "string", "lower-case letters, digits and underscores"),
            ("by", "number?", "1 where left out"),
        ],
        returns: &[],
        mirrors: "metrics.add",
        doc: "Adds to a counter.",
    },
    Function {
        name: "metrics.set",
        params: &[("name", "string", ""), ("value", "number", "")],
        returns: &[],
        mirrors: "metrics.set",
        doc: "",
    },
    Function {
        name: "metrics.observe",
        params: &[("name", "string", ""), ("value", "number", "")],
        returns: &[],
        mirrors: "metrics.observe",
        doc: "",
    },
    Function {
        name: "time.now",
        params: &[],
        returns: &["number"],
        mirrors: "time.frame-ns",
        doc: "Frame time of the frame at hand, in seconds; for a handler, of its alert.",
    },
    Function {
        name: "time.localtime",
        params: &[("frame", "Frame", "")],
        returns: &["LocalTime"],
        mirrors: "",
        doc: "When the frame was captured, in the configuration's `timezone`. Strategies only.",
    },
    Function {
        name: "state.get",
        params: &[KEY],
        returns: &["any"],
        mirrors: "state.get",
        doc: "The value of a key; nil where there is none or it expired. Tables are copies.",
    },
    Function {
        name: "state.set",
        params: &[KEY, ("value", "any", ""), TTL],
        returns: &[],
        mirrors: "state.set",
        doc: "Sets a key to a boolean, number, text or plain table (a list, or a map with text keys); nil deletes it.",
    },
    Function { name: "state.delete", params: &[KEY], returns: &[], mirrors: "state.delete", doc: "" },
    Function {
        name: "state.keys",
        params: &[("prefix", "string?", "")],
        returns: &["string[]"],
        mirrors: "state.keys",
        doc: "",
    },
    Function {
        name: "shared.get",
        params: &[KEY],
        returns: &["any"],
        mirrors: "shared-state.get",
        doc: "The value of a key; nil where there is none or it expired. Tables are copies.",
    },
    Function {
        name: "shared.set",
        params: &[KEY, ("value", "any", ""), SHARED_TTL],
        returns: &[],
        mirrors: "shared-state.set",
        doc: "Sets a key, as `state.set`.",
    },
    Function {
        name: "shared.add",
        params: &[KEY, ("by", "number?", "1 where left out"), SHARED_TTL],
        returns: &["number"],
        mirrors: "shared-state.add",
        doc: "",
    },
    Function { name: "shared.delete", params: &[KEY], returns: &[], mirrors: "shared-state.delete", doc: "" },
    Function {
        name: "shared.keys",
        params: &[("prefix", "string?", "")],
        returns: &["string[]"],
        mirrors: "shared-state.keys",
        doc: "",
    },
    Function {
        name: "json.encode",
        params: &[("value", "any", "")],
        returns: &["string"],
        mirrors: "",
        doc: "A value as JSON text; what cannot be said in JSON is an error.",
    },
    Function {
        name: "json.decode",
        params: &[("text", "string", "at most 1 MiB")],
        returns: &["any value", "string? failure"],
        mirrors: "",
        doc: "The value of a JSON text; nil and why where it is none.",
    },
    Function {
        name: "files.read",
        params: &[("path", "string", "as in `---@needs files`, or below it")],
        returns: &["string? contents", "string? failure"],
        mirrors: "",
        doc: "A file's contents, at most 1 MiB; nil and why where it cannot be read. Only while the script loads.",
    },
    Function { name: "zones.names", params: &[], returns: &["string[]"], mirrors: "zones.names", doc: "" },
    Function {
        name: "zones.contains",
        params: &[("zone", "string", ""), WHERE],
        returns: &["boolean"],
        mirrors: "zones.contains",
        doc: "Whether a box stands in the zone. An unknown zone is an error.",
    },
    Function {
        name: "zones.polygon",
        params: &[("zone", "string", "")],
        returns: &["Point[]"],
        mirrors: "zones.polygon",
        doc: "The corners of the zone. An unknown zone is an error.",
    },
    Function {
        name: "tracks.get",
        params: &[("id", "number", "")],
        returns: &["TrackRecord?"],
        mirrors: "tracks.get",
        doc: "",
    },
    Function {
        name: "tracks.dwell",
        params: &[("id", "number", ""), ("zone", "string", "")],
        returns: &["number?"],
        mirrors: "tracks.dwell-ns",
        doc: "As `track:dwell`, by id.",
    },
    Function {
        name: "pixels.size",
        params: &[],
        returns: &["integer? width", "integer? height"],
        mirrors: "pixels.image.size",
        doc: "Width and height of the upright picture, pixels; nil where the frame has none.",
    },
    Function {
        name: "pixels.mean",
        params: &[("where", "integer | BBox?", "a detection's index, or a box; the whole where left out")],
        returns: &["number? red", "number? green", "number? blue"],
        mirrors: "pixels.image.mean",
        doc: "Mean red, green and blue, 0..255; nil where nothing of it is in the picture, or there is none.",
    },
    Function {
        name: "pixels.crop",
        params: &[WHERE, ("options", "CropOptions?", "")],
        returns: &["Crop?"],
        mirrors: "pixels.image.crop",
        doc: "A part, shrunk where it is larger than asked for; nil where nothing of it is in the picture, or there is \
              none.",
    },
    Function {
        name: "pixels.encode",
        params: &[
            ("where", "integer | BBox?", "a detection's index, or a box; the whole where left out"),
            ("options", "EncodeOptions?", ""),
        ],
        returns: &["string?"],
        mirrors: "pixels.image.encode",
        doc: "A part as the bytes of a JPEG, shrunk likewise; nil likewise.",
    },
    Function {
        name: "picture.jpeg",
        params: &[("clean", "boolean?", "true: without boxes and zones")],
        returns: &["string?"],
        mirrors: "",
        doc: "The bytes of a JPEG; nil where the alert has no picture. Waits up to two seconds for one that is being \
              encoded.",
    },
    Function {
        name: "http.multipart",
        params: &[("fields", "table<string, any>", "a text, number or boolean, or a file: { data, filename, type }")],
        returns: &["string body", "string kind"],
        mirrors: "",
        doc: "The fields of a form as `multipart/form-data`: the body of a request, and its `content-type`.",
    },
    Function { name: "http.get", params: &[URL, OPTIONS], returns: ANSWER, mirrors: "http.send", doc: "Sends a GET." },
    Function {
        name: "http.post",
        params: &[URL, BODY, OPTIONS],
        returns: ANSWER,
        mirrors: "http.send",
        doc: "Sends a POST and waits for its answer. `return http.post(…)` from `handle_alert` is all a handler needs.",
    },
    Function {
        name: "http.put",
        params: &[URL, BODY, OPTIONS],
        returns: ANSWER,
        mirrors: "http.send",
        doc: "Sends a PUT.",
    },
    Function {
        name: "http.patch",
        params: &[URL, BODY, OPTIONS],
        returns: ANSWER,
        mirrors: "http.send",
        doc: "Sends a PATCH.",
    },
    Function {
        name: "http.delete",
        params: &[URL, OPTIONS],
        returns: ANSWER,
        mirrors: "http.send",
        doc: "Sends a DELETE.",
    },
    Function {
        name: "http.request",
        params: &[URL, BODY, OPTIONS],
        returns: ANSWER,
        mirrors: "http.send",
        doc: "Sends a request with the method of the options.",
    },
    Function {
        name: "detect",
        params: &[("frame", "Frame", "")],
        returns: &["Detection[]?"],
        mirrors: "strategy.judge",
        doc: "Judges one frame. May return a list of detections, each added as by `frame:add`.",
    },
    Function {
        name: "should_process",
        params: &[("d", "Detection", "")],
        returns: &["boolean"],
        mirrors: "strategy.should-process",
        doc: "Optional filter: whether `detect` sees this detection.",
    },
    Function {
        name: "handle_alert",
        params: &[("alert", "Alert", "")],
        returns: &["any outcome", "string? why"],
        mirrors: "handler.handle-alert",
        doc: "Delivers one alert. Nothing, true, \"delivered\": done. \"skipped\": settled without delivery. False, \
              \"retry\", or nil and why: try again later. An answer of `http`: by its status. An error: never.",
    },
    Function {
        name: "suspend",
        params: &[],
        returns: &["any"],
        mirrors: "strategy.suspend",
        doc: "Optional: what lives in the script and not in `state`, handed to its successor before a reload. Anything \
              that `state` could keep.",
    },
    Function {
        name: "resume",
        params: &[("from_version", "string", ""), ("handed", "any", "what the predecessor's `suspend` returned")],
        returns: &[],
        mirrors: "strategy.resume",
        doc: "Optional: takes over from a predecessor, before the first frame. An error refuses the reload.",
    },
    Function {
        name: "migrate",
        params: &[("from_version", "string", ""), ("handed", "any", "what the predecessor's `suspend` returned")],
        returns: &["any"],
        mirrors: "",
        doc: "Optional: called before `resume` where the predecessor's `---@version` is another. Converts what is in \
              `state`; what it returns is handed to `resume` instead.",
    },
    Function {
        name: "require",
        params: &[("name", "string", "")],
        returns: &["any"],
        mirrors: "",
        doc: "Runs a module once and returns what it returned: `require(\"lib/geometry\")` for `lib/geometry.lua` beside \
              the script. Only while the script loads.",
    },
];
