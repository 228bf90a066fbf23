//! Serves the log at a loopback port: JSON lines for each connection. It reads nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::{runtime, time};

use super::{CLIENT_STALL_MAX, listen};
use crate::error::Error;
use crate::telemetry::log::{Follower, Heard, Tail};

/// Maximum concurrent followers; further ones wait to be accepted.
const FOLLOWERS_MAX: usize = 16;

/// The port. Dropping it closes all connections.
#[derive(Debug)]
pub struct LogPort {
    address: SocketAddr,
    serving: AbortHandle,
}

impl LogPort {
    /// Serves the log at this loopback port until it is dropped.
    ///
    /// # Errors
    /// [`crate::error::Code::Listen`] when the port is not available; names the process that holds it if `/proc` shows
    /// it.
    pub fn serve(runtime: &runtime::Handle, port: u16, tail: Arc<Tail>) -> Result<Self, Error> {
        const KEY: &str = "logging.streaming_port";
        let (listener, address) = listen::on(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), KEY)?;
        let _in_runtime = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(|error| listen::cannot(address, &error, KEY))?;
        let serving = runtime.spawn(serve(listener, tail)).abort_handle();
        Ok(Self { address, serving })
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LogPort {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, tail: Arc<Tail>) {
    let room = Arc::new(Semaphore::new(FOLLOWERS_MAX));
    // Ends with this task.
    let mut open = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let permit = Arc::clone(&room).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, _)) => {
                let follower = tail.follow();
                open.spawn(async move {
                    let _permit = permit;
                    write(stream, follower).await;
                });
            }
            // Most likely a lack of file descriptors.
            Err(_) => time::sleep(time::Duration::from_secs(1)).await,
        }
        while open.try_join_next().is_some() {}
    }
}

/// Writes to one follower until it disconnects or stops reading.
async fn write(mut stream: TcpStream, mut follower: Follower) {
    loop {
        let line = match follower.next().await {
            Heard::Line(line) => format!("{}\n", line.text),
            Heard::Missed(missed) => format!("{{\"missed\":{missed}}}\n"),
            Heard::End => return,
        };
        if !matches!(time::timeout(CLIENT_STALL_MAX, stream.write_all(line.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
}
