//! Limits how many alerts one rule of one source sends: in a burst window, and critical ones in a minute. The others
//! become one digest when the window ends. A pure function of frame time; one per lane.

mod facts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::digest::{Added, At, DigestAlert, Held};
use crate::config::AlertPlan;
use crate::types::{Alert, HeldBy, Level};

/// Maximum rules remembered; beyond it the digest of the one that was quiet for the longest is sent early.
const RULES_MAX: usize = 1_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// The limits of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    burst: u32,
    window_ns: u64,
    critical: u32,
}

impl Limits {
    pub(super) fn of(plan: &AlertPlan) -> Self {
        let window_ns = u64::try_from(plan.burst_window.as_nanos()).unwrap_or(u64::MAX);
        Self { burst: plan.burst_threshold, window_ns, critical: plan.max_critical_per_minute }
    }
}

/// What one rule sent and holds back.
#[derive(Debug, Default)]
struct Window {
    /// Frame times of the alerts sent.
    sent: VecDeque<u64>,
    /// The alerts held back, and when their digest is due.
    held: Option<(Held, u64)>,
}

impl Window {
    /// Moves everything to a frame time that began anew: what was sent keeps its age, as far as there is a time for it,
    /// and the digest is due as soon as it would have been.
    fn move_to(&mut self, now_ns: u64, former_ns: u64) {
        let moved = |at_ns: u64| match at_ns.checked_sub(former_ns) {
            Some(ahead_ns) => now_ns.saturating_add(ahead_ns),
            None => now_ns.saturating_sub(former_ns - at_ns),
        };
        self.sent.iter_mut().for_each(|at_ns| *at_ns = moved(*at_ns));
        if let Some((_, due_ns)) = &mut self.held {
            *due_ns = moved(*due_ns);
        }
    }

    /// Forgets what was sent before the last `span_ns`.
    fn expire(&mut self, now_ns: u64, span_ns: u64) {
        while self.sent.front().is_some_and(|sent| now_ns.checked_sub(*sent).is_none_or(|age| age >= span_ns)) {
            self.sent.pop_front();
        }
    }
}

/// One rule: its critical alerts and all others.
#[derive(Debug, Default)]
struct Rule {
    others: Window,
    critical: Window,
    used_ns: u64,
    /// The limits that it was last checked against.
    limits: Limits,
}

impl Rule {
    fn windows(&mut self) -> [&mut Window; 2] {
        [&mut self.critical, &mut self.others]
    }

    /// The window that counts alerts of this level.
    fn window(&mut self, level: Level) -> &mut Window {
        if level == Level::Critical { &mut self.critical } else { &mut self.others }
    }

    fn is_idle(&mut self, now_ns: u64) -> bool {
        self.others.expire(now_ns, self.limits.window_ns);
        self.critical.expire(now_ns, MINUTE_NS);
        self.windows().iter().all(|window| window.sent.is_empty() && window.held.is_none())
    }
}

/// What becomes of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It may be sent now.
    Sent,
    /// It is held back for a digest.
    Held(Added),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bursts {
    rules: BTreeMap<Arc<str>, Rule>,
    /// Digests of rules that were forgotten.
    early: Vec<Held>,
    /// When the next digest is due.
    due_ns: u64,
    /// The last frame time.
    now_ns: u64,
}

impl Default for Bursts {
    fn default() -> Self {
        Self { rules: BTreeMap::new(), early: Vec::new(), due_ns: u64::MAX, now_ns: 0 }
    }
}

impl Bursts {
    /// Notes the time of a frame. One before the last means that the source began anew.
    pub(super) fn note(&mut self, now_ns: u64) {
        let former_ns = std::mem::replace(&mut self.now_ns, now_ns);
        if now_ns < former_ns {
            let windows = self.rules.values_mut().flat_map(Rule::windows);
            windows.for_each(|window| window.move_to(now_ns, former_ns));
            self.due_ns = if self.early.is_empty() { self.next_due_ns() } else { 0 };
        }
    }

