//! The audit trail: a log line per request with its outcome, and the last ones in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::edit::{Edit, Who};
use super::outcome::{Audit, Outcome, Refusal};
use crate::types::Clock;

/// Lines kept in memory.
const LINES_MAX: usize = 100;

/// See the module.
pub(super) struct Trail {
    clock: Arc<dyn Clock>,
    lines: Mutex<VecDeque<Audit>>,
}

impl Trail {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, lines: Mutex::default() }
    }

    /// The last lines, newest first.
    pub(super) fn lines(&self) -> Vec<Audit> {
        let lines = self.lines.lock();
        lines.iter().rev().cloned().collect()
    }

    pub(super) fn note(&self, who: &Who, what: String, outcome: &Result<Outcome, Refusal>) {
        let (text, taken) = match outcome {
            Ok(outcome) if outcome.changes.is_empty() => ("nothing changed".to_owned(), true),
            Ok(outcome) => (outcome.changes.join(", "), true),
            Err(refusal) => (format!("refused: {}", refusal.first_line()), false),
        };
        let Who { name, from, rights: _ } = who;
        tracing::info!(target: "audit", who = %name, %from, what = %what, outcome = %text, "configuration");
        let line =
            Audit { unix_ns: self.clock.unix_ns(), who: name.clone(), from: from.clone(), what, outcome: text, taken };
        let mut lines = self.lines.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Describes an edit by its keys only: values may be secrets.
pub(super) fn describe(edit: &Edit, save: bool) -> String {
    let keys = |value: &serde_json::Value| -> String {
        value.as_object().map(|keys| keys.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default()
    };
    let mut text = match edit {
        Edit::AddSource(entry) => format!("add source {}", entry["id"].as_str().unwrap_or("without an id")),
        Edit::ChangeSource { id, to } => format!("change source {id}: {}", keys(to)),
        Edit::RemoveSource(id) => format!("remove source {id}"),
        Edit::EnableSource { id, enabled: true } => format!("enable source {id}"),
        Edit::EnableSource { id, enabled: false } => format!("disable source {id}"),
        Edit::RestartSource(id) => format!("restart source {id}"),
        Edit::Profile(Some(name)) => format!("switch to profile {name}"),
        Edit::Profile(None) => "switch to no profile".to_owned(),
        Edit::Set(entries) => {
            format!("set {}", entries.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", "))
        }
        Edit::Document(document) => format!("apply {}", keys(document)),
    };
    if save {
        text.push_str(", to be kept");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::TestClock;

    #[test]
    fn the_last_lines_are_kept_newest_first() {
        let trail = Trail::new(Arc::new(TestClock::at(7)));
        for round in 0..LINES_MAX + 5 {
            trail.note(&Who::new("ops", "10.0.0.1"), format!("round {round}"), &Ok(Outcome::default()));
        }
        trail.note(&Who::new("file", "c.yaml"), "read".into(), &Err(Refusal::invalid("no\nway")));
        let lines = trail.lines();
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!((lines[0].outcome.as_str(), lines[0].taken, lines[0].unix_ns), ("refused: no", false, 7));
        assert_eq!((lines[1].what.as_str(), lines[1].outcome.as_str()), ("round 104", "nothing changed"));
    }

    #[test]
    fn an_edit_is_described_without_its_values() {
        let edit = Edit::ChangeSource { id: "gate".into(), to: json!({ "uri": "rtsp://u:secret@x", "fps": 3 }) };
        let text = describe(&edit, true);
        assert!(text.starts_with("change source gate: ") && text.ends_with(", to be kept"), "{text}");
        assert!(text.contains("uri") && !text.contains("secret"), "{text}");
    }
}
