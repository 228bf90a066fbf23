//! Pictures of alerts: the frame that raised one, as JPEG, with and without its boxes.
//!
//! A gate hands over the frame's picture once an alert is sent; one thread encodes and writes it ([`files`]), so no
//! lane waits for an encoder or a disk. What waits is bounded in number and bytes; an alert whose picture finds no room
//! has `picture: false`. A handler or the API may ask for a picture that is not encoded yet: [`Pictures::of`] waits.
//! A digest has the picture of its best alert (`digests`).

mod digests;
mod files;
mod label;
mod shot;
mod stills;
mod waiting;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use parking_lot::{Condvar, Mutex};

use self::digests::{MOVES_MAX, Move};
use self::files::Files;
pub use self::files::Which;
pub(super) use self::shot::Shot;
pub use self::stills::Stills;
use self::waiting::{Room, Waiting};
use crate::config::PicturesPlan;
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::telemetry::Metrics;
use crate::types::{Alert, AlertId, Clock, SourceId};

/// Maximum pictures that wait to be encoded.
pub const PICTURES_MAX: usize = 16;
/// Maximum bytes of their pixels. One picture may be larger.
pub const PICTURES_BYTES_MAX: usize = 96 << 20;
/// How long a reader waits for a picture to be encoded.
pub const PICTURE_WAIT: Duration = Duration::from_secs(2);
/// Time between searches for pictures that are too old.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The pictures of a run's alerts; of none before [`Pictures::open`]. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pictures(Arc<OnceLock<Arc<Kept>>>);

/// The state that the thread shares with everyone else.
struct Kept {
    files: Files,
    plan: ArcSwap<PicturesPlan>,
    jobs: Sender<Job>,
    moves: Sender<Move>,
    /// Locked for a moment only, and no other lock is taken meanwhile.
    waiting: Mutex<Waiting>,
    /// Signals that a picture waits no longer.
    done: Condvar,
    /// Where pictures come from in place of frames. Locked for a moment only.
    stills: Mutex<BTreeMap<SourceId, Arc<dyn Stills>>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

struct Job {
    id: AlertId,
    source: SourceId,
    shot: Shot,
}

/// A picture for which there is room. Dropped, it gives the room back, and there is no picture.
pub(super) struct Reserved {
    kept: Arc<Kept>,
    /// `None` if the picture of this alert waits already.
    job: Option<Job>,
}

impl Reserved {
    /// Hands the picture over to be encoded, unless its digest has a better one.
    pub(super) fn hand_over(mut self) {
        if let Some(job) = self.job.take() {
            let (id, bytes) = (job.id.clone(), job.shot.bytes());
            if self.kept.waiting.lock().is_unneeded(&id) {
                self.kept.forget(&id, bytes);
            } else if self.kept.jobs.try_send(job).is_err() {
                // As many fit as may wait.
                self.kept.forget(&id, bytes);
                self.kept.count(Outcome::Dropped, 1);
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.kept.forget(&job.id, job.shot.bytes());
        }
    }
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Kept,
    Dropped,
    Failed,
    Removed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }
}

impl Pictures {
    /// Keeps pictures in `folder` from now on. Returns the thread that encodes them.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn open(
        &self,
        folder: PathBuf,
        plan: &PicturesPlan,
        metrics: &Arc<Metrics>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Thread, Error> {
        let (jobs, taken) = bounded(PICTURES_MAX);
        let (moves, wanted) = bounded(MOVES_MAX);
        let kept = Arc::new(Kept {
            files: Files::new(folder),
            plan: ArcSwap::from_pointee(*plan),
            jobs,
            moves,
            waiting: Mutex::default(),
            done: Condvar::new(),
            stills: Mutex::default(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        });
        let theirs = kept.clone();
        let thread = Thread::start("pictures", move |stop| theirs.run(&taken, &wanted, &stop))
            .map_err(|e| Error::new(Code::Io, format!("cannot start thread pictures: {e}")))?;
        // Opened once: the first folder stays.
        let _ = self.0.set(kept);
        Ok(thread)
    }

    /// Applies new settings to the next pictures.
    pub(super) fn set_plan(&self, plan: &PicturesPlan) {
        if let Some(kept) = self.0.get() {
            kept.plan.store(Arc::new(*plan));
        }
    }

    /// Whether pictures are kept at all.
    pub(super) fn wanted(&self) -> bool {
        self.0.get().is_some_and(|kept| kept.plan.load().enabled)
    }

    /// Makes room for an alert's picture, and lets who asks for it wait. `None` if there is no room. Never blocks on an
    /// encoder or a disk.
    pub(super) fn reserve(&self, id: &AlertId, source: &SourceId, shot: Shot) -> Option<Reserved> {
        self.0.get().and_then(|kept| kept.reserve(id, source, shot))
    }

    /// Takes an alert's picture to be encoded. Returns whether there was room.
    #[cfg(test)]
    fn keep(&self, id: &AlertId, source: &SourceId, shot: Shot) -> bool {
        self.reserve(id, source, shot).map(Reserved::hand_over).is_some()
    }

    /// The picture of an alert as JPEG; `None` if it has none, or none any more. Waits [`PICTURE_WAIT`] at most for one
    /// that is being encoded, and reads a file: do not call it on an async thread.
    pub fn of(&self, alert: &Alert, which: Which) -> Option<Vec<u8>> {
        if !alert.picture {
            return None;
        }
        self.find(&alert.id, which).map(|(_, jpeg)| jpeg)
    }

    /// As [`Pictures::of`], for async callers.
    pub async fn fetch(&self, alert: &Alert, which: Which) -> Option<Vec<u8>> {
        if !alert.picture {
            return None;
        }
        let (pictures, id) = (self.clone(), alert.id.clone());
        let found = tokio::task::spawn_blocking(move || pictures.find(&id, which)).await;
        found.ok().flatten().map(|(_, jpeg)| jpeg)
    }

    /// The picture of the alert with this id, and the source that it shows. Blocks as [`Pictures::of`] does.
    pub fn find(&self, id: &AlertId, which: Which) -> Option<(SourceId, Vec<u8>)> {
        let kept = self.0.get()?;
        kept.wait_for(id);
        let jpeg = kept.files.read(id, which)?;
        let source = label::source(&jpeg)?;
        Some((source.into(), jpeg))
    }
}

impl std::fmt::Debug for Pictures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pictures").field("open", &self.0.get().is_some()).finish()
    }
}