    fn next_due_ns(&mut self) -> u64 {
        let windows = self.rules.values_mut().flat_map(Rule::windows);
        windows.filter_map(|window| window.held.as_ref().map(|(_, due_ns)| *due_ns)).min().unwrap_or(u64::MAX)
    }

    /// Whether an alert of the rule `key` may be sent now, within these limits; it counts as sent then. Otherwise it is
    /// held back, and stays so until its digest is due, even if the limits change.
    pub(super) fn admit(&mut self, key: &str, alert: &Alert, now_ns: u64, limits: Limits) -> Admitted {
        self.note(now_ns);
        let Limits { burst, window_ns, critical } = limits;
        let is_critical = alert.level == Level::Critical;
        let (limit, span_ns, reason) =
            if is_critical { (critical, MINUTE_NS, HeldBy::Critical) } else { (burst, window_ns, HeldBy::Burst) };
        if limit == 0 {
            // The log names no limit that was lifted.
            if let Some(rule) = self.rules.get_mut(key) {
                rule.limits = limits;
            }
            return Admitted::Sent;
        }
        self.make_room(key, now_ns);
        if !self.rules.contains_key(key) {
            self.rules.insert(key.into(), Rule::default());
        }
        let Some(rule) = self.rules.get_mut(key) else { return Admitted::Sent };
        (rule.used_ns, rule.limits) = (now_ns, limits);
        let window = rule.window(alert.level);
        window.expire(now_ns, span_ns);
        match &mut window.held {
            Some((held, _)) => Admitted::Held(held.add(alert)),
            None if window.sent.len() < limit as usize => {
                window.sent.push_back(now_ns);
                Admitted::Sent
            }
            None => {
                // A burst's window ends with its first alert; critical alerts do not wait for the end of a minute.
                let start_ns = if is_critical { now_ns } else { window.sent.front().copied().unwrap_or(now_ns) };
                let due_ns = start_ns.saturating_add(window_ns);
                self.due_ns = self.due_ns.min(due_ns);
                window.held = Some((Held::new(alert, reason), due_ns));
                Admitted::Held(Added { is_best: true, unneeded: None })
            }
        }
    }

    /// Notes that the alert that was held back last, and is the best of its digest, has a picture.
    pub(super) fn pictured(&mut self, key: &str, alert: &Alert) {
        let held = self.rules.get_mut(key).and_then(|rule| rule.window(alert.level).held.as_mut());
        if let Some((held, _)) = held {
            held.pictured(alert);
        }
    }

    /// Takes back an alert that was admitted and not sent.
    pub(super) fn take_back(&mut self, key: &str, alert: &Alert) {
        if let Some(rule) = self.rules.get_mut(key) {
            rule.window(alert.level).sent.pop_back();
        }
    }

    /// Forgets rules if there are too many for another one.
    fn make_room(&mut self, key: &str, now_ns: u64) {
        if self.rules.len() < RULES_MAX || self.rules.contains_key(key) {
            return;
        }
        self.rules.retain(|_, rule| !rule.is_idle(now_ns));
        if self.rules.len() < RULES_MAX {
            return;
        }
        let oldest = self.rules.iter().min_by_key(|(_, rule)| rule.used_ns).map(|(key, _)| Arc::clone(key));
        if let Some(mut rule) = oldest.and_then(|key| self.rules.remove(&key)) {
            let held = rule.windows().into_iter().filter_map(|window| window.held.take());
            self.early.extend(held.map(|(held, _)| held));
            self.due_ns = 0;
        }
    }

