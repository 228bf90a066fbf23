//! Receivers whose answers go wrong on the way: each is told by what is wrong with it, is bounded in time and bytes,
//! and costs another handler nothing.

use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::webhooks::{Peer, header, request, run_with};

/// How long a receiver's thread waits for the other side; longer than a webhook does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A receiver that writes the answers to its first request itself, byte by byte if it likes, and takes the others.
struct Raw {
    port: u16,
    got: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    fn new(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, answer) = (Arc::clone(&got), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // The next request must not wait for an answer that does not end.
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_write_timeout(Some(PATIENCE)).unwrap();
                    let Some(request) = request(&mut stream) else { return };
                    let is_first = {
                        let mut log = log.lock().unwrap();
                        log.push(request);
                        log.len() == 1
                    };
                    if is_first {
                        answer(&mut stream);
                    } else {
                        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
                    }
                });
            }
        });
        Self { port, got }
    }

    fn requests(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

fn say(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

/// Waits until the other side closes the connection.
fn hang(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// What a run says with this receiver and another one, which gets the alert, too.
fn told(raw: &Raw) -> String {
    let good = Peer::new(|_, _| "204 No Content\r\n".into());
    let handlers = format!(
        "{{ name: hook, type: webhook, config: {{ url: 'http://127.0.0.1:{}/a', timeout: 1.5 }} }}, \
         {{ name: other, type: webhook, config: {{ url: '{}' }} }}",
        raw.port,
        good.url("/b")
    );
    let out = run_with(&handlers, 1, "retry_attempts: 1, retry_delay: 0.1", &[]).expect(0);
    assert_eq!(good.requests().len(), 1, "{}", out.stderr);
    let (one, other) = (raw.requests(), good.requests());
    assert_eq!(header(&one[0], "webhook-id"), header(&other[0], "webhook-id"));
    out.stderr
}

/// The alert is tried again with its id after this failure, and then taken.
#[track_caller]
fn is_tried_again(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static, said: &str) {
    let raw = Raw::new(answer);
    let stderr = told(&raw);
    assert!(stderr.contains(said) && stderr.contains("trying again"), "{said}: {stderr}");
    let requests = raw.requests();
    assert_eq!(requests.len(), 2, "{said}: {stderr}");
    assert_eq!(header(&requests[0], "idempotency-key"), header(&requests[1], "idempotency-key"));
    assert!(!stderr.contains("given up"), "{stderr}");
}

#[test]
fn an_answer_that_breaks_off_in_the_middle_is_none() {
    for (head, status) in
        [("content-length: 100\r\n\r\n", "200 OK"), ("transfer-encoding: chunked\r\n\r\n9\r\n", "202 Accepted")]
    {
        let answer = format!("HTTP/1.1 {status}\r\n{head}half");
        let said = format!("the receiver answered {status}, and its answer broke off in the middle");
        is_tried_again(move |stream| say(stream, &answer), &said);
    }
    // Not even its head is whole.
    is_tried_again(|stream| say(stream, "HTTP/1.1 200 OK\r\ncontent-le"), "hung up before it answered");
}

#[test]
fn an_answer_whose_rest_does_not_come_is_waited_for_within_the_timeout_only() {
    let half = |stream: &mut TcpStream| {
        say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        hang(stream);
    };
    is_tried_again(half, "the receiver answered 200 OK, and the rest of its answer did not come within 1.5 s");
    let drop_by_drop = |stream: &mut TcpStream| {
        // Each byte is in time, and the whole is not.
        for byte in "HTTP/1.1 200 OK\r\n".bytes().chain(b"x-filler: a\r\n".repeat(1_000)) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    is_tried_again(drop_by_drop, "it began to answer, and did not finish within 1.5 s");
    is_tried_again(hang, "connected, and no answer within 1.5 s");
}

#[test]
fn an_answer_without_an_end_counts_by_its_status_and_is_not_read_on() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let raw = Raw::new(move |stream| {
        say(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {
            count.fetch_add(chunk.len(), Ordering::Relaxed);
        }
    });
    let stderr = told(&raw);
    assert!(!stderr.contains("trying again") && !stderr.contains("given up"), "{stderr}");
    assert_eq!(raw.requests().len(), 1, "it is delivered");
    // What fits into the buffers of a connection.
    let bytes = written.load(Ordering::Relaxed);
    assert!(bytes < 64 << 20, "{bytes} bytes were taken");
}
