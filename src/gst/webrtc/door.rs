//! The WebRTC side of one source: who publishes to it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use rustix::rand::{GetRandomFlags, getrandom};

use super::publisher::Call;
use super::sdp::Description;
use crate::backend::{Answer, Offer, Peers, Unanswered};
use crate::config::{Input, Sender as From, SourcePlan, WebrtcPlan};
use crate::types::SourceId;

/// Bytes of a session's name.
const ID_BYTES: usize = 16;

/// See the module.
pub(in crate::gst) struct Door {
    id: SourceId,
    /// `None` for a source without publishers.
    plan: Option<WebrtcPlan>,
    state: Mutex<State>,
    /// The publisher on its way to the source's thread: one, as there is one seat.
    calls: (Sender<Call>, Receiver<Call>),
}

#[derive(Default)]
struct State {
    closed: bool,
    publisher: Option<Arc<Seat>>,
}

/// A session's place.
struct Seat {
    session: String,
    ended: AtomicBool,
}

/// A publisher's place, which is free once this is dropped.
pub(super) struct Held {
    door: Arc<Door>,
    seat: Arc<Seat>,
}

impl Door {
    pub(in crate::gst) fn new(plan: &SourcePlan) -> Arc<Self> {
        let webrtc = match &plan.input {
            Input::Webrtc(webrtc) => Some((**webrtc).clone()),
            _ => None,
        };
        Arc::new(Self { id: plan.id.clone(), plan: webrtc, state: Mutex::default(), calls: bounded(1) })
    }

    /// The source's name.
    pub(super) fn id(&self) -> &SourceId {
        &self.id
    }

    /// The next publisher; waits at most `wait`.
    pub(super) fn next(&self, wait: Duration) -> Option<Call> {
        self.calls.1.recv_timeout(wait).ok()
    }

    /// Ends every session; no other is accepted afterwards.
    pub(in crate::gst) fn close(&self) {
        let publisher = {
            let mut state = self.state.lock();
            state.closed = true;
            state.publisher.clone()
        };
        if let Some(seat) = publisher {
            seat.ended.store(true, Ordering::Release);
        }
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
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.from == From::Publisher) else {
            return Err(Unanswered::Unsupported(
                "it takes no publisher: one publishes to a source with `uri: \"whip:\"`".into(),
            ));
        };
        let description = Description::read(&offer.sdp).map_err(Unanswered::Invalid)?;
        let held = self.sit()?;
        let session = held.seat.session.clone();
        let (call, sdp) = Call::answer(plan, &description, offer.from, held).map_err(Unanswered::Failed)?;
        tracing::info!(source = %self.id, codec = ?description.payloads.first().map(|p| p.codec), "a publisher connects");
        // Full only if the place was free with a call still waiting, which `Held` rules out.
        self.calls.0.try_send(call).map_err(|_| Unanswered::Failed("the source does not take it".into()))?;
        if self.state.lock().closed {
            drop(self.calls.1.try_recv());
            return Err(Unanswered::Failed("the source has been removed".into()));
        }
        Ok(Answer { sdp, session })
    }
}

/// A source's side for its callers.
pub(in crate::gst) struct Counter(pub(in crate::gst) Arc<Door>);

impl Peers for Counter {
    fn publish(&self, offer: &Offer) -> Result<Answer, Unanswered> {
        self.0.accept(offer)
    }

    fn watch(&self, _: &Offer) -> Result<Answer, Unanswered> {
        Err(Unanswered::Unsupported("it cannot be watched over WebRTC".into()))
    }

    fn hang_up(&self, session: &str) -> bool {
        let seat = self.0.state.lock().publisher.clone().filter(|seat| seat.session == session);
        if let Some(seat) = &seat {
            seat.ended.store(true, Ordering::Release);
        }
        seat.is_some()
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
