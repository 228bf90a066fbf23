//! One connection to a broker: opened, used for one message at a time, and dropped when anything is wrong with it.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::failure::Failure;
use super::switches::Switchboard;
use super::{OFFLINE, Target, topic};
use crate::outbound::mqtt::packet::{self, Publish, Received, Stage, Version};
use crate::outbound::mqtt::{Broken, Hello, NotOpened, Session};

/// Most bytes of a received message's topic and payload with what is between them; a longer one is skipped.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

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
    session: Session,
}

impl<'a> Connection<'a> {
    /// Connects and logs in. It has no time limit of its own.
    pub(super) async fn open(
        target: &'a Target,
        board: Option<&'a Switchboard>,
        version: Version,
    ) -> Result<Self, Failure> {
        let will = topic::available(&target.plan.topic_prefix);
        let hello = Hello {
            client_id: &target.client_id,
            user: target.plan.user.as_ref().map(|user| (&*user.name, &*user.password)),
            will: Some((&will, OFFLINE)),
            will_qos: target.plan.qos.min(1),
        };
        let opened = Session::open(&target.dialer, &hello, version, MESSAGE_BYTES_MAX).await;
        let session = opened.map_err(|failed| not_opened(target, failed))?;
        let most = session.limits().qos;
        match most < target.plan.qos {
            true => Err(Failure::lost(format!("the broker offers QoS up to {most}: set config.qos to it"))),
            false => Ok(Self { target, board, session }),
        }
    }

    /// Publishes a message. Returns once it is acknowledged; with QoS 0, once it is sent.
    pub(super) async fn publish(&mut self, message: &Message, until: Instant) -> Result<(), Failure> {
        let qos = self.target.plan.qos;
        let id = self.session.next_id();
        let Message { topic, payload, retain } = message;
        let packet = Publish { topic, payload, qos, retain: *retain, id };
        let most = self.session.limits().packet_bytes;
        let bytes = packet::publish(&packet, self.session.version()).filter(|bytes| bytes.len() <= most);
        let Some(bytes) = bytes else {
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
        let (id, limit) = (self.session.next_id(), self.target.plan.timeout);
        let answered = async {
            self.write(&packet::subscribe(id, topics, self.session.version())).await?;
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
        self.session.ping_interval()
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.session.write(bytes).await.map_err(|why| broken(self.target, why))
    }

    /// The next packet that is no message: those go to the board. May be dropped and called again.
    async fn next(&mut self) -> Result<Received, Failure> {
        loop {
            let received = self.session.next().await.map_err(|why| broken(self.target, why))?;
            match (received, self.board) {
                (Received::Message(message), Some(board)) => board.take(&message),
                (Received::TooLong, Some(board)) => board.refuse_long(),
                (Received::Message(_) | Received::TooLong, None) => {}
                (other, _) => return Ok(other),
            }
        }
    }
}

/// Why a connection broke, in words.
fn broken(target: &Target, why: Broken) -> Failure {
    match why {
        Broken::Lost(why) => Failure::lost(why),
        Broken::NotMqtt => Failure::lost("it does not speak MQTT: check the port"),
        Broken::Refused(reason) => Failure::refused(reason, &target.client_id),
        Broken::Ended(reason) => Failure::ended(reason, &target.client_id),
    }
}

/// Why there is no connection, with what the scheme of the address may have to do with it.
fn not_opened(target: &Target, NotOpened { why, was_reached }: NotOpened) -> Failure {
    let (is_tls, is_refused) = (target.plan.broker.tls, matches!(why, Broken::Refused(_)));
    let version = was_reached && why.may_be_version();
    let failure = Failure { version, ..broken(target, why) };
    let hint = match is_tls {
        false if was_reached && !is_refused => "; mqtts:// where it uses TLS",
        true if !was_reached && failure.message.contains("hung up") => "; mqtt:// where it speaks no TLS",
        _ => return failure,
    };
    Failure { message: format!("{}{hint}", failure.message), ..failure }
}
