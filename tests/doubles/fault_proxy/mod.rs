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
        // Somebody's connection may have the port for a moment.
        let end = Instant::now() + Duration::from_secs(20);
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < end, "port {}: {error}", self.port),
            }
            std::thread::park_timeout(TICK);
        };
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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};

    use super::*;

    /// A server that sends back what it gets, and a proxy before it.
    fn echo() -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        let _ = stream.write_all(&buffer[..count]);
                    }
                });
            }
        });
        FaultProxy::start(Protocol::Stream, port, 1)
    }

    fn connect(proxy: &FaultProxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What comes back of eight bytes.
    fn asked(stream: &mut TcpStream) -> std::io::Result<[u8; 8]> {
        stream.write_all(b"8 bytes.")?;
        let mut back = [0; 8];
        stream.read_exact(&mut back).map(|()| back)
    }

    #[test]
    fn what_passes_is_delayed_sliced_spoilt_frozen_and_ended_as_it_is_told() {
        let mut proxy = echo();
        let mut stream = connect(&proxy);
        assert_eq!(asked(&mut stream).unwrap(), *b"8 bytes.");
        proxy.set(Link { latency: Duration::from_millis(60), slice: Some(3), ..Link::PERFECT });
        let begun = Instant::now();
        assert_eq!(asked(&mut stream).unwrap(), *b"8 bytes.");
        assert!(begun.elapsed() >= Duration::from_millis(120), "there and back");
        proxy.set(Link { bytes_per_s: Some(80), ..Link::PERFECT });
        let begun = Instant::now();
        asked(&mut stream).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(200), "eight bytes each way");
        // What waits goes on at once when the line is better: its bytes would take half a minute.
        proxy.set(Link { bytes_per_s: Some(4), slice: Some(1), ..Link::PERFECT });
        stream.write_all(&[b'x'; 128]).unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        proxy.set(Link::PERFECT);
        stream.read_exact(&mut [0; 127]).unwrap();
        for link in [Link::passing(Passes::Garbage), Link { corrupt: 1.0, ..Link::PERFECT }] {
            proxy.set(link);
            assert_ne!(asked(&mut stream).unwrap(), *b"8 bytes.", "{link:?}");
        }
        proxy.set(Link::passing(Passes::Nothing));
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let silent = asked(&mut stream).unwrap_err().kind();
        assert!(matches!(silent, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
        proxy.set(Link::PERFECT);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();

        proxy.cut();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "the end");
        let mut stream = connect(&proxy);
        asked(&mut stream).unwrap();
        proxy.reset();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        proxy.refuse();
        let refused = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.accept();
        asked(&mut connect(&proxy)).unwrap();
    }
}
