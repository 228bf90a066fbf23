//! An engine's events for listeners, and the latest alerts for later queries.
//!
//! A listener never blocks a lane: one that cannot keep up gets an error and is dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::alert::{Case, Cased};
use crate::backend::SourceState;
use crate::types::{Alert, AlertId, Detection, Frame, SourceId};

/// Capacity of a listener's queue.
const EVENTS_MAX: usize = 1_024;
/// Maximum bytes in a listener's queue.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// Alerts kept for later queries.
pub const RECENT_ALERTS_MAX: usize = 100;
/// Maximum bytes of the kept alerts.
pub const RECENT_BYTES_MAX: usize = 4 << 20;

/// Something that happened, for who listens.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Event {
    /// A source changed state.
    State {
        /// The source.
        #[schema(value_type = String)]
        source: SourceId,
        /// `SourceState::as_str`.
        state: &'static str,
    },
    /// An alert was accepted.
    Alert {
        /// The alert.
        #[schema(value_type = Alert)]
        alert: Arc<Alert>,
    },
    /// A person or a rule changed the case of an alert.
    Case {
        /// The alert's id.
        id: AlertId,
        /// Its source.
        #[schema(value_type = String)]
        source: SourceId,
        /// Its case now.
        case: Case,
    },
    /// A frame was judged.
    Detections {
        /// The source.
        #[schema(value_type = String)]
        source: SourceId,
        /// Its sequence number.
        seq: u64,
        /// Its frame time.
        pts_ns: u64,
        /// What was seen.
        #[schema(value_type = Vec<Detection>)]
        detections: Arc<[Detection]>,
    },
}

impl Event {
    /// The approximate number of bytes that it keeps allocated.
    fn memory_bytes(&self) -> usize {
        match self {
            Self::State { source, .. } => size_of::<Self>() + source.as_str().len(),
            Self::Alert { alert } => size_of::<Self>() + alert.memory_bytes(),
            Self::Case { case, .. } => size_of::<Self>() + case.memory_bytes(),
            Self::Detections { detections, .. } => {
                let of = |d: &Detection| size_of::<Detection>() + d.label.len() + 64 * d.attributes.len();
                size_of::<Self>() + detections.iter().map(of).sum::<usize>()
            }
        }
    }
}

/// One listener's queue, bounded in number and in bytes.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    /// Events dropped before they were taken.
    missed: u64,
}

impl Waiting {
    fn push(&mut self, event: Event) {
        let bytes = event.memory_bytes();
        self.bytes += bytes;
        self.events.push_back((event, bytes));
        while self.events.len() > EVENTS_MAX || self.bytes > EVENT_BYTES_MAX {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= oldest;
            self.missed += 1;
        }
    }

    /// The next event, or the number of events dropped before it.
    fn pop(&mut self) -> Option<Result<Event, u64>> {
        if self.missed > 0 {
            return Some(Err(std::mem::take(&mut self.missed)));
        }
        let (event, bytes) = self.events.pop_front()?;
        self.bytes -= bytes;
        Some(Ok(event))
    }
}

/// One listener's queue.
#[derive(Debug)]
struct Queue {
    frames: bool,
    waiting: Mutex<Waiting>,
    more: Notify,
}

/// The engine's events: a bounded queue for each of any number of listeners, and the latest alerts.
#[derive(Debug)]
pub struct Events {
    listeners: Mutex<Vec<Weak<Queue>>>,
    /// Listeners that want an event per frame.
    frame_listeners: AtomicUsize,
    recent: Mutex<Recent>,
}

/// The latest alerts, bounded in number and in bytes.
#[derive(Debug, Default)]
struct Recent {
    alerts: VecDeque<Arc<Alert>>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, alert: Arc<Alert>) {
        self.bytes += alert.memory_bytes();
        self.alerts.push_back(alert);
        while self.alerts.len() > RECENT_ALERTS_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.alerts.pop_front() else { break };
            self.bytes -= oldest.memory_bytes();
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self { listeners: Mutex::default(), frame_listeners: AtomicUsize::new(0), recent: Mutex::default() }
    }
}

impl Events {
    /// Events without listeners.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sends an accepted alert, and keeps it for later queries.
    pub fn alert(&self, alert: &Arc<Alert>) {
        self.recent.lock().push(alert.clone());
        self.send(Event::Alert { alert: alert.clone() });
    }

    /// Sends a case that was changed.
    pub fn case(&self, cased: &Cased) {
        let Cased { alert, case } = cased;
        self.send(Event::Case { id: alert.id.clone(), source: alert.source.clone(), case: case.clone() });
    }

    /// Sends a source's new state.
    pub fn state(&self, source: &SourceId, state: SourceState) {
        self.send(Event::State { source: source.clone(), state: state.as_str() });
    }

