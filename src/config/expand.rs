//! `${env:NAME}`, `${env:NAME:-fallback}` (used if the variable is unset or empty) and `${file:/path}` in any text
//! value, to keep secrets out of the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::nearest::nearest;
use super::problem::Problems;
use super::tree::{FILE_BYTES_MAX, Node, Style, Value};

/// The inputs of references.
pub(super) struct Vars<'a> {
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) working_dir: &'a Path,
    /// The files that references have named.
    pub(super) files: RefCell<Vec<PathBuf>>,
}

/// Replaces every `${…}` below `node`; the node keeps the original text as its template.
pub(super) fn expand(node: &mut Node, vars: &Vars<'_>, problems: &mut Problems) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| expand(item, vars, problems)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| expand(value, vars, problems)),
        Value::Scalar { text, .. } if text.contains("${") => match replace(text, vars) {
            Ok(Some(value)) => {
                let template = std::mem::take(text);
                node.value = Value::Scalar { text: value, style: Style::Raw };
                node.template = Some(template);
            }
            Ok(None) => *text = text.replace("$${", "${"),
            Err((message, label)) => problems.at_value(node.place, message, label),
        },
        Value::Scalar { .. } => {}
    }
}

/// The text with its references replaced, `None` if every `${` is escaped.
fn replace(text: &str, vars: &Vars<'_>) -> Result<Option<String>, (String, String)> {
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
        let Some(end) = from.find('}') else {
            return Err((
                format!("`{from}` has no end"),
                "a reference ends with `}`; write `$${` for the two signs".into(),
            ));
        };
        out.push_str(&reference(&from[2..end], vars)?);
        replaced = true;
        rest = &from[end + 1..];
    }
    out.push_str(rest);
    Ok(replaced.then_some(out))
}

fn reference(inner: &str, vars: &Vars<'_>) -> Result<String, (String, String)> {
    match inner.split_once(':') {
        Some(("env", rest)) => {
            let (name, fallback) = match rest.split_once(":-") {
                Some((name, fallback)) => (name, Some(fallback)),
                None => (rest, None),
            };
            // As in a shell: with a fallback, an empty variable counts as unset.
            let set = vars.env.get(name).map(String::as_str);
            match set.filter(|value| fallback.is_none() || !value.is_empty()).or(fallback) {
                Some(value) => Ok(value.to_owned()),
                None => {
                    let label = match nearest(name, vars.env.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`? Or set it, or write `${{env:{name}:-fallback}}`"),
                        None => format!("set it, or write `${{env:{name}:-fallback}}`"),
                    };
                    Err((format!("the environment variable {name} is not set"), label))
                }
            }
        }
        Some(("file", path)) => {
            let file = vars.working_dir.join(PathBuf::from(path));
            vars.files.borrow_mut().push(file.clone());
            read(&file, path)
        }
        _ => Err((
            format!("`${{{inner}}}` has no meaning here"),
            format!("write `${{env:{inner}}}` or `${{file:/path}}`; `$${{` for the two signs"),
        )),
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
