//! Hints for habits from other Luas and languages: constructs in a script's line for which Luau, or the API, has
//! another name.
//!
//! VM messages describe what the parser met, not what was meant: `Incomplete statement` for a `goto`. The line that
//! they name shows what was meant.

/// A hint for the line that a message names; `None` if it contains nothing known.
///
/// `message` begins with `file:line: `, as every fault does.
pub(super) fn hint(message: &str, file: &str, text: &str) -> Option<&'static str> {
    let rest = message.strip_prefix(file)?.strip_prefix(':')?;
    let (number, what) = rest.split_once(": ")?;
    // It is met at the end of the text, far from its line.
    if what.starts_with("Expected 'end'") && text.lines().any(|line| has_else_if(&code(line))) {
        return Some("`else if` opens a second `if` that needs an `end` of its own: write `elseif`");
    }
    if what.starts_with("attempt to call missing method 'gfind'") {
        return Some("`gfind` is of Lua 5.0: it is called `gmatch`");
    }
    let is_readonly = what.starts_with("attempt to modify a readonly table");
    let line = text.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    let line = code(line);
    let is_nil = what.starts_with("attempt to index nil") || what.starts_with("attempt to call a nil value");
    match is_nil {
        true => GLOBALS.iter().find(|(words, _)| words.iter().any(|word| names(&line, word))).map(|(_, hint)| *hint),
        false if is_readonly => STORES.iter().find(|(store, _)| assigns(&line, store)).map(|(_, hint)| *hint),
        // Every other runtime error has its own message.
        false if is_of_the_parser(what) => syntax(&line),
        false => None,
    }
}

/// Missing globals and fields, and their replacements.
const GLOBALS: &[(&[&str], &str)] = &[
    (&["os"], "there is no `os`: `time.now()` is the frame's time, so that a replay judges the same"),
    (&["io"], "there is no `io`: `files.read(path)` reads while the script loads, `log.info(…)` writes"),
    (&["load", "loadstring", "loadfile", "dofile"], "code comes from files only: `require(\"lib/name\")`"),
    (&["package"], "there is no `package`: `require(\"lib/name\")` looks beside the script"),
    (&["module"], "a module returns its table: `local M = {} … return M`"),
    (&["collectgarbage"], "there is no `collectgarbage`: the host sees to memory, leave it out"),
    (&["setfenv", "getfenv", "_ENV"], "functions have no environments: use a table of your own"),
    (&["warn"], "there is no `warn`: write `log.warn(…)`"),
    (&["bit"], "there is no `bit`: it is called `bit32`"),
    (
        &["sleep", "wait", "msleep", "usleep"],
        "nothing waits here: return, and judge the next frame; `state.set` keeps what is needed until then",
    ),
    (&["string.gfind"], "`string.gfind` is of Lua 5.0: it is called `string.gmatch`"),
    (&["math.mod"], "`math.mod` is of Lua 5.0: write `a % b` or `math.fmod(a, b)`"),
    (&["jit", "ffi"], "this is Luau: there is neither `jit` nor `ffi`, it compiles by itself"),
    (&["string.dump"], "there is no `string.dump`: code comes from files only"),
    (&["debug.getinfo", "debug.getlocal", "debug.sethook"], "of `debug` there is `debug.traceback()` only"),
    (
        &["math.type", "math.tointeger", "math.ult", "math.maxinteger", "math.mininteger"],
        "Luau has one kind of number: `x % 1 == 0` tells a whole one, `math.floor(x)` and `x // 1` make one",
    ),
];

/// What keeps values by name, and how they are written.
const STORES: &[(&str, &str)] = &[
    ("state", "write `state.set(\"NAME\", value)`, and read it by `state.get(\"NAME\")`"),
    ("shared", "write `shared.set(\"NAME\", value)`, and read it by `shared.get(\"NAME\")`"),
];

/// Whether the message is from the VM's parser.
fn is_of_the_parser(what: &str) -> bool {
    ["Expected ", "Incomplete statement", "Unexpected ", "Malformed ", "Unknown attribute", "Invalid "]
        .iter()
        .any(|head| what.starts_with(head))
}

fn syntax(line: &str) -> Option<&'static str> {
    let has = |sign: &str| line.contains(sign);
    if has("time.local(") {
        return Some("`local` is a word of the language: write `time.localtime(frame)`");
    }
    if names(line, "goto") || line.trim_start().starts_with("::") {
        return Some("`goto` is of Lua 5.2: Luau has `continue`, `break` and `return`");
    }
    if has("<const>") {
        return Some("`<const>` is of Lua 5.4: write `local NAME = value`");
    }
    if has("<close>") {
        return Some("`<close>` is of Lua 5.4: release it yourself at the end of the block");
    }
    if has("<<") {
        return Some("`<<` is of Lua 5.3: write `bit32.lshift(a, n)`");
    }
    if has(">>") {
        return Some("`>>` is of Lua 5.3: write `bit32.rshift(a, n)`");
    }
    if has("!=") {
        return Some("not equal is written `~=`");
    }
    if has("&&") || has("||") {
        return Some("write `and` and `or`");
    }
    if has("++") {
        return Some("write `n += 1`");
    }
    if has("!") {
        return Some("write `not x`");
    }
    if has("&") {
        return Some("`&` is of Lua 5.3: write `bit32.band(a, b)`");
    }
    if has("|") {
        return Some("`|` is of Lua 5.3: write `bit32.bor(a, b)`");
    }
    if has("?") {
        return Some("there is no `?:`: write `if c then a else b`, which has a value");
    }
    if line.replace("~=", "").contains('~') {
        return Some("`~` is of Lua 5.3: write `bit32.bxor(a, b)` or `bit32.bnot(a)`");
    }
    None
}

