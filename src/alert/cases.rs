//! The cases of the newest alerts in memory, and their way to the journal.
//!
//! A case that was never changed is not saved: an alert without one is open. What a condition that is raised again adds
//! to its case is saved now and then, and at the end. `book` has the cases as values.

mod book;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use book::Book;

use super::{By, Case, CaseRefused, CaseState, CaseStep, Outbox, SavedKind};
use crate::types::{Alert, AlertId, SourceId};

/// Maximum alerts whose cases are in memory; the oldest resolved ones leave first.
pub const CASES_MAX: usize = 10_000;
/// Maximum bytes of these alerts.
pub const CASES_BYTES_MAX: usize = 64 << 20;

/// Called with each case that a person or a rule changed. It must return quickly.
pub type OnCase = Arc<dyn Fn(&Cased) + Send + Sync>;

/// An accepted alert with its case.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Cased {
    /// The alert.
    #[serde(flatten)]
    #[schema(value_type = Alert)]
    pub alert: Arc<Alert>,
    /// Its case.
    pub case: Case,
}

/// Which cases are wanted; the default is the newest ones.
#[derive(Debug, Clone, Default)]
pub struct CaseQuery {
    /// Only those in this state.
    pub state: Option<CaseState>,
    /// Only those accepted before this alert.
    pub before: Option<AlertId>,
    /// Maximum number.
    pub most: usize,
}

/// The cases behind their lock, and who hears of changes.
#[derive(Default)]
pub(super) struct Cases {
    book: Mutex<Book>,
    on_change: OnceLock<OnCase>,
}

impl Outbox {
    /// Sets who hears of changed cases; the first one counts.
    pub fn on_case(&self, on_change: OnCase) {
        // A second listener would need a list; there is one.
        let _ = self.cases.on_change.set(on_change);
    }

    /// Takes the alerts of earlier processes, oldest first, with the cases that these saved.
    pub(super) fn restore_cases(&self, alerts: Vec<Arc<Alert>>) {
        let mut saved = self.take_saved(SavedKind::Case, "");
        let mut book = self.cases.book.lock();
        for alert in alerts {
            let contents = saved.remove(alert.id.as_str());
            let case = contents.and_then(|contents| match serde_json::from_str::<Case>(&contents) {
                Ok(case) => Some(case),
                Err(error) => {
                    tracing::warn!(alert = %alert.id, "its case cannot be read and counts as open: {error}");
                    None
                }
            });
            let case = case.unwrap_or_else(|| Case::of(&alert));
            book.add(alert, case, false);
        }
    }

    /// Notes an alert on its way here: a rule may resolve it before it is accepted.
    pub(super) fn expect(&self, alert: &Arc<Alert>) {
        self.cases.book.lock().expect(alert);
    }

    /// Forgets an alert that does not come.
    pub(super) fn unexpected(&self, id: &AlertId) {
        self.cases.book.lock().take_expected(id);
    }

    /// Opens the case of an accepted alert; returns it if a rule has resolved it already. One that is known, of a
    /// recording that is played again, stays as it is.
    pub(super) fn open_case(&self, alert: &Arc<Alert>) -> Option<Cased> {
        self.cases.book.lock().open(alert)
    }

    /// Notes that a condition was raised again and suppressed.
    pub(super) fn seen_again(&self, condition: &str, at_ms: u64) {
        let due = self.cases.book.lock().seen(condition, at_ms);
        if let Some(cased) = due {
            self.save_case(&cased);
        }
    }

    /// Resolves the cases of a condition, or of all conditions of a rule without a key.
    pub(super) fn resolve_cases(&self, source: &SourceId, rule: &str, key: Option<&str>, at_ms: u64) {
        let changed = self.cases.book.lock().resolve(source, rule, key, at_ms);
        self.case_changed(changed);
    }

    /// Takes a step with the case of an alert, unless it was taken already. Returns the case after it.
    ///
    /// # Errors
    /// When the alert is not in memory, or the step is not possible.
    pub fn change_case(&self, id: &AlertId, step: CaseStep, by: By) -> Result<Cased, CaseRefused> {
        let (cased, is_changed) = self.cases.book.lock().take(id, step, by)?;
        if is_changed {
            self.case_changed([cased.clone()]);
        }
        Ok(cased)
    }

    /// Waits until the case of an alert is written, at most `limit`; returns whether it is.
    pub async fn case_written(&self, id: &AlertId, limit: Duration) -> bool {
        self.value_written(SavedKind::Case, &id.as_str().into(), limit).await
    }

    /// The case of an alert; `None` if it is not in memory.
    pub fn case(&self, id: &AlertId) -> Option<Cased> {
        self.cases.book.lock().get(id)
    }

    /// The cases of the alerts of the sources that `sees` admits, newest first; `None` if the alert that they are to
    /// come before is not in memory, or of a source that `sees` does not admit.
    pub fn cases(&self, query: &CaseQuery, sees: impl Fn(&SourceId) -> bool) -> Option<Vec<Cased>> {
        self.cases.book.lock().find(query, sees)
    }

    /// Saves what was not saved yet.
    pub(super) fn save_cases(&self) {
        let unsaved = self.cases.book.lock().take_unsaved();
        unsaved.iter().for_each(|cased| self.save_case(cased));
    }

    /// Saves changed cases, and publishes them as events.
    pub(super) fn case_changed(&self, changed: impl IntoIterator<Item = Cased>) {
        for cased in changed {
            self.save_case(&cased);
            if let Some(on_change) = self.cases.on_change.get() {
                on_change(&cased);
            }
        }
    }

    /// Saves a case as it is now: another thread may have changed it since. It is locked meanwhile, so that the last
    /// change is saved last.
    fn save_case(&self, cased: &Cased) {
        let book = self.cases.book.lock();
        let newest = book.get(&cased.alert.id);
        let case = newest.as_ref().map_or(&cased.case, |newest| &newest.case);
        match serde_json::to_string(case) {
            Ok(contents) => self.save(SavedKind::Case, &cased.alert.id.as_str().into(), Some(contents.into())),
            Err(error) => tracing::error!(alert = %cased.alert.id, "its case is not saved: {error}"),
        }
    }
}
