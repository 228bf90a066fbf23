//! The WebRTC side of one source: who publishes to it, and who watches it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{self as channel, Receiver, bounded};
use parking_lot::{Mutex, MutexGuard};
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::encoded::{Encoded, Unfit};
use super::publisher::Call;
use super::sdp::Description;
use super::viewer::{Supply, Viewer};
use crate::backend::{Answer, Offer, Peers, Unanswered};
use crate::config::{Input, PictureMax, Sender, SourcePlan, WebrtcPlan};
use crate::own::Thread;
use crate::types::{Blackout, Clock, SourceId};

/// Bytes of a session's name.
const ID_BYTES: usize = 16;
/// Most viewers of one source.
const VIEWERS_MAX: usize = 8;
/// Most viewers of all sources: each has a pipeline and some threads.
const VIEWERS_IN_ALL_MAX: usize = 32;
/// Longest wait for the viewers of a source that is removed.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(in crate::gst) struct Door {
    id: SourceId,
    /// `None` for a source without publishers.
    plan: Option<WebrtcPlan>,
    clock: Arc<dyn Clock>,
    /// Why no encoded picture ever comes, for such a source.
    unencoded: Option<&'static str>,
    /// Larger pictures are scaled down to it.
    pub(super) picture_max: Option<PictureMax>,
    /// Its encoded pictures.
    pub(in crate::gst) encoded: Arc<Encoded>,
    /// Viewers of all sources.
    viewers: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// The publisher on its way to the source's thread: one, as there is one seat.
    calls: (channel::Sender<Call>, Receiver<Call>),
}

#[derive(Default)]
struct State {
    closed: bool,
    publisher: Option<Arc<Seat>>,
    /// By session. An ended one is removed when the next comes.
    viewers: Vec<(String, Thread)>,
}

/// A viewer's place among all, which is free once this is dropped.
struct Place(Arc<AtomicUsize>);

/// A session's place.
struct Seat {
    session: String,
    ended: AtomicBool,
}

/// A publisher's place, which is free once this is dropped.
pub(super) struct Held {
    pub(super) door: Arc<Door>,
    seat: Arc<Seat>,
}

impl Door {
    pub(in crate::gst) fn new(plan: &SourcePlan, clock: Arc<dyn Clock>, viewers: &Arc<AtomicUsize>) -> Arc<Self> {
        let webrtc = match &plan.input {
            Input::Webrtc(webrtc) => Some((**webrtc).clone()),
            _ => None,
        };
        let (encoded, state, calls) = (Arc::default(), Mutex::default(), bounded(1));
        let viewers = Arc::clone(viewers);
        let unencoded = match plan.input {
            Input::Test { .. } => Some("its pictures are made here, and not encoded"),
            Input::File(_) if !plan.realtime => Some("it is not played at its own pace (`realtime: true`)"),
            _ => None,
        };
        let (id, picture_max) = (plan.id.clone(), plan.picture_max);
        let door = Self { id, plan: webrtc, unencoded, clock, picture_max, encoded, viewers, state, calls };
        door.change(plan);
        Arc::new(door)
    }

    /// Applies a changed plan. The stream is passed on as it is, so it must not leave while areas are blacked out.
    pub(in crate::gst) fn change(&self, plan: &SourcePlan) {
        let hidden = plan.blackout != Blackout::default();
        self.encoded.hide(hidden);
        if hidden {
            self.state.lock().viewers.iter_mut().for_each(|(_, thread)| thread.stop());
        }
    }

    /// The source's name.
    pub(super) fn id(&self) -> &SourceId {
        &self.id
    }

    /// The next publisher; waits at most `wait`.
    pub(super) fn next(&self, wait: Duration) -> Option<Call> {
        self.calls.1.recv_timeout(wait).ok()
    }

    /// Signals the end of every session; no other is accepted afterwards.
    pub(in crate::gst) fn end(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.viewers.iter_mut().for_each(|(_, thread)| thread.stop());
        if let Some(seat) = &state.publisher {
            seat.ended.store(true, Ordering::Release);
        }
    }

    /// The same, and waits for it.
    pub(in crate::gst) fn close(&self) {
        self.end();
        let mut viewers = std::mem::take(&mut self.state.lock().viewers);
        Thread::join_all(viewers.iter_mut().map(|(_, thread)| thread), CLOSE_MAX);
        // Dropped here where the source's thread did not take it.
        drop(self.calls.1.try_recv());
    }

    /// Takes the publisher's place.
    fn sit(self: &Arc<Self>) -> Result<Held, Unanswered> {
        let session = random_id().ok_or_else(|| Unanswered::Failed("there are no random numbers".into()))?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(Unanswered::Failed("the source has been removed".into()));
        }
        if state.publisher.is_some() {
            return Err(Unanswered::Occupied("another publisher is connected to it".into()));
        }
        let seat = Arc::new(Seat { session, ended: AtomicBool::new(false) });
        state.publisher = Some(Arc::clone(&seat));
        drop(state);
        Ok(Held { door: Arc::clone(self), seat })
    }

    fn accept(self: &Arc<Self>, offer: &Offer) -> Result<Answer, Unanswered> {
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.from == Sender::Publisher) else {
            return Err(Unanswered::Unsupported(
                "it takes no publisher: one publishes to a source with `uri: \"whip:\"`".into(),
            ));
        };
        let description = Description::read(&offer.sdp).map_err(Unanswered::Invalid)?;
        let held = self.sit()?;
        let session = held.seat.session.clone();
        let (call, sdp) = Call::answer(plan, &description, offer.from, held).map_err(Unanswered::Failed)?;
        let codec = description.payloads.first().map(|payload| payload.codec);
        tracing::info!(source = %self.id, ?codec, "a publisher connects");
        // Full only if the place was free with a call still waiting, which `Held` rules out.
        self.calls.0.try_send(call).map_err(|_| Unanswered::Failed("the source does not take it".into()))?;
        if self.state.lock().closed {
            drop(self.calls.1.try_recv());
            return Err(Unanswered::Failed("the source has been removed".into()));
        }
        Ok(Answer { sdp, session })
    }
}

