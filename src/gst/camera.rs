//! The RTSP side of a pipeline: setting up rtspsrc and classifying its failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::decode::camera_decodebin;
use super::encoded::Encoded;
use super::evidence::Record;
use super::feed::{add, make};
use super::observed::Observed;
use super::probe::Probe;
use super::redirect::Redirects;
use super::tls;
use crate::backend::{Cause, Failure};
use crate::config::{Camera, Input, PictureMax, Transport};
use crate::types::Clock;

/// How far the RTSP handshake has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The TCP or TLS connection is being set up.
    Connecting,
    /// A request was sent and not answered yet.
    Requested(&'static str),
    /// PLAY was sent.
    Playing,
}

/// State shared by all attempts at a source.
#[derive(Clone)]
pub(super) struct Attempts {
    pub(super) clock: Arc<dyn Clock>,
    /// Whether earlier attempts have shown that the camera takes UDP only.
    pub(super) udp: Arc<AtomicBool>,
    /// Between two tries of a clip at a web address that was interrupted.
    pub(super) pause: Duration,
    /// The last segment that was played of a live playlist: another attempt does not play it again.
    pub(super) played: Arc<Mutex<Option<Last>>>,
    /// Takes the source's encoded pictures.
    pub(super) encoded: Arc<Encoded>,
    /// Larger pictures are scaled down to it.
    pub(super) picture_max: Option<PictureMax>,
    /// What its pipelines do for evidence.
    pub(super) record: Record,
}

impl Attempts {
    /// The state before the first attempt.
    pub(super) fn new(clock: Arc<dyn Clock>, encoded: Arc<Encoded>) -> Self {
        let (udp, pause, played) = (Arc::default(), Duration::ZERO, Arc::default());
        Self { clock, udp, pause, played, encoded, picture_max: None, record: Record::No }
    }
}

/// A segment's number and address.
pub(super) type Last = (u64, String);

/// One RTSP session, from connecting to playing.
pub(super) struct Session {
    camera: Camera,
    attempts: Attempts,
    /// Whether this attempt uses UDP.
    over_udp: bool,
    phase: Phase,
    probe: Option<Probe>,
    redirects: Option<Redirects>,
    /// rtspsrc has given up.
    ended: bool,
    /// GLib accepted the certificate, so it was never compared with the fingerprint.
    unpinned: bool,
}

/// How a pipeline error is handled.
pub(super) enum Verdict {
    /// The attempt failed.
    Failed(Failure),
    /// The cause is unknown until the probe answers.
    Unknown,
    /// Go on over UDP, with a new pipeline.
    OverUdp,
}

impl Session {
    pub(super) fn new(camera: &Camera, attempts: &Attempts) -> Self {
        let over_udp = match camera.transport {
            Transport::Tcp => false,
            Transport::Udp => true,
            Transport::Auto => attempts.udp.load(Ordering::Acquire),
        };
        let (camera, attempts) = (camera.clone(), attempts.clone());
        let (phase, probe, redirects) = (Phase::Connecting, None, None);
        Self { camera, attempts, over_udp, phase, probe, redirects, ended: false, unpinned: false }
    }

