//! A proxy on the loopback address that spoils what passes between the engine and a server: it cuts, resets, refuses,
//! freezes, delays, slices, loses, corrupts and slows down, as a [`Timeline`] says. It relays any TCP stream. For RTSP
//! it also keeps media apart from what controls it, and stands between the datagrams of RTP and RTCP, by the ports that
//! SETUP agrees on. Its threads end with it. A frozen *server* has to be another process.

mod link;
mod rtsp;
mod tcp;
mod udp;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use link::{Link, PROFILES, Passes, Profile, Timeline};

/// How often a thread that waits looks whether it should end.
const TICK: Duration = Duration::from_millis(10);

/// What is spoken through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Rtsp,
    /// Any other, by TCP.
    Stream,
}

/// What becomes of a description of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdp {
    AsItIs,
    /// It names no media.
    Wrong,
}

/// What the threads of a proxy share.
struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
    seed: u64,
    protocol: Protocol,
    server: SocketAddr,
}

struct State {
    timeline: Timeline,
    since: Instant,
    sdp: Sdp,
    connections: Vec<Connection>,
}

/// A connection that stands.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    over: Arc<AtomicBool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link now.
    fn link(&self) -> Link {
        let state = self.lock();
        state.timeline.at(state.since.elapsed())
    }

    /// Waits while nothing passes; `false` once the connection is over.
    fn wait_to_pass(&self, over: &AtomicBool) -> bool {
        while !self.is_over(over) {
            if self.link().passes != Passes::Nothing {
                return true;
            }
            std::thread::park_timeout(TICK);
        }
        false
    }

    /// Waits until then; `false` once the connection is over.
    fn wait_until(&self, due: Instant, over: &AtomicBool) -> bool {
        while !self.is_over(over) {
            match due.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return true,
                left => std::thread::park_timeout(left.min(TICK)),
            }
        }
        false
    }

    fn is_over(&self, over: &AtomicBool) -> bool {
        self.stop.load(Ordering::Acquire) || over.load(Ordering::Acquire)
    }
}

/// A proxy in front of a server.
pub(crate) struct FaultProxy {
    shared: Arc<Shared>,
    pub(crate) port: u16,
    acceptor: Option<Acceptor>,
}

/// The thread that takes connections in.
struct Acceptor {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl FaultProxy {
    /// A proxy before the server at this port; what chance decides follows from the seed.
    pub(crate) fn start(protocol: Protocol, server: u16, seed: u64) -> Self {
        let timeline = Timeline::constant(Link::PERFECT);
        let state = State { timeline, since: Instant::now(), sdp: Sdp::AsItIs, connections: Vec::new() };
        let (state, stop) = (Mutex::new(state), AtomicBool::new(false));
        let server = SocketAddr::from(([127, 0, 0, 1], server));
        let shared = Arc::new(Shared { state, stop, seed, protocol, server });
        let mut proxy = Self { shared, port: 0, acceptor: None };
        proxy.accept();
        proxy
    }

    /// From now on the link is this one.
    pub(crate) fn set(&self, link: Link) {
        self.follow(Timeline::constant(link));
    }

    /// From now on the link changes so.
    pub(crate) fn follow(&self, timeline: Timeline) {
        let mut state = self.shared.lock();
        (state.timeline, state.since) = (timeline, Instant::now());
    }

    /// What becomes of descriptions from now on.
    pub(crate) fn describe(&self, sdp: Sdp) {
        self.shared.lock().sdp = sdp;
    }

    /// Ends every connection in order.
    pub(crate) fn cut(&self) {
        for connection in self.shared.lock().connections.drain(..) {
            connection.over.store(true, Ordering::Release);
            for stream in [&connection.client, &connection.server] {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Resets every connection: both peers get a RST.
    pub(crate) fn reset(&self) {
        for connection in self.shared.lock().connections.drain(..) {
            for stream in [&connection.client, &connection.server] {
                // Closing it sends the RST, once the last thread has let go of it; only the reading end is shut, since
                // shutting the other would send the end of the stream.
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                let _ = stream.shutdown(std::net::Shutdown::Read);
            }
            connection.over.store(true, Ordering::Release);
        }
    }

    /// Resets every connection and lets nobody in any more.
    pub(crate) fn refuse(&mut self) {
        self.close();
        self.reset();
    }

    /// Lets in again, at the same port.
    pub(crate) fn accept(&mut self) {
        if self.acceptor.is_some() {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        self.port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ours) = (Arc::clone(&self.shared), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !shared.is_over(&ours) {
                match listener.accept() {
                    Ok((client, _)) => {
                        number += 1;
                        tcp::relay(&shared, client, number);
                    }
                    Err(_) => std::thread::park_timeout(TICK),
                }
            }
        });
        self.acceptor = Some(Acceptor { stop, thread });
    }

    fn close(&mut self) {
        if let Some(Acceptor { stop, thread }) = self.acceptor.take() {
            stop.store(true, Ordering::Release);
            let _ = thread.join();
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.close();
        self.cut();
        // The threads of a connection hold what they share; they end within a tick.
        let end = Instant::now() + Duration::from_secs(5);
        while Arc::strong_count(&self.shared) > 1 && Instant::now() < end {
            std::thread::park_timeout(TICK);
        }
    }
}