    /// Sends a judged frame, if a listener wants frames.
    pub fn detections(&self, frame: &Frame) {
        if self.frame_listeners.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.send(Event::Detections {
            source: frame.source.clone(),
            seq: frame.seq,
            pts_ns: frame.pts_ns,
            detections: frame.detections.as_slice().into(),
        });
    }

    /// The latest alerts, newest first.
    pub fn recent_alerts(&self) -> Vec<Arc<Alert>> {
        self.recent.lock().alerts.iter().rev().cloned().collect()
    }

    /// Subscribes to everything but frames.
    pub fn listen(self: &Arc<Self>) -> Listener {
        self.subscribe(false)
    }

    /// Subscribes to everything, every judged frame included.
    pub fn listen_to_frames(self: &Arc<Self>) -> Listener {
        self.subscribe(true)
    }

    fn subscribe(self: &Arc<Self>, frames: bool) -> Listener {
        self.frame_listeners.fetch_add(usize::from(frames), Ordering::Relaxed);
        let queue = Arc::new(Queue { frames, waiting: Mutex::default(), more: Notify::new() });
        self.listeners.lock().push(Arc::downgrade(&queue));
        Listener { events: self.clone(), queue }
    }

    /// Sends an event to the listeners, if any.
    fn send(&self, event: Event) {
        let is_of_a_frame = matches!(event, Event::Detections { .. });
        self.listeners.lock().retain(|listener| {
            let Some(queue) = listener.upgrade() else { return false };
            if queue.frames || !is_of_a_frame {
                queue.waiting.lock().push(event.clone());
                queue.more.notify_one();
            }
            true
        });
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    events: Arc<Events>,
    queue: Arc<Queue>,
}

impl Listener {
    /// The next event.
    ///
    /// # Errors
    /// The number of missed events if this listener was too slow; it should stop then.
    pub async fn next(&mut self) -> Result<Event, u64> {
        loop {
            let next = self.queue.waiting.lock().pop();
            match next {
                Some(next) => return next,
                None => self.queue.more.notified().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.events.frame_listeners.fetch_sub(usize::from(self.queue.frames), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Frame {
        Frame { pts_ns: seq, width: 4, height: 4, ..Frame::empty("gate", seq) }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn the_latest_alerts_are_bounded_in_number_and_in_bytes() {
        let events = Events::new();
        let push = |message: &str, n: u64| {
            let one = crate::alert::check::alert(n, message);
            events.alert(&one);
            let recent = events.recent_alerts();
            (recent.len(), recent.first().map(|alert| alert.seq), recent.last().map(|alert| alert.seq))
        };
        for n in 0..149 {
            push("short", n);
        }
        assert_eq!(push("short", 149), (100, Some(149), Some(50)));
        let long = "x".repeat(RECENT_BYTES_MAX / 3);
        for n in 150..159 {
            push(&long, n);
        }
        assert_eq!(push(&long, 159), (2, Some(159), Some(158)), "three are over the bytes");
    }

    #[test]
    fn the_queue_of_a_slow_listener_is_bounded_in_bytes() {
        let events = Events::new();
        let mut slow = events.listen();
        let long = "x".repeat(EVENT_BYTES_MAX / 4);
        (0..9).for_each(|n| events.alert(&crate::alert::check::alert(n, &long)));
        assert!(slow.queue.waiting.lock().bytes <= EVENT_BYTES_MAX);
        block_on(async {
            assert_eq!(slow.next().await.unwrap_err(), 6, "four are over the bytes");
            assert!(matches!(slow.next().await, Ok(Event::Alert { alert }) if alert.seq == 6));
        });
        drop(slow);
        events.state(&"gate".into(), SourceState::Running);
        assert!(events.listeners.lock().is_empty());
    }

    #[test]
    fn frames_are_sent_only_to_their_listeners_and_slow_ones_are_dropped() {
        let events = Events::new();
        let mut plain = events.listen();
        events.detections(&frame(1));
        let mut all = events.listen_to_frames();
        events.detections(&frame(2));
        events.state(&"gate".into(), SourceState::Running);
        block_on(async {
            assert!(matches!(plain.next().await, Ok(Event::State { state: "running", .. })));
            assert!(matches!(all.next().await, Ok(Event::Detections { seq: 2, .. })));
            assert!(matches!(all.next().await, Ok(Event::State { .. })));
            for i in 0..EVENTS_MAX as u64 + 5 {
                events.detections(&frame(i));
            }
            assert_eq!(all.next().await.unwrap_err(), 5);
            assert!(matches!(all.next().await, Ok(Event::Detections { seq: 5, .. })), "what is left comes in order");
        });
        drop(all);
        assert_eq!(events.frame_listeners.load(Ordering::Relaxed), 0);
    }
}
