//! The event log of a running engine, read over its API, each event with the time it came on a clock of the test.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A source is in this state.
    State(String),
    /// A frame was judged, on which these were seen.
    Frame(Vec<String>),
    /// An alert of this rule, with this key.
    Alert(String, String),
}

#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) at: Instant,
    pub(super) source: String,
    pub(super) what: What,
}

impl Told {
    /// Whether its source was lost; one of a publisher waits for the next.
    pub(super) fn is_loss(&self) -> bool {
        let lost = ["stalled", "backoff", "failed", "waiting"];
        matches!(&self.what, What::State(state) if lost.contains(&state.as_str()))
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(&self.what, What::State(state) if state == "running")
    }

    pub(super) fn is_frame(&self) -> bool {
        matches!(self.what, What::Frame(_))
    }
}

#[derive(Default)]
struct Log {
    told: Mutex<Vec<Told>>,
    more: Condvar,
    over: AtomicBool,
    stream: Mutex<Option<TcpStream>>,
}

/// Everything that an engine has told since this began.
pub(super) struct Events {
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Events {
    /// Listens to the engine with this page.
    pub(super) fn of(page: &str) -> Self {
        let log = Arc::new(Log::default());
        let (ours, page) = (Arc::clone(&log), page.to_owned());
        // A listener that a busy machine keeps from reading is dropped: it asks again.
        let reader = std::thread::spawn(move || {
            while !ours.over.load(Ordering::Acquire) {
                let _ = listen(&page, &ours);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self { log, reader: Some(reader) }
    }

    /// How much was told so far.
    pub(super) fn len(&self) -> usize {
        self.log.told.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The first event from number `from` on that is wanted, with its number.
    pub(super) fn wait(&self, from: usize, limit: Duration, wanted: impl Fn(&Told) -> bool) -> Option<(usize, Told)> {
        let end = Instant::now() + limit;
        let mut told = self.log.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = from;
        loop {
            if let Some(found) = told[at.min(told.len())..].iter().position(&wanted) {
                return Some((at + found, told[at + found].clone()));
            }
            at = told.len().max(from);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            told = self.log.more.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What a source told from number `from` on.
    pub(super) fn of_source(&self, source: &str, from: usize) -> Vec<Told> {
        let told = self.log.told.lock().unwrap_or_else(PoisonError::into_inner);
        told[from.min(told.len())..].iter().filter(|told| told.source == source).cloned().collect()
    }

    /// The states of a source from number `from` on.
    pub(super) fn states(&self, source: &str, from: usize) -> Vec<String> {
        let state = |told: Told| match told.what {
            What::State(state) => Some(state),
            _ => None,
        };
        self.of_source(source, from).into_iter().filter_map(state).collect()
    }
}

fn listen(page: &str, log: &Log) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(page)?;
    *log.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.try_clone()?);
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: {page}\r\n\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let Some(data) = line.strip_prefix("data:") else { continue };
        let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
        if let Some(told) = read(&event) {
            log.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            log.more.notify_all();
        }
    }
    Ok(())
}

fn read(event: &Value) -> Option<Told> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (source, what) = match event["kind"].as_str()? {
        "state" => (text(&event["source"]), What::State(text(&event["state"]))),
        "detections" => {
            let labels = event["detections"].as_array()?.iter().map(|detection| text(&detection["label"]));
            (text(&event["source"]), What::Frame(labels.collect()))
        }
        "alert" => {
            let alert = &event["alert"];
            (text(&alert["source"]), What::Alert(text(&alert["rule"]), text(&alert["key"])))
        }
        _ => return None,
    };
    Some(Told { at: Instant::now(), source, what })
}

impl Drop for Events {
    fn drop(&mut self) {
        self.log.over.store(true, Ordering::Release);
        if let Some(stream) = self.log.stream.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(reader) = self.reader.take() {
            reader.thread().unpark();
            let _ = reader.join();
        }
    }
}
