//! Guests made inside the tests: a few lines of WebAssembly text each, made components by the engine itself. No
//! toolchain, about two kilobytes, a few milliseconds.
//!
//! A guest is a core module that exports the canonical names (`dsengine:plugin/strategy@0.1.0#judge`). What does not
//! fit in registers goes through memory; the layouts used are noted where they are written.

use std::fmt::Write as _;

use dsengine::wasm::encode;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

/// Where a call puts its own result.
const RESULT: u32 = 16;
/// Where imported functions put theirs.
const ANSWER: u32 = 128;
/// Room for a number.
const NUMBER: u32 = 192;
/// Constants.
const TEXTS: u32 = 1024;
/// What `cabi_realloc` hands out begins here; freed as a whole when a call returns.
const HEAP: u32 = 65536;

/// A guest under construction: what it imports, its functions' bodies, its constants.
struct Guest {
    world: &'static str,
    version: &'static str,
    imports: String,
    texts: String,
    start: &'static str,
    init: String,
    suspend: String,
    resume: String,
    body: String,
    /// Frames that an instance passes unchanged before `body` has its way.
    patience: u32,
    extra: &'static str,
}

impl Guest {
    /// A strategy whose `judge` runs these instructions; they leave the address of their result.
    fn strategy(body: impl Into<String>) -> Self {
        let [init, suspend, resume] = [(); 3].map(|()| "(call $fine)".to_owned());
        Self {
            world: "strategy",
            version: "0.1.0",
            imports: String::new(),
            texts: String::new(),
            start: "",
            init,
            suspend,
            resume,
            body: body.into(),
            patience: 0,
            extra: "",
        }
    }

    /// A handler whose `handle-alert` runs these instructions.
    fn handler(body: impl Into<String>) -> Self {
        Self { world: "handler", ..Self::strategy(body) }
    }

    /// Imports a function of the host: `("state", "get", "(param i32 i32 i32)")` is `$state.get`.
    fn import(mut self, interface: &str, name: &str, kind: &str) -> Self {
        let version = self.version;
        let _ = writeln!(
            self.imports,
            r#"(import "dsengine:plugin/{interface}@{version}" "{name}" (func ${interface}.{name} {kind}))"#
        );
        self
    }

    /// A constant: what `(call $texts.n)` stands for is its address and length, so it comes back as two constants.
    fn text(&mut self, text: &str) -> String {
        let at = TEXTS + u32::try_from(self.texts.len()).unwrap();
        self.texts.push_str(text);
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    fn wat(&self) -> String {
        let Self { world, version, imports, texts, start, init, suspend, resume, body, patience, extra } = self;
        let body = match patience {
            0 => body.clone(),
            patience => format!(
                "(global.set $seen (i32.add (global.get $seen) (i32.const 1)))
                 (if (result i32) (i32.gt_u (global.get $seen) (i32.const {patience})) (then {body}) (else (call $fine)))"
            ),
        };
        let export = |name: &str, kind: &str, body: &str| {
            format!("(func (export \"dsengine:plugin/{world}@{version}#{name}\") {kind} {body})\n")
        };
        let mut functions = export("describe", "(result i32)", "(call $describe)");
        functions += &export("init", "(result i32)", init);
        if *world == "strategy" {
            functions += &export("should-process", DETECTION, "(i32.const 1)");
            functions += &export("judge", JUDGE, &format!("{body} (global.set $top (i32.const {HEAP}))"));
            functions += &export("suspend", "(result i32)", suspend);
            functions += &export("resume", "(param i32 i32 i32 i32) (result i32)", resume);
        } else {
            let body = format!("{body} (global.set $top (i32.const {HEAP}))");
            functions += &export("handle-alert", "(param $alert i32) (result i32)", &body);
        }
        // The descriptor: name and version, then (strategies) needs-pixels, labels, selective, all none.
        format!(
            r#"(module {imports}
            (memory (export "memory") 2)
            (global $top (mut i32) (i32.const {HEAP}))
            (global $seen (mut i32) (i32.const 0))
            (data (i32.const 512) "wat0.1.0")
            (data (i32.const {TEXTS}) "{texts}")
            (func $describe (result i32)
                (i32.store (i32.const {RESULT}) (i32.const 512)) (i32.store offset=4 (i32.const {RESULT}) (i32.const 3))
                (i32.store offset=8 (i32.const {RESULT}) (i32.const 515))
                (i32.store offset=12 (i32.const {RESULT}) (i32.const 5))
                (memory.fill (i32.const {RESULT_REST}) (i32.const 0) (i32.const 24))
                (i32.const {RESULT}))
            ;; A result that is all zeros: ok, an empty list, a verdict that changes nothing, delivered.
            (func $fine (result i32)
                (memory.fill (i32.const {RESULT}) (i32.const 0) (i32.const 64))
                (i32.const {RESULT}))
            ;; An error of this code and message.
            (func $fail (param $code i32) (param $code_len i32) (param $text i32) (param $text_len i32) (result i32)
                (i32.store (i32.const {RESULT}) (i32.const 1))
                (i32.store offset=4 (i32.const {RESULT}) (local.get $code))
                (i32.store offset=8 (i32.const {RESULT}) (local.get $code_len))
                (i32.store offset=12 (i32.const {RESULT}) (local.get $text))
                (i32.store offset=16 (i32.const {RESULT}) (local.get $text_len))
                (i32.const {RESULT}))
            (func $alloc (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
                                        (i32.sub (i32.const 0) (local.get $align))))
                (global.set $top (i32.add (local.get $at) (local.get $size)))
                (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
                    (then (if (i32.eq (i32.const -1)
                                      (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))
                        (then unreachable))))
                (local.get $at))
            (func (export "cabi_realloc")
                (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (call $alloc (local.get $align) (local.get $size)))
                (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
                (local.get $at))
            {extra} {functions} {start})"#,
            RESULT_REST = RESULT + 16,
        )
    }

