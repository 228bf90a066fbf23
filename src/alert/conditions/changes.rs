//! What another process must know of the conditions: which changed since they were last saved. Bounded; what does not
//! fit is saved at its next change.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::{Condition, Conditions, KEYS_MAX, is_recent};

/// Maximum changes that wait.
const WAITING_MAX: usize = 2 * KEYS_MAX;
/// Maximum new conditions saved at once.
const AT_ONCE_MAX: usize = 256;
/// Maximum lasting conditions that are searched for those that are due on every frame.
const SEARCHED_MAX: usize = 32;
/// Minimum time between two saves of a lasting condition, and between two searches for those that are due if they are many.
const AGAIN_MIN_NS: u64 = 1_000_000_000;
/// A lasting condition is saved so often while it lasts.
const SAVES: u64 = 8;

/// What another process knows of a condition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Elsewhere {
    /// It may know it: its alert is sent, and its key means the same there.
    outlives: bool,
    /// Its alert is held back: another policy of this process may know it, but no other process.
    is_held: bool,
    /// A change waits to be saved.
    waits: bool,
    /// The change that waits is not only that it was raised again.
    is_new: bool,
    /// The saved times are exact, although the process goes on.
    is_exact: bool,
    /// When it was last saved.
    saved_ns: Option<u64>,
}

impl Elsewhere {
    /// Its condition begins: it outlives this process, unless [`Conditions::set_outlives`] says otherwise.
    pub(super) fn begin(&mut self) {
        (self.outlives, self.is_held) = (true, false);
    }

    /// Whether a change is saved now. By the times of the raises: whatever the frames, a raise that is not saved is less
    /// than `again_ns` after the saved one.
    fn is_due(self, raised_ns: u64, lasts_ns: u64) -> bool {
        self.is_new || self.saved_ns.is_none_or(|saved_ns| !is_recent(saved_ns, raised_ns, again_ns(lasts_ns)))
    }
}

/// Time between two saves of a lasting condition.
fn again_ns(lasts_ns: u64) -> u64 {
    (lasts_ns / SAVES).max(AGAIN_MIN_NS)
}

/// Keys whose changes wait.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Of conditions that began.
    begun: VecDeque<Arc<str>>,
    /// Of those that are forgotten.
    gone: VecDeque<Arc<str>>,
    /// Of those that were raised again.
    renewed: VecDeque<Arc<str>>,
    searched_ns: u64,
}

impl Changes {
    /// Notes that a condition was raised again.
    pub(super) fn renewed(&mut self, elsewhere: &mut Elsewhere, key: &Arc<str>) {
        elsewhere.is_exact = false;
        if elsewhere.outlives && !elsewhere.waits {
            elsewhere.waits = true;
            self.renewed.push_back(Arc::clone(key));
        }
    }

    /// Notes what another process must know at once: a condition began, or its rule has ended it.
    pub(super) fn begun(&mut self, elsewhere: &mut Elsewhere, key: &Arc<str>) {
        (elsewhere.is_new, elsewhere.is_exact) = (true, false);
        if !elsewhere.waits {
            elsewhere.waits = true;
            self.begun.push_back(Arc::clone(key));
        }
    }

    /// Notes that a condition is forgotten.
    pub(super) fn gone(&mut self, elsewhere: Elsewhere, key: Arc<str>) {
        if elsewhere.saved_ns.is_some() {
            self.gone.push_back(key);
        }
    }

    /// Takes what may be due: new ones, and those raised again; of many, those every second.
    fn take(&mut self, now_ns: u64, all: bool) -> Vec<Arc<str>> {
        let count = if all { self.begun.len() } else { self.begun.len().min(AT_ONCE_MAX) };
        let mut keys: Vec<Arc<str>> = self.begun.drain(..count).collect();
        let is_cheap = self.renewed.len() <= SEARCHED_MAX;
        if all || is_cheap || !is_recent(self.searched_ns, now_ns, AGAIN_MIN_NS) {
            self.searched_ns = now_ns;
            keys.extend(self.renewed.drain(..));
        }
        keys
    }
}

