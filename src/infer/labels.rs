//! Class names: from a file, from the model's own metadata, or numbered.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Code, Error};

/// The names for `classes` classes: those of `file` if one is set, else those of the metadata entry `names`, else
/// `class 0`, `class 1` …
///
/// # Errors
/// When the file cannot be read, or either source's number of names is not `classes`.
pub(super) fn load(file: Option<&Path>, names: Option<&str>, classes: usize) -> Result<Vec<Arc<str>>, Error> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(Code::Labels, format!("label file {} cannot be read: {e}", path.display()))
                .hint("one label per line; without `labels` the model's own names are taken")
        })?;
        let lines: Vec<Arc<str>> = text.trim_end().lines().map(|line| line.trim().into()).collect();
        return fitting(lines, classes, &format!("label file {}", path.display()));
    }
    match names.and_then(parse_names) {
        Some(names) => fitting(names, classes, "the model's metadata entry `names`"),
        None => Ok((0..classes).map(|class| format!("class {class}").into()).collect()),
    }
}

fn fitting(labels: Vec<Arc<str>>, classes: usize, origin: &str) -> Result<Vec<Arc<str>>, Error> {
    if labels.len() == classes {
        return Ok(labels);
    }
    let error =
        Error::new(Code::Labels, format!("{origin} has {} labels, the model has {classes} classes", labels.len()));
    Err(error.hint("use the label file that belongs to the model, one label per line, in class order"))
}

/// Names out of a Python dict, `{0: 'person', 1: "bird's nest"}`; `None` when the text is none, or has gaps.
fn parse_names(text: &str) -> Option<Vec<Arc<str>>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut names = vec![];
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':')?;
        if key.trim().parse() != Ok(names.len()) {
            return None;
        }
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| ['\'', '"'].contains(c))?;
        let (name, after) = quoted(&after[1..], quote)?;
        names.push(name.into());
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(names)
}

/// The text up to the closing quote, backslashes undone, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            c if c == quote => return Some((name, &text[at + c.len_utf8()..])),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<Vec<String>> {
        parse_names(text).map(|names| names.iter().map(|n| n.to_string()).collect())
    }

    #[test]
    fn metadata_names_are_read_as_python_wrote_them() {
        let text = r#"{0: 'person', 1: "bird's nest", 2: 'a, b: c', 3: 'don\'t'}"#;
        assert_eq!(names(text).unwrap(), ["person", "bird's nest", "a, b: c", "don't"]);
        assert_eq!(names("{}").unwrap(), Vec::<String>::new());
        for broken in ["", "person", "{0: person}", "{1: 'x'}", "{0: 'x", "{0: 'x}"] {
            assert_eq!(names(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_file_comes_first_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.txt");
        std::fs::write(&file, "person\r\ncar \n\n").unwrap();
        let labels = load(Some(&file), Some("{0: 'x', 1: 'y'}"), 2).unwrap();
        assert_eq!(labels.iter().map(|l| &**l).collect::<Vec<_>>(), ["person", "car"]);
        let error = load(Some(&file), None, 80).unwrap_err();
        assert_eq!(error.code(), Code::Labels);
        assert!(error.message().contains("has 2 labels, the model has 80 classes"), "{error}");
        assert_eq!(load(Some(&folder.path().join("none")), None, 2).unwrap_err().code(), Code::Labels);
        assert_eq!(load(None, Some("{0: 'x'}"), 2).unwrap_err().code(), Code::Labels);
        assert_eq!(&*load(None, None, 2).unwrap()[1], "class 1");
    }
}
