//! `${env:NAME}`, `${env:NAME:-fallback}` (used if the variable is unset or empty; it may hold references) and
//! `${file:/path}` in any text value, to keep secrets out of the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::nearest::nearest;
use super::problem::Problems;
use super::secret;
use super::tree::{FILE_BYTES_MAX, Node, Style, Value};

/// Maximum depth of references in fallbacks.
const DEPTH_MAX: usize = 8;

/// The inputs of references.
pub(super) struct Vars<'a> {
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) working_dir: &'a Path,
    /// The files that references have named.
    pub(super) files: RefCell<Vec<PathBuf>>,
}

/// Replaces every `${…}` below `node`, which is at `path`; the node keeps the original text as its template.
pub(super) fn expand(node: &mut Node, path: &str, vars: &Vars<'_>, problems: &mut Problems) {
    match &mut node.value {
        Value::List(items) => {
            let items = items.iter_mut().enumerate();
            items.for_each(|(index, item)| expand(item, &format!("{path}[{index}]"), vars, problems));
        }
        Value::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
            let below = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
            expand(value, &below, vars, problems);
        }),
        Value::Scalar { text, .. } if text.contains("${") => match replace(text, vars, names_of(path, text), 0) {
            Ok(Some(value)) => {
                let template = std::mem::take(text);
                node.value = Value::Scalar { text: value, style: Style::Raw };
                node.template = Some(template);
            }
            Ok(None) => *text = text.replace("$${", "${"),
            Err((message, label)) => {
                // A fallback, or what stands where one was meant, may be a secret.
                if !is_plain(text) || names_of(path, text) == Names::Hidden && !is_of_known_forms(text) {
                    problems.hide(node.place);
                }
                problems.at_value(node.place, message, label);
            }
        },
        Value::Scalar { .. } => {}
    }
}

/// Whether a message may quote the name in a malformed reference. The name after `env:` is always quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Shown,
    Hidden,
}

/// How the names in a value at this path are shown: where a secret stands, they may be a part of it, unless the whole
/// value is `${NAME}` with a name that is written as those of variables are.
fn names_of(path: &str, text: &str) -> Names {
    let is_secret = secret::is_secret_path(path)
        || path.split(['.', '[']).any(secret::nearly_secret_key)
        || secret::is_bare_address(text)
        || secret::masked(text) != text;
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let is_variable = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_secret && !name.is_some_and(is_variable) { Names::Hidden } else { Names::Shown }
}

/// The text with its references replaced, `None` if every `${` is escaped.
fn replace(text: &str, vars: &Vars<'_>, names: Names, depth: usize) -> Result<Option<String>, (String, String)> {
    let mut out = String::new();
    let mut rest = text;
    let mut replaced = false;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = end_of(from) else {
            let (kind, rest) = from[2..].split_once(':').map_or(("", &from[2..]), |(kind, rest)| (kind, rest));
            let (sign, name) = (if kind.is_empty() { "" } else { ":" }, &rest[..name_of(rest)]);
            let message = match names {
                Names::Hidden if kind != "env" => "a reference in this value has no end".to_owned(),
                _ => format!("`${{{kind}{sign}{name}` has no end"),
            };
            return Err((message, "a reference ends with `}`; write `$${` for the two signs".into()));
        };
        out.push_str(&reference(&from[2..end], vars, names, depth)?);
        replaced = true;
        rest = &from[end + 1..];
    }
    out.push_str(rest);
    Ok(replaced.then_some(out))
}

