//! One peer connection: a `webrtcbin` in a pipeline, from the offer to the answer.
//!
//! `webrtcbin` works on its own thread and answers through promises. Every wait here has a limit.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::super::doctor;
use super::super::feed::{add, make};
use super::abi::{Kind, Library};
use super::addresses;
use crate::config::IceServers;

/// Longest wait for one step of the negotiation. All of them depend on this machine only: one creates a key, which takes
/// seconds where the machine is busy.
const STEP_MAX: Duration = Duration::from_secs(10);
/// Longest wait for ICE candidates: a STUN or TURN server that does not answer must not hold up the rest.
const GATHER_MAX: Duration = Duration::from_secs(3);

/// What to do where an element is missing.
fn missing(element: &str) -> String {
    format!("GStreamer has no {element} here: {}", doctor::remedy(element))
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// It is being set up.
    Opening,
    /// Packets can flow.
    Open,
    /// It has failed, or the peer closed it.
    Lost,
}

/// What `webrtcbin` has reported.
#[derive(Debug, Default)]
struct Reported {
    open: AtomicBool,
    lost: AtomicBool,
}

/// A `webrtcbin` and what belongs to it. The pipeline owns the element.
pub(super) struct Connection {
    pub(super) bin: gst::Element,
    library: Library,
    reported: Arc<Reported>,
}

impl Connection {
    /// Adds a `webrtcbin` to a pipeline, for a peer at `peer`.
    pub(super) fn add(pipeline: &gst::Pipeline, servers: &IceServers, peer: IpAddr) -> Result<Self, String> {
        let bin = make("webrtcbin")?;
        // Without this, `webrtcbin` fails only once candidates are gathered.
        gst::ElementFactory::find("nicesrc").ok_or_else(|| missing("nicesrc"))?;
        let library = Library::open().ok_or_else(|| missing("webrtcbin"))?;
        bin.set_property_from_str("bundle-policy", "max-bundle");
        for (property, server) in [("stun-server", &servers.stun), ("turn-server", &servers.turn)] {
            // Setting no server is an error in GStreamer's log.
            if let Some(server) = server {
                bin.set_property(property, server);
            }
        }
        add(pipeline, &[&bin])?;
        let reported = Arc::<Reported>::default();
        let seen = Arc::clone(&reported);
        bin.connect_notify(Some("connection-state"), move |bin, _| match nick(bin, "connection-state").as_deref() {
            Some("connected") => seen.open.store(true, Ordering::Release),
            Some("failed" | "closed") => seen.lost.store(true, Ordering::Release),
            _ => {}
        });
        // The property exists since 1.18; before, only addresses on a network are used.
        if bin.find_property("ice-agent").is_some() {
            let agent: glib::Object = bin.property("ice-agent");
            if glib::subclass::SignalId::lookup("add-local-ip-address", agent.type_()).is_some() {
                for address in addresses::local(peer) {
                    agent.emit_by_name::<bool>("add-local-ip-address", &[&address.to_string()]);
                }
            }
        }
        Ok(Self { bin, library, reported })
    }

    /// Answers an offer; the answer has every candidate.
    pub(super) fn answer(&self, offer: &str) -> Result<String, String> {
        let offer = self.library.describe(Kind::Offer, offer).ok_or("the offer cannot be read")?;
        self.call("set-remote-description", &[offer])?;
        let reply = self.call("create-answer", &[None::<gst::Structure>.to_value()])?;
        let answer =
            reply.ok().and_then(|reply| reply.value("answer").cloned().ok()).ok_or("there is no answer to it")?;
        self.call("set-local-description", &[answer.into()])?;
        self.gathered();
        self.library.text(&self.bin.property_value("local-description")).ok_or_else(|| "the answer is empty".into())
    }