/// A condition as another process gets it; its times are on the clock of this one.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::alert) struct Restored {
    /// When it was last raised. Of one that is restored: at the latest.
    pub(in crate::alert) raised_ns: u64,
    /// Not every raise is saved. Of one to be saved: how much later it may have been raised. Of one that is restored: how
    /// much earlier it was saved.
    pub(in crate::alert) slack_ns: u64,
    /// When it last became an alert.
    pub(in crate::alert) told_ns: u64,
    /// Alerts suppressed since then.
    pub(in crate::alert) suppressed: u64,
    /// Hashes of its traits, each with the time when it was last raised.
    pub(in crate::alert) traits: Vec<(u64, u64)>,
    /// Whether its alert is held back.
    pub(in crate::alert) is_held: bool,
}

impl Conditions {
    /// Notes changes from now on.
    pub(in crate::alert) fn note_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// Sets whether another process may know the condition of this key.
    pub(in crate::alert) fn set_outlives(&mut self, key: &str, outlives: bool) {
        if let Some(condition) = self.keys.get_mut(key) {
            condition.elsewhere.outlives = outlives;
        }
    }

    /// Ends `key`, or every condition whose key begins so: raised again, it is a new one, in another process, too.
    pub(in crate::alert) fn end(&mut self, key: &str, all: bool) {
        let Self { keys, changes, .. } = self;
        let mut end = |text: &Arc<str>, condition: &mut Condition| {
            condition.accepted = false;
            if let Some(changes) = changes.as_mut().filter(|_| condition.elsewhere.saved_ns.is_some()) {
                changes.begun(&mut condition.elsewhere, text);
            }
        };
        if all {
            let begins = keys.iter_mut().filter(|(text, _)| text.starts_with(key));
            begins.for_each(|(text, condition)| end(text, condition));
        } else if let Some(text) = keys.get_key_value(key).map(|(text, _)| Arc::clone(text)) {
            keys.get_mut(key).into_iter().for_each(|condition| end(&text, condition));
        }
    }

    /// Notes that the alert of this key's condition is held back: only this process knows that it will be sent.
    pub(in crate::alert) fn hold_back(&mut self, key: &str) {
        if let Some(condition) = self.keys.get_mut(key) {
            let elsewhere = &mut condition.elsewhere;
            elsewhere.is_held |= std::mem::take(&mut elsewhere.outlives);
        }
    }

    /// The conditions that another policy of this process may know.
    pub(in crate::alert) fn all(&self) -> impl Iterator<Item = (&str, Restored)> {
        let is_known = |condition: &Condition| {
            let Elsewhere { outlives, is_held, .. } = condition.elsewhere;
            condition.accepted && condition.lasts_ns > 0 && (outlives || is_held)
        };
        let known = self.keys.iter().filter(move |(_, condition)| is_known(condition));
        known.map(|(key, condition)| (&**key, condition.restored(0)))
    }

    /// Whether a change waits.
    pub(in crate::alert) fn has_changes(&self) -> bool {
        let waits =
            |changes: &Changes| [&changes.begun, &changes.renewed, &changes.gone].iter().any(|keys| !keys.is_empty());
        self.changes.as_ref().is_some_and(waits)
    }

