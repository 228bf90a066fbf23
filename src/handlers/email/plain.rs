//! The connection to a mail server before and under its encryption.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Maximum bytes of all answers before the encryption begins.
const PLAIN_MAX: usize = 256 << 10;
/// The first byte of a TLS handshake, with which no SMTP command begins.
const HANDSHAKE: u8 = 0x16;

/// A connection that hands over unencrypted answers byte by byte. So nothing is read ahead of the encryption: what
/// somebody on the way adds to the last unencrypted answer is no answer of the encrypted server, and breaks the
/// handshake.
#[derive(Debug)]
pub(super) struct Plain {
    io: TcpStream,
    is_encrypted: bool,
    left: usize,
}

impl Plain {
    pub(super) fn new(io: TcpStream) -> Self {
        Self { io, is_encrypted: false, left: PLAIN_MAX }
    }
}

impl AsyncTokioStream for Plain {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.peer_addr()
    }
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_encrypted {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        if self.left == 0 {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut one))?;
        self.left -= one.filled().len();
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_encrypted |= bytes.first() == Some(&HANDSHAKE);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
