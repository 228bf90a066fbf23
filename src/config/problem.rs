//! Reports the problems in a configuration: what, where, and what to write instead, all at once.

use std::fmt;

use super::overlay::{Path, Step, id_key};
use super::{secret, syntax};
use crate::error::{Code, Error};

/// Maximum number of problems shown; further ones are only counted.
const PROBLEMS_SHOWN_MAX: usize = 50;
/// Maximum length of an excerpt around the caret, in characters.
const EXCERPT_CHARS_MAX: usize = 110;

/// A location in one of a configuration's texts. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Location {
    pub(super) origin: usize,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
}

impl Location {
    /// The location of a default.
    pub(super) fn nowhere() -> Self {
        Self { origin: usize::MAX, ..Self::default() }
    }
}

/// An origin of configuration text.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A file, with its text.
    File { name: String, text: String },
    /// An environment variable. Its value is never shown as an excerpt: many hold secrets.
    Variable(String),
    /// A command-line flag, named by the key it sets.
    Flag(String),
    /// A path of the overlay. The path is the excerpt, its value is not shown.
    Overlay(String),
}

/// The origins of one load, so that a [`Location`] stays small.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(Vec<Origin>);

impl Origins {
    pub(super) fn add(&mut self, origin: Origin) -> usize {
        self.0.push(origin);
        self.0.len() - 1
    }

    /// The location for people and editors: `file:line:column`.
    pub(super) fn show(&self, place: Location) -> String {
        match self.0.get(place.origin) {
            Some(Origin::File { name, .. }) => format!("{name}:{}:{}", place.line, place.column),
            Some(Origin::Variable(name)) => format!("environment variable {name}"),
            Some(Origin::Flag(key)) => format!("command line, {key}"),
            Some(Origin::Overlay(_)) => "overlay".to_owned(),
            None => "defaults".to_owned(),
        }
    }

    fn line(&self, place: Location) -> Option<&str> {
        match self.0.get(place.origin)? {
            Origin::File { text, .. } => text.lines().nth(place.line.checked_sub(1)?),
            Origin::Overlay(path) => Some(path),
            Origin::Variable(_) | Origin::Flag(_) => None,
        }
    }

    /// How many characters of a line that is no YAML may be shown.
    fn shown(&self, place: Location) -> Option<usize> {
        match self.0.get(place.origin)? {
            Origin::File { text, .. } => Some(syntax::shown(text, place.line)),
            Origin::Overlay(_) | Origin::Variable(_) | Origin::Flag(_) => None,
        }
    }

    /// A copy without the texts, which may contain secrets.
    pub(super) fn without_texts(&self) -> Self {
        let bare = |origin: &Origin| match origin {
            Origin::File { name, .. } => Origin::File { name: name.clone(), text: String::new() },
            other => other.clone(),
        };
        Self(self.0.iter().map(bare).collect())
    }

    /// The list and the id of the item that an overlay path is in.
    fn item(&self, place: Location) -> Option<(String, String)> {
        let Some(Origin::Overlay(path)) = self.0.get(place.origin) else { return None };
        let path = Path::parse(path);
        let at = path.steps().iter().position(|step| matches!(step, Step::Id(_)))?;
        let list = path.steps()[..at].iter().map(Step::text).collect::<Vec<_>>().join(".");
        id_key(&list).is_some().then(|| (list, path.steps()[at].text().to_owned()))
    }

    /// Whether the excerpt is an overlay path, which contains no secret.
    fn is_overlay(&self, place: Location) -> bool {
        matches!(self.0.get(place.origin), Some(Origin::Overlay(_)))
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub(super) place: Location,
    /// What is wrong, with the key's path.
    pub(super) message: String,
    /// The text under the caret: got, expected, nearest name.
    pub(super) label: String,
    /// Further help.
    pub(super) note: Option<String>,
    /// Whether the caret is under a key: the rest of the line is then hidden, since it may be a secret under a misspelt
    /// name.
    pub(super) at_key: bool,
    /// Whether the text is no YAML there: the line is then shown up to what may be secret only.
    pub(super) is_syntax: bool,
}

/// The problems of one load, and the locations that excerpts must hide.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems {
    pub(super) list: Vec<Problem>,
    secrets: Vec<Location>,
}

impl Problems {
    pub(super) fn at_key(&mut self, place: Location, message: impl Into<String>, label: impl Into<String>) {
        self.push(place, message, label, true);
    }

