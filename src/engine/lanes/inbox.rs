//! A lane's inbox: frames in ticket order, whatever order inference finishes in, and commands between frames.
//!
//! Every frame that a source offers gets the next ticket. Each ticket is settled exactly once: with its frame, or with
//! nothing if the frame was dropped on the way. The lane takes settled tickets in order. Bounds: a lossless source
//! waits in [`Inbox::wait_room`] while `IN_FLIGHT_MAX` of its tickets are open; a live source never has more than that
//! taken (see `pool`), and keeps at most one frame waiting in front.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

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
    /// Nothing came for as long as the caller waits.
    Idle,
    /// Every ticket before the end is settled: the source has finished.
    Ended,
    /// Stop now and skip whatever is queued.
    Closed,
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
}

/// See the module.
pub(in crate::engine) struct Inbox<C> {
    state: Mutex<State<C>>,
    changed: Condvar,
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
            room: Condvar::new(),
            in_flight_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock()
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
        if ticket == state.next {
            self.changed.notify_one();
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
        self.changed.notify_one();
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
        self.changed.notify_one();
    }

    /// The source offered its last frame.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// Stops the lane before its next frame and wakes callers of [`Inbox::wait_room`].
    pub(in crate::engine) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Dropped after the lock: a command may own whole strategies.
        let dropped = std::mem::take(&mut state.control);
        drop(state);
        drop(dropped);
        self.changed.notify_one();
        self.room.notify_all();
    }

    /// Waits for the lane's next step, at most `wait` if there is one.
    pub(super) fn next(&self, wait: Option<Duration>) -> Step<C> {
        let mut state = self.lock();
        loop {
            if let Some(step) = state.urgent() {
                return step;
            }
            let next = state.next;
            if let Some(settled) = state.settled.remove(&next) {
                state.next += 1;
                match settled {
                    Some(frame) => return Step::Frame(frame),
                    None => {
                        state.finished += 1;
                        self.room.notify_one();
                        continue;
                    }
                }
            }
            if state.is_over() {
                return Step::Ended;
            }
            match wait {
                None => self.changed.wait(&mut state),
                Some(wait) if self.changed.wait_for(&mut state, wait).timed_out() => return Step::Idle,
                Some(_) => {}
            }
        }
    }

    /// As [`Inbox::next`] for a lane that takes no frame now: a command, the end of the lane, or nothing within `wait`.
    pub(super) fn next_but_frames(&self, wait: Duration) -> Step<C> {
        let mut state = self.lock();
        loop {
            if let Some(step) = state.urgent() {
                return step;
            }
            if state.is_over() {
                return Step::Ended;
            }
            if self.changed.wait_for(&mut state, wait).timed_out() {
                return Step::Idle;
            }
        }
    }

    /// The last taken frame has been judged.
    pub(super) fn done(&self) {
        self.lock().finished += 1;
        self.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Box<Frame> {
        Box::new(Frame { pts_ns: seq, width: 1, height: 1, ..Frame::empty("a", seq) })
    }

    fn seq(step: Step<u8>) -> u64 {
        match step {
            Step::Frame(frame) => frame.seq,
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
        assert_eq!([seq(inbox.next(None)), seq(inbox.next(None)), seq(inbox.next(None))], [0, 2, 3]);
        assert!(matches!(inbox.next(None), Step::Ended));
    }

    #[test]
    fn the_newest_live_frame_replaces_the_waiting_one() {
        let inbox = Inbox::<u8>::new(8);
        let (a, b) = (inbox.ticket().unwrap(), inbox.ticket().unwrap());
        assert_eq!(inbox.settle_newest(a, frame(0), 1), 0);
        assert_eq!(inbox.settle_newest(b, frame(1), 1), 1);
        assert_eq!(seq(inbox.next(None)), 1);
    }

    #[test]
    fn as_many_live_frames_wait_as_may() {
        let inbox = Inbox::<u8>::new(8);
        let dropped: Vec<u64> = (0..5).map(|n| inbox.settle_newest(inbox.ticket().unwrap(), frame(n), 3)).collect();
        assert_eq!(dropped, [0, 0, 0, 1, 1]);
        assert_eq!([seq(inbox.next(None)), seq(inbox.next(None)), seq(inbox.next(None))], [2, 3, 4]);
    }

    #[test]
    fn a_wait_for_nothing_ends() {
        let inbox = Inbox::<u8>::new(8);
        assert!(matches!(inbox.next(Some(Duration::ZERO)), Step::Idle));
        let ticket = inbox.ticket().unwrap();
        inbox.settle(ticket, Some(frame(0)));
        assert_eq!(seq(inbox.next(Some(Duration::ZERO))), 0);
    }

    #[test]
    fn a_lane_that_takes_no_frame_gets_commands_and_its_end() {
        let inbox = Inbox::<u8>::new(8);
        let ticket = inbox.ticket().unwrap();
        inbox.settle(ticket, Some(frame(0)));
        assert!(matches!(inbox.next_but_frames(Duration::ZERO), Step::Idle));
        inbox.control(7);
        assert!(matches!(inbox.next_but_frames(Duration::ZERO), Step::Control(7)));
        assert_eq!(seq(inbox.next(None)), 0, "it is still there");
        inbox.close();
        assert!(matches!(inbox.next_but_frames(Duration::ZERO), Step::Closed));
    }

    #[test]
    fn commands_run_before_the_next_frame_and_a_closed_lane_drops_them() {
        let inbox = Inbox::<u8>::new(8);
        let ticket = inbox.ticket().unwrap();
        inbox.settle(ticket, Some(frame(0)));
        inbox.control(7);
        assert!(matches!(inbox.next(None), Step::Control(7)));
        inbox.close();
        assert!(matches!(inbox.next(None), Step::Closed));
        assert!(inbox.ticket().is_none());
        assert!(!inbox.wait_room());
    }
}
