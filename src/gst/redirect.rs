//! Redirects of a camera: none is followed.
//!
//! rtspsrc follows them by itself, without end, to any host, and without a word to the pipeline: it changes its
//! `location` and begins a second session. That session's requests are not sent, so that no password reaches another
//! host, and the target is named.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use url::Url;

use super::observed::Observed;
use crate::config::Camera;

/// rtspsrc's progress message at the start of a session.
const BEGINS: &str = "server options";
/// Maximum characters of a target's path in a message.
const PATH_MAX: usize = 100;

/// Detects that a camera points elsewhere.
pub(super) struct Redirects {
    source: glib::WeakRef<gst::Element>,
    /// The source's `location` as it was set.
    location: String,
    /// The same at the first request after the description, which may set another.
    described: Arc<OnceLock<Option<String>>>,
}

impl Redirects {
    /// Watches a source whose `location` is set, and stops the requests of its second session.
    pub(super) fn watch(source: &gst::Element, bus: &gst::Bus, location: String, observed: &Arc<Observed>) -> Self {
        let begun = Arc::clone(observed);
        // Synchronous, so that the session is counted before its first request.
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Progress(progress) = message.view()
                && progress.get().2.contains(BEGINS)
            {
                begun.sessions.fetch_add(1, Ordering::AcqRel);
            }
            gst::BusSyncReply::Pass
        });
        let described = Arc::<OnceLock<Option<String>>>::default();
        let (begun, settled) = (Arc::clone(observed), Arc::clone(&described));
        source.connect("before-send", false, move |args| {
            let source = args.first().and_then(|source| source.get::<gst::Element>().ok());
            if let Some(source) = source.filter(|_| begun.described.load(Ordering::Acquire)) {
                settled.get_or_init(|| source.property("location"));
            }
            Some((begun.sessions.load(Ordering::Acquire) < 2).to_value())
        });
        let seen = Arc::clone(observed);
        source.connect("on-sdp", false, move |_| {
            seen.described.store(true, Ordering::Release);
            None
        });
        Self { source: source.downgrade(), location, described }
    }

    /// Where the camera points instead of describing its stream, without secrets; `None` if it does not.
    pub(super) fn target(&self, camera: &Camera, observed: &Observed) -> Option<String> {
        let again = observed.sessions.load(Ordering::Acquire) > 1;
        let own = match self.described.get() {
            Some(own) => own.as_ref(),
            None if observed.described.load(Ordering::Acquire) => return None,
            None => Some(&self.location),
        };
        let now = self.source.upgrade()?.property::<Option<String>>("location");
        match now.filter(|now| Some(now) != own) {
            Some(now) => Some(shown(&now, &camera.location)),
            // rtspsrc keeps its location where the target is not for it.
            None => again.then(|| "itself, or to no RTSP address".to_owned()),
        }
    }
}

