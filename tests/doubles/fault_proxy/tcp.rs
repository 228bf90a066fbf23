//! A TCP connection through the proxy.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::rtsp::{Framer, Unit};
use super::udp::Relays;
use super::{Connection, Link, Passes, Protocol, Sdp, Shared, TICK};

/// Most parts on their way in one direction; beyond, the sender waits as before a full socket.
const PARTS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// Connects to the server and passes on both ways. A server that refuses is refused on.
pub(super) fn relay(shared: &Arc<Shared>, client: TcpStream, number: u64) {
    let _ = client.set_nonblocking(false);
    let Ok(server) = TcpStream::connect_timeout(&shared.server, Duration::from_secs(2)) else {
        let _ = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
        return;
    };
    let over = Arc::new(AtomicBool::new(false));
    let (Ok(c), Ok(s)) = (client.try_clone(), server.try_clone()) else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
    }
    let mut state = shared.lock();
    state.connections.retain(|connection| !connection.over.load(Ordering::Acquire));
    state.connections.push(Connection { client: c, server: s, over: Arc::clone(&over) });
    drop(state);
    let relays = Arc::new(Mutex::new(Relays::default()));
    for (way, from, to) in [(Way::ToServer, &client, &server), (Way::ToClient, &server, &client)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let seed = shared.seed ^ (number << 1) ^ u64::from(way == Way::ToClient);
        let reader = Reader {
            shared: Arc::clone(shared),
            over: Arc::clone(&over),
            relays: Arc::clone(&relays),
            way,
            chance: fastrand::Rng::with_seed(seed),
        };
        let (sender, parts) = sync_channel(PARTS_MAX);
        let (shared, over) = (Arc::clone(shared), Arc::clone(&over));
        std::thread::spawn(move || reader.run(from, &sender));
        std::thread::spawn(move || write(to, &parts, &shared, &over));
    }
}

/// Bytes, and when they arrive.
type Part = (Instant, Vec<u8>);

/// Reads one direction, and decides what becomes of it.
struct Reader {
    shared: Arc<Shared>,
    over: Arc<AtomicBool>,
    relays: Arc<Mutex<Relays>>,
    way: Way,
    chance: fastrand::Rng,
}

impl Reader {
    fn run(mut self, mut from: TcpStream, sender: &SyncSender<Part>) {
        let mut framer = Framer::default();
        let mut buffer = [0; 16 << 10];
        while !self.shared.is_over(&self.over) {
            let Ok(count @ 1..) = from.read(&mut buffer) else { return };
            let bytes = &buffer[..count];
            let parts: Vec<Vec<u8>> = match self.shared.protocol {
                Protocol::Stream => vec![self.spoil(bytes.to_vec(), true)],
                Protocol::Rtsp => framer.push(bytes).into_iter().filter_map(|unit| self.unit(unit)).collect(),
            };
            for part in parts {
                if sender.send((self.due(), part)).is_err() {
                    return;
                }
            }
        }
    }

    /// What arrives of a part of RTSP.
    fn unit(&mut self, unit: Unit) -> Option<Vec<u8>> {
        match unit {
            Unit::Message(message) => Some(self.message(message)),
            Unit::Packet { bytes, .. } if self.way == Way::ToServer => Some(bytes),
            Unit::Packet { channel, bytes } => {
                let link = self.shared.link();
                let is_media = channel % 2 == 0;
                let lost = is_media && (link.passes == Passes::Control || self.chance.f64() < link.loss);
                (!lost).then(|| self.spoil(bytes, is_media))
            }
        }
    }

    fn message(&mut self, message: Vec<u8>) -> Vec<u8> {
        let Ok(mut relays) = self.relays.lock() else { return message };
        match self.way {
            Way::ToServer => relays.asked(message, &self.shared, &self.over),
            Way::ToClient if self.shared.lock().sdp == Sdp::Wrong => {
                // As long as it was, so that its length is right.
                String::from_utf8_lossy(&message).replace("\r\nm=", "\r\nx=").into_bytes()
            }
            Way::ToClient => relays.answered(message),
        }
    }

    /// The bytes with what noise does to them.
    fn spoil(&mut self, mut bytes: Vec<u8>, is_media: bool) -> Vec<u8> {
        let Link { passes, corrupt, .. } = self.shared.link();
        if self.way == Way::ToServer || !is_media {
            return bytes;
        }
        if passes == Passes::Garbage {
            self.chance.fill(&mut bytes);
        } else if self.chance.f64() < corrupt {
            let at = self.chance.usize(..bytes.len());
            bytes[at] ^= 1 << self.chance.u8(..8);
        }
        bytes
    }

    /// When what is sent now has arrived, but for the time that the line takes for its bytes.
    fn due(&mut self) -> Instant {
        let link = self.shared.link();
        Instant::now() + link.latency + link.jitter.mul_f64(self.chance.f64())
    }
}

/// Waits until the link has sent `bytes` at its current rate, beginning at `from`. Returns the time at which it has;
/// `None` once the connection is over.
fn pass(from: Instant, bytes: usize, shared: &Shared, over: &AtomicBool) -> Option<Instant> {
    while shared.wait_to_pass(over) {
        let now = Instant::now();
        let Some(rate) = shared.link().bytes_per_s else { return Some(now) };
        let passed = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        match passed.saturating_duration_since(now) {
            Duration::ZERO => return Some(passed),
            left => std::thread::park_timeout(left.min(TICK)),
        }
    }
    None
}

/// Writes what arrives, when it does, until the connection is over or its sender has ended.
fn write(mut to: TcpStream, parts: &Receiver<Part>, shared: &Shared, over: &AtomicBool) {
    let mut free_at = Instant::now();
    loop {
        let (due, bytes) = match parts.recv_timeout(TICK) {
            Ok(part) => part,
            Err(RecvTimeoutError::Timeout) if shared.is_over(over) => return,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if !shared.wait_until(due, over) {
            return;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (slice, after) = rest.split_at(shared.link().slice.unwrap_or(rest.len()).clamp(1, rest.len()));
            let passed = pass(free_at.max(due), slice.len(), shared, over);
            let Some(passed) = passed.filter(|_| to.write_all(slice).is_ok()) else {
                over.store(true, Ordering::Release);
                return;
            };
            (rest, free_at) = (after, passed);
        }
    }
    // The sender has ended, and so does what it has sent.
    if shared.wait_to_pass(over) {
        let _ = to.shutdown(Shutdown::Write);
    }
}
