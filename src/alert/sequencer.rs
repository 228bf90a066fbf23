//! The limit of the whole site: at most so many alerts of all sources in any minute, shared fairly; the others become
//! digests. A pure state machine; time is an argument.
//!
//! With a live source, alerts are decided on in the order in which they arrive. If every source is finite (files,
//! scenes and traces that end), they are merged by frame time: an alert waits until no other source can raise an
//! earlier one, so that the outcome is the same however fast each source is judged. A source that does not advance is
//! not waited for.
//!
//! Fairness: each source that delivers frames has an equal share of the limit. The shares that other sources have not
//! used are reserved for them; the remainder of the division goes to the first that needs it. Digests take a place like
//! other alerts, and come before them. Critical alerts are in order, but never held back here.

mod parts;
mod usage;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use self::parts::Order;
use self::parts::{Due, Member, Mode, Waiting};
pub(super) use self::parts::{Ruling, Times};
use super::chain::Stage;
use super::digest::{At, Held};
use crate::config::AlertPlan;
use crate::types::{Alert, HeldBy, Level, SourceId};

/// The time that the limit counts in.
const MINUTE_NS: u64 = 60_000_000_000;
/// A source of a merge that has not advanced for this long is not waited for.
const STALLED_NS: u64 = 30_000_000_000;
/// Maximum alerts that wait for the merge; beyond it the first one does not wait.
const WAITING_MAX: usize = 4_096;
/// Maximum bytes of the alerts that wait for the merge.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Maximum rules of sources with a digest; beyond it alerts are refused.
const HELD_MAX: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sequencer {
    limit: usize,
    window_ns: u64,
    mode: Mode,
    now_ns: u64,
    /// The alerts sent in the last minute.
    sent: VecDeque<(u64, SourceId)>,
    /// How many of them are of each source.
    used: BTreeMap<SourceId, usize>,
    members: BTreeMap<(SourceId, u64), Member>,
    /// By time, source, its token, and the order in which they were offered.
    waiting: BTreeMap<(u64, SourceId, u64, u64), Waiting>,
    waiting_bytes: usize,
    held: BTreeMap<(SourceId, String), Due>,
    next: u64,
    /// See [`Sequencer::take_rates`].
    rates: Vec<Option<Stage>>,
}

impl Sequencer {
    pub(super) fn new(plan: &AlertPlan) -> Self {
        let mut sequencer = Self::default();
        sequencer.set_plan(plan);
        sequencer
    }