/// A target as it may be printed: without user and query.
fn shown(target: &str, own: &str) -> String {
    let Ok(mut url) = Url::parse(target) else { return "an address that cannot be read".to_owned() };
    // These fail only for an address without a host.
    let _ = (url.set_username(""), url.set_password(None));
    if url.as_str() == own {
        return "itself".to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    let text = url.as_str();
    match text.char_indices().nth(PATH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::super::camera::Attempts;
    use super::super::evidence::Record;
    use super::super::feed::Feed;
    use super::*;
    use crate::backend::supervise::Pacing;
    use crate::backend::{Failure, Patience};
    use crate::config::Input;

    struct Still;

    impl crate::types::Clock for Still {
        fn monotonic_ns(&self) -> u64 {
            0
        }

        fn unix_ns(&self) -> u64 {
            0
        }
    }

    const MEDIA: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\na=control:rtsp://127.0.0.1/other\r\n\
         m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

    /// A server that answers this request with these lines, and counts its requests.
    fn server(at: &'static str, lines: String) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = lines.replace("PORT", &port.to_string());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut read = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                loop {
                    let head: Vec<String> = read.by_ref().take_while(|line| !line.is_empty()).collect();
                    let Some(first) = head.first() else { break };
                    count.fetch_add(1, Ordering::SeqCst);
                    let sequence = head.iter().find(|line| line.starts_with("CSeq")).cloned().unwrap_or_default();
                    let (said, body) = match first.split(' ').next() {
                        Some(method) if method == at => (lines.as_str(), ""),
                        Some("DESCRIBE") => ("200 OK\r\nContent-Type: application/sdp", MEDIA),
                        Some("SETUP") => ("200 OK\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1", ""),
                        _ => ("200 OK", ""),
                    };
                    let length = body.len();
                    if write!(stream, "RTSP/1.0 {said}\r\n{sequence}\r\nContent-Length: {length}\r\n\r\n{body}")
                        .is_err()
                    {
                        break;
                    }
                }
            }
        });
        (port, asked)
    }

    /// The failure of one attempt.
    fn attempt(uri: &str) -> Failure {
        gst::init().unwrap();
        let input = Input::Rtsp(Box::new(Camera::read(uri).unwrap()));
        let attempts = Attempts { clock: Arc::new(Still), udp: Arc::default(), record: Record::No };
        let mut feed = Feed::start(&input, Pacing::Live, &attempts).unwrap();
        for _ in 0..4_000 {
            if let Some(failure) = feed.failure() {
                return failure;
            }
            feed.next(Duration::from_millis(5));
        }
        panic!("{uri} does not fail")
    }

    #[test]
    fn no_redirect_is_followed_each_is_named_without_secrets_and_every_status_counts() {
        let (other, reached) = server("DESCRIBE", "404 Not Found".to_owned());
        for (user, place, said) in [
            ("", "rtsp://127.0.0.1:PORT/s".to_owned(), "sends it on to itself"),
            ("u:C4n4ry@", "rtsp://127.0.0.1:PORT/s".to_owned(), "sends it on to itself"),
            ("", "http://127.0.0.1:PORT/s".to_owned(), "to no RTSP address"),
            ("", "file:///etc/passwd".to_owned(), "to no RTSP address"),
            ("u:C4n4ry@", format!("rtsp://127.0.0.1:{other}/t?C4n4ry"), "/t: no redirect is followed"),
            ("", format!("rtsp://u:C4n4ry@127.0.0.1:{other}/t"), "/t: no redirect is followed"),
            ("", "rtsp://127.0.0.1:9/t".to_owned(), "sends it on to rtsp://127.0.0.1:9/t: no"),
        ] {
            let (port, asked) = server("DESCRIBE", format!("302 Moved Temporarily\r\nLocation: {place}"));
            let failure = attempt(&format!("rtsp://{user}127.0.0.1:{port}/s"));
            assert!(failure.reason.contains(said) && !failure.reason.contains("C4n4ry"), "{place}: {}", failure.reason);
            assert!(failure.remedy.is_some() && failure.patience == Patience::Setting(3), "{place}: {failure:?}");
            assert_eq!(asked.load(Ordering::SeqCst), 2, "{place}: OPTIONS and DESCRIBE, and no more");
        }
        for (place, said) in [
            (format!("rtsp://u:C4n4ry@127.0.0.1:{other}/t"), "/t: no redirect is followed"),
            ("rtsp://127.0.0.1:9/t".to_owned(), "sends it on to rtsp://127.0.0.1:9/t: no"),
            ("file:///etc/passwd".to_owned(), "no redirect is followed"),
        ] {
            let (port, _) = server("PLAY", format!("302 Moved Temporarily\r\nLocation: {place}"));
            let failure = attempt(&format!("rtsp://127.0.0.1:{port}/s"));
            assert!(failure.reason.contains(said) && !failure.reason.contains("C4n4ry"), "{place}: {}", failure.reason);
        }
        assert_eq!(reached.load(Ordering::SeqCst), 0, "the other server is asked nothing");
        for (at, status, cause) in [
            ("SETUP", "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"c\", nonce=\"1f\"", "(401 Unauthorized)"),
            ("PLAY", "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"c\", nonce=\"1f\"", "(401 Unauthorized)"),
            ("SETUP", "403 Forbidden", "(403 Forbidden)"),
            ("PLAY", "404 Not Found", "(404 Not Found)"),
        ] {
            let (port, _) = server(at, status.to_owned());
            let failure = attempt(&format!("rtsp://u:C4n4ry@127.0.0.1:{port}/s"));
            assert!(failure.reason.contains(cause) && failure.remedy.is_some(), "{at} {status}: {}", failure.reason);
        }
        let (port, _) = server("DESCRIBE", "302 Moved Temporarily".to_owned());
        let failure = attempt(&format!("rtsp://127.0.0.1:{port}/s"));
        assert!(failure.reason.contains("neither a stream nor an error"), "{}", failure.reason);
    }

    #[test]
    fn a_target_is_printed_without_user_and_query() {
        let of = |target: &str| shown(target, "rtsp://cam/own");
        assert_eq!(of("rtsp://u:p@cam/own"), "itself");
        assert_eq!(of("rtsp://u:p@b.example:8554/s?token=x#y"), "rtsp://b.example:8554/s");
        assert_eq!(of("no address"), "an address that cannot be read");
        assert!(of(&format!("rtsp://b/{}", "ä".repeat(500))).chars().count() <= PATH_MAX + 1);
    }
}
