//! A lane's inbox: frames in ticket order, whatever order inference finishes in, and commands between frames.
//!
//! Every frame that a source offers gets the next ticket. Each ticket is settled exactly once: with its frame, or with
//! nothing if the frame was dropped on the way. The lane takes settled tickets in order. Bounds: a lossless source
//! waits in [`Inbox::wait_room`] while `IN_FLIGHT_MAX` of its tickets are open; a live source never has more than that
//! taken (see `pool`), and keeps at most one frame waiting in front.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::threads::Waker;
use crate::types::Frame;

/// Maximum number of a source's tickets between its thread and the end of its lane, for `workers` workers.
pub(in crate::engine) fn in_flight_max(workers: usize) -> u64 {
    workers as u64 + 2
}

/// The lane's next step.
pub(super) enum Step<C> {
    /// Judge this frame; call [`Inbox::done`] afterwards.
    Frame(Box<Frame>),
    /// Run this command between frames.
    Control(C),
    /// Every ticket before the end is settled: the source has finished.
    Ended,
    /// Stop now and skip whatever is queued.
    Closed,
}

/// What a lane takes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever comes next.
    Any,
    /// All but frames.
    NoFrames,
}

struct State<C> {
    settled: BTreeMap<u64, Option<Box<Frame>>>,
    /// Next ticket to issue.
    issued: u64,
    /// Next ticket for the lane to take.
    next: u64,
    /// Tickets that have left the lane, or were settled with nothing and skipped.
    finished: u64,
    control: VecDeque<C>,
    ended: bool,
    closed: bool,
}

impl<C> State<C> {
    /// The step that comes before any frame: a command, or the end of a lane that was closed.
    fn urgent(&mut self) -> Option<Step<C>> {
        let control = self.control.pop_front().map(Step::Control);
        control.or_else(|| self.closed.then_some(Step::Closed))
    }

    /// Whether the lane has taken the source's last frame.
    fn is_over(&self) -> bool {
        self.ended && self.next == self.issued
    }

    /// Whether the lane has something to do. It may turn out to be a dropped frame.
    fn has_step(&self, wanted: Wanted) -> bool {
        let has_frame = wanted == Wanted::Any && self.settled.contains_key(&self.next);
        !self.control.is_empty() || self.closed || has_frame || self.is_over()
    }
}

/// See the module.
pub(in crate::engine) struct Inbox<C> {
    state: Mutex<State<C>>,
    changed: Condvar,
    /// Wakes a lane on a shared thread.
    waker: OnceLock<Waker>,
    room: Condvar,
    in_flight_max: u64,
}

impl<C> Inbox<C> {
    pub(super) fn new(in_flight_max: u64) -> Self {
        Self {
            state: Mutex::new(State {
                settled: BTreeMap::new(),
                issued: 0,
                next: 0,
                finished: 0,
                control: VecDeque::new(),
                ended: false,
                closed: false,
            }),
            changed: Condvar::new(),
            waker: OnceLock::new(),
            room: Condvar::new(),
            in_flight_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock()
    }

    /// Sets what wakes a lane that runs on a shared thread. Called once, before anything comes.
    pub(super) fn wake_by(&self, waker: Waker) {
        // A lane runs once.
        let _ = self.waker.set(waker);
    }

    /// Wakes the lane. The state must not be locked.
    fn notify(&self) {
        self.changed.notify_one();
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// Waits until a lossless source may offer another frame. `false` if the lane is closed.
    pub(super) fn wait_room(&self) -> bool {
        let mut state = self.lock();
        while !state.closed && state.issued - state.finished >= self.in_flight_max {
            self.room.wait(&mut state);
        }
        !state.closed
    }

    /// Issues the next ticket; `None` if the lane is closed.
    pub(super) fn ticket(&self) -> Option<u64> {
        let mut state = self.lock();
        (!state.closed).then(|| {
            state.issued += 1;
            state.issued - 1
        })
    }

    /// Settles a ticket with its frame, or with nothing if the frame was dropped.
    pub(super) fn settle(&self, ticket: u64, frame: Option<Box<Frame>>) {
        let mut state = self.lock();
        state.settled.insert(ticket, frame);
        let is_next = ticket == state.next;
        drop(state);
        if is_next {
            self.notify();
        }
    }

    /// Settles a ticket of a live source that needs no inference. If more than `waiting_max` frames would then wait for
    /// the lane, the oldest are dropped: newest wins. Returns the number of dropped frames.
    pub(super) fn settle_newest(&self, ticket: u64, frame: Box<Frame>, waiting_max: usize) -> u64 {
        let mut state = self.lock();
        let mut dropped = 0;
        if state.settled.len() >= waiting_max {
            let waiting = state.settled.values().filter(|settled| settled.is_some()).count();
            let excess = (waiting + 1).saturating_sub(waiting_max);
            for oldest in state.settled.values_mut().filter(|settled| settled.is_some()).take(excess) {
                *oldest = None;
                dropped += 1;
            }
        }
        state.settled.insert(ticket, Some(frame));
        drop(state);
        self.notify();
        dropped
    }

    /// Frames waiting for the lane.
    pub(in crate::engine) fn waiting(&self) -> usize {
        self.lock().settled.len()
    }

    /// Queues a command to run before the next frame; an idle lane runs it immediately. A closed lane drops it, which
    /// disconnects the channel of its answer.
    pub(in crate::engine) fn control(&self, control: C) {
        let mut state = self.lock();
        if !state.closed {
            state.control.push_back(control);
        }
        drop(state);
        self.notify();
    }

    /// The source offered its last frame.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.notify();
    }

    /// Stops the lane before its next frame and wakes callers of [`Inbox::wait_room`].
    pub(in crate::engine) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Dropped after the lock: a command may own whole strategies.
        let dropped = std::mem::take(&mut state.control);
        drop(state);
        drop(dropped);
        self.notify();
        self.room.notify_all();
    }

