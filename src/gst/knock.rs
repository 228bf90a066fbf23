//! Asks a camera to describe its stream, without user and password: whether a full attempt may succeed, at no cost to
//! the account.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::probe::connection;
use crate::backend::supervise::Probe;
use crate::config::Camera;
use crate::own::{Stop, Thread};

/// Longest wait for the answer.
const ANSWER_MAX: Duration = Duration::from_millis(3_000);
/// Maximum bytes of an answer that are read: its first line is enough.
const ANSWER_BYTES_MAX: usize = 512;

/// One question, on its own thread: a DNS lookup has no timeout.
pub(super) struct Knock {
    answer: Receiver<bool>,
    _thread: Option<Thread>,
}

impl Knock {
    /// Starts to ask.
    pub(super) fn start(camera: &Camera) -> Self {
        let (sender, answer) = bounded(1);
        let camera = camera.clone();
        let thread = Thread::start("gst-knock", move |stop| {
            let _ = sender.try_send(answers(&camera, &stop));
        });
        // Without a thread the channel is disconnected, which counts as no answer.
        Self { answer, _thread: thread.ok() }
    }
}

impl Probe for Knock {
    fn answer(&mut self) -> Option<bool> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(false),
        }
    }
}

/// Whether the camera describes its stream, or asks for the login first. Of one that speaks TLS, whether its port accepts
/// connections.
fn answers(camera: &Camera, stop: &Stop) -> bool {
    let Ok(mut stream) = connection(&camera.host, camera.port, stop) else { return false };
    camera.tls || ask(&mut stream, &camera.location).is_some_and(|status| status / 100 == 2 || status == 401)
}

/// The status of the answer to a DESCRIBE.
fn ask(stream: &mut TcpStream, location: &str) -> Option<u16> {
    let _ = stream.set_write_timeout(Some(ANSWER_MAX));
    let _ = stream.set_read_timeout(Some(ANSWER_MAX));
    let request =
        format!("DESCRIBE {location} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: dsengine\r\nAccept: application/sdp\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    let mut part = [0; ANSWER_BYTES_MAX];
    // Its line may come in parts; a timeout or a closed connection ends it.
    while answer.len() < ANSWER_BYTES_MAX && !answer.contains(&b'\n') {
        match stream.read(&mut part) {
            Ok(read @ 1..) => answer.extend_from_slice(&part[..read]),
            Ok(0) | Err(_) => break,
        }
    }
    status(&answer)
}

/// `RTSP/1.0 200 OK`
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let words = std::str::from_utf8(line).ok()?.strip_prefix("RTSP/1.")?;
    words.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_status_is_in_the_first_line() {
        assert_eq!(status(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"), Some(200));
        assert_eq!(status(b"RTSP/1.0 401 Unauthorized"), Some(401));
        for wrong in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"RTSP/1.0\r\n", b"\xff\xfe", b"RTSP/1.0 many\r\n"] {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
    }

    /// Asks a server that gives this answer, once; what it was asked, too.
    fn asked(answer: &'static str) -> (bool, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = bounded(1);
        let server = Thread::start("server", move |_| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let read = stream.read(&mut request).unwrap();
            // In parts, as a network may deliver it.
            let (first, rest) = answer.split_at(answer.len() / 2);
            stream.write_all(first.as_bytes()).unwrap();
            // Its first line may have been enough.
            let _ = stream.write_all(rest.as_bytes());
            drop(stream);
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "it is asked once");
            sender.send(String::from_utf8_lossy(&request[..read]).into_owned()).unwrap();
        });
        let camera = Camera::read(&format!("rtsp://admin:can4ry@127.0.0.1:{port}/live")).unwrap();
        let knock = Knock::start(&camera);
        let answer = knock.answer.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(server.unwrap().join(Duration::from_secs(30)));
        (answer, requests.recv().unwrap())
    }

    #[test]
    fn a_camera_that_describes_itself_or_asks_for_the_login_answers_and_is_given_none() {
        for (answer, counts) in [
            ("RTSP/1.0 200 OK\r\n\r\n", true),
            ("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n", true),
            ("RTSP/1.0 404 Not Found\r\n\r\n", false),
            ("RTSP/1.0 503 Service Unavailable\r\n\r\n", false),
            ("SSH-2.0-OpenSSH_9.2\r\n", false),
            ("", false),
        ] {
            let (answers, request) = asked(answer);
            assert_eq!(answers, counts, "{answer}");
            assert!(request.starts_with("DESCRIBE rtsp://127.0.0.1:") && request.contains("/live RTSP/1.0\r\n"));
            assert!(!request.contains("can4ry") && !request.contains("admin") && !request.contains("uthorization"));
        }
    }

    #[test]
    fn nobody_at_the_port_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let camera = Camera::read(&format!("rtsp://a:b@127.0.0.1:{port}/live")).unwrap();
        assert_eq!(Knock::start(&camera).answer.recv_timeout(Duration::from_secs(30)), Ok(false));
    }
}