    fn module(&self) -> Vec<u8> {
        let text = self.wat();
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn build(&self) -> Vec<u8> {
        encode(&self.module()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds it against the contract with its text changed.
    fn build_against(&self, change: impl Fn(String) -> String) -> Vec<u8> {
        let mut source = SourceMap::default();
        for name in ["handler", "host", "strategy", "types", "worlds"] {
            let path = format!("{}/wit/{name}.wit", env!("CARGO_MANIFEST_DIR"));
            source.push_str(name, change(std::fs::read_to_string(path).unwrap()));
        }
        let mut contract = Resolve::default();
        let package = contract.push_group(source.parse().unwrap_or_else(|(_, e)| panic!("{e}"))).unwrap();
        let name = if self.world == "strategy" { "detection-strategy" } else { "alert-handler" };
        let world = contract.select_world(&[package], Some(name)).unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &contract, world, StringEncoding::UTF8).unwrap();
        encode(&module).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// The frame's seven fields, the labels and the detections, in registers.
const JUDGE: &str =
    "(param $source i32) (param $source_len i32) (param $seq i64) (param $pts i64) (param $captured i64)
    (param $width i32) (param $height i32) (param $labels i32) (param $labels_len i32) (param $detections i32) (param $count i32) (result i32)
    (local $i i32) (local $at i32)";
const DETECTION: &str = "(param i32 i32 i32 f32 f32 f32 f32 f32 i32 i64 i32 i32) (result i32)";

/// Instructions that put into the verdict a list at this offset: 4 keep (after its flag), 12 edits, 20 added,
/// 28 alerts; each with the 4 bytes before the payload counted.
fn list(offset: u32, address: &str, length: &str) -> String {
    let (at, len) = (RESULT + 4 + offset, RESULT + 8 + offset);
    format!("(i32.store (i32.const {at}) {address}) (i32.store (i32.const {len}) {length})")
}
const KEEP: u32 = 4;
const EDITS: u32 = 12;
const ADDED: u32 = 20;
const ALERTS: u32 = 28;

/// Marks the verdict's `keep` as given.
fn keeps() -> String {
    format!("(i32.store8 (i32.const {}) (i32.const 1))", RESULT + 4)
}

/// Instructions that write an alert draft (36 bytes) of rule `wat`, about the first detection, to the address in `$at`.
/// Index 0 is what the room for a number holds.
fn alert(message: &str) -> String {
    format!(
        "(i32.store (local.get $at) (i32.const 512)) (i32.store offset=4 (local.get $at) (i32.const 3))
         (i32.store16 offset=8 (local.get $at) (i32.const 0x0201))
         (i32.store offset=12 (local.get $at) (i32.const 512)) (i32.store offset=16 (local.get $at) (i32.const 3))
         (i64.store offset=20 (local.get $at) {message})
         (i32.store offset=28 (local.get $at) (i32.const {NUMBER})) (i32.store offset=32 (local.get $at) (i32.const 1))
         (i32.store (i32.const {NUMBER}) (i32.const 0))"
    )
}

/// A text's address and length as the one number that is stored.
fn packed(address: u32, length: u64) -> String {
    format!("(i64.const {})", (length << 32) | u64::from(address))
}

/// Raises `wat` (high, key `wat`, message `wat0.1.0`) about the first detection and keeps only that; leaves a frame
/// without detections as it is.
pub(crate) fn good() -> Vec<u8> {
    Guest::strategy(format!(
        "(drop (call $fine))
         (if (local.get $count) (then
            (local.set $at (call $alloc (i32.const 4) (i32.const 36)))
            {alert} {alerts} {keeps} {keep}))
         (i32.const {RESULT})",
        alert = alert(&packed(512, 8)),
        alerts = list(ALERTS, "(local.get $at)", "(i32.const 1)"),
        keeps = keeps(),
        keep = list(KEEP, &format!("(i32.const {NUMBER})"), "(i32.const 1)"),
    ))
    .build()
}

/// A strategy that looks at what it is given: traps, or changes nothing.
pub(crate) fn looks(body: &str) -> Vec<u8> {
    Guest::strategy(body).build()
}

/// Raises `wat` about the detections that stand in the zone `door`; its message is the name of the first attribute of
/// the first of them.
pub(crate) fn curious() -> Vec<u8> {
    let mut guest = Guest::strategy("").import("detections", "in-zone", "(param i32 i32 i32)").import(
        "detections",
        "attributes",
        "(param i32 i32)",
    );
    let door = guest.text("door");
    // An option<list<u32>>: flag, address, length. Then a list<attribute>: address, length; a name comes first.
    guest.body = format!(
        "(call $detections.in-zone {door} (i32.const {ANSWER}))
         (if (i32.eqz (i32.load8_u (i32.const {ANSWER}))) (then unreachable))
         (call $detections.attributes (i32.load (i32.load offset=4 (i32.const {ANSWER}))) (i32.const {NUMBER}))
         (drop (call $fine))
         (local.set $at (call $alloc (i32.const 4) (i32.const 36)))
         (local.set $i (i32.load (i32.const {NUMBER})))
         {alert} {alerts}
         (i32.store offset=28 (local.get $at) (i32.load offset=4 (i32.const {ANSWER})))
         (i32.store offset=32 (local.get $at) (i32.load offset=8 (i32.const {ANSWER})))
         (i32.const {RESULT})",
        alert = alert("(i64.load (local.get $i))"),
        alerts = list(ALERTS, "(local.get $at)", "(i32.const 1)"),
    );
    guest.build()
}

/// Asks for the attributes of detection 7.
pub(crate) fn asks_for_the_seventh() -> Vec<u8> {
    Guest::strategy(format!("(call $detections.attributes (i32.const 7) (i32.const {NUMBER})) (call $fine)"))
        .import("detections", "attributes", "(param i32 i32)")
        .build()
}

/// Traps in every `judge`.
pub(crate) fn trap() -> Vec<u8> {
    trapping().build()
}

fn trapping() -> Guest {
    Guest::strategy("unreachable")
}

/// Traps in `init`.
pub(crate) fn trap_in_init() -> Vec<u8> {
    Guest { init: "unreachable".to_owned(), ..Guest::strategy("(call $fine)") }.build()
}

/// Refuses in `init`: code `config`, message `config.zone is missing`.
pub(crate) fn refuse() -> Vec<u8> {
    let mut guest = Guest::strategy("(call $fine)");
    let (code, message) = (guest.text("config"), guest.text("config.zone is missing"));
    guest.init = format!("(call $fail {code} {message})");
    guest.build()
}

/// Answers every frame with an error: code `judge`, message `not today`.
pub(crate) fn fail() -> Vec<u8> {
    failing().build()
}

fn failing() -> Guest {
    let mut guest = Guest::strategy("");
    let (code, message) = (guest.text("judge"), guest.text("not today"));
    guest.body = format!("(call $fail {code} {message})");
    guest
}

/// Never returns from `judge`.
pub(crate) fn spin() -> Vec<u8> {
    spinning().build()
}

fn spinning() -> Guest {
    Guest::strategy("(loop $l (br $l)) unreachable")
}

/// Never returns from `init`.
pub(crate) fn spin_in_init() -> Vec<u8> {
    Guest { init: "(loop $l (br $l)) unreachable".to_owned(), ..Guest::strategy("(call $fine)") }.build()
}

/// Never returns from its start function, so it cannot even be instantiated.
pub(crate) fn spin_in_start() -> Vec<u8> {
    let extra = "(func $spin (loop $l (br $l)))";
    Guest { start: "(start $spin)", extra, ..Guest::strategy("(call $fine)") }.build()
}

/// Counts to `turns` in every `judge`: slow, and legal.
pub(crate) fn busy(turns: u32) -> Vec<u8> {
    Guest::strategy(format!(
        "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
                  (br_if $l (i32.lt_u (local.get $i) (i32.const {turns}))))
         (call $fine)"
    ))
    .build()
}

/// Takes memory in `judge`, 10 MiB at a time and written to, until it is refused; then traps, as allocators do.
pub(crate) fn grow() -> Vec<u8> {
    growing().build()
}

fn growing() -> Guest {
    Guest::strategy(
        "(loop $l
            (local.set $at (memory.grow (i32.const 160)))
            (if (i32.eq (local.get $at) (i32.const -1)) (then unreachable))
            (memory.fill (i32.mul (local.get $at) (i32.const 65536)) (i32.const 1) (i32.const 10485760))
            (br $l))
         unreachable",
    )
}

/// Calls itself without end.
pub(crate) fn recurse() -> Vec<u8> {
    recursing().build()
}

fn recursing() -> Guest {
    let extra = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (local.get 0)))";
    Guest { extra, ..Guest::strategy("(drop (call $deep (i32.const 0))) (call $fine)") }
}

