//! Configuration paths by name: `sources[yard].zones[gate]`.

use std::fmt;

/// A parsed path.
#[derive(Debug, Clone)]
pub(in crate::config) struct Path(Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone)]
pub(in crate::config) enum Step {
    /// A key, `fps`.
    Key(String),
    /// An item of a list or map, by its id: `[yard]`.
    Id(String),
}

impl Step {
    pub(in crate::config) fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Id(text) => text,
        }
    }
}

impl Path {
    /// Parses a path. An unclosed bracket stays part of its key, which then matches no key.
    pub(in crate::config) fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((id, after)) = rest.strip_prefix('[').and_then(id) {
                steps.push(Step::Id(id.to_owned()));
                rest = after.strip_prefix('.').unwrap_or(after);
                continue;
            }
            // The first character belongs to the key, whatever it is.
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let end = rest[first..].find(['.', '[']).map_or(rest.len(), |at| at + first);
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
        Self(steps)
    }

    pub(in crate::config) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether `self` equals `other` or is above it. A map's key may be written in both forms.
    pub(in crate::config) fn covers(&self, other: &Self) -> bool {
        self.0.len() <= other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.text() == b.text())
    }

    /// Whether one of the two covers the other.
    pub(in crate::config) fn meets(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The steps below the first `count`.
    pub(in crate::config) fn below(&self, count: usize) -> &[Step] {
        self.0.get(count..).unwrap_or_default()
    }

    /// The path with one more step.
    pub(in crate::config) fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

/// An id up to its closing bracket: ids may contain brackets and dots themselves.
fn id(text: &str) -> Option<(&str, &str)> {
    let ends = |at: &usize| matches!(text.as_bytes().get(at + 1), None | Some(b'.' | b'['));
    let end = text.match_indices(']').map(|(at, _)| at).find(ends)?;
    Some((&text[..end], &text[end + 1..]))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(text) if index == 0 => f.write_str(text)?,
                Step::Key(text) => write!(f, ".{text}")?,
                Step::Id(text) => write!(f, "[{text}]")?,
            }
        }
        Ok(())
    }
}

/// The key with the id of a list's items; `None` for a list of plain values. `list` is the path without ids.
pub fn id_key(list: &str) -> Option<&'static str> {
    match list {
        "sources" => Some("id"),
        "detection.strategies" | "alerts.handlers" | "monitoring.tokens" => Some("name"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_parsed_and_formatted_again() {
        for (text, steps) in [
            ("name", 1),
            ("alerts.throttle_seconds", 2),
            ("sources[yard].fps", 3),
            ("sources[a.b[1]].zones[gate]", 4),
            ("detection.strategies[x].config.a", 5),
            ("Ünder.Ü", 2),
            ("name[]", 2),
        ] {
            let path = Path::parse(text);
            assert_eq!((path.to_string().as_str(), path.steps().len()), (text, steps));
        }
        assert_eq!(Path::parse("a[b").to_string(), "a.[b", "no bracket ends it: no key is named so");
    }

    #[test]
    fn a_path_covers_what_is_below_it_in_both_forms() {
        let covers = |a: &str, b: &str| Path::parse(a).covers(&Path::parse(b));
        assert!(covers("sources[yard]", "sources[yard].fps"));
        assert!(covers("zones.gate", "zones[gate]"));
        assert!(!covers("sources[yard]", "sources[yard2].fps"));
        assert!(!covers("sources[yard].fps", "sources[yard]"));
        assert!(Path::parse("sources[yard].fps").meets(&Path::parse("sources")));
    }
}
