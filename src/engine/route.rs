//! One source's way through the engine: from its backend's thread through the models to its lane.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::board::SourceBoard;
use super::control::Control;
use super::inbox::Inbox;
use super::live::Events;
use super::pool::{Feed, Job};
use super::status::SourceStatus;
use crate::backend::{Flow, Sink, SourceEvent, SourceState};
use crate::config::{Input, SourcePlan};
use crate::telemetry::{SourceMetrics, redact};
use crate::types::{Clock, Frame, SourceId};
use crate::vision::merge::merge;

/// The models a source's frames pass, in order: each pool's way in and this source's slot there.
pub(super) type Stages = Vec<(Feed, usize)>;

/// See the module. Shared by the source's thread, the pools' workers and the lane.
pub(super) struct Route {
    pub(super) id: SourceId,
    pub(super) inbox: Inbox<Control>,
    pub(super) metrics: SourceMetrics,
    pub(super) board: SourceBoard,
    live: bool,
    /// Where it comes from, for people: without secrets.
    address: String,
    /// Time between attempts once it is out of retries; `None` for a source that is tried once.
    retry_every: Option<Duration>,
    /// Lowest score this source accepts, where it overrides the models' own.
    pub(super) confidence: Option<f32>,
    stages: OnceLock<Stages>,
    /// Frames of a live source that workers took and the lane has not finished.
    taken: AtomicU64,
    taken_max: u64,
    /// It runs and has not ended.
    up: AtomicBool,
    merge_iou: f32,
    clock: Arc<dyn Clock>,
    events: Arc<Events>,
    on_end: OnEnd,
}

/// Called once, when the source's last frame is judged or its lane was closed.
type OnEnd = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// What all routes of an engine have in common.
pub(super) struct Common {
    /// See [`super::inbox::in_flight_max`].
    pub(super) in_flight_max: u64,
    /// Detections of several models are merged with this IoU threshold.
    pub(super) merge_iou: f32,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<Events>,
}

impl Route {
    pub(super) fn new(
        plan: &SourcePlan,
        common: &Common,
        metrics: SourceMetrics,
        on_end: Box<dyn FnOnce() + Send>,
    ) -> Self {
        Self {
            id: plan.id.clone(),
            inbox: Inbox::new(common.in_flight_max),
            metrics,
            board: SourceBoard::default(),
            live: plan.input.is_live(),
            address: address(&plan.input),
            retry_every: plan.input.is_live().then_some(plan.retry.cap),
            confidence: plan.confidence,
            stages: OnceLock::new(),
            taken: AtomicU64::new(0),
            taken_max: common.in_flight_max,
            up: AtomicBool::new(false),
            merge_iou: common.merge_iou,
            clock: Arc::clone(&common.clock),
            events: Arc::clone(&common.events),
            on_end: Mutex::new(Some(on_end)),
        }
    }

    /// Sets the models, once, before the source starts.
    pub(super) fn set_stages(&self, stages: Stages) {
        // A second call would be a mistake in `build`; the first stays.
        let _ = self.stages.set(stages);
    }

    fn stages(&self) -> &[(Feed, usize)] {
        self.stages.get().map_or(&[], Vec::as_slice)
    }

    /// Whether a worker may take another frame of this source.
    pub(super) fn has_credit(&self) -> bool {
        !self.live || self.taken.load(Ordering::Acquire) < self.taken_max
    }

    /// Whether another frame may come while those that workers took are under way. A live source's next is a whole
    /// frame's time away then.
    pub(super) fn may_bring(&self) -> bool {
        let most = if self.live { 1 } else { self.taken_max };
        self.up.load(Ordering::Acquire) && self.taken.load(Ordering::Acquire) < most
    }

    /// A worker took a frame.
    pub(super) fn take_credit(&self) {
        self.taken.fetch_add(1, Ordering::AcqRel);
    }

    fn give_credit(&self) {
        let had = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        if let (Ok(_), Some((feed, _))) = (had, self.stages().first()) {
            feed.wake();
        }
    }

    /// A model is through with a frame: on to the next, or to the lane.
    pub(super) fn advance(&self, stage: usize, mut job: Job) {
        if let Some((feed, slot)) = self.stages().get(stage + 1) {
            if let Some(ticket) = feed.offer(*slot, job, false) {
                self.drop_frame(ticket, "stopping");
            }
            return;
        }
        if stage > 0 {
            merge(&mut job.frame.detections, self.merge_iou);
        }
        self.inbox.settle(job.ticket, Some(job.frame));
    }

