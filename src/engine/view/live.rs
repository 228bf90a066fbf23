//! What watchers see while it happens: a source's pictures with their boxes, and the engine's events.
//!
//! Nobody watching costs one atomic load per frame. A watcher never holds up a lane: pictures are replaced by newer
//! ones, and who cannot keep up with events is told so and dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use utoipa::ToSchema;

use crate::backend::SourceState;
use crate::types::{Alert, Detection, Frame, Picture, SourceId};
use crate::vision::jpeg;

/// Live pictures per second and source, at most: enough for people, cheap for the machine.
pub const LIVE_FPS_MAX: u64 = 10;
/// Widest live picture.
pub const LIVE_WIDTH_MAX: u32 = 640;
/// JPEG quality of live pictures.
const LIVE_QUALITY: u8 = 70;
/// Events that a slow listener may be behind.
const EVENTS_MAX: usize = 1_024;
/// Alerts kept for who asks later.
pub const RECENT_ALERTS_MAX: usize = 100;
/// Most bytes of them.
pub const RECENT_BYTES_MAX: usize = 4 << 20;

/// A judged frame on show.
#[derive(Debug)]
pub struct LiveFrame {
    /// The source.
    pub source: SourceId,
    /// Its sequence number.
    pub seq: u64,
    /// Its frame time.
    pub pts_ns: u64,
    /// Width of the original picture.
    pub width: u32,
    /// Height of the original picture.
    pub height: u32,
    /// What was seen, after all strategies.
    pub detections: Vec<Detection>,
    picture: Option<Picture>,
    jpeg: OnceLock<Option<Arc<[u8]>>>,
}

impl LiveFrame {
    /// The picture as JPEG, encoded once for all who look; `None` where the source has no pixels. Takes a millisecond
    /// or two: not for an async thread.
    pub fn jpeg(&self) -> Option<Arc<[u8]>> {
        self.jpeg
            .get_or_init(|| jpeg::encode(self.picture.as_ref()?, LIVE_WIDTH_MAX, LIVE_QUALITY).map(Arc::from))
            .clone()
    }
}

/// One source's window: the lane publishes, watchers look.
#[derive(Debug)]
pub struct Live {
    newest: watch::Sender<Option<Arc<LiveFrame>>>,
    published_ns: AtomicU64,
}

impl Default for Live {
    fn default() -> Self {
        Self { newest: watch::Sender::new(None), published_ns: AtomicU64::new(0) }
    }
}

impl Live {
    /// A window that nobody watches yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Shows a judged frame, if somebody watches and the last one shown is old enough. `now_ns` is monotonic.
    pub fn publish(&self, frame: &Frame, now_ns: u64) {
        if self.newest.receiver_count() == 0 {
            return;
        }
        let last = self.published_ns.load(Ordering::Relaxed);
        if last != 0 && now_ns.saturating_sub(last) < 1_000_000_000 / LIVE_FPS_MAX {
            return;
        }
        // 0 means never.
        self.published_ns.store(now_ns.max(1), Ordering::Relaxed);
        self.newest.send_replace(Some(Arc::new(LiveFrame {
            source: frame.source.clone(),
            seq: frame.seq,
            pts_ns: frame.pts_ns,
            width: frame.width,
            height: frame.height,
            detections: frame.detections.clone(),
            picture: frame.picture.clone(),
            jpeg: OnceLock::new(),
        })));
        self.let_go();
    }

    /// Watchers now.
    pub fn watchers(&self) -> usize {
        self.newest.receiver_count()
    }

    /// Looks through the window until the returned value is dropped.
    pub fn watch(self: &Arc<Self>) -> Watching {
        Watching { live: Arc::downgrade(self), newest: Some(self.newest.subscribe()) }
    }

    /// Does not keep a decoder's buffer for nobody.
    fn let_go(&self) {
        if self.newest.receiver_count() == 0 {
            self.newest.send_replace(None);
        }
    }
}

/// One watcher of one source. Holds the window weakly: when the engine takes the source away, watching ends.
#[derive(Debug)]
pub struct Watching {
    live: std::sync::Weak<Live>,
    newest: Option<watch::Receiver<Option<Arc<LiveFrame>>>>,
}

