//! The connection of one source to its broker: subscribes, reads, and connects anew when it breaks.
//!
//! Messages are not acknowledged (QoS 0): of a camera's detections the next ones count, and what the broker sends
//! reaches us as long as the connection stands. Messages that the broker kept from before are of another time, and are
//! passed over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant};

use super::feed::Feed;
use crate::backend::supervise::{Backoff, Verdict};
use crate::backend::{Failure, Intake as _, Patience, SourceState};
use crate::config::Subscription;
use crate::error::{Code, Error};
use crate::outbound::mqtt::packet::{self, Received, Version};
use crate::outbound::mqtt::{Broken, Hello, NotOpened, Session};
use crate::outbound::{self, Dialer};
use crate::telemetry::redact;
use crate::types::SourceId;

/// Most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait for the broker: for a connection, for the answer to a subscription, and for that to a ping.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Attempts with a refused login or topic before they become rare.
const TRIES: u32 = 3;

/// Where to subscribe.
pub(super) struct Target {
    subscription: Subscription,
    dialer: Dialer,
    client_id: String,
}

impl Target {
    /// The target for a source.
    ///
    /// # Errors
    /// [`Code::Source`] for an unusable `ca_file`.
    pub(super) fn new(source: &SourceId, subscription: &Subscription) -> Result<Self, Error> {
        let Subscription { broker, ca_file, .. } = subscription;
        let tls = broker.tls.then(|| outbound::tls(ca_file.as_deref())).transpose().map_err(|what| {
            Error::new(Code::Source, format!("source {source}: parameters.ca_file: {what}"))
                .hint("write ca_file: certs/ca.pem, a file with `BEGIN CERTIFICATE` in it, or DER")
        })?;
        let dialer = Dialer::new(&broker.host, broker.port, tls);
        // Two clients of one name push each other out, so each has one of its own; every broker takes 23 characters.
        let client_id = format!("dsengine-{:014x}", fastrand::u64(..) >> 8);
        Ok(Self { subscription: subscription.clone(), dialer, client_id })
    }

    fn failure(&self, what: &str, patience: Patience) -> Failure {
        let reason = format!("{}: {}", self.subscription.address(), redact(what));
        let remedy = (patience != Patience::Outage).then(|| redact(what).into_owned());
        Failure { reason, remedy, patience }
    }

    /// Why the connection has ended.
    fn broken(&self, why: Broken) -> Failure {
        match why {
            Broken::Lost(what) => self.failure(&what, Patience::Outage),
            Broken::NotMqtt => self.failure("it does not speak MQTT: check the port", Patience::Setting(TRIES)),
            Broken::Refused(reason) | Broken::Ended(reason) => {
                let (what, patience) = of_reason(reason);
                self.failure(&what, patience)
            }
        }
    }
}

/// A reason of MQTT 5, in words, and whether waiting helps.
fn of_reason(reason: u8) -> (String, Patience) {
    let (what, patience) = match reason {
        0x84 => ("the broker speaks neither MQTT 5 nor 3.1.1", Patience::Setting(TRIES)),
        0x86 => ("the broker rejects the user or the password: check both in the address", Patience::Login),
        0x87 => {
            let what = "not authorised: check user and password in the address, and what this user may read there";
            (what, Patience::Login)
        }
        0x8A => ("this client is banned at the broker", Patience::Login),
        0x00 | 0x8B => ("the broker is shutting down", Patience::Outage),
        0x88 | 0x89 => ("the broker is not available at the moment", Patience::Outage),
        0x9C | 0x9D => ("the broker sends clients to another server: change the address", Patience::Setting(TRIES)),
        other => return (format!("the broker ended the connection: reason 0x{other:02X}"), Patience::Outage),
    };
    (what.to_owned(), patience)
}

/// Runs until it is aborted, or its source has ended.
pub(super) async fn run(target: Target, feed: Arc<Feed>) {
    let mut link = Link { target, feed, speaks_five: false, has_worked: false };
    let mut backoff = Backoff::default();
    while !link.feed.outlet.closed() {
        let mut connected = None;
        let Err(failure) = link.serve(&mut connected).await else { return };
        let ran = connected.map_or(Duration::ZERO, |at: Instant| at.elapsed());
        let retry = link.feed.retry();
        let worked = link.has_worked;
        let (next, verdict) = backoff.failed_for(failure.patience, worked, &retry, ran, fastrand::f64());
        let remedy = failure.remedy.filter(|_| verdict == Verdict::Stays);
        let outlet = &link.feed.outlet;
        if outlet.state() == Some(SourceState::Running) {
            outlet.enter(SourceState::Stalled);
        }
        outlet.fault(Failure { remedy, ..failure }, next.attempt, next.wait, next.state);
        time::sleep(next.wait).await;
        if !matches!(outlet.state(), Some(SourceState::Failed)) {
            outlet.enter(SourceState::Connecting);
        }
    }
}

