//! The cases as plain values: no lock, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::super::policy::condition;
use super::super::{By, Case, CaseRefused, CaseState, CaseStep};
use super::{CASES_BYTES_MAX, CASES_MAX, CaseQuery, Cased};
use crate::types::{Alert, AlertId, SourceId};

/// Maximum alerts on their way to being accepted, which a rule may resolve already.
const EXPECTED_MAX: usize = 8_192;
/// Minimum time between two writes of what a raised condition adds to its case.
const SAVE_EVERY_MS: u64 = 2_000;

/// See the module.
#[derive(Default)]
pub(super) struct Book {
    /// By order of acceptance.
    cases: BTreeMap<u64, Entry>,
    numbers: HashMap<AlertId, u64>,
    /// Those that leave first.
    resolved: BTreeSet<u64>,
    /// Those that are not resolved, by condition, oldest first.
    unresolved: BTreeMap<Arc<str>, Vec<u64>>,
    bytes: usize,
    next: u64,
    expected: VecDeque<Expected>,
}

struct Entry {
    cased: Cased,
    condition: Arc<str>,
    bytes: usize,
    /// The case's `last` when it was last saved.
    saved_ms: u64,
    is_unsaved: bool,
}

/// An alert on its way.
pub(super) struct Expected {
    /// Its case so far.
    cased: Cased,
    condition: Arc<str>,
    resolved: Option<By>,
}

fn condition_of(alert: &Alert) -> String {
    condition(&alert.source, &alert.rule, &alert.key)
}

impl Book {
    /// Adds an alert with its case, which is saved unless it `is_unsaved`.
    pub(super) fn add(&mut self, alert: Arc<Alert>, case: Case, is_unsaved: bool) {
        if self.numbers.contains_key(&alert.id) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let condition: Arc<str> = condition_of(&alert).into();
        self.numbers.insert(alert.id.clone(), number);
        let saved_ms = case.last;
        let entry = Entry { cased: Cased { alert, case }, condition, bytes: 0, saved_ms, is_unsaved };
        self.cases.insert(number, entry);
        self.index(number);
        self.weigh(number);
    }