/// Keeps the detection of index 4,000,000,000.
pub(crate) fn index_out_of_range() -> Vec<u8> {
    out_of_range().build()
}

fn out_of_range() -> Guest {
    Guest::strategy(format!(
        "(drop (call $fine)) (i32.store (i32.const {NUMBER}) (i32.const 4000000000)) {} {} (i32.const {RESULT})",
        keeps(),
        list(KEEP, &format!("(i32.const {NUMBER})"), "(i32.const 1)"),
    ))
}

/// Adds a detection (56 bytes) whose box has no left edge: NaN.
pub(crate) fn nan_box() -> Vec<u8> {
    boxing_nan().build()
}

fn boxing_nan() -> Guest {
    Guest::strategy(format!(
        "(drop (call $fine))
         (local.set $at (call $alloc (i32.const 8) (i32.const 56)))
         (memory.fill (local.get $at) (i32.const 0) (i32.const 56))
         (i32.store (local.get $at) (i32.const 512)) (i32.store offset=4 (local.get $at) (i32.const 3))
         (f32.store offset=12 (local.get $at) (f32.const 0.5))
         (f32.store offset=16 (local.get $at) (f32.const nan)) (f32.store offset=20 (local.get $at) (f32.const 0.1))
         (f32.store offset=24 (local.get $at) (f32.const 0.1)) (f32.store offset=28 (local.get $at) (f32.const 0.1))
         {} (i32.const {RESULT})",
        list(ADDED, "(local.get $at)", "(i32.const 1)"),
    ))
}