    /// Takes the changes that are to be saved now, all of them if `all`: conditions by key, `None` for one to forget.
    pub(in crate::alert) fn take_changes(&mut self, now_ns: u64, all: bool) -> Vec<(Arc<str>, Option<Restored>)> {
        let Self { changes: Some(changes), keys, .. } = self else { return Vec::new() };
        let mut out = Vec::new();
        for key in changes.take(now_ns, all) {
            let Some(condition) = keys.get_mut(&key).filter(|condition| condition.elsewhere.waits) else { continue };
            if !all && !condition.elsewhere.is_due(condition.raised_ns, condition.lasts_ns) {
                changes.renewed.push_back(key);
                continue;
            }
            let is_saved = condition.accepted && condition.elsewhere.outlives && condition.lasts_ns > 0;
            // Until it is saved again.
            let until_ns = again_ns(condition.lasts_ns) + AGAIN_MIN_NS;
            let slack_ns = if all || condition.elsewhere.is_exact { 0 } else { until_ns };
            let raised_ns = condition.raised_ns;
            let elsewhere = &mut condition.elsewhere;
            (elsewhere.waits, elsewhere.is_new) = (false, false);
            let was_saved = std::mem::replace(&mut elsewhere.saved_ns, is_saved.then_some(raised_ns)).is_some();
            if is_saved {
                out.push((key, Some(condition.restored(slack_ns))));
            } else if was_saved {
                out.push((key, None));
            }
        }
        // What began again is saved anew.
        let is_gone = |key: &Arc<str>| keys.get(key).is_none_or(|condition| condition.elsewhere.saved_ns.is_none());
        out.extend(changes.gone.drain(..).filter(is_gone).map(|key| (key, None)));
        out
    }

    /// Adds a condition of another process. If it `is_moved`, its times are other ones than were saved, and are saved anew.
    pub(in crate::alert) fn restore(&mut self, key: &str, restored: &Restored, lasts_ns: u64, is_moved: bool) {
        let Restored { raised_ns, slack_ns, told_ns, suppressed, ref traits, is_held } = *restored;
        let traits = traits.iter().take(super::TRAITS_MAX).copied().collect();
        let changes = self.changes.take();
        self.put(key, Condition { raised_ns, lasts_ns, told_ns, suppressed, traits, ..Condition::accepted() });
        self.changes = changes;
        let Some((text, _)) = self.keys.get_key_value(key) else { return };
        let text = Arc::clone(text);
        if let Some(condition) = self.keys.get_mut(key) {
            let elsewhere = &mut condition.elsewhere;
            (elsewhere.outlives, elsewhere.is_held) = (!is_held, is_held);
            // As it was saved: with the slack, a raise in this process would be taken for one that is saved already.
            elsewhere.saved_ns = Some(raised_ns.saturating_sub(slack_ns));
            if let Some(changes) = self.changes.as_mut().filter(|_| is_moved) {
                changes.begun(elsewhere, &text);
                elsewhere.is_exact = true;
            }
        }
        self.forget(raised_ns, lasts_ns);
    }

    /// Forgets changes if too many wait: those of conditions that are forgotten themselves.
    pub(super) fn bound_changes(&mut self) {
        let Self { changes: Some(changes), keys, .. } = self else { return };
        if changes.begun.len() + changes.renewed.len() + changes.gone.len() <= WAITING_MAX {
            return;
        }
        // What an earlier process saved of those is dropped when the source starts again.
        changes.gone.clear();
        let mut kept = HashSet::new();
        let mut waits = |key: &Arc<str>| {
            keys.get(key).is_some_and(|condition| condition.elsewhere.waits) && kept.insert(Arc::clone(key))
        };
        changes.begun.retain(&mut waits);
        changes.renewed.retain(&mut waits);
    }
}

