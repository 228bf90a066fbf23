//! One connection to a broker: opened, logged in, and dropped when anything is wrong with it. It has no time limits of
//! its own: its callers have them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::packet::{self, Connect, Limits, Received, Version};
use crate::outbound::{Dialer, Io, of_broker};

/// Time without a packet after which the broker gives the connection up is 1.5 times this; it is pinged twice as often.
const KEEP_ALIVE_S: u16 = 30;
/// Bytes for which there is room before each read.
const READ_BYTES: usize = 16 * 1024;

/// Why a connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It broke, or never was; how, with a remedy.
    Lost(String),
    /// The peer does not speak MQTT.
    NotMqtt,
    /// The broker refused the login, for this reason of MQTT 5.
    Refused(u8),
    /// The broker ended the connection, for this reason of MQTT 5.
    Ended(u8),
}

impl Broken {
    /// Whether a broker that was reached may speak the other version of the protocol, if the login failed like this.
    pub(crate) fn may_be_version(&self) -> bool {
        match self {
            Self::Refused(reason) => matches!(reason, 0x80..=0x82 | 0x84),
            Self::Lost(_) | Self::NotMqtt | Self::Ended(_) => true,
        }
    }
}

/// A failed attempt to open a connection.
pub(crate) struct NotOpened {
    pub(crate) why: Broken,
    /// Whether the peer was reached, so that the failure is about what is spoken there.
    pub(crate) was_reached: bool,
}

/// An open connection.
pub(crate) struct Session {
    io: Box<dyn Io>,
    /// For display.
    peer: String,
    /// Bytes of which those before `read` are done with.
    received: Vec<u8>,
    read: usize,
    /// Bytes to come of a message that was too long.
    skip: usize,
    /// Most bytes of a message: see [`packet::read`].
    message_bytes_max: usize,
    version: Version,
    limits: Limits,
    last_id: u16,
}

impl Session {
    /// Connects and logs in. Messages with more than `message_bytes_max` will be passed over.
    pub(crate) async fn open(
        dialer: &Dialer,
        hello: &Hello<'_>,
        version: Version,
        message_bytes_max: usize,
    ) -> Result<Self, NotOpened> {
        let io = dialer.dial().await.map_err(|why| NotOpened { why: Broken::Lost(why), was_reached: false })?;
        let (peer, limits, last_id) = (dialer.peer(), Limits::NONE, 0);
        let (received, read, skip) = (Vec::new(), 0, 0);
        let mut session = Self { io, peer, received, read, skip, message_bytes_max, version, limits, last_id };
        session.log_in(hello).await.map_err(|why| NotOpened { why, was_reached: true })?;
        Ok(session)
    }

    async fn log_in(&mut self, hello: &Hello<'_>) -> Result<(), Broken> {
        let Hello { client_id, user, will, will_qos } = *hello;
        let hello = Connect { client_id, user, will, will_qos, keep_alive_s: KEEP_ALIVE_S };
        self.write(&packet::connect(&hello, self.version)).await?;
        match self.next().await? {
            Received::Connected { reason: 0, limits } => {
                self.limits = limits;
                Ok(())
            }
            Received::Connected { reason, .. } => Err(Broken::Refused(reason)),
            _ => Err(Broken::NotMqtt),
        }
    }

    /// The version that is spoken.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// What the broker allows.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// A number for the next packet that needs one.
    pub(crate) fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// How often to ping.
    pub(crate) fn ping_interval(&self) -> Duration {
        let keep_alive = match self.limits.keep_alive_s {
            Some(own) if own > 0 => own,
            _ => KEEP_ALIVE_S,
        };
        Duration::from_secs(keep_alive.into()) / 2
    }

    /// Sends the bytes of a packet.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let written = match self.io.write_all(bytes).await {
            Ok(()) => self.io.flush().await,
            Err(error) => Err(error),
        };
        written.map_err(|error| self.broken(&error))
    }

    /// The next packet. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Received, Broken> {
        loop {
            match self.take()? {
                Some(Received::Disconnect { reason }) => return Err(Broken::Ended(reason)),
                Some(received) => return Ok(received),
                None => {}
            }
            self.received.reserve(READ_BYTES);
            match self.io.read_buf(&mut self.received).await {
                Ok(0) => return Err(Broken::Lost("the broker closed the connection".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// The next packet that was received completely.
    fn take(&mut self) -> Result<Option<Received>, Broken> {
        let skipped = self.skip.min(self.received.len() - self.read);
        self.read += skipped;
        self.skip -= skipped;
        let bytes = &self.received[self.read..];
        let found = packet::read(bytes, self.version, self.message_bytes_max).map_err(|_| Broken::NotMqtt)?;
        let Some((received, length)) = found else {
            // Here and not after each packet: what remains is moved once per read.
            self.received.drain(..self.read);
            self.read = 0;
            return Ok(None);
        };
        let here = length.min(bytes.len());
        self.read += here;
        self.skip = length - here;
        Ok(Some(received))
    }

    fn broken(&self, error: &std::io::Error) -> Broken {
        Broken::Lost(of_broker(error, &self.peer))
    }
}

/// How a client logs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    /// The user and the password.
    pub(crate) user: Option<(&'a str, &'a str)>,
    /// What the broker publishes, retained, if the connection breaks: topic and payload.
    pub(crate) will: Option<(&'a str, &'a str)>,
    pub(crate) will_qos: u8,
}