/// Changes the first detection's confidence (an edit has 24 bytes) to infinity.
pub(crate) fn infinite_confidence() -> Vec<u8> {
    overconfident().build()
}

fn overconfident() -> Guest {
    Guest::strategy(format!(
        "(drop (call $fine))
         (local.set $at (call $alloc (i32.const 4) (i32.const 24)))
         (memory.fill (local.get $at) (i32.const 0) (i32.const 24))
         (i32.store8 offset=16 (local.get $at) (i32.const 1)) (f32.store offset=20 (local.get $at) (f32.const inf))
         {} (i32.const {RESULT})",
        list(EDITS, "(local.get $at)", "(i32.const 1)"),
    ))
}

/// Raises this many alerts on every frame.
pub(crate) fn many_alerts(count: u32) -> Vec<u8> {
    Guest::strategy(format!(
        "(drop (call $fine))
         (local.set $at (call $alloc (i32.const 4) (i32.const {bytes})))
         {alerts}
         (loop $l
            {alert}
            (i32.store offset=32 (local.get $at) (i32.const 0))
            (local.set $at (i32.add (local.get $at) (i32.const 36)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const {count}))))
         (i32.const {RESULT})",
        bytes = count * 36,
        alerts = list(ALERTS, "(local.get $at)", &format!("(i32.const {count})")),
        alert = alert(&packed(512, 8)),
    ))
    .build()
}