    /// The lane's next step, if there is one.
    pub(super) fn poll(&self, wanted: Wanted) -> Option<Step<C>> {
        let mut state = self.lock();
        loop {
            if let Some(step) = state.urgent() {
                return Some(step);
            }
            let next = state.next;
            let settled = if wanted == Wanted::Any { state.settled.remove(&next) } else { None };
            let Some(settled) = settled else { return state.is_over().then_some(Step::Ended) };
            state.next += 1;
            if let Some(frame) = settled {
                return Some(Step::Frame(frame));
            }
            state.finished += 1;
            self.room.notify_one();
        }
    }

    /// Waits until there may be a step, at most `limit` if there is one; `false` if nothing came.
    pub(super) fn wait(&self, wanted: Wanted, limit: Option<Duration>) -> bool {
        let mut state = self.lock();
        while !state.has_step(wanted) {
            match limit {
                None => self.changed.wait(&mut state),
                Some(limit) if self.changed.wait_for(&mut state, limit).timed_out() => {
                    return state.has_step(wanted);
                }
                Some(_) => {}
            }
        }
        true
    }

    /// The last taken frame has been judged. Returns whether there may be another step.
    pub(super) fn done(&self) -> bool {
        let mut state = self.lock();
        state.finished += 1;
        self.room.notify_one();
        state.has_step(Wanted::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Box<Frame> {
        Box::new(Frame { pts_ns: seq, width: 1, height: 1, ..Frame::empty("a", seq) })
    }

    fn seq(inbox: &Inbox<u8>) -> u64 {
        match inbox.poll(Wanted::Any) {
            Some(Step::Frame(frame)) => frame.seq,
            _ => panic!("expected a frame"),
        }
    }

    #[test]
    fn frames_leave_in_ticket_order_whatever_order_they_were_settled_in() {
        let inbox = Inbox::<u8>::new(8);
        let tickets: Vec<u64> = (0..4).map(|_| inbox.ticket().unwrap()).collect();
        inbox.settle(tickets[2], Some(frame(2)));
        inbox.settle(tickets[1], None);
        inbox.settle(tickets[0], Some(frame(0)));
        inbox.settle(tickets[3], Some(frame(3)));
        inbox.end();
        assert_eq!([seq(&inbox), seq(&inbox), seq(&inbox)], [0, 2, 3]);
        assert!(matches!(inbox.poll(Wanted::Any), Some(Step::Ended)));
    }

    #[test]
    fn the_newest_live_frame_replaces_the_waiting_one() {
        let inbox = Inbox::<u8>::new(8);
        let (a, b) = (inbox.ticket().unwrap(), inbox.ticket().unwrap());
        assert_eq!(inbox.settle_newest(a, frame(0), 1), 0);
        assert_eq!(inbox.settle_newest(b, frame(1), 1), 1);
        assert_eq!(seq(&inbox), 1);
    }

    #[test]
    fn as_many_live_frames_wait_as_may() {
        let inbox = Inbox::<u8>::new(8);
        let dropped: Vec<u64> = (0..5).map(|n| inbox.settle_newest(inbox.ticket().unwrap(), frame(n), 3)).collect();
        assert_eq!(dropped, [0, 0, 0, 1, 1]);
        assert_eq!([seq(&inbox), seq(&inbox), seq(&inbox)], [2, 3, 4]);
    }

    #[test]
    fn a_wait_for_nothing_ends() {
        let inbox = Inbox::<u8>::new(8);
        assert!(inbox.poll(Wanted::Any).is_none() && !inbox.wait(Wanted::Any, Some(Duration::ZERO)));
        let ticket = inbox.ticket().unwrap();
        inbox.settle(ticket, Some(frame(0)));
        assert!(inbox.wait(Wanted::Any, Some(Duration::ZERO)));
        assert_eq!(seq(&inbox), 0);
    }

    #[test]
    fn a_lane_that_takes_no_frame_gets_commands_and_its_end() {
        let inbox = Inbox::<u8>::new(8);
        let ticket = inbox.ticket().unwrap();
        inbox.settle(ticket, Some(frame(0)));
        assert!(inbox.poll(Wanted::NoFrames).is_none() && !inbox.wait(Wanted::NoFrames, Some(Duration::ZERO)));
        inbox.control(7);
        assert!(inbox.wait(Wanted::NoFrames, None));
        assert!(matches!(inbox.poll(Wanted::NoFrames), Some(Step::Control(7))));
        assert_eq!(seq(&inbox), 0, "it is still there");
        inbox.close();
        assert!(matches!(inbox.poll(Wanted::NoFrames), Some(Step::Closed)));
    }

    #[test]
    fn commands_run_before_the_next_frame_and_a_closed_lane_drops_them() {
        let inbox = Inbox::<u8>::new(8);
        let ticket = inbox.ticket().unwrap();
        inbox.settle(ticket, Some(frame(0)));
        inbox.control(7);
        assert!(matches!(inbox.poll(Wanted::Any), Some(Step::Control(7))));
        inbox.close();
        assert!(matches!(inbox.poll(Wanted::Any), Some(Step::Closed)));
        assert!(inbox.ticket().is_none());
        assert!(!inbox.wait_room());
    }
}