impl Door {
    fn show(self: &Arc<Self>, offer: &Offer) -> Result<Answer, Unanswered> {
        if let Some(why) = self.unencoded {
            return Err(Unanswered::Unsupported(why.into()));
        }
        let caps = self.encoded.fit().map_err(unfit)?;
        let description = Description::read(&offer.sdp).map_err(Unanswered::Invalid)?;
        let place = Place::take(&self.viewers)?;
        let session = random_id().ok_or_else(|| Unanswered::Failed("there are no random numbers".into()))?;
        drop(self.room()?);
        let (viewer, sdp) = Viewer::answer(&description, &caps, offer.from, &self.clock)?;
        // Checked again, since others may have been answered meanwhile.
        let mut state = self.room()?;
        let (id, supply) =
            (self.id.clone(), Supply { clock: Arc::clone(&self.clock), encoded: Arc::clone(&self.encoded) });
        let thread = Thread::start("webrtc-viewer", move |stop| {
            let _place = place;
            tracing::info!(source = %id, "a viewer connects");
            let (why, dropped) = viewer.show(&supply, &stop);
            tracing::info!(source = %id, why, dropped, "a viewer is gone");
        });
        let thread = thread.map_err(|error| Unanswered::Failed(format!("no thread for it: {error}")))?;
        state.viewers.push((session.clone(), thread));
        Ok(Answer { sdp, session })
    }

    /// The state, if there is room for another viewer.
    fn room(&self) -> Result<MutexGuard<'_, State>, Unanswered> {
        let mut state = self.state.lock();
        state.viewers.retain(|(_, thread)| !thread.ended());
        match state.viewers.len() {
            _ if state.closed => Err(Unanswered::Failed("the source has been removed".into())),
            VIEWERS_MAX.. => Err(Unanswered::Occupied(format!("it has {VIEWERS_MAX} viewers, and takes no more"))),
            _ => Ok(state),
        }
    }
}

/// Why a stream cannot be passed on, for a viewer.
fn unfit(unfit: Unfit) -> Unanswered {
    match unfit {
        Unfit::Nothing => Unanswered::Occupied("no encoded picture of it has arrived yet".into()),
        Unfit::Codec(codec) => {
            let codec = codec.trim_start_matches("video/x-").to_uppercase();
            Unanswered::Unsupported(format!("its stream is {codec}, and only H.264 is passed on as it is"))
        }
        Unfit::Reordered => {
            Unanswered::Unsupported("its stream has B-frames, which WebRTC players do not show in order".into())
        }
        Unfit::Hidden => Unanswered::Unsupported(
            "part of its picture is blacked out, and the stream would leave as it comes from the camera".into(),
        ),
    }
}

impl Place {
    fn take(viewers: &Arc<AtomicUsize>) -> Result<Self, Unanswered> {
        let more = |count| (count < VIEWERS_IN_ALL_MAX).then_some(count + 1);
        match viewers.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Self(Arc::clone(viewers))),
            Err(_) => {
                Err(Unanswered::Occupied(format!("there are {VIEWERS_IN_ALL_MAX} viewers, and no more are taken")))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A source's side for its callers.
pub(in crate::gst) struct Sessions(pub(in crate::gst) Arc<Door>);

impl Peers for Sessions {
    fn publish(&self, offer: &Offer) -> Result<Answer, Unanswered> {
        self.0.accept(offer)
    }

    fn watch(&self, offer: &Offer) -> Result<Answer, Unanswered> {
        self.0.show(offer)
    }

    fn hang_up(&self, session: &str) -> bool {
        let mut state = self.0.state.lock();
        if let Some(seat) = state.publisher.as_ref().filter(|seat| seat.session == session) {
            seat.ended.store(true, Ordering::Release);
            return true;
        }
        let viewer = state.viewers.iter_mut().find(|(own, thread)| own == session && !thread.ended());
        viewer.map(|(_, thread)| thread.stop()).is_some()
    }

    fn is_open(&self, session: &str) -> bool {
        let state = self.0.state.lock();
        state.publisher.as_ref().is_some_and(|seat| seat.session == session)
            || state.viewers.iter().any(|(own, thread)| own == session && !thread.ended())
    }
}

impl Held {
    /// Whether the publisher has ended its session.
    pub(super) fn ended(&self) -> bool {
        self.seat.ended.load(Ordering::Acquire)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.door.state.lock();
        if state.publisher.as_ref().is_some_and(|seat| Arc::ptr_eq(seat, &self.seat)) {
            state.publisher = None;
        }
    }
}

/// System random bytes, as hex digits.
fn random_id() -> Option<String> {
    let mut bytes = [0u8; ID_BYTES];
    // Up to 256 bytes are returned completely or not at all.
    getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    let mut id = String::with_capacity(2 * ID_BYTES);
    for byte in bytes {
        let _ = write!(id, "{byte:02x}");
    }
    Some(id)
}
