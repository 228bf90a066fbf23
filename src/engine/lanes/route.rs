//! One source's path through the engine: from its backend's thread through the models to its lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::control::Control;
use super::credit::Credit;
use super::inbox::Inbox;
use super::pool::{Attached, Job, ModelUnit, Next, Pool};
use crate::backend::supervise::{self, BreakerState};
use crate::backend::{Flow, Sink, SourceEvent, SourceState};
use crate::config::{AfterFailing, SourcePlan};
use crate::engine::view::live::Events;
use crate::engine::view::source::{Fault, Moment, SourceBoard};
use crate::engine::view::status::SourceStatus;
use crate::error::Code;
use crate::telemetry::{SourceMetrics, Stage, redact};
use crate::types::{Blackout, Clock, SourceId, Unmasked};
use crate::vision::merge::merge;

/// The models that a source's frames pass, in order. A frame keeps the stages that it started with.
#[derive(Default)]
pub(in crate::engine) struct Stages {
    steps: Vec<Step>,
    /// The IoU threshold for merging detections of several models.
    merge_iou: f32,
}

struct Step {
    slot: Attached,
    /// The minimum score.
    confidence: f32,
}

impl Stages {
    /// Attaches a source to `models`, in order. `confidence` overrides the models' own minimum score.
    pub(in crate::engine) fn attach(
        pool: &Pool,
        models: &[Arc<ModelUnit>],
        credit: &Arc<Credit>,
        confidence: Option<f32>,
    ) -> Self {
        let step = |(index, model): (usize, &Arc<ModelUnit>)| Step {
            slot: pool.attach(model, credit, index == 0),
            confidence: confidence.unwrap_or(model.plan.confidence),
        };
        let merge_iou = models.first().map_or(0.5, |model| model.plan.nms);
        Self { steps: models.iter().enumerate().map(step).collect(), merge_iou }
    }

    pub(super) fn first(&self) -> Option<&Attached> {
        self.steps.first().map(|step| &step.slot)
    }

    /// The minimum score at a stage.
    pub(super) fn confidence(&self, stage: usize) -> f32 {
        self.steps.get(stage).map_or(1.0, |step| step.confidence)
    }
}

/// See the module. Shared by the source's thread, the pool's workers and the lane.
pub(in crate::engine) struct Route {
    pub(in crate::engine) id: SourceId,
    pub(in crate::engine) inbox: Inbox<Control>,
    pub(in crate::engine) metrics: SourceMetrics,
    pub(in crate::engine) board: SourceBoard,
    live: bool,
    /// Most frames of a live source without pictures that wait for the lane.
    waiting_max: usize,
    /// The source's address for display, without secrets.
    address: String,
    /// The longest interval between attempts; `None` for a source that is tried once, or stays down once it is failed.
    retry_every: Mutex<Option<Duration>>,
    stages: ArcSwap<Stages>,
    /// Most detections of each of its next frames.
    max_objects: AtomicUsize,
    /// What is painted in each of its next pictures.
    blackout: ArcSwap<Blackout>,
    credit: Arc<Credit>,
    clock: Arc<dyn Clock>,
    events: Arc<Events>,
    on_end: OnEnd,
}

/// Called once, when the source's last frame is judged or its lane is closed.
type OnEnd = Mutex<Option<Box<dyn FnOnce() + Send>>>;

impl Route {
    /// A route with at most `in_flight_max` frames in flight (see [`super::in_flight_max`]).
    pub(in crate::engine) fn new(
        plan: &SourcePlan,
        in_flight_max: u64,
        metrics: SourceMetrics,
        clock: Arc<dyn Clock>,
        events: Arc<Events>,
        on_end: Box<dyn FnOnce() + Send>,
    ) -> Self {
        let live = plan.input.is_live();
        let route = Self {
            id: plan.id.clone(),
            inbox: Inbox::new(in_flight_max),
            metrics,
            board: SourceBoard::default(),
            live,
            waiting_max: plan.input.waiting_max(),
            address: plan.input.address(redact::uri),
            retry_every: Mutex::default(),
            stages: ArcSwap::default(),
            max_objects: AtomicUsize::new(usize::MAX),
            blackout: ArcSwap::default(),
            credit: Arc::new(Credit::new(live, in_flight_max)),
            clock,
            events,
            on_end: Mutex::new(Some(on_end)),
        };
        route.change(plan);
        route
    }