/// Whether a line assigns to a field of a table: `table.field = …`, `table["field"] += …`.
fn assigns(line: &str, table: &str) -> bool {
    let is_field = |c: char| c.is_alphanumeric() || c == '_';
    let is_assigned = |rest: &str| {
        let rest = match (rest.strip_prefix('.'), rest.strip_prefix('[')) {
            (Some(field), _) => field.trim_start_matches(is_field),
            (None, Some(key)) => key.split_once(']').map_or("", |(_, rest)| rest),
            (None, None) => return false,
        };
        let sign = rest.trim_start().trim_start_matches(['+', '-', '*', '/', '%', '^', '.']);
        sign.starts_with('=') && !sign.starts_with("==")
    };
    names(line, table) && line.match_indices(table).any(|(at, _)| is_assigned(line[at + table.len()..].trim_start()))
}

/// Whether a line has `else if` in two words.
fn has_else_if(line: &str) -> bool {
    let next = |at: usize| line[at + "else".len()..].trim_start();
    let is_if =
        |rest: &str| rest.strip_prefix("if").is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
    names(line, "else")
        && line.match_indices("else").any(|(at, _)| !line[at..].starts_with("elseif") && is_if(next(at)))
}

/// The line without its string literals and comment.
fn code(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => {
                while let Some(inner) = chars.next() {
                    match inner {
                        '\\' => drop(chars.next()),
                        inner if inner == c => break,
                        _ => {}
                    }
                }
                out.push_str("\"\"");
            }
            '-' if chars.peek() == Some(&'-') => break,
            c => out.push(c),
        }
    }
    out
}

/// Whether a line contains a word by itself, and not as a field of something else.
fn names(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(|c| in_word(c) || c == '.' || c == ':') && !after.is_some_and(in_word)
    })
}

/// A hint for a module that is commonly required elsewhere.
pub(super) fn instead_of(module: &str) -> Option<&'static str> {
    match module {
        "cjson" | "cjson.safe" | "json" | "dkjson" | "lunajson" | "rxi-json" => {
            Some("`json.encode` and `json.decode` are there")
        }
        "socket" | "socket.http" | "ssl.https" | "http.request" | "luasocket" => Some("a handler sends by `http.post`"),
        "bit" | "bit32" => Some("`bit32` is there"),
        "ffi" | "jit" => Some("this is Luau: there is none"),
        "io" | "lfs" => Some("`files.read(path)` reads a granted file while the script loads"),
        "os" => Some("`time.now()` is the frame's time"),
        "math" | "string" | "table" | "coroutine" | "utf8" | "debug" => Some("it is there without `require`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_for_the_line_in_the_message() {
        let text = "local a = 1\nlocal b <const> = \"goto\" -- 1 << 2\nreturn os.time()\n";
        let of = |message: &str| hint(message, "x.lua", text).unwrap_or_default();
        assert!(of("x.lua:2: Expected identifier when parsing variable name, got '<'").contains("<const>"));
        assert!(of("x.lua:3: attempt to index nil with 'time'").contains("time.now()"));
        for none in [
            "x.lua:1: Expected identifier, got '<'",
            "x.lua:2: attempt to index nil with 'time'",
            "x.lua:3: frame:bbox: no detection 2",
            "y.lua:2: Expected identifier",
            "x.lua:9: Expected identifier",
            "x.lua: there is no function detect(frame)",
        ] {
            assert_eq!(hint(none, "x.lua", text), None, "{none}");
        }
    }

    #[test]
    fn an_assignment_to_what_keeps_values_by_name_is_told_how_to_write_them() {
        let of = |text: &str| hint("x.lua:1: attempt to modify a readonly table", "x.lua", text).unwrap_or_default();
        for text in ["state.n = (state.n or 0) + 1", "if a then state[\"n\"] += 1 end", "state.a.b = 1, state.c = 2"] {
            assert!(of(text).contains("state.set("), "{text}");
        }
        assert!(of("shared.n=1").contains("shared.set("));
        for none in ["config.n = 1", "x.y = state.get(\"n\")", "x.y = state.n == 1", "my.state.n = 1"] {
            assert_eq!(of(none), "", "{none}");
        }
    }

    #[test]
    fn an_else_if_is_found_wherever_the_end_is_missed() {
        let text = "if a then\n  b()\nelse if c then\n  d()\nend\n";
        let told = hint("x.lua:6: Expected 'end' (to close 'if' at line 1), got <eof>", "x.lua", text);
        assert!(told.is_some_and(|told| told.contains("`elseif`")), "{told:?}");
        for none in ["if a then\nelseif c then\n", "-- else if\nif a then\n", "if a then b() else iffy() "] {
            assert_eq!(
                hint("x.lua:3: Expected 'end' (to close 'if' at line 1), got <eof>", "x.lua", none),
                None,
                "{none}"
            );
        }
    }

    #[test]
    fn only_whole_words_count() {
        assert!(names("x = os.time()", "os") && names("os", "os") && names("a(math.type(1))", "math.type"));
        assert!(
            !names("pos.x", "os")
                && !names("a.os", "os")
                && !names("osx", "os")
                && !names("my.math.type(1)", "math.type")
        );
        assert_eq!(code("a = \"x -- << \\\" y\" .. 'z' -- goto"), "a = \"\" .. \"\" ");
    }
}
