//! A source that is fetched from a WebRTC server (WHEP): its [`Origin`] and [`Attempt`].
//!
//! This side offers, the server answers over HTTP, on a thread of its own, so that a server that is silent holds up
//! neither the watchdog nor the end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::super::camera::of_status;
use super::super::encoded::Encoded;
use super::super::evidence::Record;
use super::super::feed::Feed;
use super::super::playback::{Decoded, live_limits};
use super::connection::{Connection, Link};
use super::http::{self, Answered, Call};
use super::publisher::receive;
use super::sdp::Description;
use crate::backend::supervise::{Attempt, Limits, Origin, Pacing, Timing};
use crate::backend::{Cause, Failure, Stream};
use crate::config::{Input, Sender, SourcePlan, Whep};
use crate::own::Thread;
use crate::telemetry::redact;
use crate::types::Frame;

/// Makes a session for each attempt.
pub(in crate::gst) struct Pulling(pub(in crate::gst) Arc<Encoded>);

impl Origin for Pulling {
    type Attempt = Pulled;

    fn start(&mut self, plan: &SourcePlan, pacing: Pacing) -> Result<Pulled, String> {
        let Input::Webrtc(webrtc) = &plan.input else { return Err("not a WebRTC source".into()) };
        let Sender::Server(server) = &webrtc.from else { return Err("not a WebRTC server".into()) };
        let near = server.url.host_str().is_some_and(|host| {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        });
        let peer = IpAddr::V4(if near { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED });
        let mut connection = None;
        let feed = Feed::build(pacing, &self.0, plan.picture_max, &Record::No, |place| {
            let made = connection.insert(Connection::add(place.pipeline, &webrtc.servers, peer)?);
            receive(made, place, webrtc)
        })?;
        let connection = connection.ok_or("the pipeline has no connection")?;
        let feed = feed.play()?;
        let offer = connection.offer()?;
        let (sender, answer) = bounded(1);
        let call = Call::post(server, offer);
        let thread = Thread::start("webrtc-offer", move |stop| {
            // The attempt may be over.
            let _ = sender.try_send(http::ask(&call, &stop));
        });
        let thread = thread.map_err(|error| format!("no thread for its request: {error}"))?;
        let server = server.clone();
        Ok(Pulled { feed, connection, server, asked: Some((thread, answer)), failed: None, session: None })
    }

    fn limits(&self, plan: &SourcePlan) -> Limits {
        live_limits(&plan.retry)
    }
}

/// A session with the server.
pub(in crate::gst) struct Pulled {
    feed: Feed,
    connection: Connection,
    server: Whep,
    /// The request, until it is answered.
    asked: Option<(Thread, Receiver<Result<Answered, Failure>>)>,
    failed: Option<Failure>,
    /// The address that ends the session.
    session: Option<url::Url>,
}

impl Pulled {
    /// Takes the server's answer once it is there.
    fn settle(&mut self) {
        let Some((_, answer)) = &self.asked else { return };
        let answer = match answer.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err("its request ended without an answer".into()),
            Ok(answer) => answer,
        };
        self.asked = None;
        self.failed = answer.and_then(|answer| self.accept(answer)).err();
    }

    fn accept(&mut self, answer: Answered) -> Result<(), Failure> {
        let peer = self.server.peer();
        if answer.status != 201 && answer.status != 200 {
            return Err(refused(&answer, &self.server));
        }
        self.session = answer.location.and_then(|place| self.server.url.join(&place).ok());
        // Credentials go to the server itself only.
        self.session = self.session.take().filter(|place| place.origin() == self.server.url.origin());
        let cause = |why: String| Failure::of(&Cause::NoStream(redact(&why).into_owned()), &peer);
        Description::check(&answer.body).map_err(cause)?;
        self.connection.accept(&answer.body).map_err(cause)
    }
}

/// Why the server does not answer the offer.
fn refused(answer: &Answered, server: &Whep) -> Failure {
    let (peer, given) = (server.peer(), server.token.is_some());
    let cause = of_status(answer.status.into(), answer.phrase.clone(), given);
    let (what, remedy) = match (answer.status, given) {
        (401, true) => ("refuses the token (401 Unauthorized)", "correct parameters.token"),
        (401, false) => ("wants a token (401 Unauthorized)", "write it as parameters.token"),
        (403, _) => ("does not let this token see it (403 Forbidden)", "write another as parameters.token"),
        _ => return Failure::of(&cause, &peer),
    };
    Failure { reason: format!("{peer} {what}: {remedy}"), remedy: Some(remedy.to_owned()), patience: cause.patience() }
}

impl Attempt for Pulled {
    type Sample = Decoded;

    fn pull(&mut self, wait: Duration) -> Option<Decoded> {
        self.settle();
        self.feed.pull(wait)
    }

    fn timing(&self, sample: &Decoded) -> Option<Timing> {
        self.feed.timing(sample)
    }

    fn fill(&mut self, sample: Decoded, frame: &mut Frame) -> Result<(), &'static str> {
        self.feed.fill(sample, frame)
    }

    fn failure(&mut self) -> Option<Failure> {
        let lost = (self.connection.link() == Link::Lost)
            .then(|| Failure::from(format!("the connection to {} is lost", self.server.peer())));
        self.failed.take().or(lost).or_else(|| self.feed.failure())
    }

    fn ended(&self) -> bool {
        self.feed.ended()
    }

    fn stream(&self) -> Option<Stream> {
        Some(self.feed.stream())
    }

    fn waits_for(&self) -> Option<String> {
        let peer = self.server.peer();
        Some(match (&self.asked, self.connection.link()) {
            (Some(_), _) => format!("{peer} does not answer the offer"),
            (None, Link::Open) => format!("{peer} is connected, and sends nothing that decodes"),
            (None, _) => {
                format!("no connection to {peer} for its packets: a firewall may drop UDP; try parameters.turn")
            }
        })
    }

    fn damaged(&mut self) -> u64 {
        self.feed.damaged()
    }

    fn lost(&mut self, spared: u64) -> u64 {
        self.feed.lost(spared)
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let call = Call::delete(&self.server, session);
        // Waited for by its drop, two seconds at most.
        drop(Thread::start("webrtc-end", move |_| drop(http::ask_briefly(&call))));
    }
}
