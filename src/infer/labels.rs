//! Class names: from a file, from the model's own metadata, or numbered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::stray;
use crate::error::{Code, Error};
use crate::types::{count, one_line};

/// Class names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Names {
    /// In class order.
    pub(super) labels: Vec<Arc<str>>,
    /// Whether a label file or the metadata provides real names.
    pub(super) named: bool,
    /// Why they look wrong, and the remedy.
    pub(super) doubt: Option<String>,
}

/// Placeholder names for unused classes.
const UNUSED: [&str; 8] = ["", "-", "n/a", "na", "none", "unused", "background", "__background__"];

impl Names {
    fn numbered(classes: usize) -> Self {
        let labels: Vec<Arc<str>> = (0..classes).map(|class| format!("class {class}").into()).collect();
        let last = classes.saturating_sub(1);
        let doubt = format!(
            "its classes have no names and are called 'class 0' to 'class {last}', which is what rules have to ask for: set \
             labels_path to its label file"
        );
        Self { labels, named: false, doubt: Some(doubt) }
    }

    fn given(labels: Vec<Arc<str>>) -> Self {
        let is_number = |label: &Arc<str>| {
            let word = label.to_ascii_lowercase();
            let number = word.strip_prefix("class").unwrap_or(&word).trim_start_matches([' ', '_', '-']);
            !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        };
        if !labels.is_empty() && labels.iter().all(is_number) {
            let first = &labels[0];
            let doubt = format!("its labels are numbers ('{first}' …), no names: set labels_path to its label file");
            return Self { doubt: Some(doubt), labels, named: false };
        }
        let used = || labels.iter().zip(0..).filter(|(label, _)| !UNUSED.contains(&&*label.to_ascii_lowercase()));
        let twice = used().find_map(|(label, at)| {
            used().find(|(other, of)| *of > at && *other == label).map(|(_, of)| (label, at, of))
        });
        let doubt = twice.map(|(label, at, of)| {
            format!("its classes {at} and {of} are both called '{label}': is labels_path its own label file?")
        });
        Self { doubt, labels, named: true }
    }
}

/// The names for `classes` classes: from `file` if set, else from the metadata entry `names`, else `class 0`, `class 1`
/// …
///
/// # Errors
/// When the file cannot be read, or the number of names is not `classes`.
pub(super) fn load(file: Option<&Path>, names: Option<&str>, classes: usize) -> Result<Names, Error> {
    if let Some(path) = file {
        if let Some((what, hint)) = stray::is(path) {
            return Err(Error::new(Code::Labels, format!("label file {}: {what}", path.display())).hint(hint));
        }
        let text = crate::text::read(path).map_err(|e| {
            Error::new(Code::Labels, format!("label file {} cannot be read: {e}", path.display()))
                .hint("one label per line; without `labels_path` the model's own names are taken")
        })?;
        return fitting(in_file(&text, classes), classes, &format!("label file {}", path.display())).map(Names::given);
    }
    match names.and_then(in_metadata) {
        Some(names) => fitting(names, classes, "the model's metadata entry `names`").map(Names::given),
        None => Ok(Names::numbered(classes)),
    }
}

fn fitting(labels: Vec<Arc<str>>, classes: usize, origin: &str) -> Result<Vec<Arc<str>>, Error> {
    if labels.len() == classes {
        // They reach the log and the terminal.
        return Ok(labels.iter().map(|label| one_line(label).into()).collect());
    }
    let error = Error::new(
        Code::Labels,
        format!("{origin} has {}, the model has {}", count(labels.len(), "label"), count(classes, "class")),
    );
    Err(error.hint(
        "use the label file that belongs to the model: one label per line, in class order, numbered or not; or YAML or \
         JSON with `names:`",
    ))
}

/// Parses labels in any common format: YAML or JSON with `names`; else lines, numbered or not. Empty lines and comments
/// are labels only if the count matches `classes` with them and not without.
pub fn in_file(text: &str, classes: usize) -> Vec<Arc<str>> {
    if let Some(names) = in_document(text) {
        return names;
    }
    let every: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    let nonblank: Vec<&str> = every.iter().copied().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let lines = match every.len() == classes && nonblank.len() != classes {
        true => every,
        false => nonblank,
    };
    if let [line] = lines[..]
        && classes > 1
        && line.contains(';')
    {
        // DeepStream's format for classifiers.
        return line.trim_end_matches(';').split(';').map(|label| label.trim().into()).collect();
    }
    numbered(&lines).unwrap_or_else(|| lines.into_iter().map(Into::into).collect())
}

/// Labels with a leading number: `0 person`, `0: person`, `0,person`, `0=person`. All lines have one, and the numbers
/// are consecutive, in any order, from 0; or from 1, if each is followed by a separator.
fn numbered(lines: &[&str]) -> Option<Vec<Arc<str>>> {
    let mut labels: Vec<(usize, &str)> = Vec::with_capacity(lines.len());
    let mut signs = true;
    for line in lines {
        let (number, rest) = line.split_at(line.find(|c: char| !c.is_ascii_digit())?);
        let label = rest.trim_start().trim_start_matches([':', '=', ',', ';', '.', ')']);
        let parted = label.len() < rest.len();
        signs &= label.len() < rest.trim_start().len();
        if !parted || label.trim().is_empty() {
            return None;
        }
        labels.push((number.parse().ok()?, label.trim()));
    }
    labels.sort_by_key(|(number, _)| *number);
    let first = labels.first()?.0;
    let in_a_row = labels.iter().enumerate().all(|(index, (number, _))| *number == first + index);
    (in_a_row && (first == 0 || first == 1 && signs))
        .then(|| labels.into_iter().map(|(_, label)| label.into()).collect())
}

