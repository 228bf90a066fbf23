//! One source's output: enforces the rules for frames and events in one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::supervise::BreakerState;
use super::{Failure, Flow, Sink, SourceEvent, SourceState, Stream};
use crate::types::{Frame, SourceId, Unmasked};

/// Hands one source's frames and events to its [`Sink`].
///
/// Repeated states are sent once. [`end`](Self::end), [`break_off`](Self::break_off) and [`stop`](Self::stop) close the
/// outlet: the first one wins, and nothing follows it. The source's thread and its owner may both close it, so an owner
/// need not wait for a stuck thread.
pub struct Outlet {
    id: SourceId,
    sink: Arc<dyn Sink>,
    /// Whether further frames are refused.
    barred: AtomicBool,
    /// Whether the last event was sent.
    closed: AtomicBool,
    /// Held while the sink takes a frame. No other lock of this outlet is acquired meanwhile.
    delivering: Mutex<()>,
    /// Held while an event is sent, which never blocks; never while a frame is.
    state: Mutex<Option<SourceState>>,
}

impl Outlet {
    /// Creates an outlet for the source `id`, with nothing sent yet.
    pub fn new(id: SourceId, sink: Arc<dyn Sink>) -> Self {
        let (barred, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { id, sink, barred, closed, delivering: Mutex::new(()), state: Mutex::new(None) }
    }

    /// The source's name.
    pub fn id(&self) -> &SourceId {
        &self.id
    }

    /// Whether the last event was sent.
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The state last entered.
    pub fn state(&self) -> Option<SourceState> {
        *self.state.lock()
    }

    /// Hands a frame to the sink and blocks where it does. `Stop` once the source is being removed or has ended.
    pub fn frame(&self, frame: Frame) -> Flow {
        let _delivering = self.delivering.lock();
        let over = self.barred.load(Ordering::Acquire) || self.closed();
        if over { Flow::Stop } else { self.sink.frame(Unmasked::new(frame)) }
    }

    /// Refuses further frames; one in progress is completed.
    pub fn bar(&self) {
        self.barred.store(true, Ordering::Release);
    }

    /// Closes the outlet after a removal. Waits at most `limit` for the sink to take a frame in progress; returns
    /// whether it did.
    pub fn close(&self, limit: Duration) -> bool {
        self.bar();
        let handed = self.delivering.try_lock_for(limit).is_some();
        self.stop();
        handed
    }

    /// Enters a state.
    pub fn enter(&self, state: SourceState) {
        let mut entered = self.state.lock();
        if !self.closed() && entered.replace(state) != Some(state) {
            self.sink.event(&self.id, SourceEvent::State(state));
        }
    }

    /// Reports that an attempt failed and will be retried after `retry_in` (`Duration::MAX`: not by itself), and enters
    /// `state`.
    pub fn fault(&self, failure: impl Into<Failure>, attempt: u32, retry_in: Duration, state: SourceState) {
        let Failure { reason, remedy, patience } = failure.into();
        self.event(SourceEvent::Fault { reason, remedy, class: patience.class(), attempt, retry_in });
        self.enter(state);
    }

    /// Reports what the source's stream is.
    pub fn opened(&self, stream: Stream) {
        self.event(SourceEvent::Opened(stream));
    }

    /// Reports a new state of the source's circuit breaker.
    pub fn breaker(&self, state: BreakerState) {
        self.event(SourceEvent::Breaker(state));
    }

    /// Reports frames lost inside the backend, counted under `reason`.
    pub fn dropped(&self, reason: &'static str, count: u64) {
        if count > 0 {
            self.event(SourceEvent::Dropped { reason, count });
        }
    }

    /// Reports that a finite source delivered its last frame.
    pub fn end(&self) {
        self.last(SourceState::Stopped, Some(SourceEvent::Ended));
    }

    /// Reports that a finite source cannot deliver (any more).
    pub fn break_off(&self, reason: String) {
        self.last(SourceState::Failed, Some(SourceEvent::Broken(reason)));
    }

    /// Reports that the source was removed.
    pub fn stop(&self) {
        self.last(SourceState::Stopped, None);
    }

    fn event(&self, event: SourceEvent) {
        let _entered = self.state.lock();
        if !self.closed() {
            self.sink.event(&self.id, event);
        }
    }

    fn last(&self, state: SourceState, event: Option<SourceEvent>) {
        let mut entered = self.state.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if entered.replace(state) != Some(state) {
            self.sink.event(&self.id, SourceEvent::State(state));
        }
        if let Some(event) = event {
            self.sink.event(&self.id, event);
        }
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("id", &self.id).field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Blackout;

    #[derive(Default)]
    struct Said(Mutex<Vec<String>>);

    impl Sink for Said {
        fn frame(&self, frame: Unmasked) -> Flow {
            let frame = frame.mask(&Blackout::default());
            self.0.lock().push(format!("frame {}", frame.seq));
            Flow::Continue
        }

        fn event(&self, _: &SourceId, event: SourceEvent) {
            self.0.lock().push(match event {
                SourceEvent::State(state) => state.as_str().into(),
                SourceEvent::Fault { reason, attempt, .. } => format!("fault {attempt}: {reason}"),
                SourceEvent::Opened(stream) => format!("opened {}x{}", stream.width, stream.height),
                SourceEvent::Breaker(state) => format!("breaker {}", state.as_str()),
                SourceEvent::Dropped { reason, count } => format!("dropped {count} {reason}"),
                SourceEvent::Ended => "ended".into(),
                SourceEvent::Broken(reason) => format!("broken: {reason}"),
            });
        }
    }

    fn outlet() -> (Arc<Said>, Outlet) {
        let said = Arc::new(Said::default());
        (said.clone(), Outlet::new("cam".into(), said))
    }

    #[test]
    fn a_state_is_sent_when_it_is_entered() {
        let (said, outlet) = outlet();
        outlet.enter(SourceState::Connecting);
        outlet.enter(SourceState::Connecting);
        outlet.fault("gone", 1, Duration::ZERO, SourceState::Backoff { attempt: 1 });
        outlet.dropped("late", 0);
        outlet.dropped("late", 2);
        assert_eq!(*said.0.lock(), ["connecting", "fault 1: gone", "backoff", "dropped 2 late"]);
    }

    #[test]
    fn closing_waits_for_the_frame_that_is_being_handed_on_but_not_longer_than_it_may() {
        struct Gate(crossbeam_channel::Receiver<()>, crossbeam_channel::Sender<()>);
        impl Sink for Gate {
            fn frame(&self, _: Unmasked) -> Flow {
                self.1.send(()).unwrap();
                let _ = self.0.recv();
                Flow::Continue
            }
            fn event(&self, _: &SourceId, _: SourceEvent) {}
        }
        let ((release, held), (inside, entered)) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(1));
        let outlet = Arc::new(Outlet::new("cam".into(), Arc::new(Gate(held, inside))));
        let theirs = Arc::clone(&outlet);
        let thread = crate::own::Thread::start("hands", move |_| {
            assert_eq!(theirs.frame(Frame::empty("cam", 0)), Flow::Continue);
            assert_eq!(theirs.frame(Frame::empty("cam", 1)), Flow::Stop);
        });
        entered.recv().unwrap();
        assert!(!outlet.close(Duration::from_millis(20)), "the sink still has it");
        release.send(()).unwrap();
        assert!(outlet.close(Duration::from_secs(60)));
        assert!(thread.unwrap().join(Duration::from_secs(60)));
    }

    #[test]
    fn the_last_word_is_said_once_and_nothing_follows_it() {
        let (said, outlet) = outlet();
        outlet.enter(SourceState::Running);
        outlet.end();
        outlet.stop();
        outlet.break_off("late".into());
        outlet.enter(SourceState::Running);
        outlet.dropped("late", 1);
        assert_eq!(outlet.frame(Frame::empty("cam", 3)), Flow::Stop);
        assert_eq!(*said.0.lock(), ["running", "stopped", "ended"]);
    }
}