    /// A frame that a worker took is lost, for a reason that is counted.
    pub(super) fn drop_frame(&self, ticket: u64, reason: &'static str) {
        self.metrics.dropped(reason, 1);
        self.inbox.settle(ticket, None);
        self.give_credit();
    }

    /// Where the source stands, for status pages.
    pub(super) fn status(&self) -> SourceStatus {
        let (state, board) = (self.board.state(), &self.board);
        let retry_every = self.retry_every.filter(|_| state == SourceState::Failed && board.broken().is_none());
        SourceStatus::read(&self.id, state, retry_every, board.error(), &self.metrics)
    }

    /// The lane has judged a frame.
    pub(super) fn done(&self) {
        self.inbox.done();
        self.give_credit();
    }

    /// The source offered its last frame.
    fn end(&self) {
        self.up.store(false, Ordering::Release);
        self.inbox.end();
    }

    /// Nothing more comes of the source, for this reason.
    pub(super) fn break_off(&self, reason: String) {
        tracing::error!(source = %self.id, address = self.address, "source broken: {reason}");
        self.metrics.state(SourceState::Failed.as_str());
        self.board.break_off(reason);
        self.end();
    }

    /// The lane is through with the source.
    pub(super) fn finish(&self) {
        let on_end = self.on_end.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(on_end) = on_end {
            on_end();
        }
    }
}

/// Where a source comes from, for logs: without secrets.
fn address(input: &Input) -> String {
    match input {
        Input::File(path) => path.display().to_string(),
        Input::Rtsp(uri) => redact::uri(uri),
        Input::Test { pattern, .. } => format!("test:pattern={pattern}"),
        Input::Scene { name, .. } => format!("scene:{name}"),
        Input::Trace(path) => format!("trace:{}", path.display()),
    }
}

/// The engine's side of the Backend seam, one per source.
pub(super) struct Inlet(pub(super) Arc<Route>);

impl Sink for Inlet {
    fn frame(&self, mut frame: Frame) -> Flow {
        let route = &*self.0;
        if frame.arrived_ns == 0 {
            frame.arrived_ns = route.clock.monotonic_ns();
        }
        route.metrics.frame_decoded(frame.captured_unix_ns);
        if !route.live && !route.inbox.wait_room() {
            return Flow::Stop;
        }
        let Some(ticket) = route.inbox.ticket() else { return Flow::Stop };
        let frame = Box::new(frame);
        match route.stages().first() {
            Some((feed, slot)) if frame.picture.is_some() && !frame.detected => {
                if let Some(dropped) = feed.offer(*slot, Job { ticket, frame }, route.live) {
                    // Not taken by a worker yet, so it holds no credit.
                    route.metrics.dropped("overload", 1);
                    route.inbox.settle(dropped, None);
                }
            }
            _ if route.live => {
                let dropped = route.inbox.settle_newest(ticket, frame);
                if dropped > 0 {
                    route.metrics.dropped("overload", dropped);
                }
            }
            _ => route.inbox.settle(ticket, Some(frame)),
        }
        Flow::Continue
    }

    fn event(&self, _source: &SourceId, event: SourceEvent) {
        let route = &*self.0;
        match event {
            SourceEvent::State(state) => {
                route.up.store(state == SourceState::Running, Ordering::Release);
                route.board.set_state(state);
                route.metrics.state(state.as_str());
                route.events.state(&route.id, state);
                match state {
                    SourceState::Running | SourceState::Stopped => {
                        tracing::info!(source = %route.id, state = state.as_str(), "source");
                    }
                    // What these are about is told once, with its cause: by the fault, or by what broke it.
                    _ => tracing::debug!(source = %route.id, state = state.as_str(), "source"),
                }
            }
            SourceEvent::Fault { reason, attempt, retry_in } => {
                route.metrics.reconnects.inc();
                tracing::warn!(
                    source = %route.id,
                    address = route.address,
                    attempt,
                    retry_in_s = (retry_in.as_secs_f64() * 10.0).round() / 10.0,
                    "source failed and is tried again: {reason}"
                );
                route.board.set_error(reason);
            }
            SourceEvent::Dropped { reason, count } => route.metrics.dropped(reason, count),
            SourceEvent::Ended => route.end(),
            SourceEvent::Broken(reason) => route.break_off(reason),
        }
    }
}
