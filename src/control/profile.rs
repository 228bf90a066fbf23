//! The profiles of the configuration: a part of the file of its own for each, of which one applies.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Control, Edit, Who, store};
use crate::config::{ProfileChoice, ProfileHours};
use crate::types::Clock;

/// The profiles of a running engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProfileBody {
    /// The one that applies.
    pub profile: Option<String>,
    /// Every profile of the file, in its order.
    pub profiles: Vec<String>,
    /// The flag or variable that set it at the start, so that it cannot be switched.
    pub fixed_by: Option<String>,
}

/// How far back hours are looked for that passed while nothing ran: they come again every week.
const BACK_NS: u64 = 8 * 24 * 3_600_000_000_000;
/// Hours begin and end at whole minutes.
const MINUTE_NS: u64 = 60_000_000_000;
/// Time between two tries of a switch that was refused, each of which is in the audit.
const RETRY_NS: u64 = 60_000_000_000;
/// The name of its problem in `/health`.
const NOTE: &str = "profile";

/// What the hours of `profile_schedule` selected when they were last looked at.
pub(super) struct ByHours {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    seen: Seen,
    /// When a refused switch is tried again, on the monotonic clock.
    again_ns: u64,
}

/// `None` before the first look; then the profile whose hours it was, if it was in any.
type Seen = Option<Option<String>>;

impl ByHours {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }
}

impl Control {
    /// The profiles, and the one that applies. An edit switches to another.
    pub fn profiles(&self) -> ProfileBody {
        let ProfileChoice { names, selected, of_file: _, fixed_by } = self.current.load().loaded.profiles.clone();
        ProfileBody { profile: selected, profiles: names, fixed_by }
    }

    /// Switches to the profile whose hours have begun, or back to the file's when they have ended. Does nothing
    /// otherwise; whoever owns the control calls it again and again.
    pub fn keep_hours(&self) {
        let current = self.current.load_full();
        let (choice, is_by_hand) = (&current.loaded.profiles, current.request.overlay.get("profile").is_some());
        let schedule = &current.loaded.plan.profile_schedule;
        let now_ns = self.hours.clock.monotonic_ns();
        let before = self.hours.state.lock().clone();
        if now_ns < before.again_ns {
            return;
        }
        let unix_ns = self.hours.clock.unix_ns();
        // A switch by hand lasts until hours begin or end, also where nothing ran then.
        let is_over = is_by_hand && before.seen.is_none() && self.has_passed(schedule, unix_ns);
        let begun = due(schedule, &mut self.hours.state.lock().seen, unix_ns, is_by_hand && !is_over);
        let begun = begun.or(is_over.then_some(None));
        let Some(to) = begun.map(|profile| profile.or_else(|| choice.of_file.clone())) else { return };
        let refused = match choice.fixed_by.is_some() || choice.selected == to {
            true => None,
            false => self.apply(Edit::Profile(to), false, &Who::new("schedule", "profile_schedule")).err(),
        };
        let Some(refusal) = refused else {
            self.handle.set_note(NOTE, None);
            return self.forget_switch();
        };
        let problem = format!("the profile is not switched by the hour: {}", refusal.line_with_hint());
        tracing::warn!("{problem}");
        self.handle.set_note(NOTE, Some(problem));
        // Its hours have still to begin.
        *self.hours.state.lock() = State { again_ns: now_ns + RETRY_NS, ..before };
    }

    /// Notes when a saved switch by hand was made.
    pub(super) fn note_switch(&self, edit: &Edit) {
        let (Edit::Profile(_), Some(file)) = (edit, &self.file) else { return };
        if let Err(error) = store::write_switched(file, self.hours.clock.unix_ns() / 1_000_000_000) {
            tracing::warn!(%error, "hours that pass while nothing runs will not end this switch of the profile");
        }
    }

