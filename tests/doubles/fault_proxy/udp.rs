//! The datagrams of RTP and RTCP through the proxy: each of the four sockets of a session has its thread.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::rtsp::{ports, with_ports};
use super::{Link, Passes, Shared, TICK};

/// What waits longer than this for a slow line is lost.
const QUEUE_MAX: Duration = Duration::from_secs(2);

/// The session that SETUP agrees on.
#[derive(Default)]
pub(super) struct Relays {
    /// The client's own ports, ours that stand for them, and ours that stand for the server's.
    pairs: VecDeque<Pair>,
}

struct Pair {
    client: (u16, u16),
    for_client: (u16, u16),
    for_server: (u16, u16),
    server: Arc<[AtomicU16; 2]>,
}

impl Relays {
    /// A request on its way to the server: where it names ports, it names ours.
    pub(super) fn asked(&mut self, message: Vec<u8>, shared: &Arc<Shared>, over: &Arc<AtomicBool>) -> Vec<u8> {
        let Some(client) = ports(&message, "client_port").filter(|_| message.starts_with(b"SETUP ")) else {
            return message;
        };
        let ((near, for_server), (far, for_client)) = (sockets(), sockets());
        let server: Arc<[AtomicU16; 2]> = Arc::default();
        for (index, (near, far)) in near.into_iter().zip(far).enumerate() {
            let client_port = [client.0, client.1][index];
            let flows = [
                (Arc::clone(&far), Arc::clone(&near), Target::Client(client_port)),
                (near, far, Target::Server(Arc::clone(&server), index)),
            ];
            for (number, (from, to, target)) in flows.into_iter().enumerate() {
                let chance = fastrand::Rng::with_seed(shared.seed ^ ((2 * index + number) as u64));
                let is_media = index == 0 && number == 0;
                let free_at = Instant::now();
                let (shared, over) = (Arc::clone(shared), Arc::clone(over));
                let flow = Flow { shared, over, from, to, target, is_media, chance, free_at, waiting: VecDeque::new() };
                std::thread::spawn(move || flow.run());
            }
        }
        self.pairs.push_back(Pair { client, for_client, for_server, server });
        with_ports(&message, "client_port", for_client)
    }

    /// An answer on its way to the client: where it names the server's ports, it names ours.
    pub(super) fn answered(&mut self, message: Vec<u8>) -> Vec<u8> {
        let Some(named) = ports(&message, "client_port") else { return message };
        let Some(pair) = self.pairs.iter().find(|pair| pair.for_client == named) else { return message };
        if let Some((rtp, rtcp)) = ports(&message, "server_port") {
            pair.server[0].store(rtp, Ordering::Release);
            pair.server[1].store(rtcp, Ordering::Release);
        }
        let message = with_ports(&message, "client_port", pair.client);
        with_ports(&message, "server_port", pair.for_server)
    }
}

/// Two sockets at neighbouring ports, the first of them even.
fn sockets() -> ([Arc<UdpSocket>; 2], (u16, u16)) {
    for _ in 0..200 {
        let Ok(first) = UdpSocket::bind("127.0.0.1:0") else { continue };
        let port = first.local_addr().map_or(0, |address| address.port());
        if port % 2 == 0
            && port > 0
            && let Ok(second) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            return ([Arc::new(first), Arc::new(second)], (port, port + 1));
        }
    }
    panic!("no two ports beside each other are free");
}

enum Target {
    Client(u16),
    Server(Arc<[AtomicU16; 2]>, usize),
}

/// One direction of RTP or of RTCP.
struct Flow {
    shared: Arc<Shared>,
    over: Arc<AtomicBool>,
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    target: Target,
    is_media: bool,
    chance: fastrand::Rng,
    free_at: Instant,
    /// In the order of arrival.
    waiting: VecDeque<(Instant, Vec<u8>)>,
}

impl Flow {
    fn run(mut self) {
        let mut buffer = [0; 65_536];
        while !self.shared.is_over(&self.over) {
            let next = self.waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
            let wait = next.unwrap_or(TICK).clamp(Duration::from_micros(100), TICK);
            let _ = self.from.set_read_timeout(Some(wait));
            if let Ok((count, _)) = self.from.recv_from(&mut buffer) {
                self.arrived(buffer[..count].to_vec());
            }
            while self.waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                let Some((_, bytes)) = self.waiting.pop_front() else { break };
                self.send(&bytes);
            }
        }
    }

    /// Decides what becomes of a datagram.
    fn arrived(&mut self, mut bytes: Vec<u8>) {
        let (now, link) = (Instant::now(), self.shared.link());
        let Link { passes, latency, jitter, loss, corrupt, bytes_per_s, .. } = link;
        let to_client = matches!(self.target, Target::Client(_));
        let silent = passes == Passes::Nothing || (passes == Passes::Control && self.is_media);
        if silent || (to_client && self.chance.f64() < loss) {
            return;
        }
        if self.is_media && passes == Passes::Garbage {
            self.chance.fill(&mut bytes);
        } else if to_client && !bytes.is_empty() && self.chance.f64() < corrupt {
            let at = self.chance.usize(..bytes.len());
            bytes[at] ^= 1 << self.chance.u8(..8);
        }
        self.free_at = self.free_at.max(now);
        if let Some(rate) = bytes_per_s {
            let sent = self.free_at + Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
            if sent.saturating_duration_since(now) > QUEUE_MAX {
                return;
            }
            self.free_at = sent;
        }
        let due = self.free_at + latency + jitter.mul_f64(self.chance.f64());
        let at = self.waiting.partition_point(|(other, _)| *other <= due);
        self.waiting.insert(at, (due, bytes));
    }

    fn send(&self, bytes: &[u8]) {
        let port = match &self.target {
            Target::Client(port) => *port,
            Target::Server(ports, index) => ports[*index].load(Ordering::Acquire),
        };
        if port > 0 {
            let _ = self.to.send_to(bytes, SocketAddr::from(([127, 0, 0, 1], port)));
        }
    }
}