    pub(super) fn at_value(&mut self, place: Location, message: impl Into<String>, label: impl Into<String>) {
        self.push(place, message, label, false);
    }

    /// The text is no YAML from here.
    pub(super) fn at_syntax(&mut self, place: Location, message: impl Into<String>, label: impl Into<String>) {
        self.push(place, message, label, false);
        if let Some(last) = self.list.last_mut() {
            last.is_syntax = true;
        }
    }

    fn push(&mut self, place: Location, message: impl Into<String>, label: impl Into<String>, at_key: bool) {
        self.list.push(Problem {
            place,
            message: message.into(),
            label: label.into(),
            note: None,
            at_key,
            is_syntax: false,
        });
    }

    /// Adds a note to the last problem.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        if let Some(last) = self.list.last_mut() {
            last.note = Some(note.into());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Hides a value in all excerpts.
    pub(super) fn hide(&mut self, place: Location) {
        self.secrets.push(place);
    }

    pub(super) fn into_error(mut self, origins: &Origins) -> LoadError {
        self.list.iter_mut().for_each(|problem| problem.name_item(origins));
        self.list.sort_by_key(|problem| problem.place);
        // One problem per location: the first is the cause of the others.
        self.list.dedup_by(|later, first| later.place == first.place && first.place.line > 0);
        self.secrets.sort();
        self.secrets.dedup();
        let count = self.list.len();
        let mut text = match count {
            1 => "the configuration cannot be used".to_owned(),
            n => format!("the configuration cannot be used: {n} problems"),
        };
        for problem in self.list.iter().take(PROBLEMS_SHOWN_MAX) {
            text.push_str("\n\n");
            text.push_str(&render(problem, origins, &self.secrets));
        }
        if count > PROBLEMS_SHOWN_MAX {
            text.push_str(&format!("\n\n… and {} more", count - PROBLEMS_SHOWN_MAX));
        }
        let problems = self.list.into_iter().map(|problem| problem.into_public(origins)).collect();
        LoadError { text, problems }
    }
}

/// A text in which an item of a list has its id in place of its index.
fn by_id(text: &str, list: &str, id: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(list) {
        let (before, after) = (&rest[..at], &rest[at + list.len()..]);
        let is_whole = !before.ends_with(|c: char| c.is_alphanumeric() || "._]".contains(c));
        let index = after.strip_prefix('[').and_then(|after| after.split_once(']')).filter(|_| is_whole);
        let index = index.filter(|(index, _)| !index.is_empty() && index.bytes().all(|digit| digit.is_ascii_digit()));
        out.extend([before, list]);
        rest = after;
        if let Some((_, after)) = index {
            out.extend(["[", id, "]"]);
            rest = after;
        }
    }
    out + rest
}

impl Problem {
    /// Names the item of an edit by its id: its index is that in the merged list, which nobody has written.
    fn name_item(&mut self, origins: &Origins) {
        let Some((list, id)) = origins.item(self.place) else { return };
        for text in [&mut self.message, &mut self.label].into_iter().chain(&mut self.note) {
            *text = by_id(text, &list, &id);
        }
    }

    fn into_public(self, origins: &Origins) -> LoadProblem {
        let Self { place, message, label, note, at_key: _, is_syntax: _ } = self;
        let hint = match note {
            Some(note) => format!("{label}; {note}"),
            None => label,
        };
        LoadProblem { message, place: Some(origins.show(place)), hint: (!hint.is_empty()).then_some(hint) }
    }
}

fn render(problem: &Problem, origins: &Origins, secrets: &[Location]) -> String {
    let Problem { place, message, label, note, at_key, is_syntax } = problem;
    let mut out = format!("{}: {message}", origins.show(*place));
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    let secrets = if origins.is_overlay(*place) { &[] } else { secrets };
    let shown = |line: &str| match is_syntax.then(|| origins.shown(*place)).flatten() {
        Some(count) if count < line.chars().count() => {
            let start: String = line.chars().take(count).collect();
            let gap = if start.ends_with(char::is_whitespace) || start.is_empty() { "" } else { " " };
            let bare = format!("{start}{gap}{}", secret::MASK);
            let column = place.column.min(count + gap.len() + 1);
            excerpt(&bare, Location { column, width: 1, ..*place }, *at_key, &[])
        }
        _ => excerpt(line, *place, *at_key, secrets),
    };
    match origins.line(*place).map(shown) {
        Some((line, column, width)) => {
            let caret = format!("{}{}", " ".repeat(column), "^".repeat(width));
            out.push_str(&format!("\n{gutter} |\n{number} | {line}\n{gutter} | {caret} {label}"));
        }
        None => out.push_str(&format!("\n{gutter} = {label}")),
    }
    if let Some(note) = note {
        out.push_str(&format!("\n{gutter} = {note}"));
    }
    out
}