    /// Offers to receive a video; the offer has every candidate.
    pub(super) fn offer(&self) -> Result<String, String> {
        let direction = glib::Type::from_name("GstWebRTCRTPTransceiverDirection").and_then(glib::EnumClass::with_type);
        let direction = direction.and_then(|class| class.to_value_by_nick("recvonly"));
        let direction = direction.ok_or("webrtcbin has no direction recvonly")?;
        self.bin.emit_by_name_with_values("add-transceiver", &[direction, receivable().to_value()]);
        let reply = self.call("create-offer", &[None::<gst::Structure>.to_value()])?;
        let offer = reply.ok().and_then(|reply| reply.value("offer").cloned().ok()).ok_or("there is no offer")?;
        self.call("set-local-description", &[offer.into()])?;
        self.gathered();
        self.library.text(&self.bin.property_value("local-description")).ok_or_else(|| "the offer is empty".into())
    }

    /// Accepts the answer to the offer.
    pub(super) fn accept(&self, answer: &str) -> Result<(), String> {
        let answer = self.library.describe(Kind::Answer, answer).ok_or("the answer cannot be read")?;
        self.call("set-remote-description", &[answer]).map(drop)
    }

    /// Calls an action that answers by a promise.
    fn call(&self, action: &str, args: &[glib::Value]) -> Result<Reply, String> {
        let (sender, answered) = bounded(1);
        let promise = gst::Promise::with_change_func(move |reply| {
            let reply = match reply {
                Ok(reply) => Ok(reply.map(|reply| reply.to_owned())),
                Err(_) => Err("the negotiation was broken off".to_owned()),
            };
            // Nobody waits any more after the limit.
            let _ = sender.try_send(reply);
        });
        let args: Vec<glib::Value> = args.iter().cloned().chain([promise.to_value()]).collect();
        self.bin.emit_by_name_with_values(action, &args);
        let reply = answered.recv_timeout(STEP_MAX).map_err(|_| format!("{action} takes too long"))??;
        if let Some(error) = reply.as_ref().and_then(|reply| reply.get::<glib::Error>("error").ok()) {
            return Err(error.message().to_owned());
        }
        Ok(Reply(reply))
    }

    /// Waits until the candidates are gathered, up to the limit.
    fn gathered(&self) {
        let (sender, done) = bounded(1);
        let id = self.bin.connect_notify(Some("ice-gathering-state"), move |bin, _| {
            if nick(bin, "ice-gathering-state").as_deref() == Some("complete") {
                let _ = sender.try_send(());
            }
        });
        if nick(&self.bin, "ice-gathering-state").as_deref() != Some("complete")
            && done.recv_timeout(GATHER_MAX).is_err()
        {
            tracing::warn!(limit_ms = GATHER_MAX.as_millis(), "a STUN or TURN server does not answer in time");
        }
        self.bin.disconnect(id);
    }

    /// How far it has come.
    pub(super) fn link(&self) -> Link {
        if self.reported.lost.load(Ordering::Acquire) {
            return Link::Lost;
        }
        if self.reported.open.load(Ordering::Acquire) { Link::Open } else { Link::Opening }
    }
}

/// The streams that a source receives.
fn receivable() -> gst::Caps {
    let of = |name: &str, payload: i32| {
        gst::Structure::builder("application/x-rtp")
            .field("media", "video")
            .field("encoding-name", name)
            .field("clock-rate", 90_000_i32)
            .field("payload", payload)
    };
    let h264 = of("H264", 96).field("packetization-mode", "1").field("level-asymmetry-allowed", "1");
    gst::Caps::builder_full().structure(h264.build()).structure(of("VP8", 97).build()).build()
}

/// The reply of a promise.
struct Reply(Option<gst::Structure>);

impl Reply {
    fn ok(&self) -> Option<&gst::StructureRef> {
        self.0.as_deref()
    }
}

/// The nick of an enumeration's value.
fn nick(bin: &gst::Element, property: &str) -> Option<String> {
    let value = bin.property_value(property);
    glib::EnumValue::from_value(&value).map(|(_, value)| value.nick().to_owned())
}