impl Condition {
    fn restored(&self, slack_ns: u64) -> Restored {
        let (raised_ns, told_ns, suppressed) = (self.raised_ns, self.told_ns, self.suppressed);
        let is_held = self.elsewhere.is_held;
        Restored { raised_ns, slack_ns, told_ns, suppressed, traits: self.traits.clone(), is_held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MINUTE: u64 = 60 * SECOND;

    fn noting() -> Conditions {
        let mut conditions = Conditions::default();
        conditions.note_changes();
        conditions
    }

    /// The keys saved now, and those to forget with a minus sign.
    fn saved(conditions: &mut Conditions, now_ns: u64, all: bool) -> String {
        let changes = conditions.take_changes(now_ns, all);
        let words: Vec<String> =
            changes.iter().map(|(key, saved)| format!("{}{key}", if saved.is_some() { "" } else { "-" })).collect();
        words.join(" ")
    }

    #[test]
    fn a_condition_is_saved_at_once_and_then_now_and_again_while_it_lasts() {
        let mut conditions = noting();
        conditions.begin("a", &[], 0, MINUTE);
        assert_eq!(saved(&mut conditions, 0, false), "a");
        let mut times = Vec::new();
        for tenth in 1..=200 {
            let now_ns = tenth * SECOND / 10;
            conditions.again("a", &[], now_ns, MINUTE);
            if saved(&mut conditions, now_ns, false) == "a" {
                times.push(tenth);
            }
        }
        assert_eq!(times.len(), 2, "every eighth of a minute: {times:?}");
        conditions.again("a", &[], 21 * SECOND, MINUTE);
        let changes = conditions.take_changes(21 * SECOND, true);
        let restored = changes[0].1.clone().unwrap();
        assert_eq!((restored.raised_ns, restored.slack_ns, restored.suppressed), (21 * SECOND, 0, 201), "at the end");
        assert_eq!(saved(&mut conditions, 22 * SECOND, true), "", "nothing has changed");
    }

    #[test]
    fn one_whose_alert_is_not_told_is_not_saved_and_one_that_is_forgotten_is_removed() {
        let mut conditions = noting();
        for key in ["told", "held"] {
            conditions.begin(key, &[], 0, MINUTE);
        }
        conditions.set_outlives("held", false);
        assert_eq!(saved(&mut conditions, 0, false), "told");
        conditions.again("held", &[], SECOND, MINUTE);
        assert_eq!(saved(&mut conditions, SECOND, true), "");
        conditions.take_back("told", 0);
        assert_eq!(saved(&mut conditions, SECOND, false), "-told", "the outbox refused it");
        conditions.begin("told", &[], 2 * SECOND, MINUTE);
        assert_eq!(saved(&mut conditions, 2 * SECOND, false), "told");
        conditions.begin("next", &[], 20 * MINUTE, MINUTE);
        assert_eq!(saved(&mut conditions, 20 * MINUTE, false), "next -told");
    }

    #[test]
    fn one_that_its_rule_has_ended_is_forgotten_elsewhere_too() {
        let mut conditions = noting();
        for key in ["a.1", "a.2", "b"] {
            conditions.begin(key, &[], 0, MINUTE);
        }
        conditions.end("b", false);
        assert_eq!(saved(&mut conditions, 0, false), "a.1 a.2", "the last one has never been saved");
        conditions.end("a.1", false);
        assert_eq!(saved(&mut conditions, SECOND, false), "-a.1");
        conditions.end("a.", true);
        assert_eq!(saved(&mut conditions, 2 * SECOND, false), "-a.2", "the first one is forgotten already");
        conditions.begin("a.1", &[], 3 * SECOND, MINUTE);
        assert_eq!(saved(&mut conditions, 3 * SECOND, false), "a.1");
        conditions.end("a.1", false);
        conditions.begin("a.1", &[], 4 * SECOND, MINUTE);
        assert_eq!(saved(&mut conditions, 4 * SECOND, false), "a.1", "ended and raised again on one frame");
    }

    #[test]
    fn a_flood_is_saved_bit_by_bit_and_what_waits_is_bounded() {
        let mut conditions = noting();
        for number in 0..5 * KEYS_MAX {
            conditions.begin(&number.to_string(), &[], 0, MINUTE);
            let changes = conditions.changes.as_ref().unwrap();
            assert!(changes.begun.len() <= WAITING_MAX + 1);
        }
        assert!(conditions.take_changes(0, false).len() <= AT_ONCE_MAX);
        let rest = conditions.take_changes(0, true);
        assert!(rest.iter().filter(|(_, saved)| saved.is_some()).count() <= KEYS_MAX);
        assert!(rest.iter().any(|(key, saved)| **key == *(5 * KEYS_MAX - 1).to_string() && saved.is_some()));
    }
}
