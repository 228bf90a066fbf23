//! The way of bytes from the network into a pipeline: an appsrc with its decodebin, and what may wait in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use hyper::body::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::gst::decode::clip_decodebin;
use crate::gst::feed::add;
use crate::gst::observed::Observed;

/// Share of the limit that is left when more is wanted. Unit: percent.
const REFILL_PERCENT: u32 = 50;

/// A pipeline that plays what a thread reads. Held weakly: it ends without waiting for the thread.
pub(super) struct Player {
    pub(super) pipeline: glib::WeakRef<gst::Pipeline>,
    pub(super) convert: glib::WeakRef<gst::Element>,
    pub(super) sink: glib::WeakRef<gst_app::AppSink>,
    pub(super) observed: Arc<Observed>,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A clip of so many bytes, any of which may be asked for.
    Seekable(u64),
    /// A container, from its beginning.
    Stream,
    /// A container that comes at its own pace.
    Live,
    /// Whole JPEG pictures that come at their own pace.
    Pictures,
}

/// What became of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// They are in the pipeline.
    Yes,
    /// The pipeline requests those from another byte on.
    Seek(u64),
    /// The pipeline has ended.
    Ended,
}

/// The way into one pipeline.
pub(super) struct Inlet {
    appsrc: gst_app::AppSrc,
    gate: Arc<Gate>,
    limit: u64,
}

/// What the pipeline requests.
#[derive(Default)]
struct Gate {
    /// Bytes are wanted.
    open: AtomicBool,
    /// The byte that it requests next, if that is not the next one.
    seek: Mutex<Option<u64>>,
    changed: Notify,
}

impl Inlet {
    /// Adds an appsrc and its decodebin to a pipeline. At most `limit` bytes wait, and what was pushed last.
    pub(super) fn open(player: &Player, kind: Kind, limit: u64) -> Result<Self, String> {
        let ended = || "the pipeline has ended".to_owned();
        let pipeline = player.pipeline.upgrade().ok_or_else(ended)?;
        let convert = player.convert.upgrade().ok_or_else(ended)?;
        let gate = Arc::<Gate>::default();
        let appsrc = appsrc(kind, limit, &gate);
        let decode = clip_decodebin(&convert, &player.observed)?;
        add(&pipeline, &[appsrc.upcast_ref(), &decode])?;
        appsrc.link(&decode).map_err(|_| "appsrc and decodebin do not link")?;
        let play = |element: &gst::Element| element.sync_state_with_parent().map_err(|error| error.to_string());
        play(&decode)?;
        play(appsrc.upcast_ref())?;
        Ok(Self { appsrc, gate, limit })
    }

    /// Gives bytes to the pipeline once it requests them.
    pub(super) async fn push(&self, bytes: Bytes) -> Taken {
        loop {
            let changed = self.gate.changed.notified();
            if let Some(taken) = self.offer(&bytes) {
                return taken;
            }
            changed.await;
        }
    }

    /// Gives bytes to the pipeline if it requests them now.
    fn offer(&self, bytes: &Bytes) -> Option<Taken> {
        // Held while pushing, so that no byte from before a seek follows it.
        let mut seek = self.gate.seek.lock();
        if let Some(to) = seek.take() {
            return Some(Taken::Seek(to));
        }
        if !self.gate.open.load(Ordering::Acquire) {
            return None;
        }
        if self.appsrc.push_buffer(gst::Buffer::from_slice(bytes.clone())).is_err() {
            return Some(Taken::Ended);
        }
        if self.appsrc.current_level_bytes() >= self.limit {
            self.gate.open.store(false, Ordering::Release);
        }
        Some(Taken::Yes)
    }

    /// Marks the end, and waits for a byte that is wanted after all; a container's index may stand at its end.
    pub(super) async fn end(&self) -> u64 {
        // It fails only where the pipeline has ended, and then nobody waits for this.
        let _ = self.appsrc.end_of_stream();
        loop {
            let changed = self.gate.changed.notified();
            if let Some(to) = self.gate.seek.lock().take() {
                return to;
            }
            changed.await;
        }
    }
}

fn appsrc(kind: Kind, limit: u64, gate: &Arc<Gate>) -> gst_app::AppSrc {
    let (wanting, seeking) = (Arc::clone(gate), Arc::clone(gate));
    let callbacks = gst_app::AppSrcCallbacks::builder()
        .need_data(move |_, _| {
            wanting.open.store(true, Ordering::Release);
            wanting.changed.notify_one();
        })
        .seek_data(move |_, to| {
            let mut seek = seeking.seek.lock();
            *seek = Some(to);
            // appsrc empties its queue after this, and asks again then.
            seeking.open.store(false, Ordering::Release);
            seeking.changed.notify_one();
            true
        })
        .build();
    let is_pictures = kind == Kind::Pictures;
    let jpeg = gst::Caps::new_empty_simple("image/jpeg");
    let mut builder = gst_app::AppSrc::builder()
        .callbacks(callbacks)
        .format(if is_pictures { gst::Format::Time } else { gst::Format::Bytes })
        .do_timestamp(is_pictures)
        .is_live(matches!(kind, Kind::Live | Kind::Pictures))
        .min_percent(REFILL_PERCENT)
        .max_bytes(limit)
        .block(false);
    if is_pictures {
        builder = builder.caps(&jpeg);
    }
    if let Kind::Seekable(size) = kind {
        builder = builder.stream_type(gst_app::AppStreamType::Seekable).size(size.try_into().unwrap_or(-1));
    }
    builder.build()
}