impl Kept {
    fn reserve(self: &Arc<Self>, id: &AlertId, source: &SourceId, shot: Shot) -> Option<Reserved> {
        let bytes = shot.bytes();
        let room = self.waiting.lock().reserve(id, bytes);
        match room {
            Room::Taken => {
                let job = Job { id: id.clone(), source: source.clone(), shot };
                Some(Reserved { kept: Arc::clone(self), job: Some(job) })
            }
            // The same alert again.
            Room::Known => Some(Reserved { kept: Arc::clone(self), job: None }),
            Room::Full => {
                self.count(Outcome::Dropped, 1);
                None
            }
        }
    }

    /// There will be no such picture.
    fn forget(&self, id: &AlertId, bytes: usize) {
        let mut waiting = self.waiting.lock();
        waiting.let_go(bytes);
        waiting.forget(id);
        drop(waiting);
        self.done.notify_all();
    }

    /// Waits until this picture is written, [`PICTURE_WAIT`] at most.
    fn wait_for(&self, id: &AlertId) {
        let mut waiting = self.waiting.lock();
        // What is there afterwards counts, whether it timed out or not.
        let _ = self.done.wait_while_for(&mut waiting, |waiting| waiting.has(id), PICTURE_WAIT);
    }

    /// Encodes, writes and moves until `stop`, then what waits still.
    fn run(&self, jobs: &Receiver<Job>, moves: &Receiver<Move>, stop: &Stop) {
        self.files.measure();
        self.sweep();
        let mut swept_ns = self.clock.monotonic_ns();
        while !stop.requested() {
            select! {
                recv(jobs) -> job => job.into_iter().for_each(|job| self.write(job)),
                recv(moves) -> wanted => wanted.into_iter().for_each(|wanted| self.carry_out(wanted)),
                recv(stop.signal()) -> _ => {}
                recv(after(SWEEP_EVERY)) -> _ => {}
            }
            let now_ns = self.clock.monotonic_ns();
            if Duration::from_nanos(now_ns.saturating_sub(swept_ns)) >= SWEEP_EVERY {
                swept_ns = now_ns;
                self.sweep();
            }
        }
        while let Ok(job) = jobs.try_recv() {
            self.write(job);
        }
        while let Ok(wanted) = moves.try_recv() {
            self.carry_out(wanted);
        }
    }

    fn write(&self, job: Job) {
        let Job { id, source, shot } = job;
        let (bytes, plan) = (shot.bytes(), **self.plan.load());
        if self.waiting.lock().is_unneeded(&id) {
            self.forget(&id, bytes);
            return;
        }
        // A defect of an encoder must not end the thread.
        let made = || self.with_still(&source, shot).encode(&plan);
        let encoded = catch_unwind(AssertUnwindSafe(made)).ok().flatten();
        let written = match encoded {
            None => Err("it cannot be encoded".to_owned()),
            Some([annotated, clean]) => {
                let annotated = annotated.map(|jpeg| (Which::Annotated, jpeg));
                let clean = clean.map(|jpeg| (Which::Clean, jpeg));
                annotated.into_iter().chain(clean).try_for_each(|(which, jpeg)| {
                    let jpeg = label::with_source(&jpeg, source.as_str());
                    self.files.write(&id, which, &jpeg).map_err(|error| error.to_string())
                })
            }
        };
        match &written {
            Ok(()) => self.count(Outcome::Kept, 1),
            Err(error) => {
                self.count(Outcome::Failed, 1);
                tracing::warn!(source = %source, alert = %id, "the alert has no picture: {error}");
            }
        }
        let removed = self.files.trim(plan.bytes_max);
        self.count(Outcome::Removed, removed);
        self.waiting.lock().let_go(bytes);
        if written.is_ok() {
            // Last: this wakes the readers, which open the file.
            self.place(id);
        } else {
            self.waiting.lock().failed(&id);
            self.done.notify_all();
        }
    }

    /// Removes pictures that are too old or too many.
    fn sweep(&self) {
        let plan = **self.plan.load();
        let removed = self.files.expire(plan.keep, self.clock.unix_ns()) + self.files.trim(plan.bytes_max);
        self.count(Outcome::Removed, removed);
    }

    fn count(&self, outcome: Outcome, count: u64) {
        self.metrics.alert_pictures(outcome.as_str(), count);
    }
}

#[cfg(test)]
mod tests;