    /// Adds rtspsrc and its decodebin to a pipeline. `to` is what takes the pictures, or the packets of evidence's own
    /// stream.
    pub(super) fn build(
        &mut self,
        pipeline: &gst::Pipeline,
        to: &gst::Element,
        observed: &Arc<Observed>,
    ) -> Result<(), String> {
        let source = make("rtspsrc")?;
        let location = location(&self.camera);
        source.set_property("location", &location);
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        self.redirects = Some(Redirects::watch(&source, &bus, location, observed));
        source.set_property_from_str("protocols", if self.over_udp { "udp+udp-mcast" } else { "tcp" });
        source.set_property("latency", u32::try_from(self.camera.latency.as_millis()).unwrap_or(u32::MAX));
        source.set_property("udp-buffer-size", i32::try_from(self.camera.buffer_bytes).unwrap_or(i32::MAX));
        // The watchdog is the only timeout.
        source.set_property("tcp-timeout", 0_u64);
        source.set_property("timeout", 0_u64);
        if self.camera.tls {
            tls::watch(&source, &self.camera, observed, &self.attempts.clock);
        }
        let record = self.attempts.record.clone();
        let is_own = record.is_own();
        // Older versions have no such property: then the time of arrival counts. Evidence reads the reports itself.
        if !is_own && source.find_property("add-reference-timestamp-meta").is_some() {
            source.set_property("add-reference-timestamp-meta", true);
        }
        // Other media are not set up at the server.
        let offered = Arc::clone(observed);
        source.connect("select-stream", false, move |args| {
            let caps = args.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
            let video = caps.is_none_or(|caps| is_rtp_video(&caps));
            let seen = if video { &offered.offers_video } else { &offered.offers_other };
            seen.store(true, Ordering::Release);
            Some(video.to_value())
        });
        let decode = if is_own { to.clone() } else { camera_decodebin(to, observed)? };
        let sink = decode.static_pad("sink").ok_or("decodebin has no sink pad")?.downgrade();
        let (tap, reports) = (record.tap(), record.reports());
        if let Some(reports) = &reports {
            reports.watch(&source);
        }
        let observed = Arc::clone(observed);
        let pipeline_of = pipeline.downgrade();
        source.connect_pad_added(move |source, pad| {
            let Some(sink) = sink.upgrade().filter(|sink| !sink.is_linked()) else { return };
            let caps = pad.current_caps();
            if caps.as_ref().is_none_or(is_rtp_video) {
                let spliced = pipeline_of.upgrade().zip(tap.as_ref());
                let spliced = spliced.and_then(|(pipeline, tap)| tap.splice(&pipeline, caps.as_ref(), &sink));
                if spliced.is_none() && is_own {
                    observed.no_video.store(true, Ordering::Release);
                    return;
                }
                if pad.link(&spliced.unwrap_or(sink)).is_err() {
                    tracing::warn!("a network stream does not link to its decoder");
                }
                if let Some(reports) = &reports {
                    reports.measure(pad, &source.downgrade());
                }
            }
            let observed = Arc::clone(&observed);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                observed.packets.store(true, Ordering::Release);
                gst::PadProbeReturn::Remove
            });
        });
        if is_own { add(pipeline, &[&source]) } else { add(pipeline, &[&source, &decode]) }
    }

    /// Whether the camera plays, so that only its packets are missing.
    pub(super) fn is_connected(&self) -> bool {
        self.phase == Phase::Playing
    }

    /// Follows rtspsrc's progress messages.
    pub(super) fn progress(&mut self, code: &str, text: &str, observed: &Observed) {
        let mentions = |word: &str| text.contains(word);
        self.ended |= mentions("Open failed") || mentions("PLAY failed");
        self.phase = match code {
            "connect" => Phase::Connecting,
            _ if mentions("options") => {
                // Connected. GLib emits `accept-certificate` only for certificates that it does not trust.
                self.unpinned =
                    self.camera.fingerprint.is_some() && !observed.certificate_untrusted.load(Ordering::Acquire);
                Phase::Requested("OPTIONS")
            }
            _ if mentions("media info") => Phase::Requested("DESCRIBE"),
            _ if mentions("SETUP") => Phase::Requested("SETUP"),
            _ if mentions("Sending PLAY") => Phase::Requested("PLAY"),
            _ if mentions("Sent PLAY") => Phase::Playing,
            _ => return,
        };
    }

    /// How its packets come.
    pub(super) fn transport(&self) -> &'static str {
        if self.over_udp { "udp" } else { "tcp" }
    }

    /// Why an established connection must not be used.
    pub(super) fn untrusted(&mut self) -> Option<Failure> {
        let why = "this machine trusts the camera's certificate by its authority, so its fingerprint cannot be held on to: \
                   leave parameters.fingerprint out";
        std::mem::take(&mut self.unpinned).then(|| self.failed(&Cause::Certificate(why.into())))
    }

    /// The failure where the camera points elsewhere.
    pub(super) fn redirected(&self, observed: &Observed) -> Option<Failure> {
        let redirects = self.redirects.as_ref().filter(|_| self.phase != Phase::Playing)?;
        Some(self.failed(&Cause::Redirected(redirects.target(&self.camera, observed)?)))
    }

    /// The failure where rtspsrc has given up without an error: a redirect that names no target.
    pub(super) fn gave_up(&mut self) -> Option<Failure> {
        let cause = Cause::NoStream("neither a stream nor an error".into());
        std::mem::take(&mut self.ended).then(|| self.failed(&cause))
    }

    /// Why no first frame has arrived yet.
    pub(super) fn waits_for(&self, observed: &Observed) -> String {
        let peer = self.camera.peer();
        match self.phase {
            Phase::Connecting => Failure::of(&Cause::NoConnection, &peer).reason,
            Phase::Requested(what) => {
                format!("{peer} does not answer {what}: where it takes that long to wake up, a longer `timeout` helps")
            }
            Phase::Playing if observed.packets.load(Ordering::Acquire) => {
                format!("{peer} sends, and no picture comes of it: it may send no key frame, or a damaged stream")
            }
            Phase::Playing if self.over_udp => {
                self.attempts.udp.store(false, Ordering::Release);
                format!(
                    "{peer} plays, and nothing of it arrives over UDP: a firewall may drop it; try parameters.protocol: tcp"
                )
            }
            Phase::Playing => format!("{peer} plays, and sends nothing"),
        }
    }

    /// Decides how to handle a pipeline error. Starts a probe where the error names no cause.
    pub(super) fn judge(&mut self, error: &gst::message::Error, observed: &Observed) -> Verdict {
        if let Some(probe) = &self.probe {
            let Some(answer) = probe.answer() else { return Verdict::Unknown };
            return Verdict::Failed(self.failed(&self.connection_cause(answer, observed)));
        }
        let cause = match self.cause(error, observed) {
            Some(cause) => cause,
            None => {
                self.probe = Some(Probe::start(&self.camera.host, self.camera.port));
                return Verdict::Unknown;
            }
        };
        if cause == Cause::NoTcp && self.camera.transport == Transport::Auto && !self.over_udp {
            self.attempts.udp.store(true, Ordering::Release);
            return Verdict::OverUdp;
        }
        Verdict::Failed(self.failed(&cause))
    }

    /// Builds the failure for a cause.
    pub(super) fn failed(&self, cause: &Cause) -> Failure {
        // UDP does not work either: the next attempt starts over with TCP.
        if matches!(cause, Cause::NoUdp | Cause::NoTransport) {
            self.attempts.udp.store(false, Ordering::Release);
        }
        Failure::of(cause, &self.camera.peer())
    }

    /// The arguments for another pipeline for this camera.
    pub(super) fn restart_args(&self) -> (Input, Attempts) {
        (Input::Rtsp(Box::new(self.camera.clone())), self.attempts.clone())
    }

    /// The cause that an error names; `None` where it only says that the connection failed.
    fn cause(&self, error: &gst::message::Error, observed: &Observed) -> Option<Cause> {
        let (kind, debug) = (error.error(), error.debug().unwrap_or_default());
        if let Some((status, phrase)) = status(error.details(), &debug) {
            return Some(match status {
                461 => self.no_transport(),
                _ => of_status(status, phrase, self.camera.user.is_some()),
            });
        }
        if debug.contains("no protocols left") {
            return Some(self.no_transport());
        }
        let offers = |seen: &AtomicBool| seen.load(Ordering::Acquire);
        if kind.message().starts_with("No supported stream") {
            return Some(match offers(&observed.offers_video) {
                true => self.no_transport(),
                false => Cause::NoVideo,
            });
        }
        if debug.contains("Parse error") {
            return Some(Cause::NotRtsp);
        }
        match kind.kind::<gst::ResourceError>() {
            Some(_) if self.phase == Phase::Connecting => {
                observed.certificate.get().map(|why| Cause::Certificate(why.clone()))
            }
            // rtspsrc cannot use the response.
            Some(gst::ResourceError::Settings | gst::ResourceError::NotFound | gst::ResourceError::Failed) => {
                Some(Cause::NoStream(super::failure::words(error)))
            }
            Some(_) => Some(Cause::HungUp(match self.phase {
                Phase::Connecting => "before it was asked anything",
                Phase::Requested(_) => "before it answered",
                Phase::Playing => "while it played",
            })),
            None => {
                let words = super::failure::words(error);
                Some(Cause::Damaged(if words.is_empty() { "the stream breaks off".to_owned() } else { words }))
            }
        }
    }

    /// The camera rejects the transport that was requested.
    fn no_transport(&self) -> Cause {
        match (self.over_udp, self.camera.transport) {
            (true, Transport::Auto) => Cause::NoTransport,
            (true, _) => Cause::NoUdp,
            (false, _) => Cause::NoTcp,
        }
    }

    /// Why the connection failed, given the probe's answer.
    fn connection_cause(&self, answer: Option<Cause>, observed: &Observed) -> Cause {
        match (answer, observed.certificate.get()) {
            (_, Some(why)) => Cause::Certificate(why.clone()),
            (Some(cause), None) => cause,
            (None, None) if self.camera.tls => Cause::NoTls,
            (None, None) => Cause::HungUp("before it was asked anything"),
        }
    }
}