    /// Whether the source is live.
    pub(in crate::engine) fn is_live(&self) -> bool {
        self.live
    }

    /// Applies settings that can change while the source runs.
    pub(in crate::engine) fn change(&self, plan: &SourcePlan) {
        let is_retried = self.live && plan.recovery.after_failing == AfterFailing::Retry;
        *self.retry_every.lock() = is_retried.then_some(plan.retry.cap);
        self.blackout.store(Arc::new(plan.blackout.clone()));
        self.max_objects.store(plan.max_objects.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.credit.set_weight(plan.priority);
    }

    /// Most detections of a frame.
    pub(super) fn max_objects(&self) -> usize {
        self.max_objects.load(Ordering::Relaxed)
    }

    /// Sets the models for the next frames; frames in flight keep the former ones.
    pub(in crate::engine) fn set_stages(&self, stages: Stages) {
        self.stages.store(Arc::new(stages));
    }

    /// The credit that its slots at the models share.
    pub(in crate::engine) fn credit(&self) -> &Arc<Credit> {
        &self.credit
    }

    fn give_credit(&self) {
        if self.credit.give()
            && let Some(first) = self.stages.load().first()
        {
            first.wake();
        }
    }

    /// Drops a frame that a worker took; `reason` is counted.
    fn drop_frame(&self, ticket: u64, reason: &'static str) {
        self.metrics.dropped(reason, 1);
        self.inbox.settle(ticket, None);
        self.give_credit();
    }

    /// The source's status.
    pub(in crate::engine) fn status(&self) -> SourceStatus {
        let (state, board) = (self.board.state(), &self.board);
        let remedy = board.remedy();
        let is_failed = state == SourceState::Failed && board.broken().is_none();
        let retry_every = self.retry_every.lock().filter(|_| is_failed);
        let stays_down = is_failed && self.live && retry_every.is_none();
        let every = |cap| if remedy.is_some() { supervise::slow_pace(cap) } else { cap };
        let retry_every = retry_every.map(every);
        let score = board.score(self.clock.monotonic_ns());
        self.metrics.score.set(score.unwrap_or(0.0));
        let status = SourceStatus::read(&self.id, state, retry_every, board.error(), &self.metrics);
        SourceStatus { remedy, stays_down, ..status.with_board(board, score) }
    }

    fn now(&self) -> Moment {
        Moment { ns: self.clock.monotonic_ns(), unix_ms: self.clock.unix_ns() / 1_000_000 }
    }

    /// An attempt has failed.
    fn failed(&self, fault: Fault, attempt: u32, retry_in: Duration) {
        let Fault { reason, class, .. } = &fault;
        let (source, address, class) = (&self.id, &self.address, *class);
        self.metrics.failed(class);
        if retry_in == Duration::MAX {
            tracing::warn!(%source, address, class, attempt, "source failed and stays down: {reason}");
        } else {
            self.metrics.reconnects.inc();
            let retry_in_s = (retry_in.as_secs_f64() * 10.0).round() / 10.0;
            tracing::warn!(
                %source,
                address,
                class,
                attempt,
                retry_in_s,
                "source failed and is tried again: {reason}"
            );
        }
        self.board.set_error(fault, self.now());
    }

    /// The lane has judged a frame. Returns whether it may have another step.
    pub(super) fn done(&self) -> bool {
        let has_more = self.inbox.done();
        self.give_credit();
        has_more
    }

    /// The source offered its last frame.
    fn end(&self) {
        self.credit.set_up(false);
        self.inbox.end();
    }

    /// Ends the source as broken, for this reason.
    pub(super) fn break_off(&self, reason: String) {
        let code = Code::SourceBroken.as_str();
        tracing::error!(source = %self.id, address = self.address, code, "source broken: {reason}");
        self.metrics.state(SourceState::Failed.as_str());
        self.board.break_off(reason, self.now());
        self.end();
    }

    /// The lane has finished with the source.
    pub(in crate::engine) fn finish(&self) {
        let on_end = self.on_end.lock().take();
        if let Some(on_end) = on_end {
            on_end();
        }
    }
}

impl Next for Route {
    fn advance(&self, job: Job) {
        let stages = Arc::clone(&job.stages);
        if let Some(step) = stages.steps.get(job.stage) {
            if let Some(job) = step.slot.offer(job, false) {
                self.drop_frame(job.ticket, "stopping");
            }
            return;
        }
        let Job { ticket, mut frame, stage, .. } = job;
        if stage > 1 {
            merge(&mut frame.detections, stages.merge_iou);
        }
        self.inbox.settle(ticket, Some(frame));
    }

