//! One connection to a broker: opened, used for one message at a time, and dropped when anything is wrong with it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{self, Instant};

use super::failure::Failure;
use super::packet::{self, Connect, Limits, Publish, Received, Stage, Version};
use super::switches::Switchboard;
use super::{OFFLINE, Target, topic};
use crate::outbound::{self, Io};

/// Time without a packet after which the broker gives the connection up is 1.5 times this; it is pinged twice as often.
const KEEP_ALIVE_S: u16 = 30;

/// A message to publish.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// Whether the broker keeps it for later subscribers.
    pub(super) retain: bool,
}

/// An open connection. A broker that answers nothing is noticed by the time limits of its callers.
pub(super) struct Connection<'a> {
    target: &'a Target,
    /// Takes the messages of the subscription.
    board: Option<&'a Switchboard>,
    io: Box<dyn Io>,
    received: Vec<u8>,
    /// Bytes to come of a message that was too long.
    skip: usize,
    version: Version,
    limits: Limits,
    last_id: u16,
}

impl<'a> Connection<'a> {
    /// Connects and logs in. It has no time limit of its own.
    pub(super) async fn open(
        target: &'a Target,
        board: Option<&'a Switchboard>,
        version: Version,
    ) -> Result<Self, Failure> {
        let io = target.dialer.dial().await.map_err(|why| {
            let is_cut = target.plan.broker.tls && why.contains("hung up");
            let hint = if is_cut { "; mqtt:// where it speaks no TLS" } else { "" };
            Failure::lost(format!("{why}{hint}"))
        })?;
        let (received, limits) = (Vec::new(), Limits::NONE);
        let mut connection = Self { target, board, io, received, skip: 0, version, limits, last_id: 0 };
        let will = topic::available(&target.plan.topic_prefix);
        let hello = Connect {
            client_id: &target.client_id,
            user: target.plan.user.as_ref().map(|user| (&*user.name, &*user.password)),
            will: (&will, OFFLINE),
            will_qos: target.plan.qos.min(1),
            keep_alive_s: KEEP_ALIVE_S,
        };
        connection.limits = connection.log_in(&hello).await?;
        match connection.limits.qos < target.plan.qos {
            true => {
                let most = connection.limits.qos;
                Err(Failure::lost(format!("the broker offers QoS up to {most}: set config.qos to it")))
            }
            false => Ok(connection),
        }
    }

    async fn log_in(&mut self, hello: &Connect<'_>) -> Result<Limits, Failure> {
        let answer = match self.write(&packet::connect(hello, self.version)).await {
            Ok(()) => self.next().await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(Received::Connected { reason: 0, limits }) => Ok(limits),
            Ok(Received::Connected { reason, .. }) => Err(Failure::refused(reason, &self.target.client_id)),
            Ok(_) => Err(Failure::lost("it does not speak MQTT: check the port")),
            Err(failure) => {
                let hint = if self.target.plan.broker.tls { "" } else { "; mqtts:// where it wants TLS" };
                Err(Failure { message: format!("{}{hint}", failure.message), version: true, ..failure })
            }
        }
    }

    /// Publishes a message. Returns once it is acknowledged; with QoS 0, once it is sent.
    pub(super) async fn publish(&mut self, message: &Message, until: Instant) -> Result<(), Failure> {
        let qos = self.target.plan.qos;
        let id = self.next_id();
        let Message { topic, payload, retain } = message;
        let packet = Publish { topic, payload, qos, retain: *retain, id };
        let bytes = packet::publish(&packet, self.version).filter(|bytes| bytes.len() <= self.limits.packet_bytes);
        let Some(bytes) = bytes else {
            let most = self.limits.packet_bytes;
            return Err(Failure::unfit(format!("the message to {topic} is too large: the broker takes {most} bytes")));
        };
        let sent = async {
            self.write(&bytes).await?;
            match qos {
                0 => Ok(()),
                1 => self.acknowledged(Stage::Taken, id, topic).await,
                _ => {
                    self.acknowledged(Stage::Received, id, topic).await?;
                    self.write(&packet::release(id)).await?;
                    self.acknowledged(Stage::Complete, id, topic).await
                }
            }
        };
        match time::timeout_at(until, sent).await {
            Ok(sent) => sent,
            Err(_) => {
                let limit = self.target.plan.timeout;
                Err(Failure::lost(format!("connected, and no acknowledgement within {limit:?}")))
            }
        }
    }