impl Watching {
    /// The next frame, skipping what came while nobody asked; `None` once the source is gone.
    pub async fn next(&mut self) -> Option<Arc<LiveFrame>> {
        let newest = self.newest.as_mut()?;
        loop {
            newest.changed().await.ok()?;
            if let Some(frame) = newest.borrow_and_update().clone() {
                return Some(frame);
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.newest = None;
        if let Some(live) = self.live.upgrade() {
            live.let_go();
        }
    }
}

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

/// The engine's events: a bounded channel to any number of listeners, and the latest alerts.
#[derive(Debug)]
pub struct Events {
    channel: broadcast::Sender<Event>,
    /// Listeners that want a line per frame.
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
        Self {
            channel: broadcast::Sender::new(EVENTS_MAX),
            frame_listeners: AtomicUsize::new(0),
            recent: Mutex::default(),
        }
    }
}

impl Events {
    /// Events without listeners.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Tells of an accepted alert, and keeps it for who asks later.
    pub fn alert(&self, alert: &Arc<Alert>) {
        self.recent.lock().push(alert.clone());
        self.send(Event::Alert { alert: alert.clone() });
    }

    /// Tells of a source's new state.
    pub fn state(&self, source: &SourceId, state: SourceState) {
        self.send(Event::State { source: source.clone(), state: state.as_str() });
    }

    /// Tells of a judged frame, if somebody wants to know.
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

    /// Listens from now on; with `frames`, to every judged frame as well.
    pub fn listen(self: &Arc<Self>, frames: bool) -> Listener {
        self.frame_listeners.fetch_add(usize::from(frames), Ordering::Relaxed);
        Listener { events: self.clone(), frames, channel: self.channel.subscribe() }
    }

    fn send(&self, event: Event) {
        // Nobody listening is no failure.
        let _ = self.channel.send(event);
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    events: Arc<Events>,
    frames: bool,
    channel: broadcast::Receiver<Event>,
}

impl Listener {
    /// The next event.
    ///
    /// # Errors
    /// The number of events missed, when this listener was too slow; it should give up then.
    pub async fn next(&mut self) -> Result<Event, u64> {
        loop {
            match self.channel.recv().await {
                Ok(Event::Detections { .. }) if !self.frames => {}
                Ok(event) => return Ok(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => return Err(missed),
                // Not while `events` holds the sender.
                Err(broadcast::error::RecvError::Closed) => return Err(0),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.events.frame_listeners.fetch_sub(usize::from(self.frames), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Frame {
        Frame {
            pts_ns: seq,
            width: 4,
            height: 4,
            picture: Picture::from_rgb(4, 4, vec![9; 48]),
            ..Frame::empty("gate", seq)
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn nothing_is_kept_while_nobody_watches() {
        let live = Live::new();
        live.publish(&frame(1), 1);
        assert!(live.newest.borrow().is_none());
        let watching = live.watch();
        live.publish(&frame(2), 2);
        assert_eq!(live.newest.borrow().as_ref().unwrap().seq, 2);
        drop(watching);
        assert!(live.newest.borrow().is_none(), "the picture is let go with the last watcher");
    }

    #[test]
    fn a_watcher_sees_the_newest_at_a_bounded_rate_encoded_once() {
        let live = Live::new();
        let (mut a, mut b) = (live.watch(), live.watch());
        for i in 0..300 {
            live.publish(&frame(i), 1 + i * 10_000_000);
        }
        block_on(async {
            let (x, y) = (a.next().await.unwrap(), b.next().await.unwrap());
            // 300 frames in 3 s: every tenth is shown, and a late watcher sees the last shown.
            assert_eq!(x.seq, 290);
            assert!(Arc::ptr_eq(&x.jpeg().unwrap(), &y.jpeg().unwrap()));
        });
        drop(live);
        assert!(block_on(a.next()).is_none(), "the source is gone");
    }

    #[test]
    fn the_latest_alerts_are_bounded_in_number_and_in_bytes() {
        let events = Events::new();
        let told = |message: &str, n: u64| {
            let one = crate::alert::check::alert(n, message);
            events.alert(&one);
            let recent = events.recent_alerts();
            (recent.len(), recent.first().map(|alert| alert.seq), recent.last().map(|alert| alert.seq))
        };
        for n in 0..149 {
            told("short", n);
        }
        assert_eq!(told("short", 149), (100, Some(149), Some(50)));
        let long = "x".repeat(RECENT_BYTES_MAX / 3);
        for n in 150..159 {
            told(&long, n);
        }
        assert_eq!(told(&long, 159), (2, Some(159), Some(158)), "three are over the bytes");
    }

    #[test]
    fn frames_are_told_only_to_who_wants_them_and_slow_listeners_are_dropped() {
        let events = Events::new();
        let mut plain = events.listen(false);
        events.detections(&frame(1));
        let mut all = events.listen(true);
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
        });
        drop(all);
        assert_eq!(events.frame_listeners.load(Ordering::Relaxed), 0);
    }
}