/// Labels of a document: `names:` as a list or a map by number (YOLO data sets), `id2label` (Hugging Face), or such a
/// list or map alone. `None` for plain lines.
fn in_document(text: &str) -> Option<Vec<Arc<str>>> {
    /// A document with its labels under a key.
    #[derive(serde::Deserialize)]
    struct Under<T> {
        #[serde(alias = "id2label", alias = "labels", alias = "classes")]
        names: T,
    }
    let keys = ["names:", "labels:", "classes:", "id2label:"];
    let is_yaml = text.lines().any(|line| keys.iter().any(|key| line.starts_with(key)));
    if !is_yaml && !text.trim_start().starts_with(['[', '{']) {
        return None;
    }
    let in_order = |names: Vec<String>| names.into_iter().map(Into::into).collect::<Vec<Arc<str>>>();
    let by_number = |names: BTreeMap<String, String>| {
        let mut names = names.into_iter().map(|(number, name)| Some((number.trim().parse::<usize>().ok()?, name)));
        let mut names = names.by_ref().collect::<Option<Vec<_>>>()?;
        names.sort_by_key(|(number, _)| *number);
        let whole = names.iter().enumerate().all(|(index, (number, _))| *number == index);
        whole.then(|| in_order(names.into_iter().map(|(_, name)| name).collect()))
    };
    let listed = serde_yaml::from_str::<Under<Vec<String>>>(text).map(|under| under.names);
    if let Ok(names) = listed.or_else(|_| serde_yaml::from_str(text)) {
        return Some(in_order(names));
    }
    let mapped = serde_yaml::from_str::<Under<BTreeMap<String, String>>>(text).map(|under| under.names);
    by_number(mapped.or_else(|_| serde_yaml::from_str(text)).ok()?)
}

/// Names from a Python dict, `{0: 'person', 1: "bird's nest"}`; `None` if the text is not one, or has gaps.
pub fn in_metadata(text: &str) -> Option<Vec<Arc<str>>> {
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

/// The text up to the closing quote, with escapes resolved, and the rest.
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
        in_metadata(text).map(|names| names.iter().map(|n| n.to_string()).collect())
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
    fn label_files_are_read_in_the_forms_that_people_have() {
        let mark = '\u{FEFF}';
        for text in [
            "person\ncar\nbus\n",
            &format!("{mark}person\r\ncar\r\nbus\r\n\r\n\r\n"),
            "# COCO, cut\nperson\n\ncar\nbus",
            "0 person\n1 car\n2 bus\n",
            "0: person\n1: car\n2: bus\n",
            "2,bus\n0,person\n1,car",
            "1: person\n2: car\n3: bus\n",
            "path: /data\nnames:\n  0: person\n  1: car\n  2: bus\nnc: 3\n",
            "train: a\nnames: [person, car, 'bus']\n",
            "names:\n  - person\n  - car\n  - bus\n",
            "[\"person\", \"car\", \"bus\"]",
            "{\"0\": \"person\", \"1\": \"car\", \"2\": \"bus\"}",
            "{\"id2label\": {\"0\": \"person\", \"2\": \"bus\", \"1\": \"car\"}, \"depth\": 4}",
            "person;car;bus\n",
        ] {
            let text = crate::text::bare(text);
            assert_eq!(in_file(text, 3).iter().map(|l| &**l).collect::<Vec<_>>(), ["person", "car", "bus"], "{text}");
        }
        for (text, labels) in [
            ("1 euro\n2 euro\n", ["1 euro", "2 euro"]),
            ("0\n1\n", ["0", "1"]),
            ("3d printer\nno", ["3d printer", "no"]),
            ("#1\n#2", ["#1", "#2"]),
            ("a\n\n", ["a", ""]),
            ("names: [yes, no]", ["yes", "no"]),
        ] {
            let found = in_file(text, if text == "a\n\n" { 1 } else { 2 });
            assert_eq!(found.iter().map(|l| &**l).collect::<Vec<_>>(), labels[..found.len()], "{text}");
        }
    }

    #[test]
    fn a_file_comes_first_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.txt");
        std::fs::write(&file, "person\r\ncar \n\n").unwrap();
        let labels = load(Some(&file), Some("{0: 'x', 1: 'y'}"), 2).unwrap().labels;
        assert_eq!(labels.iter().map(|l| &**l).collect::<Vec<_>>(), ["person", "car"]);
        let error = load(Some(&file), None, 80).unwrap_err();
        assert_eq!(error.code(), Code::Labels);
        assert!(error.message().contains("has 2 labels, the model has 80 classes"), "{error}");
        assert_eq!(load(Some(&folder.path().join("none")), None, 2).unwrap_err().code(), Code::Labels);
        assert_eq!(load(None, Some("{0: 'x'}"), 2).unwrap_err().code(), Code::Labels);
        assert_eq!(&*load(None, None, 2).unwrap().labels[1], "class 1");
        assert_eq!(&*load(None, Some("{0: 'a\u{1b}[2J\nb'}"), 1).unwrap().labels[0], "a [2J⏎b");
    }
}
