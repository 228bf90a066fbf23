//! What is said about alerts that are to be sent again, in the same words by the engine and by the command line.

use super::Outbox;
use crate::types::{AlertId, count, one_line};

/// Why nothing is sent again.
pub const NOTHING_AGAIN: &str = "nothing to send again: every handler has delivered it, or is about to";

/// Whether a handler with this outcome is done with an alert that it did not deliver, nor gave to another one.
pub fn has_failed(outcome: &str) -> bool {
    !["delivered", "pending", "given_away"].contains(&outcome)
}

/// What a handler is not done with, and when others can get it.
pub fn waits_at(handler: &str, alerts: u64) -> String {
    format!(
        "{} is not done with {}; another handler can get what it has given up, or leaves once it is removed",
        one_line(handler),
        count(alerts, "alert")
    )
}

/// The refusal of a name that no handler has: the message with the nearest name, and what there is.
pub fn no_handler(name: &str, handlers: &[&str]) -> (String, String) {
    let near = near(name, handlers.iter().copied());
    (format!("there is no handler '{}'{near}", one_line(name)), format!("handlers: {}", listed(handlers)))
}

/// The end of a message about a wrong name: the name that was probably meant, if there is one.
pub fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let near = names.map(|other| (strsim::damerau_levenshtein(name, other), other));
    let near = near.filter(|(distance, _)| *distance <= 1 + name.chars().count() / 3).min();
    near.map(|(_, near)| format!("; did you mean '{}'?", one_line(near))).unwrap_or_default()
}

/// Names in one line.
pub fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { one_line(&names.join(", ")).into_owned() }
}

impl Outbox {
    /// Whether a handler is not done with an alert.
    pub fn is_pending(&self, alert: &AlertId, handler: &str) -> bool {
        self.state().ledger.holds(alert, handler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_told_with_the_nearest_and_all_there_are() {
        let (message, hint) = no_handler("dask", &["file", "desk"]);
        assert_eq!(message, "there is no handler 'dask'; did you mean 'desk'?");
        assert_eq!(hint, "handlers: file, desk");
        assert_eq!(no_handler("nobody", &[]), ("there is no handler 'nobody'".into(), "handlers: none".into()));
    }
}