/// Masks hidden values in a line, and adjusts the location to the shifted text.
fn without(line: &str, place: Location, secrets: &[Location]) -> (String, Location) {
    let chars: Vec<char> = line.chars().collect();
    let (mut shown, mut moved, mut done) = (String::with_capacity(line.len()), place, 0);
    // Sorted by location.
    for secret in secrets.iter().filter(|s| s.origin == place.origin && s.line == place.line) {
        let start = (secret.column - 1).min(chars.len());
        let end = (start + secret.width).min(chars.len());
        if start < done {
            continue;
        }
        shown.extend(&chars[done..start]);
        shown.push_str(secret::MASK);
        done = end;
        if secret.column == place.column {
            moved.width = secret::MASK.len();
        } else if secret.column < place.column {
            moved.column = moved.column + secret::MASK.len() - (end - start).min(moved.column);
        }
    }
    shown.extend(&chars[done..]);
    (shown, moved)
}

/// The line without secrets, cut to a readable length, with the caret's column and width.
fn excerpt(line: &str, place: Location, at_key: bool, secrets: &[Location]) -> (String, usize, usize) {
    let (line, place) = without(line, place, secrets);
    let chars: Vec<char> = line.replace('\t', " ").chars().collect();
    let start = place.column.saturating_sub(1).min(chars.len());
    let end = (start + place.width.max(1)).min(chars.len());
    let before: String = chars[..start].iter().collect();
    let within: String = chars[start..end].iter().collect();
    let after: String = if at_key {
        let rest: String = chars[end..].iter().collect();
        match rest.find(':').filter(|at| !rest[at + 1..].trim().is_empty()) {
            Some(at) => format!("{} …", &rest[..=at]),
            None => rest,
        }
    } else {
        chars[end..].iter().collect()
    };
    // A value's key precedes it on the line and determines whether it is a secret.
    let (before, within) = match secret::ends_in_secret_key(&before) {
        true => (before, secret::MASK.to_owned()),
        false => (secret::in_text(&before), secret::in_text(&within)),
    };
    let column = before.chars().count();
    let width = within.chars().count().max(1);
    let whole = format!("{before}{within}{}", secret::in_text(&after));
    if whole.chars().count() <= EXCERPT_CHARS_MAX {
        return (whole.trim_end().to_owned(), column, width);
    }
    let from = column.saturating_sub(40);
    let cut: String = whole.chars().skip(from).take(EXCERPT_CHARS_MAX).collect();
    let lead = if from > 0 { "…" } else { "" };
    let column = column - from + lead.chars().count();
    let tail = if from + EXCERPT_CHARS_MAX < whole.chars().count() { "…" } else { "" };
    (format!("{lead}{}{tail}", cut.trim_end()), column, width.min(EXCERPT_CHARS_MAX.saturating_sub(column)).max(1))
}

/// The error of an invalid configuration: every problem with its location, an excerpt and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    text: String,
    problems: Vec<LoadProblem>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProblem {
    /// What is wrong, with the key's path.
    pub message: String,
    /// The location, `file:line:column`.
    pub place: Option<String>,
    /// What was expected, or the nearest valid name.
    pub hint: Option<String>,
}

impl LoadError {
    /// A failure before parsing, such as an unreadable file.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        let problems = vec![LoadProblem { message: text.clone(), place: None, hint: None }];
        Self { text, problems }
    }

    /// Every problem, sorted by location.
    pub fn problems(&self) -> &[LoadProblem] {
        &self.problems
    }

    /// The number of problems.
    pub fn count(&self) -> usize {
        self.problems.len()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for LoadError {}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::new(Code::Config, error.text)
            .hint("`dsengine explain E0101` says how the file is read, `dsengine schema` lists every key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_an_edit_has_its_id_in_place_of_its_index() {
        let text = "`sources[12].fps`, `where.sources[1]` and sources[x]";
        assert_eq!(by_id(text, "sources", "gate"), "`sources[gate].fps`, `where.sources[1]` and sources[x]");
    }
}
