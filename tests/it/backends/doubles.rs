//! Backends in the shapes of those that are yet to come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use dsengine::backend::scene::SceneBackend;
use dsengine::backend::supervise::{self, Attempt, Backoff, Limits, Origin, Pacing, Quiet, Timing};
use dsengine::backend::{Answer, Offer, Peers, Unanswered};
use dsengine::backend::{Backend, Change, Failure, Flow, Outlet, Sink, SourceContext, SourceState, Sources};
use dsengine::config::SourcePlan;
use dsengine::error::{Code, Error};
use dsengine::own::{Stop, Thread};
use dsengine::types::{
    BBox, Clock, Colorimetry, Detection, Frame, Matrix, Picture, PixelFormat, Pixels, Range, SourceId, Unreadable,
};

/// Time between two frames of a double.
const FRAME: Duration = Duration::from_millis(4);

fn person() -> Detection {
    Detection::new("person", 0, 0.9, BBox { x: 0.4, y: 0.4, width: 0.1, height: 0.2 })
}

/// One pipeline that carries every source, each frame detected already, and that can die under all of them.
pub(super) struct SharedPipeline {
    sources: Sources,
    added: Sender<Carried>,
    thread: Option<Thread>,
}

struct Carried {
    outlet: Arc<Outlet>,
    change: Arc<Change>,
    plan: SourcePlan,
    next_seq: u64,
}

impl SharedPipeline {
    /// With the way to let it die.
    pub(super) fn new(clock: Arc<dyn Clock>) -> (Self, Sender<()>) {
        let ((added, arriving), (kill, deaths)) = (bounded(64), bounded(1));
        let thread = Thread::start("shared", move |stop| carry(&arriving, &deaths, &stop, &*clock)).unwrap();
        (Self { sources: Sources::default(), added, thread: Some(thread) }, kill)
    }
}

impl Backend for SharedPipeline {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let (outlet, change) = self.sources.join(plan, sink)?;
        outlet.enter(SourceState::Connecting);
        self.added.send(Carried { outlet, change, plan: plan.clone(), next_seq: 0 }).unwrap();
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.sources.remove(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(self.thread.take(), deadline);
    }
}

fn carry(arriving: &Receiver<Carried>, deaths: &Receiver<()>, stop: &Stop, clock: &dyn Clock) {
    let (mut carried, mut backoff): (Vec<Carried>, _) = (Vec::new(), Backoff::default());
    while stop.pause(FRAME) {
        carried.extend(arriving.try_iter());
        carried.retain(|source| !source.outlet.closed());
        if deaths.try_recv().is_ok() && !carried.is_empty() {
            let retry = backoff.failed(&carried[0].plan.retry, Duration::ZERO, 0.5);
            for source in &carried {
                source.outlet.fault("the pipeline died", retry.attempt, retry.wait, retry.state);
            }
            stop.pause(retry.wait);
            carried.iter().for_each(|source| source.outlet.enter(SourceState::Connecting));
        }
        carried.retain_mut(|source| source.deliver(clock) == Flow::Continue);
    }
}

impl Carried {
    fn deliver(&mut self, clock: &dyn Clock) -> Flow {
        if let Some(plan) = self.change.take() {
            self.plan.every = plan.every;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        if !seq.is_multiple_of(u64::from(self.plan.every)) {
            return Flow::Continue;
        }
        self.outlet.enter(SourceState::Running);
        let empty = Frame::empty(self.outlet.id().clone(), seq);
        let pts_ns = clock.monotonic_ns();
        self.outlet.frame(Frame { pts_ns, detections: vec![person()], detected: true, ..empty })
    }
}

/// Sources whose names begin with `shared` go through one pipeline, the others are scenes.
pub(super) struct Mixed {
    pub(super) shared: SharedPipeline,
    pub(super) scenes: SceneBackend,
}

impl Mixed {
    fn of(&mut self, source: &SourceId) -> &mut dyn Backend {
        if source.as_str().starts_with("shared") { &mut self.shared } else { &mut self.scenes }
    }
}

impl Backend for Mixed {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        self.of(&plan.id).add_source(plan, sink)
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.of(&plan.id).change_source(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.of(source).remove_source(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.shared.stop(deadline);
        self.scenes.stop(deadline);
    }
}

/// Takes publishers: a source waits until one has made an offer.
pub(super) struct Publishing {
    clock: Arc<dyn Clock>,
    sources: Sources,
    /// Whether a publisher is connected, by source.
    connected: BTreeMap<SourceId, Arc<AtomicBool>>,
    /// Sends a publisher away.
    pub(super) leave: Arc<AtomicBool>,
}

impl Publishing {
    pub(super) fn new(clock: Arc<dyn Clock>, leave: Arc<AtomicBool>) -> Self {
        Self { clock, sources: Sources::default(), connected: BTreeMap::new(), leave }
    }
}

impl Backend for Publishing {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let (connected, leave) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.leave));
        let origin = Door { connected: Arc::clone(&connected), leave };
        let (ours, clock) = (plan.clone(), Arc::clone(&self.clock));
        self.sources.start(plan, sink, "publishing", move |context: SourceContext| {
            supervise::run(origin, ours, clock, context);
        })?;
        self.connected.insert(plan.id.clone(), connected);
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.connected.remove(source);
        self.sources.remove(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(None, deadline);
    }