/// Raises an alert whose message claims this many bytes, and takes the memory for them where it gets it. What is there
/// is zeros.
pub(crate) fn long_message(bytes: u32) -> Vec<u8> {
    with_message(bytes).build()
}

fn with_message(bytes: u32) -> Guest {
    Guest::strategy(format!(
        "(drop (call $fine))
         (drop (memory.grow (i32.const {pages})))
         (local.set $at (call $alloc (i32.const 4) (i32.const 36)))
         {} {} (i32.const {RESULT})",
        alert(&packed(HEAP + 4096, bytes.into())),
        list(ALERTS, "(local.get $at)", "(i32.const 1)"),
        pages = bytes / 65536 + 1,
    ))
}

/// Counts its calls in the state, under `calls`: eight bytes, the lowest first.
pub(crate) fn counter() -> Vec<u8> {
    let mut guest = Guest::strategy("").import("state", "get", "(param i32 i32 i32)").import(
        "state",
        "set",
        "(param i32 i32 i32 i32 i32 i64 i32)",
    );
    let key = guest.text("calls");
    // An option<list<u8>>: flag, address, length.
    guest.body = format!(
        "(call $state.get {key} (i32.const {ANSWER}))
         (i64.store (i32.const {NUMBER}) (i64.add (i64.const 1)
            (if (result i64) (i32.load8_u (i32.const {ANSWER}))
                (then (i64.load (i32.load offset=4 (i32.const {ANSWER})))) (else (i64.const 0)))))
         (call $state.set {key} (i32.const {NUMBER}) (i32.const 8) (i32.const 0) (i64.const 0) (i32.const {ANSWER}))
         (if (i32.load8_u (i32.const {ANSWER})) (then unreachable))
         (call $fine)"
    );
    guest.build()
}

/// A guest, and instructions with which it sets `calls` to 1, for a second of frame time or for good.
fn setting(for_a_second: bool) -> (Guest, String) {
    let mut guest = Guest::strategy("(call $fine)").import("state", "set", "(param i32 i32 i32 i32 i32 i64 i32)");
    let key = guest.text("calls");
    let set = format!(
        "(i64.store (i32.const {NUMBER}) (i64.const 1))
         (call $state.set {key} (i32.const {NUMBER}) (i32.const 8) (i32.const {ttl}) (i64.const 1000) (i32.const {ANSWER}))
         (call $fine)",
        ttl = u8::from(for_a_second),
    );
    (guest, set)
}

/// Writes its state while it hands over.
pub(crate) fn sets_in_suspend() -> Vec<u8> {
    let (guest, suspend) = setting(false);
    Guest { suspend, ..guest }.build()
}

/// Writes its state while it takes over.
pub(crate) fn sets_in_resume(for_a_second: bool) -> Vec<u8> {
    let (guest, resume) = setting(for_a_second);
    Guest { resume, ..guest }.build()
}

