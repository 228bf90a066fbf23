//! Static analysis of a script's text: whether it may label detections, which labels it compares with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::guest::BuildInputs;

/// The text that a version is built from; a component has none.
pub(in crate::engine) struct ModuleText {
    file: PathBuf,
    text: Option<String>,
    inputs: Arc<BuildInputs>,
}

impl ModuleText {
    pub(super) fn new(file: PathBuf, text: Option<String>, inputs: &Arc<BuildInputs>) -> Self {
        Self { file, text, inputs: Arc::clone(inputs) }
    }

    /// Whether detections may get labels from it: by what it adds, edits or returns. True for a component, whose code
    /// is not analysed.
    pub(in crate::engine) fn may_label(&self) -> bool {
        let Some(text) = &self.text else { return true };
        let modules = self.inputs.files();
        let is_script = |path: &PathBuf| path.extension().is_some_and(|e| e == "lua" || e == "luau");
        let mut texts = modules.iter().filter(|(path, _)| is_script(path)).filter_map(|(_, bytes)| bytes.as_ref());
        labels(text) || texts.any(|bytes| labels(&String::from_utf8_lossy(bytes)))
    }

    /// Comparisons of labels with a literal: the location and the literal.
    pub(super) fn comparisons(&self) -> Vec<(String, String)> {
        let lines = self.text.iter().flat_map(|text| text.lines()).zip(1..);
        let place = |number: usize| format!("{}:{number}", self.file.display());
        lines.flat_map(|(line, number)| compared(line).into_iter().map(move |label| (place(number), label))).collect()
    }
}

/// Whether a script contains code that could label a detection.
fn labels(text: &str) -> bool {
    text.lines().map(code).any(|line| {
        let called = |name: &str| {
            line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], line[at + name.len()..].trim_start());
                let is_call = after.starts_with(['(', '{']);
                is_call && (before.ends_with(':') || before.ends_with("frame."))
            })
        };
        let makes_boxes = line.match_indices("bbox").any(|(at, name)| {
            let after = line[at + name.len()..].trim_start_matches(['"', '\'', ']']).trim_start();
            after.starts_with('=') && !after.starts_with("==")
        });
        called("add") || called("edit") || line.contains("to_table") || makes_boxes
    })
}

/// The line without its comment.
fn code(line: &str) -> &str {
    line.split_once("--").map_or(line, |(code, _)| code)
}

/// The literals that a name `label` is compared with in a line.
fn compared(line: &str) -> Vec<String> {
    let line = code(line);
    let mut out = Vec::new();
    for (at, sign) in line.match_indices("==").chain(line.match_indices("~=")) {
        let (left, right) = (line[..at].trim_end(), line[at + sign.len()..].trim_start());
        if let Some(text) = quoted(right).filter(|_| is_label(left)) {
            out.push(text.to_owned());
        }
    }
    out
}

/// Whether a piece of code ends in `label`, `x.label` or `frame:label(i)`.
fn is_label(code: &str) -> bool {
    let named = match code.strip_suffix(')').and_then(|inside| inside.rsplit_once('(')) {
        Some((named, _)) => named,
        None => code,
    };
    let Some(before) = named.strip_suffix("label") else { return false };
    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The quoted literal at the start of a piece of code.
fn quoted(code: &str) -> Option<&str> {
    let quote = code.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (text, _) = code[1..].split_once(quote)?;
    (!text.contains('\\')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_of_labels_are_found_in_the_ways_people_write_them() {
        for line in [
            "if frame:label(i) == \"persn\" then",
            "if d.label ~= 'persn' and x then",
            "local is = label=='persn'",
            "return tracks.get(id).label == 'persn'",
        ] {
            assert_eq!(compared(line), ["persn"], "{line}");
        }
        for line in ["if x == 'persn' then", "-- label == 'persn'", "if relabel == 'persn' then", "label == other"] {
            assert_eq!(compared(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn a_script_labels_detections_where_it_adds_edits_or_returns_them() {
        for text in [
            "frame:add{ label = 'group' }",
            "frame:edit(i, { label = 'van' })",
            "out[1] = { label = 'x', bbox = { 0, 0, 1, 1 } }",
            "local t = frame:to_table()",
        ] {
            assert!(labels(text), "{text}");
        }
        for text in ["metrics.add('seen')", "local x, y = frame:bbox(i)", "-- frame:add{}", "shared.add('n', 1)"] {
            assert!(!labels(text), "{text}");
        }
    }
}