struct Link {
    target: Target,
    feed: Arc<Feed>,
    /// Whether the broker has spoken MQTT 5.
    speaks_five: bool,
    /// Whether there was ever a subscription.
    has_worked: bool,
}

impl Link {
    /// Connects, subscribes and takes messages until something is wrong. `connected` gets when it had subscribed.
    async fn serve(&mut self, connected: &mut Option<Instant>) -> Result<(), Failure> {
        let mut session = self.open().await?;
        self.subscribe(&mut session).await?;
        let began = Instant::now();
        *connected = Some(began);
        self.has_worked = true;
        self.feed.listen();
        // The connection is what is supervised: a camera that sees nothing may send nothing.
        self.feed.outlet.enter(SourceState::Running);
        let mut ping = began + session.ping_interval();
        // When an answer to a ping is due.
        let mut answer: Option<Instant> = None;
        while !self.feed.outlet.closed() {
            let silent = self.feed.silence_left().map(|left| Instant::now() + left);
            let next = [Some(ping), answer, silent].into_iter().flatten().min().unwrap_or(ping);
            match time::timeout_at(next, session.next()).await {
                Ok(received) => match received.map_err(|why| self.target.broken(why))? {
                    Received::Message(message) if !message.is_kept => self.take(&message.payload),
                    Received::TooLong => self.feed.outlet.dropped("too_large", 1),
                    Received::Pong => answer = None,
                    _ => {}
                },
                Err(_) => {
                    let now = Instant::now();
                    if answer.is_some_and(|at| at <= now) {
                        let what = format!("the broker answered no ping within {ANSWER_MAX:?}");
                        return Err(self.target.failure(&what, Patience::Outage));
                    }
                    if self.feed.silence_left() == Some(Duration::ZERO) {
                        let what = format!("connected, and {}", self.feed.too_silent());
                        return Err(self.target.failure(&what, Patience::Outage));
                    }
                    if ping <= now {
                        session.write(&packet::PING).await.map_err(|why| self.target.broken(why))?;
                        ping = now + session.ping_interval();
                        answer = answer.or(Some(now + ANSWER_MAX));
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&self, payload: &[u8]) {
        let taken = self.feed.take(payload);
        if let Some(first) = taken.errors.first() {
            let source = self.feed.outlet.id();
            tracing::debug!(%source, refused = taken.refused, line = first.line, "refused: {}", first.message);
        }
    }

    /// Connects. A broker that does not speak MQTT 5 is asked again in 3.1.1.
    async fn open(&mut self) -> Result<Session, Failure> {
        match self.open_in(Version::Five).await {
            Ok(session) => {
                self.speaks_five = true;
                Ok(session)
            }
            // A broker that spoke MQTT 5 and broke off does so for another reason.
            Err(NotOpened { why, was_reached: true }) if why.may_be_version() && !self.speaks_five => {
                self.open_in(Version::Three).await.map_err(|failed| self.not_opened(failed))
            }
            Err(failed) => Err(self.not_opened(failed)),
        }
    }

    async fn open_in(&self, version: Version) -> Result<Session, NotOpened> {
        let Target { subscription, dialer, client_id } = &self.target;
        let user = subscription.broker.user.as_ref().map(|user| (&*user.name, &*user.password));
        let hello = Hello { client_id, user, will: None, will_qos: 0 };
        let late = || Broken::Lost(format!("no connection within {ANSWER_MAX:?}"));
        time::timeout(ANSWER_MAX, Session::open(dialer, &hello, version, MESSAGE_BYTES_MAX))
            .await
            .unwrap_or_else(|_| Err(NotOpened { why: late(), was_reached: false }))
    }

    fn not_opened(&self, NotOpened { why, was_reached }: NotOpened) -> Failure {
        let is_plain = !self.target.subscription.broker.tls;
        let has_hint = was_reached && is_plain && !matches!(why, Broken::Refused(_));
        let failure = self.target.broken(why);
        match has_hint {
            true => Failure { reason: format!("{}; mqtts:// where it uses TLS", failure.reason), ..failure },
            false => failure,
        }
    }

    async fn subscribe(&self, session: &mut Session) -> Result<(), Failure> {
        let (id, topic) = (session.next_id(), &self.target.subscription.topic);
        let answered = async {
            let packet = packet::subscribe(id, std::slice::from_ref(topic), session.version());
            session.write(&packet).await?;
            loop {
                match session.next().await? {
                    Received::Subscribed { id: of, reason } if of == id => break Ok(reason),
                    _ => {}
                }
            }
        };
        match time::timeout(ANSWER_MAX, answered).await {
            Ok(Ok(0x80..)) => {
                let what = "the broker lets this user not read the topic: allow it in the broker's access list";
                Err(self.target.failure(what, Patience::Login))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(self.target.broken(why)),
            Err(_) => {
                let what = format!("connected, and no answer to the subscription within {ANSWER_MAX:?}");
                Err(self.target.failure(&what, Patience::Outage))
            }
        }
    }
}
