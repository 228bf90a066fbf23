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
//! other alerts, and come before them. Critical alerts are in order, but never held back here. A source may have a limit
//! of its own within that of the site. `turn` says when each alert came, so that a recording can be replayed.

mod digests;
mod parts;
mod restart;
mod turn;
mod usage;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::digests::{Digests, Due, Key};
pub use self::parts::Order;
use self::parts::{MINUTE_NS, Member, Mode, Waiting, moved, on_clock};
pub(super) use self::parts::{Recorded, Ruling, Times};
use super::chain::Stage;
use super::digest::At;
use crate::config::AlertPlan;
use crate::types::{Alert, Level, SourceId};

/// A source of a merge that has not advanced for this long is not waited for.
const STALLED_NS: u64 = 30_000_000_000;
/// Maximum alerts that wait for the merge; beyond it the first one does not wait.
const WAITING_MAX: usize = 4_096;
/// Maximum bytes of the alerts that wait for the merge.
const WAITING_BYTES_MAX: usize = 16 << 20;

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
    held: Digests,
    /// Limits of sources of their own.
    own_limits: BTreeMap<SourceId, usize>,
    next: u64,
    /// See [`Sequencer::turn`].
    arrived_ns: u64,
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

    /// Sets the limit of a source's own; `None` is none.
    pub(super) fn set_own_limit(&mut self, source: &SourceId, per_minute: Option<u32>) {
        match per_minute {
            Some(limit) => drop(self.own_limits.insert(source.clone(), limit as usize)),
            None => drop(self.own_limits.remove(source)),
        }
    }

    /// Adds a source. Returns its token.
    pub(super) fn join(&mut self, source: &SourceId, order: Order, arrival_ns: u64, out: &mut Vec<Ruling>) -> u64 {
        match (self.mode, order) {
            (Mode::Live, _) => {}
            (_, Order::Arrival) => {
                self.release(|_| true, out);
                if self.mode == Mode::Merge {
                    self.move_to(on_clock(arrival_ns));
                }
                self.mode = Mode::Live;
            }
            _ => {
                if self.mode == Mode::Idle {
                    self.leave_clock(arrival_ns, out);
                }
                self.mode = Mode::Merge;
            }
        }
        self.next += 1;
        let member =
            Member { order, base_ns: self.now_ns, mark_ns: None, moved_ns: arrival_ns, stays: false, has_ended: false };
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
            self.own_limits.clear();
            if self.mode == Mode::Merge {
                self.move_to(on_clock(arrival_ns));
            }
            self.mode = Mode::Idle;
        } else if !self.knows(source) {
            self.own_limits.remove(source);
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
            _ => self.decide(alert, times, on_clock(times.arrival_ns), out),
        }
    }

    /// Notes that a source has judged a frame and raised all of its alerts.
    pub(super) fn judged(&mut self, source: &SourceId, token: u64, times: Times, out: &mut Vec<Ruling>) {
        self.note_start(times.arrival_ns, |key| key.1 == token);
        let time_ns = self.merge_time(source, token, times);
        if let Some(member) = self.members.get_mut(&(source.clone(), token)) {
            (member.mark_ns, member.moved_ns) = (time_ns, times.arrival_ns);
            member.stays = times.recorded.is_some_and(|recorded| recorded.is_live);
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
            Mode::Live | Mode::Idle => self.advance(on_clock(arrival_ns), out),
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
            || self.held.has(source)
            || self.waiting.keys().any(|(_, id, ..)| is_its(id))
    }

    /// How the alerts of a source are ordered, by its newest place.
    pub(super) fn order(&self, source: &SourceId) -> Option<Order> {
        let mut its = self.members.iter().filter(|((id, _), member)| id == source && !member.has_ended);
        its.next_back().map(|(_, member)| member.order)
    }

    /// Takes back an alert that was sent and not accepted.
    pub(super) fn take_back(&mut self, source: &SourceId) {
        if let Some(at) = self.sent.iter().rposition(|(_, sender)| sender == source) {
            self.sent.remove(at);
            self.release_place(source);
        }
    }

    /// Holds a digest that was not accepted for the next one; refuses it if there will be none, as no source is left.
    pub(super) fn hold_again(&mut self, digest: &Arc<Alert>) -> Ruling {
        if self.mode == Mode::Idle {
            return Ruling::Refused(digest.clone());
        }
        let times =
            Times { arrival_ns: self.now_ns, pts_ns: digest.pts_ns, unix_ns: digest.id.unix_ns(), recorded: None };
        self.hold(digest.clone(), times)
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

    /// Lets time pass on the clock for the last time: from now on frame time counts. It begins anew, unless something was
    /// sent within the last minute.
    fn leave_clock(&mut self, arrival_ns: u64, out: &mut Vec<Ruling>) {
        self.advance(on_clock(arrival_ns), out);
        if self.sent.is_empty() && self.held.is_empty() {
            self.now_ns = 0;
        }
    }

    /// Continues on another clock: what was sent keeps its age.
    fn move_to(&mut self, now_ns: u64) {
        let former_ns = std::mem::replace(&mut self.now_ns, now_ns);
        self.sent.iter_mut().for_each(|(at_ns, _)| *at_ns = moved(*at_ns, former_ns, now_ns));
        self.held.move_times(|at_ns| moved(at_ns, former_ns, now_ns));
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
        let ready_ns = self.now_ns.saturating_add(self.window_ns);
        match self.held.add(&alert, ready_ns, (times, self.now_ns), self.members.len()) {
            Some(added) => Ruling::Digested(alert, added.unneeded),
            None => Ruling::Refused(alert),
        }
    }

    /// Lets time pass up to `to_ns`, and sends each digest as soon as it is due and there is a place for it. Live, what
    /// was due earlier is sent now, and takes its place now.
    fn advance(&mut self, to_ns: u64, out: &mut Vec<Ruling>) {
        while self.mode == Mode::Merge {
            let expiry = self.sent.front().map(|(at_ns, _)| at_ns.saturating_add(MINUTE_NS));
            let is_ahead = |at_ns: &u64| *at_ns > self.now_ns;
            let ready = self.held.next_ns(self.now_ns);
            let ended = self.members.values().filter(|member| member.has_ended);
            let left = ended.filter_map(Member::leaves_ns).filter(is_ahead).min();
            let next = expiry.into_iter().chain(ready).chain(left).min();
            let Some(at_ns) = next.filter(|at_ns| *at_ns <= to_ns) else { break };
            self.now_ns = self.now_ns.max(at_ns);
            self.expire();
            self.send_ready(out);
        }
        self.now_ns = self.now_ns.max(to_ns);
        self.expire();
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
        for key in self.held.ready(self.now_ns, |source| self.may_send(source)) {
            if self.may_send(&key.0) {
                self.send_digest(&key, out);
            }
        }
    }

    fn send_digest(&mut self, key: &Key, out: &mut Vec<Ruling>) {
        let Some(Due { held, last: (times, at_ns), .. }) = self.held.remove(key) else { return };
        let since_ns = self.now_ns.saturating_sub(at_ns);
        let at = At { pts_ns: times.pts_ns.saturating_add(since_ns), unix_ns: times.unix_ns.saturating_add(since_ns) };
        self.send(&key.0);
        out.push(Ruling::Digest(held.into_digest(at)));
    }

    fn send(&mut self, source: &SourceId) {
        if self.limit > 0 || self.own_limits.contains_key(source) {
            self.sent.push_back((self.now_ns, source.clone()));
            *self.used.entry(source.clone()).or_default() += 1;
        }
    }

    /// Sends everything held back: live now, else each at the first time at which there is a place for it.
    fn flush(&mut self, out: &mut Vec<Ruling>) {
        while let Some(key) = self.held.first() {
            while self.mode == Mode::Merge && !self.has_place(&key.0) {
                let Some((at_ns, _)) = self.sent.front() else { break };
                self.now_ns = self.now_ns.max(at_ns.saturating_add(MINUTE_NS));
                self.expire();
            }
            self.send_digest(&key, out);
        }
    }

    /// Whether there is a place for an alert of `source`: within its share, or one that is reserved for nobody.
    fn may_send(&self, source: &SourceId) -> bool {
        if self.limit == 0 || !self.has_place(source) {
            return self.has_place(source);
        }
        let free = self.limit.saturating_sub(self.sent.len());
        let members =
            self.members.iter().filter(|(_, member)| member.takes_part(self.mode, self.now_ns)).map(|((id, _), _)| id);
        let used = |id| self.used.get(id).copied().unwrap_or_default();
        let mut used: BTreeMap<&SourceId, usize> = members.chain([source]).map(|id| (id, used(id))).collect();
        let share = self.limit / used.len().max(1);
        let own = used.remove(source).unwrap_or_default();
        if share == 0 {
            // More sources than places: half of them are for those that have sent nothing.
            let quiet = used.values().filter(|count| **count == 0).count();
            return own == 0 || free > quiet.min(self.limit / 2);
        }
        // What a source may not use is not reserved for it.
        let most = |id: &SourceId| self.own_limits.get(id).map_or(share, |own| share.min(*own));
        let reserved: usize = used.iter().map(|(id, count)| most(id).saturating_sub(*count)).sum();
        own < share || free > reserved
    }

    /// Whether neither the site nor the source has sent as many as it may.
    fn has_place(&self, source: &SourceId) -> bool {
        let used = self.used.get(source).copied().unwrap_or_default();
        let is_within = self.own_limits.get(source).is_none_or(|limit| used < *limit);
        is_within && (self.limit == 0 || self.sent.len() < self.limit)
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
