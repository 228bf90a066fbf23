//! Silences, created and ended in somebody's name.

use std::collections::BTreeSet;

use super::outcome::{Outcome, Refusal, RefusalKind};
use super::{Control, Who};
use crate::alert::silence::{Matcher, SilenceBody, SilenceRequest};
use crate::alert::{By, CASES_MAX, CaseQuery};
use crate::config::{ENGINE_RULES, ENGINE_SOURCE, nearest};
use crate::engine::EngineApi as _;

impl Control {
    /// Creates a silence.
    ///
    /// # Errors
    /// When the request is wrong, or there are too many silences.
    pub fn silence(&self, request: &SilenceRequest, who: &Who) -> Result<SilenceBody, Refusal> {
        let created = self.handle.silence(request, &By::person(request.by.as_deref(), &who.name)).map_err(|error| {
            let kind = if error.is_full { RefusalKind::Conflict } else { RefusalKind::Invalid };
            Refusal::new(kind, error.message).hint(error.hint)
        });
        let matchers = request.matchers.iter().take(MATCHERS_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        self.note_silence(who, format!("silence {matchers}"), &created);
        created
    }

    /// Warnings about a silence with these matchers: of a source or a rule that is not known. It may be added later.
    pub fn silence_warnings(&self, matchers: &[String]) -> Vec<String> {
        let matchers = matchers.iter().filter_map(|matcher| Matcher::parse(matcher).ok());
        let warning = |matcher: Matcher| {
            let (field, value) = matcher.exactly().filter(|(_, value)| !value.is_empty())?;
            let (known, unknown) = match field {
                "source" => (self.source_names(), format!("there is no source `{value}` now")),
                "rule" => {
                    (self.rule_names(), format!("no strategy is named `{value}`, and no alert of it is in memory"))
                }
                _ => return None,
            };
            // The engine's own rules.
            if known.contains(value) || (field == "rule" && value.starts_with(ENGINE_RULES)) {
                return None;
            }
            let near = nearest(value, known.iter().map(String::as_str));
            Some(unknown + &near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())
        };
        matchers.filter_map(warning).collect()
    }

    /// The sources of alerts, those that are switched off included.
    fn source_names(&self) -> BTreeSet<String> {
        self.sources().into_iter().map(|source| source.id).chain([ENGINE_SOURCE.to_owned()]).collect()
    }

    /// The strategies, the rules that the configuration names, and those of the alerts in memory: a script names its
    /// rules itself.
    fn rule_names(&self) -> BTreeSet<String> {
        let plan = self.handle.plan();
        let strategies = plan.strategies.iter().map(|strategy| strategy.name.clone());
        let query = CaseQuery { most: CASES_MAX, ..CaseQuery::default() };
        let cases = self.handle.outbox().and_then(|outbox| outbox.cases(&query, |_| true)).unwrap_or_default();
        let of_sources = plan.sources.iter().flat_map(|source| source.alerts.rules.keys());
        let named = plan.alerts.rules.keys().chain(of_sources).cloned();
        strategies.chain(named).chain(cases.iter().map(|cased| cased.alert.rule.to_string())).collect()
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// When there is no such silence.
    pub fn end_silence(&self, id: &str, who: &Who) -> Result<SilenceBody, Refusal> {
        let ended = self.handle.end_silence(id).ok_or_else(|| {
            let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no silence {id}"));
            refusal.hint("`dsengine silence list` shows those that there are")
        });
        self.note_silence(who, format!("end silence {id}"), &ended);
        ended
    }

    fn note_silence(&self, who: &Who, what: String, done: &Result<SilenceBody, Refusal>) {
        let what: String = what.chars().take(WHAT_CHARS_MAX).collect();
        let outcome = done.as_ref().map(|silence| {
            let SilenceBody { id, state, ends_at, .. } = silence;
            Outcome { changes: vec![format!("silence {id} {state}, until {ends_at}")], ..Outcome::default() }
        });
        self.trail.note(who, what, &outcome.map_err(Clone::clone));
    }
}

/// Maximum matchers that a line of the audit quotes.
const MATCHERS_SHOWN: usize = 16;
/// Maximum characters of its description.
const WHAT_CHARS_MAX: usize = 500;