/// Sets `n`, in the state over all sources, to this text and adds one to it.
pub(crate) fn adds_to(text: &str) -> Vec<u8> {
    let mut guest = Guest::strategy("").import("shared-state", "set", "(param i32 i32 i32 i32 i32 i64 i32)").import(
        "shared-state",
        "add",
        "(param i32 i32 f64 i32 i64 i32)",
    );
    let (key, value) = (guest.text("n"), guest.text(text));
    guest.body = format!(
        "(call $shared-state.set {key} {value} (i32.const 0) (i64.const 0) (i32.const {ANSWER}))
         (call $shared-state.add {key} (f64.const 1) (i32.const 0) (i64.const 0) (i32.const {ANSWER}))
         (call $fine)"
    );
    guest.build()
}

/// Counts as [`counter`], and traps afterwards: what a failed call wrote must not stay.
pub(crate) fn count_and_trap() -> Vec<u8> {
    counting_and_trapping().build()
}

fn counting_and_trapping() -> Guest {
    let mut guest = Guest::strategy("").import("state", "set", "(param i32 i32 i32 i32 i32 i64 i32)");
    let key = guest.text("calls");
    guest.body = format!(
        "(i64.store (i32.const {NUMBER}) (i64.const 1))
         (call $state.set {key} (i32.const {NUMBER}) (i32.const 8) (i32.const 0) (i64.const 0) (i32.const {ANSWER}))
         unreachable"
    );
    guest
}

/// Traps from its `calls`-th frame on, counted in the instance.
pub(crate) fn late(calls: u32) -> Vec<u8> {
    Guest { patience: calls, ..trapping() }.build()
}

/// What judges this many frames well and then does what it came for: each with a word of what is said of it.
pub(crate) fn patient(calls: u32) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let zoo = [
        ("trap", trapping(), "unreachable"),
        ("error", failing(), "not today"),
        ("endless loop", spinning(), "stopped after"),
        // Whichever limit it meets first.
        ("memory bomb", growing(), "judge"),
        ("recursion", recursing(), "stack"),
        ("index out of range", out_of_range(), "keeps detection 4000000000"),
        ("box of NaN", boxing_nan(), "the box x NaN"),
        ("infinite confidence", overconfident(), "the verdict "),
        ("message of 100 MB", with_message(100_000_000), "judge"),
        ("half-done work", counting_and_trapping(), "unreachable"),
    ];
    zoo.map(|(name, guest, told)| (name, Guest { patience: calls, ..guest }.build(), told)).into()
}

/// Traps where the state's `calls` is below `least`.
pub(crate) fn expects_calls(least: u64) -> Vec<u8> {
    let mut guest = Guest::strategy("").import("state", "get", "(param i32 i32 i32)");
    let key = guest.text("calls");
    guest.body = format!(
        "(call $state.get {key} (i32.const {ANSWER}))
         (if (i32.eqz (i32.load8_u (i32.const {ANSWER}))) (then unreachable))
         (if (i64.lt_u (i64.load (i32.load offset=4 (i32.const {ANSWER}))) (i64.const {least})) (then unreachable))
         (call $fine)"
    );
    guest.build()
}

/// A handler that posts `{}` to `config.url`: any answer is delivered; a failure is an error of code `http`, with the
/// host's own text where there is one.
pub(crate) fn asker() -> Vec<u8> {
    let mut guest = Guest::handler("").import("config", "get", "(param i32 i32 i32)").import(
        "http",
        "send",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)",
    );
    let (url, post, body, code) = (guest.text("url"), guest.text("POST"), guest.text("{}"), guest.text("http"));
    // A result<response, failure>: flag, then at 8 the failure: which, and at 16 its text where it is one of the
    // first three.
    guest.body = format!(
        "(call $config.get {url} (i32.const {ANSWER}))
         (call $http.send {post}
            (i32.load offset=4 (i32.const {ANSWER})) (i32.load offset=8 (i32.const {ANSWER}))
            (i32.const 0) (i32.const 0) {body} (i32.const 1000) (i32.const {ANSWER}))
         (if (result i32) (i32.load8_u (i32.const {ANSWER}))
            (then (if (result i32) (i32.lt_u (i32.load8_u offset=8 (i32.const {ANSWER})) (i32.const 3))
                (then (call $fail {code} (i32.load offset=16 (i32.const {ANSWER}))
                                         (i32.load offset=20 (i32.const {ANSWER}))))
                (else (call $fail {code} (i32.const 0) (i32.const 0)))))
            (else (call $fine)))"
    );
    guest.build()
}