    fn peers(&self, source: &SourceId) -> Result<Arc<dyn Peers>, Error> {
        let unknown = || Error::new(Code::Source, format!("source {source} does not take a publisher"));
        Ok(Arc::new(Publisher(Arc::clone(self.connected.get(source).ok_or_else(unknown)?))))
    }
}

struct Publisher(Arc<AtomicBool>);

impl Peers for Publisher {
    fn publish(&self, offer: &Offer) -> Result<Answer, Unanswered> {
        self.0.store(true, Ordering::SeqCst);
        Ok(Answer { sdp: format!("answer to {}", offer.sdp), session: "1".into() })
    }

    fn watch(&self, _: &Offer) -> Result<Answer, Unanswered> {
        Err(Unanswered::Unsupported("it has no viewers".into()))
    }

    fn hang_up(&self, _: &str) -> bool {
        false
    }

    fn is_open(&self, _: &str) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Door {
    connected: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
}

impl Origin for Door {
    type Attempt = Self;

    fn start(&mut self, _: &SourcePlan, pacing: Pacing) -> Result<Self, String> {
        assert_eq!(pacing, Pacing::Live);
        Ok(self.clone())
    }

    fn limits(&self, plan: &SourcePlan) -> Limits {
        Limits { first_frame: plan.retry.first_frame, gap: plan.retry.gap, look: Duration::MAX, patience: 1 }
    }
}

impl Attempt for Door {
    type Sample = ();

    fn pull(&mut self, wait: Duration) -> Option<()> {
        if self.leave.swap(false, Ordering::SeqCst) {
            self.connected.store(false, Ordering::SeqCst);
        }
        std::thread::sleep(wait.min(FRAME));
        self.connected.load(Ordering::SeqCst).then_some(())
    }

    fn timing(&self, (): &()) -> Option<Timing> {
        Some(Timing::default())
    }

    fn fill(&mut self, (): (), _: &mut Frame) -> Result<(), &'static str> {
        Ok(())
    }

    fn failure(&mut self) -> Option<Failure> {
        None
    }

    fn ended(&self) -> bool {
        false
    }

    fn quiet(&self) -> Quiet {
        if self.connected.load(Ordering::SeqCst) { Quiet::Unexplained } else { Quiet::NoPublisher }
    }
}

/// Thirty frames with pixels and with one person that the hardware has found in each; says how often they were looked
/// at.
pub(super) struct Hardware {
    pub(super) sources: Sources,
    pub(super) looks: Arc<AtomicU64>,
    /// Whether the frames say that they come detected.
    pub(super) detected: bool,
}

/// Frames that [`Hardware`] gives.
pub(super) const HARDWARE_FRAMES: u64 = 30;

struct Counted {
    plane: Vec<u8>,
    looks: Arc<AtomicU64>,
}

impl Pixels for Counted {
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok([&self.plane, &[], &[]])
    }
}

impl Backend for Hardware {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let (looks, detected) = (Arc::clone(&self.looks), self.detected);
        self.sources.start(plan, sink, "hardware", move |SourceContext { outlet, stop, .. }| {
            outlet.enter(SourceState::Running);
            for seq in 0..HARDWARE_FRAMES {
                let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Full };
                let pixels = Arc::new(Counted { plane: vec![0; 64 * 48 * 3], looks: Arc::clone(&looks) });
                let picture = Picture::new(PixelFormat::Rgb, 64, 48, colorimetry, [64 * 3, 0, 0], pixels);
                let (width, height, detections) = (64, 48, vec![person()]);
                let empty = Frame::empty(outlet.id().clone(), seq);
                let pts_ns = seq * 40_000_000;
                let frame = Frame { pts_ns, width, height, detections, detected, picture, ..empty };
                if stop.requested() || outlet.frame(frame) == Flow::Stop {
                    return outlet.stop();
                }
            }
            outlet.end();
        })
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.sources.remove(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(None, deadline);
    }
}