/// The address for rtspsrc. rtspsrc tries credentials from the address once, but credentials from its properties eight
/// times, which locks accounts.
fn location(camera: &Camera) -> String {
    let Some(user) = &camera.user else { return camera.location.clone() };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (scheme, place) = camera.location.split_once("://").unwrap_or(("rtsp", &camera.location));
    format!("{scheme}://{}:{}@{place}", encoded(&user.name), encoded(&user.password))
}

/// The status that an error is about, and its phrase: rtspsrc attaches them to the error, except for SETUP, where they
/// are in the debug text.
fn status(details: Option<&gst::StructureRef>, debug: &str) -> Option<(u32, String)> {
    let attached = details.and_then(|details| {
        let phrase = details.get::<String>("rtsp-status-reason").unwrap_or_default();
        Some((details.get::<u32>("rtsp-status-code").ok()?, phrase))
    });
    attached.or_else(|| {
        let (code, phrase) = debug.rsplit_once("\nError (")?.1.split_once("): ")?;
        Some((code.parse().ok()?, phrase.trim().to_owned()))
    })
}

/// Maps an RTSP error status to its cause.
pub(super) fn of_status(status: u32, phrase: String, given: bool) -> Cause {
    match status {
        300..=399 => Cause::Redirected("another address".into()),
        401 | 407 => Cause::Unauthorized { given },
        403 => Cause::Forbidden,
        404 | 410 => Cause::NotFound,
        453 | 503 => Cause::Busy,
        _ => Cause::Status(status, phrase),
    }
}

fn is_rtp_video(caps: &gst::Caps) -> bool {
    caps.structure(0).and_then(|s| s.get::<&str>("media").ok()).is_none_or(|media| media == "video")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_to_change() {
        let of = |status| of_status(status, "words".into(), true);
        assert_eq!(of(401), Cause::Unauthorized { given: true });
        assert_eq!(of(404), Cause::NotFound);
        assert_eq!(of(453), Cause::Busy);
        assert_eq!(of(500), Cause::Status(500, "words".into()));
        assert_eq!(of(303), Cause::Redirected("another address".into()));
    }

    #[test]
    fn the_status_of_every_request_is_read() {
        let debug = "gstrtspsrc.c(7785): gst_rtspsrc_setup_streams_start (): /p/rtspsrc0:\nError (401): Unauthorized";
        assert_eq!(status(None, debug), Some((401, "Unauthorized".into())));
        assert_eq!(status(None, "file(1): f (): /p:\nCould not receive message. (Error (5): x)"), None);
        gst::init().unwrap();
        let details = gst::Structure::builder("details").field("rtsp-status-code", 404_u32).build();
        assert_eq!(status(Some(&details), debug), Some((404, String::new())));
    }
}