    /// Applies other limits.
    pub(super) fn set_plan(&mut self, plan: &AlertPlan) {
        self.limit = plan.max_per_minute as usize;
        self.window_ns = u64::try_from(plan.burst_window.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Adds a source. Returns its token.
    pub(super) fn join(&mut self, source: &SourceId, order: Order, arrival_ns: u64, out: &mut Vec<Ruling>) -> u64 {
        match (self.mode, order) {
            (Mode::Live, _) => {}
            (_, Order::Arrival) => {
                self.release(|_| true, out);
                self.move_to(arrival_ns);
                self.mode = Mode::Live;
            }
            _ => self.mode = Mode::Merge,
        }
        self.next += 1;
        let member = Member { order, base_ns: self.now_ns, mark_ns: None, moved_ns: arrival_ns, has_ended: false };
        self.members.insert((source.clone(), self.next), member);
        self.next
    }

    /// Removes a source: the others no longer wait for it. What is held back is sent with the last one.
    pub(super) fn leave(&mut self, source: &SourceId, token: u64, arrival_ns: u64, out: &mut Vec<Ruling>) {
        if let Some(member) = self.members.get_mut(&(source.clone(), token)) {
            member.has_ended = true;
        }
        if self.mode == Mode::Live {
            self.members.retain(|_, member| !member.has_ended);
        }
        self.release_merged(arrival_ns, out);
        if self.members.values().all(|member| member.has_ended) {
            if let Some(last_ns) = self.members.values().filter_map(|member| member.mark_ns).max() {
                self.advance(last_ns, out);
            }
            self.members.clear();
            self.flush(out);
            self.mode = Mode::Idle;
        }
    }

    /// Decides on an alert of a source, now or when its turn comes; without a token, of none of the sources.
    pub(super) fn offer(&mut self, token: Option<u64>, alert: Arc<Alert>, times: Times, out: &mut Vec<Ruling>) {
        self.note_start(times.arrival_ns, |key| Some(key.1) == token);
        let time_ns = token.and_then(|token| self.merge_time(&alert.source, token, times));
        match (self.mode, time_ns, token) {
            (Mode::Merge, Some(time_ns), Some(token)) => {
                self.waiting_bytes += alert.memory_bytes();
                self.next += 1;
                let key = (time_ns, alert.source.clone(), token, self.next);
                self.waiting.insert(key, Waiting { alert, times });
                self.release_merged(times.arrival_ns, out);
            }
            (Mode::Merge, ..) => self.decide(alert, times, self.now_ns, out),
            _ => {
                // After a merge the time may be far ahead of the clock.
                if self.mode == Mode::Idle && self.now_ns.saturating_sub(times.arrival_ns) > MINUTE_NS {
                    self.move_to(times.arrival_ns);
                }
                self.decide(alert, times, times.arrival_ns, out);
            }
        }
    }

    /// Notes that a source has judged a frame and raised all of its alerts.
    pub(super) fn judged(&mut self, source: &SourceId, token: u64, times: Times, out: &mut Vec<Ruling>) {
        self.note_start(times.arrival_ns, |key| key.1 == token);
        let time_ns = self.merge_time(source, token, times);
        if let Some(member) = self.members.get_mut(&(source.clone(), token)) {
            (member.mark_ns, member.moved_ns) = (time_ns, times.arrival_ns);
        }
        self.tick(times.arrival_ns, out);
    }

    /// Lets time pass: sends the digests that are due, and does not wait for sources that do not advance.
    pub(super) fn tick(&mut self, arrival_ns: u64, out: &mut Vec<Ruling>) {
        // Time alone changes nothing else; this is called for every frame.
        if self.waiting.is_empty() && self.held.is_empty() {
            return;
        }
        match self.mode {
            Mode::Merge => self.release_merged(arrival_ns, out),
            Mode::Live | Mode::Idle => self.advance(arrival_ns, out),
        }
    }

    /// Sends everything that waits or is held back: no more frames come.
    pub(super) fn finish(&mut self, out: &mut Vec<Ruling>) {
        self.release(|_| true, out);
        self.flush(out);
    }

    /// Whether it has anything of a source.
    pub(super) fn knows(&self, source: &SourceId) -> bool {
        let is_its = |id: &SourceId| id == source;
        self.members.keys().any(|(id, _)| is_its(id))
            || self.held.keys().any(|(id, _)| is_its(id))
            || self.waiting.keys().any(|(_, id, ..)| is_its(id))
    }

    /// Takes back an alert that was sent and not accepted.
    pub(super) fn take_back(&mut self, source: &SourceId) {
        if let Some(at) = self.sent.iter().rposition(|(_, sender)| sender == source) {
            self.sent.remove(at);
            self.release_place(source);
        }
    }

    /// Holds a digest that was not accepted for the next one. `false` if there will be none, as no source is left.
    pub(super) fn hold_again(&mut self, digest: &Arc<Alert>) -> bool {
        let times = Times { arrival_ns: self.now_ns, pts_ns: digest.pts_ns, unix_ns: digest.id.unix_ns() };
        self.mode != Mode::Idle && matches!(self.hold(digest.clone(), times), Ruling::Digested(_))
    }

    /// With the first frame of a source, those without one are waited for anew: all of them are starting.
    fn note_start(&mut self, arrival_ns: u64, is_it: impl Fn(&(SourceId, u64)) -> bool) {
        if self.members.iter().any(|(key, member)| member.mark_ns.is_none() && is_it(key)) {
            let starting = self.members.values_mut().filter(|member| member.mark_ns.is_none());
            starting.for_each(|member| member.moved_ns = arrival_ns);
        }
    }

    /// The time of a source's frame in the merge.
    fn merge_time(&self, source: &SourceId, token: u64, times: Times) -> Option<u64> {
        Some(self.members.get(&(source.clone(), token))?.time_of(times))
    }

    /// Continues on another clock: what was sent keeps its age.
    fn move_to(&mut self, now_ns: u64) {
        let former_ns = std::mem::replace(&mut self.now_ns, now_ns);
        let moved = |at_ns: u64| match at_ns.checked_sub(former_ns) {
            Some(ahead_ns) => now_ns.saturating_add(ahead_ns),
            None => now_ns.saturating_sub(former_ns - at_ns),
        };
        self.sent.iter_mut().for_each(|(at_ns, _)| *at_ns = moved(*at_ns));
        for due in self.held.values_mut() {
            (due.ready_ns, due.last.1) = (moved(due.ready_ns), moved(due.last.1));
        }
    }

    /// Decides on the waiting alerts that no other source can precede any more.
    fn release_merged(&mut self, arrival_ns: u64, out: &mut Vec<Ruling>) {
        let is_merge = self.mode == Mode::Merge;
        self.release(|sequencer| is_merge && sequencer.is_first_ready(arrival_ns), out);
        if is_merge && self.waiting.is_empty() {
            // Digests are due at times that every source has reached.
            let reached = |(_, member): (_, &Member)| if member.has_ended { None } else { Some(member.mark_ns) };
            if let Some(Some(all_ns)) = self.members.iter().filter_map(reached).min() {
                self.advance(all_ns, out);
            }
        }
    }

    fn release(&mut self, is_ready: impl Fn(&Self) -> bool, out: &mut Vec<Ruling>) {
        while !self.waiting.is_empty() && is_ready(self) {
            let Some(((time_ns, ..), Waiting { alert, times })) = self.waiting.pop_first() else { return };
            self.waiting_bytes -= alert.memory_bytes();
            self.decide(alert, times, time_ns, out);
        }
    }

    /// Whether the first waiting alert has its turn.
    fn is_first_ready(&self, arrival_ns: u64) -> bool {
        let Some((time_ns, source, token, _)) = self.waiting.keys().next() else { return false };
        let precedes = |(key, member): (&(SourceId, u64), &Member)| {
            let is_stalled = arrival_ns.saturating_sub(member.moved_ns) >= STALLED_NS;
            let own = (source, token) == (&key.0, &key.1);
            let is_past = member.mark_ns.is_some_and(|mark_ns| (mark_ns, &key.0, &key.1) > (*time_ns, source, token));
            !own && !member.has_ended && !is_stalled && !is_past
        };
        let is_full = self.waiting.len() > WAITING_MAX || self.waiting_bytes > WAITING_BYTES_MAX;
        is_full || !self.members.iter().any(precedes)
    }

    fn decide(&mut self, alert: Arc<Alert>, times: Times, time_ns: u64, out: &mut Vec<Ruling>) {
        self.advance(time_ns, out);
        let (source, level) = (alert.source.clone(), alert.level);
        if level == Level::Critical {
            out.push(Ruling::Send(alert));
        } else if self.may_send(&source) {
            self.send(&source);
            out.push(Ruling::Send(alert));
        } else {
            out.push(self.hold(alert, times));
        }
        self.note_rate(&source, level);
    }

    fn hold(&mut self, alert: Arc<Alert>, times: Times) -> Ruling {
        let key = (alert.source.clone(), alert.rule.clone());
        let last = (times, self.now_ns);
        let is_full = self.held.len() >= HELD_MAX;
        match self.held.get_mut(&key) {
            Some(due) => {
                due.held.add(&alert);
                due.last = last;
            }
            None if is_full => return Ruling::Refused(alert),
            None => {
                let ready_ns = self.now_ns.saturating_add(self.window_ns);
                self.held.insert(key, Due { held: Held::new(&alert, HeldBy::Rate), ready_ns, last });
            }
        }
        Ruling::Digested(alert)
    }

    /// Lets time pass up to `to_ns`, and sends each digest as soon as it is due and there is a place for it.
    fn advance(&mut self, to_ns: u64, out: &mut Vec<Ruling>) {
        loop {
            let expiry = self.sent.front().map(|(at_ns, _)| at_ns.saturating_add(MINUTE_NS));
            let is_ahead = |at_ns: &u64| *at_ns > self.now_ns;
            let ready = self.held.values().map(|due| due.ready_ns).filter(is_ahead).min();
            let ended = self.members.values().filter(|member| member.has_ended);
            let left = ended.filter_map(|member| Some(member.mark_ns?.saturating_add(1))).filter(is_ahead).min();
            let next = expiry.into_iter().chain(ready).chain(left).min();
            let Some(at_ns) = next.filter(|at_ns| *at_ns <= to_ns) else { break };
            self.now_ns = self.now_ns.max(at_ns);
            self.expire();
            self.send_ready(out);
        }
        self.now_ns = self.now_ns.max(to_ns);
        self.forget_ended();
        // The digests of a merge are sent at the times above only: those depend on no schedule.
        if self.mode != Mode::Merge {
            self.send_ready(out);
        }
    }

    fn send_ready(&mut self, out: &mut Vec<Ruling>) {
        if self.held.is_empty() || self.limit > 0 && self.sent.len() >= self.limit {
            return;
        }
        let now_ns = self.now_ns;
        let is_ready = |due: &Due| due.ready_ns <= now_ns;
        // This is called for every frame, and there may be many rules of one source.
        let mut open: Vec<SourceId> =
            self.held.iter().filter(|(_, due)| is_ready(due)).map(|((source, _), _)| source.clone()).collect();
        open.dedup();
        open.retain(|source| self.may_send(source));
        if open.is_empty() {
            return;
        }
        let ready = self.held.iter().filter(|((source, _), due)| is_ready(due) && open.contains(source));
        let mut keys: Vec<_> = ready.map(|(key, due)| (due.ready_ns, key.clone())).collect();
        keys.sort();
        for (_, key) in keys {
            if self.may_send(&key.0) {
                self.send_digest(&key, out);
            }
        }
    }

    fn send_digest(&mut self, key: &(SourceId, String), out: &mut Vec<Ruling>) {
        let Some(Due { held, last: (times, at_ns), .. }) = self.held.remove(key) else { return };
        let since_ns = self.now_ns.saturating_sub(at_ns);
        let at = At { pts_ns: times.pts_ns.saturating_add(since_ns), unix_ns: times.unix_ns.saturating_add(since_ns) };
        self.send(&key.0);
        out.push(Ruling::Digest(Arc::new(held.into_alert(at))));
    }

    fn send(&mut self, source: &SourceId) {
        if self.limit > 0 {
            self.sent.push_back((self.now_ns, source.clone()));
            *self.used.entry(source.clone()).or_default() += 1;
        }
    }

    /// Sends everything held back: live now, else each at the first time at which there is a place for it.
    fn flush(&mut self, out: &mut Vec<Ruling>) {
        while let Some(key) = self.held.iter().min_by_key(|(key, due)| (due.ready_ns, *key)).map(|(key, _)| key.clone())
        {
            while self.mode == Mode::Merge && self.limit > 0 && self.sent.len() >= self.limit {
                let Some((at_ns, _)) = self.sent.front() else { break };
                self.now_ns = self.now_ns.max(at_ns.saturating_add(MINUTE_NS));
                self.expire();
            }
            self.send_digest(&key, out);
        }
    }

    /// Whether a source takes part now: a live one that has delivered frames within the last minute, or one of a merge
    /// until its last frame.
    fn takes_part(&self, member: &Member) -> bool {
        match self.mode {
            Mode::Live => self.now_ns.saturating_sub(member.moved_ns) < MINUTE_NS,
            Mode::Idle | Mode::Merge => !member.is_past(self.now_ns),
        }
    }

    /// Whether there is a place for an alert of `source`: within its share, or one that is reserved for nobody.
    fn may_send(&self, source: &SourceId) -> bool {
        if self.limit == 0 {
            return true;
        }
        let Some(free) = self.limit.checked_sub(self.sent.len()).filter(|free| *free > 0) else { return false };
        let members = self.members.iter().filter(|(_, member)| self.takes_part(member)).map(|((id, _), _)| id);
        let used = |id| self.used.get(id).copied().unwrap_or_default();
        let mut used: BTreeMap<&SourceId, usize> = members.chain([source]).map(|id| (id, used(id))).collect();
        let share = self.limit / used.len().max(1);
        let own = used.remove(source).unwrap_or_default();
        if share == 0 {
            // More sources than places: half of them are for those that have sent nothing.
            let quiet = used.values().filter(|count| **count == 0).count();
            return own == 0 || free > quiet.min(self.limit / 2);
        }
        let reserved: usize = used.values().map(|count| share.saturating_sub(*count)).sum();
        own < share || free > reserved
    }

    /// Forgets ended sources whose last frame has passed.
    fn forget_ended(&mut self) {
        if self.members.values().any(|member| member.is_past(self.now_ns)) {
            let now_ns = self.now_ns;
            self.members.retain(|_, member| !member.is_past(now_ns));
        }
    }
}

#[cfg(test)]
mod tests;