    /// Subscribes to topics. Their messages go to the board.
    pub(super) async fn subscribe(&mut self, topics: &[String], until: Instant) -> Result<(), Failure> {
        let (id, limit) = (self.next_id(), self.target.plan.timeout);
        let answered = async {
            self.write(&packet::subscribe(id, topics, self.version)).await?;
            loop {
                match self.next().await? {
                    Received::Subscribed { id: of, reason: 0x80.. } if of == id => {
                        let topics = topics.join(" and ");
                        let what = "allow this user to read there, in the broker's access list";
                        break Err(Failure::unfit(format!("the broker lets nobody switch by {topics}: {what}")));
                    }
                    Received::Subscribed { id: of, .. } if of == id => break Ok(()),
                    _ => {}
                }
            }
        };
        let late = || Err(Failure::lost(format!("connected, and no answer to the subscription within {limit:?}")));
        time::timeout_at(until, answered).await.unwrap_or_else(|_| late())
    }

    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Waits until a message is acknowledged up to a stage. Answers to others are those of abandoned ones.
    async fn acknowledged(&mut self, wanted: Stage, id: u16, topic: &str) -> Result<(), Failure> {
        loop {
            match self.next().await? {
                Received::Acknowledged { stage, id: of, reason } if stage == wanted && of == id => {
                    return match reason {
                        // From here on, a reason is an error.
                        0x80.. => Err(Failure::rejected(reason, topic, &self.target.client_id)),
                        _ => Ok(()),
                    };
                }
                _ => {}
            }
        }
    }

    /// Reads what the broker sends meanwhile, until the connection ends. May be dropped and called again.
    pub(super) async fn idle(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.next().await {
                return failure;
            }
        }
    }

    /// Asks whether the broker is still there.
    pub(super) async fn ping(&mut self) -> Result<(), Failure> {
        let limit = self.target.plan.timeout;
        let answered = async {
            self.write(&packet::PING).await?;
            while self.next().await? != Received::Pong {}
            Ok(())
        };
        time::timeout(limit, answered)
            .await
            .unwrap_or_else(|_| Err(Failure::lost(format!("the broker answered no ping within {limit:?}"))))
    }

    /// How often to ping.
    pub(super) fn ping_interval(&self) -> Duration {
        let keep_alive = match self.limits.keep_alive_s {
            Some(own) if own > 0 => own,
            _ => KEEP_ALIVE_S,
        };
        Duration::from_secs(keep_alive.into()) / 2
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match self.io.write_all(bytes).await {
            Ok(()) => self.io.flush().await,
            Err(error) => Err(error),
        };
        written.map_err(|error| self.broken(&error))
    }

    /// The next packet that is no message: those go to the board. May be dropped and called again.
    async fn next(&mut self) -> Result<Received, Failure> {
        loop {
            let skipped = self.skip.min(self.received.len());
            self.received.drain(..skipped);
            self.skip -= skipped;
            match packet::read(&self.received, self.version) {
                Ok(Some((received, length))) => {
                    let here = length.min(self.received.len());
                    self.received.drain(..here);
                    self.skip = length - here;
                    match (received, self.board) {
                        (Received::Disconnect { reason }, _) => {
                            return Err(Failure::ended(reason, &self.target.client_id));
                        }
                        (Received::Message(message), Some(board)) => board.take(&message),
                        (Received::TooLong, Some(board)) => board.refuse_long(),
                        (Received::Message(_) | Received::TooLong, None) => {}
                        (other, _) => return Ok(other),
                    }
                    continue;
                }
                Ok(None) => {}
                Err(packet::Malformed) => return Err(Failure::lost("it does not speak MQTT: check the port")),
            }
            match self.io.read_buf(&mut self.received).await {
                Ok(0) => return Err(Failure::lost("the broker closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        Failure::lost(outbound::of_broker(error, &self.target.dialer.peer()))
    }
}
