//! The web side of a pipeline: reads a stream or clip over HTTP and feeds it into an appsrc.
//!
//! The requests are our own (`outbound::Reader`) and not GStreamer's: its HTTP sources and demuxers follow playlists
//! and redirects to any host and to local files, take no fingerprint, and read proxies and certificates in their own
//! way. So GStreamer gets bytes only, and `clip_decodebin` opens nothing else. One thread per source reads; it waits
//! while the pipeline requests nothing, so the server is slowed down instead of memory filled.

mod copy;
mod hls;
mod inlet;
mod parts;
mod playlist;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gstreamer::prelude::*;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::copy::Job;
use self::inlet::Player;
use super::camera::Attempts;
use super::feed::Place;
use crate::backend::{Cause, Failure};
use crate::config::Web;
use crate::outbound::{self, Access, Opening, Proxies, Reader};
use crate::own::Thread;

/// Longest wait for the reading thread to end.
const STOP_MS_MAX: u64 = 1_000;

/// What is being read from a web address. Dropping it ends the reading.
pub(super) struct Download {
    web: Web,
    progress: Arc<Progress>,
    opening: Opening,
    stop: Option<oneshot::Sender<()>>,
    thread: Thread,
}

/// How far the reading has come.
#[derive(Default)]
struct Progress {
    /// Why it has ended.
    failure: Mutex<Option<Cause>>,
    /// What a clip waits to pass before it is asked for again.
    passing: Mutex<Option<Cause>>,
    /// The server has answered.
    answered: AtomicBool,
    /// Bytes have arrived.
    fed: AtomicBool,
    /// A live playlist has no other segments than those that were played.
    stands: AtomicBool,
}

impl Download {
    /// Starts to read; the pipeline gets its source once the server has answered.
    ///
    /// # Errors
    /// A reason without secrets.
    pub(super) fn start(web: &Web, place: &Place<'_>, attempts: &Attempts) -> Result<Self, String> {
        let reader = reader(web)?;
        let (opening, progress) = (reader.opening(), Arc::<Progress>::default());
        let player = Player {
            pipeline: place.pipeline.downgrade(),
            convert: place.convert.downgrade(),
            sink: place.appsink.downgrade(),
            observed: Arc::clone(place.observed),
        };
        let job = Job { web: web.clone(), reader, player, progress: Arc::clone(&progress), attempts: attempts.clone() };
        let (stop, stopped) = oneshot::channel();
        let thread = Thread::start("gst-web", move |_| read(job, stopped))
            .map_err(|error| format!("no thread to read with: {error}"))?;
        Ok(Self { web: web.clone(), progress, opening, stop: Some(stop), thread })
    }

    /// Ends the reading, before the pipeline is shut down.
    pub(super) fn stop(&mut self) {
        self.stop = None;
        self.thread.join(Duration::from_millis(STOP_MS_MAX));
    }

    /// Why the reading has ended, once.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.progress.failure.lock().take().map(|cause| self.failed(&cause))
    }

    /// Whether the server has answered.
    pub(super) fn is_answered(&self) -> bool {
        self.progress.answered.load(Ordering::Acquire)
    }

    /// Builds the failure for a cause.
    pub(super) fn failed(&self, cause: &Cause) -> Failure {
        Failure::of(cause, &self.web.peer())
    }

    /// Why no first frame has arrived yet.
    pub(super) fn waits_for(&self) -> String {
        let peer = self.web.peer();
        if let Some(cause) = &*self.progress.passing.lock() {
            return self.failed(cause).reason;
        }
        match (self.progress.answered.load(Ordering::Acquire), self.progress.fed.load(Ordering::Acquire)) {
            (false, _) if self.opening.is_under_way() => self.failed(&Cause::NoConnection).reason,
            (false, _) => format!("{peer} does not answer"),
            _ if self.progress.stands.load(Ordering::Acquire) => format!("the playlist of {peer} does not grow"),
            (true, false) => format!("{peer} answers, and sends nothing"),
            (true, true) => {
                format!("{peer} sends, and no picture comes of it: it may send no key frame, or a damaged stream")
            }
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads until the end or until `stopped` is dropped.
fn read(job: Job, stopped: oneshot::Receiver<()>) {
    let progress = Arc::clone(&job.progress);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            *progress.failure.lock() = Some(Cause::Unreachable(error.to_string()));
            return;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = job.play() => Some(ended),
            _ = stopped => None,
        }
    });
    if let Some(Err(cause)) = ended {
        *progress.failure.lock() = Some(cause);
    }
    // A lookup of a name cannot be interrupted, and nobody waits for it.
    runtime.shutdown_background();
}

/// A reader for the address and the hosts that it may name.
fn reader(web: &Web) -> Result<Reader, String> {
    let tls = match web.fingerprint {
        Some(fingerprint) => outbound::pinned(fingerprint, &web.host)?,
        None => outbound::tls(web.ca_file.as_deref())?,
    };
    let user = web.user.as_ref().map(|user| (user.name.clone(), user.password.clone()));
    let access = Access { place: web.location.clone(), user, hosts: web.hosts.clone() };
    Ok(Reader::new(access, &tls, Proxies::of(|name| std::env::var(name).ok())))
}
