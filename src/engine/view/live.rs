//! The live view: a source's pictures with their boxes. Other events are in `events`.
//!
//! Without a watcher it costs one atomic load per frame. A watcher never blocks a lane: newer pictures replace older
//! ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

pub use super::events::{Event, Events, Listener, RECENT_ALERTS_MAX, RECENT_BYTES_MAX};
use crate::types::{Detection, Frame, Picture, SourceId};
use crate::vision::jpeg;

/// Maximum live pictures per second and source: enough for people, cheap for the machine.
pub const LIVE_FPS_MAX: u64 = 10;
/// Widest live picture.
pub const LIVE_WIDTH_MAX: u32 = 640;
/// JPEG quality of live pictures.
const LIVE_QUALITY: u8 = 70;

/// A judged frame for display.
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
    /// The detections after all strategies.
    pub detections: Vec<Detection>,
    picture: Option<Picture>,
    jpeg: OnceLock<Option<Arc<[u8]>>>,
}

impl LiveFrame {
    /// The picture as JPEG, encoded once for all watchers; `None` if the source has no pixels. Takes a millisecond or
    /// two: do not call it on an async thread.
    pub fn jpeg(&self) -> Option<Arc<[u8]>> {
        self.jpeg
            .get_or_init(|| jpeg::encode(self.picture.as_ref()?, LIVE_WIDTH_MAX, LIVE_QUALITY).map(Arc::from))
            .clone()
    }
}

/// One source's live view: the lane publishes, watchers read.
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
    /// A view without watchers.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Publishes a judged frame if it is watched and the last published frame is old enough. `now_ns` is monotonic.
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
        self.release_unwatched();
    }

    /// The current number of watchers.
    pub fn watchers(&self) -> usize {
        self.newest.receiver_count()
    }

    /// Watches until the returned value is dropped.
    pub fn watch(self: &Arc<Self>) -> Watching {
        Watching { live: Arc::downgrade(self), newest: Some(self.newest.subscribe()) }
    }

    /// Releases the decoder's buffer if there is no watcher.
    fn release_unwatched(&self) {
        if self.newest.receiver_count() == 0 {
            self.newest.send_replace(None);
        }
    }
}

/// One watcher of one source. Holds a weak reference: watching ends when the engine removes the source.
#[derive(Debug)]
pub struct Watching {
    live: std::sync::Weak<Live>,
    newest: Option<watch::Receiver<Option<Arc<LiveFrame>>>>,
}

impl Watching {
    /// The next frame, skipping any published since the last call; `None` once the source is removed.
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
            live.release_unwatched();
        }
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
            // 300 frames in 3 s: every tenth is published, and a late watcher gets the last one.
            assert_eq!(x.seq, 290);
            assert!(Arc::ptr_eq(&x.jpeg().unwrap(), &y.jpeg().unwrap()));
        });
        drop(live);
        assert!(block_on(a.next()).is_none(), "the source is gone");
    }
}