    /// Whether [`Bursts::due`] has a digest to return.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns
    }

    /// When the next digest is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        (self.due_ns < u64::MAX).then_some(self.due_ns)
    }

    /// The digests whose windows have ended, in the order of their ends.
    pub(super) fn due(&mut self, now: At) -> Vec<DigestAlert> {
        self.take(|due_ns| due_ns <= now.pts_ns, now)
    }

    /// The digests of everything held back.
    pub(super) fn flush(&mut self, now: At) -> Vec<DigestAlert> {
        self.take(|_| true, now)
    }

    fn take(&mut self, is_due: impl Fn(u64) -> bool, now: At) -> Vec<DigestAlert> {
        let mut due: Vec<(u64, Held)> = self.early.drain(..).map(|held| (0, held)).collect();
        self.due_ns = u64::MAX;
        for rule in self.rules.values_mut() {
            for window in rule.windows() {
                match window.held.take() {
                    Some((held, due_ns)) if is_due(due_ns) => due.push((due_ns, held)),
                    Some((held, due_ns)) => {
                        self.due_ns = self.due_ns.min(due_ns);
                        window.held = Some((held, due_ns));
                    }
                    None => {}
                }
            }
        }
        due.sort_by_key(|(due_ns, _)| *due_ns);
        due.into_iter().map(|(_, held)| held.into_digest(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alert::check::alert;
    use crate::alert::policy::tests::plan;

    const SECOND: u64 = 1_000_000_000;

    /// Bursts under limits.
    struct Limited(Bursts, Limits);

    impl Limited {
        fn admit(&mut self, key: &str, alert: &Alert, now_ns: u64) -> bool {
            self.0.admit(key, alert, now_ns, self.1) == Admitted::Sent
        }
    }

    impl std::ops::Deref for Limited {
        type Target = Bursts;

        fn deref(&self) -> &Bursts {
            &self.0
        }
    }

    impl std::ops::DerefMut for Limited {
        fn deref_mut(&mut self) -> &mut Bursts {
            &mut self.0
        }
    }

    /// The alerts that it stands for.
    fn count(digest: &DigestAlert) -> u64 {
        digest.alert.digest.as_ref().unwrap().count
    }

    fn bursts(threshold: u32, critical: u32) -> Limited {
        let plan = AlertPlan {
            burst_threshold: threshold,
            burst_window: Duration::from_secs(10),
            max_critical_per_minute: critical,
            ..plan()
        };
        Limited(Bursts::default(), Limits::of(&plan))
    }

    #[test]
    fn a_source_that_begins_anew_sends_its_digest_in_time_and_not_more_alerts() {
        let mut bursts = bursts(2, 60);
        let sent = (100..105).filter(|s| bursts.admit("r", &alert(*s, "m"), s * SECOND)).count();
        assert_eq!((sent, bursts.due_ns()), (2, Some(110 * SECOND)));
        // Frame time runs back from 104 s to 1 s.
        bursts.note(SECOND);
        assert_eq!(bursts.due_ns(), Some(7 * SECOND), "six seconds are left, as before");
        assert!(!bursts.admit("r", &alert(106, "m"), 2 * SECOND));
        let digests = bursts.due(at(7));
        assert_eq!(digests.iter().map(count).sum::<u64>(), 4);
        // What was sent has left the window in time.
        assert!(bursts.admit("r", &alert(107, "m"), 11 * SECOND) && bursts.admit("r", &alert(108, "m"), 11 * SECOND));
    }

    fn at(second: u64) -> At {
        At { pts_ns: second * SECOND, unix_ns: second * SECOND }
    }

    #[test]
    fn a_burst_sends_its_first_alerts_and_one_digest_of_the_others() {
        let mut bursts = bursts(3, 60);
        let sent: Vec<u64> = (0..9).filter(|s| bursts.admit("r", &alert(*s, "m"), s * SECOND)).collect();
        assert_eq!(sent, [0, 1, 2]);
        bursts.pictured("r", &alert(3, "m"));
        assert!(!bursts.is_due(10 * SECOND - 1) && bursts.is_due(10 * SECOND));
        let digests = bursts.due(at(10));
        let [digest] = digests.as_slice() else { panic!("one digest: {digests:?}") };
        let keys: Vec<String> = (3..9).map(|number| number.to_string()).collect();
        assert_eq!(digest.alert.digest.as_ref().map(|digest| (digest.count, digest.keys.clone())), Some((6, keys)));
        assert_eq!(digest.picture_of, Some(alert(3, "m").id.clone()), "the first one, as none is better");
        // The window slides: the alert at 0 has left it, those at 1 and 2 have not.
        assert!(bursts.admit("r", &alert(10, "m"), 10 * SECOND));
        assert!(!bursts.admit("r", &alert(10, "m"), 10 * SECOND));
        assert!(bursts.admit("another rule", &alert(10, "m"), 10 * SECOND));
    }

    #[test]
    fn no_window_has_more_than_the_threshold_and_every_alert_is_sent_or_in_a_digest() {
        for seed in 0..300 {
            fastrand::seed(seed);
            let mut bursts = bursts(3, 60);
            let (mut now_ns, mut sent, mut told) = (0, Vec::new(), 0);
            for number in 0..200 {
                now_ns += fastrand::u64(0..4 * SECOND);
                let now = At { pts_ns: now_ns, unix_ns: now_ns };
                if bursts.is_due(now_ns) {
                    told += bursts.due(now).iter().map(count).sum::<u64>();
                }
                if bursts.admit("r", &alert(number, "m"), now_ns) {
                    sent.push(now_ns);
                }
            }
            let rest = bursts.flush(at(now_ns / SECOND));
            told += rest.iter().map(count).sum::<u64>();
            assert_eq!(sent.len() as u64 + told, 200, "seed {seed}");
            assert!(sent.windows(4).all(|four| four[3] - four[0] >= 10 * SECOND), "seed {seed}");
        }
    }

    #[test]
    fn critical_alerts_have_a_limit_of_their_own() {
        let critical = |number| Alert { level: Level::Critical, ..(*alert(number, "m")).clone() };
        let mut bursts = bursts(1, 4);
        assert!(bursts.admit("r", &alert(0, "m"), 0));
        assert!(!bursts.admit("r", &alert(1, "m"), 0), "the burst");
        let sent = (0..10).filter(|s| bursts.admit("r", &critical(*s), s * SECOND)).count();
        assert_eq!(sent, 4);
        let digests = bursts.due(at(20));
        let counts: Vec<_> = digests.iter().map(|d| (d.alert.level, count(d))).collect();
        assert_eq!(counts, [(Level::Medium, 1), (Level::Critical, 6)]);
        assert!(!bursts.admit("r", &critical(11), 59 * SECOND));
        assert_eq!(bursts.due(at(69)).len(), 1);
        assert!(bursts.admit("r", &critical(12), 69 * SECOND));
    }

    #[test]
    fn zero_is_no_limit_and_what_was_not_sent_takes_no_place() {
        let mut unlimited = bursts(0, 0);
        assert!((0..500).all(|number| unlimited.admit("r", &alert(number, "m"), 0)));
        let mut lifted = bursts(1, 60);
        assert!(lifted.admit("r", &alert(0, "m"), 0) && lifted.stage("r", Level::Medium).is_some());
        lifted.1 = unlimited.1;
        assert!(lifted.admit("r", &alert(1, "m"), 0) && lifted.stage("r", Level::Medium).is_none());
        let mut bursts = bursts(1, 60);
        assert!(bursts.admit("r", &alert(0, "m"), 0));
        bursts.take_back("r", &alert(0, "m"));
        assert!(bursts.admit("r", &alert(1, "m"), 0));
    }

    #[test]
    fn rules_are_bounded_and_those_forgotten_send_their_digests() {
        let mut bursts = bursts(1, 60);
        for number in 0..RULES_MAX as u64 + 50 {
            let rule = format!("rule {number}");
            assert!(bursts.admit(&rule, &alert(number, "m"), number));
            assert!(!bursts.admit(&rule, &alert(number, "m"), number));
        }
        assert_eq!(bursts.rules.len(), RULES_MAX);
        assert_eq!(bursts.due(at(0)).len(), 50);
        assert_eq!(bursts.flush(at(0)).len(), RULES_MAX);
    }
}