/// A handler that delivers everything, without a trace.
pub(crate) fn deliver() -> Vec<u8> {
    Guest::handler("(call $fine)").build()
}

/// A handler that asks for another try, always.
pub(crate) fn retry() -> Vec<u8> {
    Guest::handler(format!(
        "(drop (call $fine)) (i32.store8 offset=4 (i32.const {RESULT}) (i32.const 2)) (i32.const {RESULT})"
    ))
    .build()
}

/// A handler that traps on every alert.
pub(crate) fn trapping_handler() -> Vec<u8> {
    Guest::handler("unreachable").build()
}

/// A strategy built against version 0.3.0 of the contract.
pub(crate) fn wrong_version() -> Vec<u8> {
    Guest { version: "0.3.0", ..Guest::strategy("(call $fine)") }.build_against(|text| text.replace("0.1.0", "0.3.0"))
}

/// A strategy built against a contract that has no `resume`.
pub(crate) fn missing_export() -> Vec<u8> {
    let without = |text: String| {
        text.lines().filter(|line| !line.trim_start().starts_with("resume: func")).collect::<Vec<_>>().join("\n")
    };
    Guest::strategy("(call $fine)").build_against(without)
}

/// A strategy as its compiler leaves it: a core module, not yet a component.
pub(crate) fn core_strategy() -> Vec<u8> {
    Guest::strategy("(call $fine)").module()
}

mod tests {
    use super::*;
    use dsengine::wasm::{World, check};

    #[test]
    fn every_guest_is_a_component_that_fits() {
        let strategies = [
            ("good", good()),
            ("trap", trap()),
            ("trap_in_init", trap_in_init()),
            ("refuse", refuse()),
            ("fail", fail()),
            ("spin", spin()),
            ("spin_in_init", spin_in_init()),
            ("spin_in_start", spin_in_start()),
            ("busy", busy(1000)),
            ("grow", grow()),
            ("recurse", recurse()),
            ("index_out_of_range", index_out_of_range()),
            ("nan_box", nan_box()),
            ("infinite_confidence", infinite_confidence()),
            ("many_alerts", many_alerts(10_000)),
            ("long_message", long_message(100_000_000)),
            ("counter", counter()),
            ("count_and_trap", count_and_trap()),
        ];
        let handlers =
            [("asker", asker()), ("deliver", deliver()), ("retry", retry()), ("trapping_handler", trapping_handler())];
        let all = strategies.iter().map(|g| (World::Strategy, g)).chain(handlers.iter().map(|g| (World::Handler, g)));
        for (world, (name, bytes)) in all {
            let info = check(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((info.world, &*info.version), (world, "0.1.0"), "{name}");
            assert!(bytes.len() < 8192, "{name} has {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_guest_imports_what_it_uses() {
        let imports = |bytes: &[u8]| check(bytes).unwrap().imports;
        assert_eq!(imports(&trap()), ["dsengine:plugin/types@0.1.0"]);
        assert_eq!(imports(&counter()), ["dsengine:plugin/state@0.1.0", "dsengine:plugin/types@0.1.0"]);
        assert!(imports(&asker()).contains(&"dsengine:plugin/http@0.1.0".to_owned()));
    }

    #[test]
    fn misfits_are_components_that_check_refuses() {
        let message = |bytes: &[u8]| check(bytes).expect_err("refused").message().to_owned();
        assert_eq!(message(&wrong_version()), "plugin wants dsengine:plugin@0.3, this engine offers 0.1");
        assert_eq!(message(&missing_export()), "dsengine:plugin/strategy@0.1.0 lacks the function resume");
    }
}