    /// Counts the bytes of a case anew, and lets the oldest go while there are too many.
    fn weigh(&mut self, number: u64) {
        if let Some(entry) = self.cases.get_mut(&number) {
            let Cased { alert, case } = &entry.cased;
            let bytes = alert.memory_bytes() + case.memory_bytes() + 2 * entry.condition.len();
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
        while self.cases.len() > CASES_MAX || self.bytes > CASES_BYTES_MAX {
            let first = self.resolved.first().copied().or_else(|| self.cases.keys().next().copied());
            let Some(first) = first else { break };
            self.remove(first);
        }
    }

    /// Files a case by its state.
    fn index(&mut self, number: u64) {
        let Some(entry) = self.cases.get(&number) else { return };
        if entry.cased.case.state == CaseState::Resolved {
            self.resolved.insert(number);
            self.unfile(number);
            return;
        }
        self.resolved.remove(&number);
        // A digest stands for no condition of its own.
        if entry.cased.alert.digest.is_some() {
            return;
        }
        let numbers = self.unresolved.entry(Arc::clone(&entry.condition)).or_default();
        if let Err(at) = numbers.binary_search(&number) {
            numbers.insert(at, number);
        }
    }

    fn unfile(&mut self, number: u64) {
        let Some(entry) = self.cases.get(&number) else { return };
        if let Some(numbers) = self.unresolved.get_mut(&entry.condition) {
            numbers.retain(|known| *known != number);
            if numbers.is_empty() {
                self.unresolved.remove(&entry.condition);
            }
        }
    }

    fn remove(&mut self, number: u64) {
        self.unfile(number);
        self.resolved.remove(&number);
        if let Some(entry) = self.cases.remove(&number) {
            self.bytes -= entry.bytes;
            self.numbers.remove(&entry.cased.alert.id);
        }
    }

    pub(super) fn expect(&mut self, alert: &Arc<Alert>) {
        if self.expected.len() >= EXPECTED_MAX {
            self.expected.pop_front();
        }
        let cased = Cased { alert: Arc::clone(alert), case: Case::of(alert) };
        self.expected.push_back(Expected { cased, condition: condition_of(alert).into(), resolved: None });
    }

    pub(super) fn take_expected(&mut self, id: &AlertId) -> Option<Expected> {
        let at = self.expected.iter().position(|expected| expected.cased.alert.id == *id)?;
        self.expected.remove(at)
    }

    /// Opens a case; returns it if a rule has resolved it already.
    pub(super) fn open(&mut self, alert: &Arc<Alert>) -> Option<Cased> {
        let (case, resolved) = match self.take_expected(&alert.id) {
            Some(expected) => (expected.cased.case, expected.resolved),
            None => (Case::of(alert), None),
        };
        let is_unsaved = case.count > 0;
        self.add(Arc::clone(alert), case, is_unsaved);
        let (cased, changed) = self.take(&alert.id, CaseStep::Resolve, resolved?).ok()?;
        changed.then_some(cased)
    }

    /// Notes that a condition was raised again; returns its newest case if that is to be saved.
    pub(super) fn seen(&mut self, condition: &str, at_ms: u64) -> Option<Cased> {
        let is_it = |expected: &&mut Expected| expected.resolved.is_none() && *expected.condition == *condition;
        if let Some(expected) = self.expected.iter_mut().rev().find(is_it) {
            expected.cased.case.seen(at_ms);
            return None;
        }
        let newest = *self.unresolved.get(condition)?.last()?;
        let entry = self.cases.get_mut(&newest)?;
        entry.cased.case.seen(at_ms);
        entry.is_unsaved = true;
        let is_due = entry.cased.case.last.saturating_sub(entry.saved_ms) >= SAVE_EVERY_MS;
        is_due.then(|| entry.saved())
    }

    pub(super) fn resolve(&mut self, source: &SourceId, rule: &str, key: Option<&str>, at_ms: u64) -> Vec<Cased> {
        let by = By::rule(rule, at_ms);
        for expected in &mut self.expected {
            let alert = &expected.cased.alert;
            let is_open = expected.resolved.is_none();
            if is_open && alert.source == *source && alert.rule == rule && key.is_none_or(|key| alert.key == key) {
                expected.resolved = Some(by.clone());
            }
        }
        let wanted = condition(source, rule, key.unwrap_or_default());
        let mut numbers = match key {
            Some(_) => self.unresolved.get(&*wanted).cloned().unwrap_or_default(),
            None => {
                let from = (Bound::Included(&*wanted), Bound::Unbounded);
                let of_rule = self.unresolved.range::<str, _>(from).take_while(|(found, _)| found.starts_with(&wanted));
                of_rule.flat_map(|(_, numbers)| numbers.iter().copied()).collect()
            }
        };
        numbers.sort_unstable();
        let steps = numbers.into_iter().filter_map(|number| self.step(number, CaseStep::Resolve, by.clone()).ok());
        steps.filter_map(|(cased, changed)| changed.then_some(cased)).collect()
    }

    pub(super) fn take(&mut self, id: &AlertId, step: CaseStep, by: By) -> Result<(Cased, bool), CaseRefused> {
        let number = *self.numbers.get(id).ok_or(CaseRefused::Unknown)?;
        self.step(number, step, by)
    }

    fn step(&mut self, number: u64, step: CaseStep, by: By) -> Result<(Cased, bool), CaseRefused> {
        let entry = self.cases.get_mut(&number).ok_or(CaseRefused::Unknown)?;
        let changed = entry.cased.case.take(step, by)?;
        let cased = if changed { entry.saved() } else { entry.cased.clone() };
        if changed {
            self.index(number);
            self.weigh(number);
        }
        Ok((cased, changed))
    }

    pub(super) fn get(&self, id: &AlertId) -> Option<Cased> {
        self.cases.get(self.numbers.get(id)?).map(|entry| entry.cased.clone())
    }

    pub(super) fn find(&self, query: &CaseQuery, sees: impl Fn(&SourceId) -> bool) -> Option<Vec<Cased>> {
        let CaseQuery { state, before, most } = query;
        let end = match before {
            // One that may not be seen is not there.
            Some(id) => *self.numbers.get(id).filter(|number| self.is_of(**number, &sees))?,
            None => self.next,
        };
        let cases = self.cases.range(..end).rev().map(|(_, entry)| &entry.cased);
        let wanted = cases.filter(|cased| state.is_none_or(|state| cased.case.state == state));
        Some(wanted.filter(|cased| sees(&cased.alert.source)).take(*most).cloned().collect())
    }

    fn is_of(&self, number: u64, sees: impl Fn(&SourceId) -> bool) -> bool {
        self.cases.get(&number).is_some_and(|entry| sees(&entry.cased.alert.source))
    }

    pub(super) fn take_unsaved(&mut self) -> Vec<Cased> {
        self.cases.values_mut().filter(|entry| entry.is_unsaved).map(Entry::saved).collect()
    }
}

impl Entry {
    /// The case, which the caller saves.
    fn saved(&mut self) -> Cased {
        (self.saved_ms, self.is_unsaved) = (self.cased.case.last, false);
        self.cased.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::check::alert;

    fn of(number: u64, source: &str, rule: &str, key: &str) -> Arc<Alert> {
        Arc::new(Alert { source: source.into(), rule: rule.into(), key: key.into(), ..(*alert(number, "m")).clone() })
    }

    fn states(book: &Book) -> Vec<CaseState> {
        let query = CaseQuery { most: usize::MAX, ..CaseQuery::default() };
        let found = book.find(&query, |_| true).unwrap();
        found.into_iter().rev().map(|cased| cased.case.state).collect()
    }

    /// The indices agree with the cases.
    fn check(book: &Book) {
        assert_eq!(book.cases.len(), book.numbers.len());
        assert_eq!(book.cases.values().map(|entry| entry.bytes).sum::<usize>(), book.bytes);
        let filed: usize = book.unresolved.values().map(Vec::len).sum();
        let digests = book.cases.values().filter(|entry| entry.cased.alert.digest.is_some()).count();
        assert!(filed + book.resolved.len() + digests >= book.cases.len());
        assert!(book.unresolved.values().all(|numbers| !numbers.is_empty()));
    }

    #[test]
    fn a_rule_resolves_its_own_condition_or_all_of_its_own_on_that_source() {
        use CaseState::{Open, Resolved};
        let mut book = Book::default();
        let alerts =
            [("gate", "r", "1"), ("gate", "r", "2"), ("gate", "r", "1"), ("yard", "r", "1"), ("gate", "rr", "1")];
        for (number, (source, rule, key)) in (0..).zip(alerts) {
            assert!(book.open(&of(number, source, rule, key)).is_none());
        }
        let changed = book.resolve(&"gate".into(), "r", Some("1"), 9_000);
        assert_eq!(changed.iter().map(|cased| cased.alert.seq).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(changed[0].case.changes[0].by, By::rule("r", 9_000));
        assert_eq!(states(&book), [Resolved, Open, Resolved, Open, Open]);
        assert!(book.resolve(&"gate".into(), "r", Some("1"), 9_001).is_empty(), "it is resolved already");
        assert_eq!(book.resolve(&"gate".into(), "r", None, 9_002).len(), 1);
        assert_eq!(states(&book), [Resolved, Resolved, Resolved, Open, Open]);
        check(&book);
    }

    #[test]
    fn an_alert_that_is_resolved_on_its_way_is_resolved_when_it_is_accepted() {
        let mut book = Book::default();
        let [first, second] = [of(0, "gate", "r", "1"), of(1, "gate", "r", "1")];
        book.expect(&first);
        let at_ms = Case::of(&first).first + 3_000;
        assert!(book.seen(&condition_of(&first), at_ms).is_none());
        assert!(book.resolve(&"gate".into(), "r", None, 5_000).is_empty());
        book.expect(&second);
        book.seen(&condition_of(&first), at_ms + 1_000);
        let opened = book.open(&first).unwrap().case;
        assert_eq!((&opened.changes[0].by, opened.count, opened.last), (&By::rule("r", 5_000), 1, at_ms));
        assert!(book.open(&second).is_none(), "it was raised after that");
        assert_eq!(states(&book), [CaseState::Resolved, CaseState::Open]);
        assert!(book.expected.is_empty());
        let unsaved = book.take_unsaved();
        assert_eq!((unsaved.len(), unsaved[0].case.count), (1, 1), "the second one was raised again, too");
        book.expect(&first);
        book.take_expected(&first.id);
        (0..2 * EXPECTED_MAX as u64).for_each(|number| book.expect(&alert(number, "m")));
        assert_eq!(book.expected.len(), EXPECTED_MAX);
    }

    #[test]
    fn what_is_raised_again_counts_for_the_newest_case_of_its_condition_that_is_not_resolved() {
        let mut book = Book::default();
        let [first, second] = [of(0, "gate", "r", "1"), of(1, "gate", "r", "1")];
        assert!([&first, &second].iter().all(|alert| book.open(alert).is_none()));
        let base = Case::of(&second).last;
        let condition = condition_of(&first);
        assert!(book.seen(&condition, base + 1_000).is_none(), "not saved yet");
        assert_eq!(book.take_unsaved().len(), 1);
        assert!(book.take_unsaved().is_empty());
        assert_eq!(book.seen(&condition, base + SAVE_EVERY_MS + 1_000).unwrap().case.count, 2);
        book.take(&second.id, CaseStep::Resolve, By::new("ops", 0, None)).unwrap();
        book.seen(&condition, base + 2_000);
        let counts = [&first, &second].map(|alert| book.get(&alert.id).unwrap().case.count);
        assert_eq!(counts, [1, 2]);
        // Reopened, it is the newest again.
        book.take(&second.id, CaseStep::Reopen, By::new("ops", 1, None)).unwrap();
        book.seen(&condition, base + 3_000);
        assert_eq!(book.get(&second.id).unwrap().case.count, 3);
        assert!(book.seen("none", 0).is_none());
        check(&book);
    }

    #[test]
    fn the_cases_in_memory_are_bounded_and_resolved_ones_leave_first() {
        let mut book = Book::default();
        let by = || By::new("ops", 0, None);
        (0..CASES_MAX as u64).for_each(|number| drop(book.open(&alert(number, "m"))));
        book.take(&alert(7, "m").id, CaseStep::Resolve, by()).unwrap();
        book.open(&alert(CASES_MAX as u64, "m"));
        assert_eq!(book.take(&alert(7, "m").id, CaseStep::Reopen, by()), Err(CaseRefused::Unknown));
        assert!(book.get(&alert(0, "m").id).is_some());
        book.open(&alert(CASES_MAX as u64 + 1, "m"));
        assert!(book.get(&alert(0, "m").id).is_none(), "then the oldest");
        assert_eq!(book.cases.len(), CASES_MAX);
        let long = "x".repeat(CASES_BYTES_MAX / 3);
        (0..5).for_each(|number| drop(book.open(&alert(1_000_000 + number, &long))));
        assert!(book.bytes <= CASES_BYTES_MAX && book.get(&alert(1_000_004, &long).id).is_some());
        check(&book);
    }

    #[test]
    fn cases_are_found_by_state_source_and_place() {
        let mut book = Book::default();
        for number in 0..9 {
            book.open(&of(number, if number % 3 == 0 { "yard" } else { "gate" }, "r", "1"));
        }
        book.take(&of(4, "gate", "r", "1").id, CaseStep::Acknowledge, By::new("ops", 0, None)).unwrap();
        let find = |state, before: Option<u64>, most| {
            let before = before.map(|number| alert(number, "m").id.clone());
            let found = book.find(&CaseQuery { state, before, most }, |source| source.as_str() == "gate")?;
            Some(found.into_iter().map(|cased| cased.alert.seq).collect::<Vec<_>>())
        };
        assert_eq!(find(None, None, 3), Some(vec![8, 7, 5]));
        assert_eq!(find(None, Some(5), 3), Some(vec![4, 2, 1]));
        assert_eq!(find(Some(CaseState::Acknowledged), None, 9), Some(vec![4]));
        assert_eq!(find(Some(CaseState::Resolved), None, 9), Some(vec![]));
        assert_eq!(find(None, Some(77), 9), None, "there is no such alert");
    }
}