    /// Whether hours have begun or ended since the saved switch by hand.
    fn has_passed(&self, schedule: &[ProfileHours], unix_ns: u64) -> bool {
        let saved = self.current.load().saved.get("profile").is_some();
        let since_s = self.file.as_ref().filter(|_| saved).and_then(|file| store::read_switched(file));
        since_s.is_some_and(|since_s| changed_between(schedule, since_s.saturating_mul(1_000_000_000), unix_ns))
    }

    /// Forgets a saved switch by hand, whose hours are over: it would come back with the restart.
    fn forget_switch(&self) {
        let _turn = self.turn();
        let mut next = (*self.current.load_full()).clone();
        if next.saved.get("profile").is_none() {
            return;
        }
        next.saved.remove("profile");
        self.current.store(Arc::new(next));
        if let Err(refusal) = self.write() {
            tracing::error!("a former switch of the profile may come back with the restart: {refusal}");
        }
    }
}

/// The profile that the hours call for now, if that has changed: `Some(None)` is that of the file. A switch by hand
/// from before the first look lasts until the hours change.
fn due(schedule: &[ProfileHours], seen: &mut Seen, unix_ns: u64, is_by_hand: bool) -> Option<Option<String>> {
    let now = schedule.iter().find(|hours| hours.schedule.holds(unix_ns)).map(|hours| hours.profile.clone());
    match seen.replace(now.clone()) {
        Some(before) => (before != now).then_some(now),
        None => (now.is_some() && !is_by_hand).then_some(now),
    }
}

/// Whether the profile that the hours call for was another one at a moment from `since_ns` to `now_ns`.
fn changed_between(schedule: &[ProfileHours], since_ns: u64, now_ns: u64) -> bool {
    let at = |ns: u64| schedule.iter().find(|hours| hours.schedule.holds(ns)).map(|hours| &hours.profile);
    let (now, from) = (at(now_ns), since_ns.max(now_ns.saturating_sub(BACK_NS)));
    let mut minutes = (from..now_ns).step_by(usize::try_from(MINUTE_NS).unwrap_or(usize::MAX));
    !schedule.is_empty() && minutes.any(|ns| at(ns) != now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Hours, Schedule, TimeZone, Weekday};

    #[test]
    fn a_profile_is_switched_when_its_hours_begin_and_end_and_not_in_between() {
        let hours = |profile: &str, from: u16, to: u16| ProfileHours {
            profile: profile.to_owned(),
            schedule: Schedule {
                zone: TimeZone::utc(),
                hours: vec![Hours { days: Weekday::ALL.to_vec(), from: from * 60, to: to * 60 }],
            },
        };
        let schedule = [hours("lunch", 12, 13), hours("day", 8, 18)];
        let at = |hour: u64| hour * 3_600_000_000_000;
        let mut seen = None;
        let mut look = |hour| due(&schedule, &mut seen, at(hour), false);
        let profile = |name: &str| Some(Some(name.to_owned()));
        assert_eq!([look(6), look(7)], [None, None]);
        assert_eq!([look(8), look(9), look(12), look(13)], [profile("day"), None, profile("lunch"), profile("day")]);
        assert_eq!([look(18), look(19)], [Some(None), None]);
        // Begun within the hours.
        assert_eq!(due(&schedule, &mut None, at(9), false), profile("day"));
        let mut seen = None;
        assert_eq!(due(&schedule, &mut seen, at(9), true), None, "a switch by hand lasts");
        assert_eq!(due(&schedule, &mut seen, at(12), true), profile("lunch"), "until the hours change");
        assert_eq!(due(&[], &mut seen, at(12), true), Some(None), "the schedule is gone");
        // Hours that began or ended while nothing ran.
        for (since, now, has) in [(9, 10, false), (9, 12, true), (9, 19, true), (13, 17, false), (9, 24 + 9, true)] {
            assert_eq!(changed_between(&schedule, at(since), at(now)), has, "{since} to {now}");
        }
        assert!(changed_between(&schedule, at(1), at(1_000)) && !changed_between(&[], at(1), at(1_000)));
        assert!(!changed_between(&schedule, at(9), at(8)), "a clock that was set back");
    }
}