/// The location of the `}` that ends the reference at the start of a text, after those inside it.
pub(super) fn end_of(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(sign) = text[at..].find(['$', '}']) {
        at += sign;
        if text[at..].starts_with("$${") {
            at += 3;
        } else if text[at..].starts_with("${") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with('}') {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return Some(at);
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    None
}

/// Masks the fallbacks of references. One without its end has the rest of the text in it.
pub(super) fn without_fallbacks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let end = end_of(&rest[start..]).map_or(rest.len(), |end| start + end);
        match rest[start..end].find(":-") {
            Some(at) => out.extend([&rest[..start + at + 2], secret::MASK]),
            None => out.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    out + rest
}

/// The length of the name at the start of a text.
fn name_of(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Whether each reference in a text is whole and has nothing but a name or a path in it.
fn is_plain(text: &str) -> bool {
    text.match_indices("${").all(|(at, _)| {
        let Some((inner, _)) = text[at + 2..].split_once('}') else {
            let name = text[at + 2..].strip_prefix("env:").unwrap_or(&text[at + 2..]);
            return name_of(name) == name.len();
        };
        let name = inner.strip_prefix("env:").unwrap_or(inner);
        inner.starts_with("file:") || name_of(name) == name.len()
    })
}

/// Whether each reference in a text is of a known form.
fn is_of_known_forms(text: &str) -> bool {
    text.match_indices("${").all(|(at, sign)| {
        let inner = &text[at + sign.len()..];
        inner.starts_with("env:") || inner.starts_with("file:")
    })
}

fn reference(inner: &str, vars: &Vars<'_>, names: Names, depth: usize) -> Result<String, (String, String)> {
    match inner.split_once(':') {
        Some(("env", rest)) => variable(rest, vars, names, depth),
        Some(("file", path)) => {
            let file = vars.working_dir.join(PathBuf::from(path));
            vars.files.borrow_mut().push(file.clone());
            read(&file, path)
        }
        _ if names == Names::Hidden => Err((
            "a reference in this value has no meaning here".to_owned(),
            "write `${env:NAME}` or `${file:/path}`; `$${` for the two signs".to_owned(),
        )),
        _ => {
            let name = &inner[..name_of(inner)];
            let more = if name.len() < inner.len() { "…" } else { "" };
            Err((
                format!("`${{{name}{more}}}` has no meaning here"),
                format!("write `${{env:{name}}}` or `${{file:/path}}`; `$${{` for the two signs"),
            ))
        }
    }
}

/// The value of `NAME` or `NAME:-fallback`.
fn variable(rest: &str, vars: &Vars<'_>, names: Names, depth: usize) -> Result<String, (String, String)> {
    let (name, fallback) = match rest.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (rest, None),
    };
    // As in a shell: with a fallback, an empty variable counts as unset.
    let set = vars.env.get(name).filter(|value| fallback.is_none() || !value.is_empty());
    if let Some(value) = set {
        return Ok(value.clone());
    }
    let plain = &name[..name_of(name)];
    if plain.len() < name.len() || name.is_empty() {
        // Such as `${env:NAME-x}` and `${env:NAME:?x}`, which shells read.
        let sign: String = name[plain.len()..].chars().take_while(|c| ":?+=-#%/^,@".contains(*c)).take(2).collect();
        return Err((
            format!("`${{env:{plain}{sign}…}}` is no form of a reference"),
            format!("write `${{env:{plain}}}`, or `${{env:{plain}:-fallback}}` for one with a fallback"),
        ));
    }
    match fallback {
        Some(_) if depth == DEPTH_MAX => Err((
            format!("the references in the fallback of {name} are nested too deep"),
            format!("at most {DEPTH_MAX} fallbacks may hold others"),
        )),
        Some(fallback) => {
            Ok(replace(fallback, vars, names, depth + 1)?.unwrap_or_else(|| fallback.replace("$${", "${")))
        }
        None => {
            let label = match nearest(name, vars.env.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`? Or set it, or write `${{env:{name}:-fallback}}`"),
                None => format!("set it, or write `${{env:{name}:-fallback}}`"),
            };
            Err((format!("the environment variable {name} is not set"), label))
        }
    }
}

fn read(path: &Path, shown: &str) -> Result<String, (String, String)> {
    let message = || format!("`{shown}` cannot be read");
    let size = std::fs::metadata(path).map_err(|error| (message(), error.to_string()))?;
    if !size.is_file() || size.len() > FILE_BYTES_MAX {
        return Err((message(), "a reference names a regular file of at most 1 MiB".into()));
    }
    let text = crate::text::read(path).map_err(|error| (message(), error.to_string()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<String>, (String, String)> {
        let env = [("SET", "a"), ("EMPTY", ""), ("DOTTED.NAME", "d")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let vars = Vars { env: &env, working_dir: Path::new("/"), files: RefCell::default() };
        replace(text, &vars, Names::Shown, 0)
    }

    #[test]
    fn what_may_be_a_part_of_a_secret_is_in_no_message() {
        for (path, text, names) in [
            ("name", "a${C4n4ry}", Names::Shown),
            ("name", "${C4n4ry}", Names::Shown),
            ("alerts.handlers[0].config.auth.password", "a${C4n4ry}", Names::Hidden),
            ("alerts.handlers[0].config.auth.password", "${C4n4ry}", Names::Hidden),
            ("alerts.handlers[0].config.auth.password", "${PASSWORD}", Names::Shown),
            ("alerts.handlers[0].config.auth.pasword", "a${C4n4ry}", Names::Hidden),
            ("alerts.handlers[hook].settings.topic", "a${C4n4ry", Names::Hidden),
            ("sources[0].uri", "rtsp://u:a${C4n4ry}b@h/s", Names::Hidden),
            ("sources[0].uri", "u:a${C4n4ry}b@h/s", Names::Hidden),
            ("sources[0].uri", "${HOME}/clip.mp4", Names::Shown),
            ("monitoring.tokens[0].token", "a${x:C4n4ry}", Names::Hidden),
        ] {
            assert_eq!(names_of(path, text), names, "{path}: {text}");
        }
        let vars = Vars { env: &BTreeMap::new(), working_dir: Path::new("/"), files: RefCell::default() };
        for text in ["a${C4n4ry}", "a${C4n4ry:x}", "a${x:C4n4ry}", "a${C4n4ry", "a${x:C4n4ry", "${env:A:-${C4n4ry}}"] {
            let (message, label) = replace(text, &vars, Names::Hidden, 0).unwrap_err();
            assert!(!format!("{message}{label}").contains("C4n4ry"), "{text}: {message}: {label}");
        }
        let (message, label) = replace("a${env:NO}", &vars, Names::Hidden, 0).unwrap_err();
        assert!(
            message.contains("variable NO is not set") && label.contains("${env:NO:-fallback}"),
            "{message}: {label}"
        );
    }

    #[test]
    fn a_fallback_may_hold_references() {
        for (text, value) in [
            ("${env:NO:-${env:SET}}", "a"),
            ("${env:NO:-${env:EMPTY:-x}}y", "xy"),
            ("${env:NO:-<${env:NO:-${env:SET:-z}}>}", "<a>"),
            ("${env:SET:-${env:NO}}", "a"),
            ("${env:NO:-$${x}", "${x"),
            ("${env:DOTTED.NAME}", "d"),
        ] {
            assert_eq!(read(text), Ok(Some(value.to_owned())), "{text}");
        }
        let deep = format!("{}x{}", "${env:NO:-".repeat(100_000), "}".repeat(100_000));
        assert!(read(&deep).unwrap_err().0.contains("nested too deep"));
    }

    #[test]
    fn other_forms_of_shells_are_named_and_their_text_is_not() {
        for (text, shown) in [
            ("${env:NO-C4n4ry}", "`${env:NO-…}`"),
            ("${env:NO:?C4n4ry}", "`${env:NO:?…}`"),
            ("${env:NO:+C4n4ry}", "`${env:NO:+…}`"),
            ("${env:NO:-C4n4ry", "`${env:NO`"),
            ("${env:NO:-${env:SET}C4n4ry", "`${env:NO`"),
            ("${NO:-C4n4ry}", "`${NO…}`"),
        ] {
            let (message, label) = read(text).unwrap_err();
            assert!(message.contains(shown), "{text}: {message}");
            assert!(!format!("{message}{label}").contains("C4n4ry"), "{text}: {message}: {label}");
            assert!(!is_plain(text), "{text}");
        }
        for plain in ["${env:NO}", "a ${file:/x-y.txt} ${NO}", "${env:NO"] {
            assert!(is_plain(plain), "{plain}");
        }
    }
}
