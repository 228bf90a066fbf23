//! Probes a host where GStreamer reports only a failed connection: does the name resolve, and does the port accept
//! connections?

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::backend::Cause;
use crate::own::{Stop, Thread};

/// Connect timeout per address.
const CONNECT_MAX: Duration = Duration::from_millis(1_500);
/// Maximum addresses tried per name.
const ADDRESSES_MAX: usize = 3;

/// A probe on its own thread, because a DNS lookup has no timeout.
pub(super) struct Probe {
    answer: Receiver<Option<Cause>>,
    _thread: Option<Thread>,
}

impl Probe {
    /// Starts connecting to `host`.
    pub(super) fn start(host: &str, port: u16) -> Self {
        let (sender, answer) = bounded(1);
        let host = host.to_owned();
        let thread = Thread::start("gst-probe", move |stop| drop(sender.try_send(connect(&host, port, &stop))));
        // Without a thread the channel is disconnected, which `answer` reports as `NoConnection`.
        Self { answer, _thread: thread.ok() }
    }

    /// The result once it is there: why the connection failed, or `None` if it succeeded.
    pub(super) fn answer(&self) -> Option<Option<Cause>> {
        match self.answer.try_recv() {
            Ok(cause) => Some(cause),
            Err(crossbeam_channel::TryRecvError::Empty) => None,
            Err(crossbeam_channel::TryRecvError::Disconnected) => Some(Some(Cause::NoConnection)),
        }
    }
}

/// Connects and closes at once; returns the cause of a failure.
fn connect(host: &str, port: u16, stop: &Stop) -> Option<Cause> {
    connection(host, port, stop).err()
}

/// Connects.
///
/// # Errors
/// The cause.
pub(super) fn connection(host: &str, port: u16, stop: &Stop) -> Result<TcpStream, Cause> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| unknown(&error))?;
    let mut last = Cause::UnknownName;
    for address in addresses.take(ADDRESSES_MAX) {
        if stop.requested() {
            break;
        }
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = refused(&error),
        }
    }
    Err(last)
}

/// Classifies a failed lookup by the system's message: the standard library exposes no error code.
fn unknown(error: &std::io::Error) -> Cause {
    let why = error.to_string();
    let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
    match why.contains("emporary") || why.contains("recoverable") || why.contains("ystem error") {
        true => Cause::NoNameServer(why.to_owned()),
        false => Cause::UnknownName,
    }
}

fn refused(error: &std::io::Error) -> Cause {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Cause::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Cause::NoConnection,
        _ => Cause::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(host: &str, port: u16) -> Option<Cause> {
        let probe = Probe::start(host, port);
        probe.answer.recv().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn unknown_names_and_closed_ports_are_distinguished() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ask("127.0.0.1", port), None);
        drop(listener);
        assert_eq!(ask("127.0.0.1", port), Some(Cause::Refused));
        let unknown = ask("no-such-name.invalid", 554);
        assert!(matches!(unknown, Some(Cause::UnknownName | Cause::NoNameServer(_))), "{unknown:?}");
        assert_eq!(refused(&ErrorKind::TimedOut.into()), Cause::NoConnection);
        assert!(matches!(refused(&ErrorKind::NetworkUnreachable.into()), Cause::Unreachable(_)));
    }
}