    fn lose(&self, ticket: u64, reason: &'static str) {
        self.drop_frame(ticket, reason);
    }

    fn inferred(&self, seconds: f64) {
        self.metrics.latency(Stage::Infer).observe(seconds);
    }
}

/// The engine's implementation of the Backend sink, one per source.
pub(in crate::engine) struct Inlet(pub(in crate::engine) Arc<Route>);

impl Sink for Inlet {
    fn frame(&self, frame: Unmasked) -> Flow {
        let route = &*self.0;
        let mut frame = frame.mask(&route.blackout.load());
        if frame.arrived_ns == 0 {
            frame.arrived_ns = route.clock.monotonic_ns();
        }
        route.metrics.frame_decoded(frame.captured_unix_ns);
        route.board.frames(1, 0, frame.arrived_ns);
        if !route.live && !route.inbox.wait_room() {
            return Flow::Stop;
        }
        let Some(ticket) = route.inbox.ticket() else { return Flow::Stop };
        let frame = Box::new(frame);
        let stages = route.stages.load_full();
        match stages.first() {
            Some(first) if frame.picture.is_some() && !frame.detected => {
                let next = Arc::clone(&self.0) as Arc<dyn Next>;
                let job = Job { ticket, frame, stages: Arc::clone(&stages), stage: 0, next };
                if let Some(job) = first.offer(job, route.live) {
                    // No worker had taken it, so it holds no credit.
                    route.metrics.dropped("overload", 1);
                    route.inbox.settle(job.ticket, None);
                }
            }
            _ if route.live => {
                let dropped = route.inbox.settle_newest(ticket, frame, route.waiting_max);
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
                route.credit.set_up(state == SourceState::Running);
                route.board.set_state(state, route.now());
                route.metrics.state(state.as_str());
                route.events.state(&route.id, state);
                match state {
                    SourceState::Running | SourceState::Stopped => {
                        tracing::info!(source = %route.id, state = state.as_str(), "source");
                    }
                    // The cause of these is logged once, by the fault or by what broke the source.
                    _ => tracing::debug!(source = %route.id, state = state.as_str(), "source"),
                }
            }
            SourceEvent::Fault { reason, remedy, class, attempt, retry_in } => {
                let unix_ms = route.now().unix_ms;
                route.failed(Fault { reason, remedy, class, unix_ms }, attempt, retry_in);
            }
            SourceEvent::Breaker(state) => {
                tracing::info!(source = %route.id, state = state.as_str(), "circuit breaker of the source");
                route.metrics.breaker.set(i64::from(state != BreakerState::Closed));
                route.board.set_breaker(state);
            }
            SourceEvent::Dropped { reason, count } => {
                if reason == "corrupt" {
                    route.board.frames(count, count, route.clock.monotonic_ns());
                }
                route.metrics.dropped(reason, count);
            }
            SourceEvent::Opened(stream) => route.board.set_stream(stream),
            SourceEvent::Ended => route.end(),
            SourceEvent::Broken(reason) => route.break_off(reason),
        }
    }
}
