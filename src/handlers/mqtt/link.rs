//! The task that owns the connection: opens it, keeps it, and publishes what the handler asks for, one alert at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{self, Instant};

use super::connection::{Connection, Message};
use super::failure::Failure;
use super::switches::Switchboard;
use super::{ONLINE, Target, discovery, topic};
use crate::alert::{Retry, ShownSwitches, Switches};
use crate::outbound::mqtt::packet::Version;
use crate::telemetry::redact;
use crate::types::SourceId;

/// Pauses between attempts to connect, while there is nothing to publish: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause after a refused login, so that no account is locked.
const LOGIN_PAUSE: Duration = Duration::from_secs(300);
/// A connection that lasted this long was a good one.
const STEADY: Duration = Duration::from_secs(10);
/// A connection that this one replaces may say `offline` this much later.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// One alert's messages, in order.
pub(super) struct Job {
    pub(super) messages: Vec<Message>,
    /// When it is given up.
    pub(super) until: Instant,
    /// Told once all messages are acknowledged, or one is not.
    pub(super) done: oneshot::Sender<Result<(), Failure>>,
}

/// See the module. Ends when `jobs` is closed; its connection then breaks, and the broker publishes the will.
pub(super) async fn run(target: Arc<Target>, board: Option<Switchboard>, mut jobs: mpsc::Receiver<Job>) {
    let board = board.as_ref();
    let (pause, shown) = (PAUSE_MIN, None);
    let mut link = Link { target: &target, board, shown, pause, speaks_five: false, trouble: None };
    let mut job = None;
    loop {
        let failure = match link.connect().await {
            Ok(connection) => match link.serve(connection, &mut job, &mut jobs).await {
                Some(failure) => failure,
                None => return,
            },
            Err(failure) => failure,
        };
        link.report(&failure);
        if let Some(Job { done, .. }) = job.take() {
            // Nobody waits for an abandoned delivery.
            let _ = done.send(Err(failure.clone()));
        }
        // An alert does not wait for the pause.
        tokio::select! {
            next = jobs.recv() => match next {
                Some(next) => job = Some(next),
                None => return,
            },
            () = time::sleep(link.pause_after(&failure)) => {}
        }
    }
}

struct Link<'a> {
    target: &'a Target,
    /// What others may switch by messages.
    board: Option<&'a Switchboard>,
    /// The switches that Home Assistant was told of.
    shown: Option<Names>,
    pause: Duration,
    /// Whether the broker has spoken MQTT 5.
    speaks_five: bool,
    /// The last failure that was logged, since the last connection.
    trouble: Option<String>,
}

impl<'a> Link<'a> {
    /// Connects, and says that this program is there. A broker that does not speak MQTT 5 is asked again in 3.1.1.
    async fn connect(&mut self) -> Result<Connection<'a>, Failure> {
        let mut connection = match self.open(Version::Five).await {
            // A broker that spoke MQTT 5 and broke off does so for another reason.
            Err(failure) if failure.version && !self.speaks_five => self.open(Version::Three).await?,
            opened => {
                let connection = opened?;
                self.speaks_five = true;
                connection
            }
        };
        let plan = &self.target.plan;
        let until = Instant::now() + plan.timeout;
        self.unless_it_ends(connection.publish(&self.online(), until).await)?;
        self.shown = self.names();
        if let Some(device) = self.device() {
            self.unless_it_ends(connection.publish(&device, until).await)?;
        }
        if let Some(board) = self.board {
            board.on_connected();
            self.unless_it_ends(connection.subscribe(&board.topics(), until).await)?;
        }
        if self.trouble.take().is_some() {
            tracing::info!(handler = %self.target.name, "connected to {}", self.target.peer());
        }
        Ok(connection)
    }

    /// Logs a failure that leaves the connection as it is: alerts may go out even so.
    fn unless_it_ends(&self, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(failure) if !failure.ends => {
                tracing::warn!(handler = %self.target.name, "{}", failure.message);
                Ok(())
            }
            done => done,
        }
    }

    /// The names of the switches, once the engine has shown them.
    fn names(&self) -> Option<Names> {
        self.board.filter(|board| board.is_shown()).map(|board| Names::of(&board.switches()))
    }

    /// What Home Assistant is told. Where there will be switches, nothing until they are known: a device without them
    /// would remove those that it has.
    fn device(&self) -> Option<Message> {
        if self.board.is_some_and(|board| !board.is_shown()) {
            return None;
        }
        let Target { plan, client_id, .. } = self.target;
        let switches = self.board.map(Switchboard::switches);
        let (topic, payload) = discovery::device(plan.discovery.as_ref()?, plan, client_id, switches.as_deref());
        Some(Message { topic, payload, retain: true })
    }

    /// Publishes the states of switches that the broker does not have, and the device where its switches have changed.
    async fn show(&mut self, connection: &mut Connection<'a>) -> Result<(), Failure> {
        let Some(board) = self.board else { return Ok(()) };
        let until = Instant::now() + self.target.plan.timeout;
        let names = self.names();
        if self.shown != names {
            self.shown = names;
            if let Some(device) = self.device() {
                self.unless_it_ends(connection.publish(&device, until).await)?;
            }
        }
        for state in board.due() {
            let published = connection.publish(&state, until).await;
            // One that is refused is tried again with the next connection, and so is one that ends this one.
            if published.as_ref().err().is_none_or(|failure| !failure.ends) {
                board.on_published(&state);
            }
            self.unless_it_ends(published)?;
        }
        Ok(())
    }

    async fn open(&self, version: Version) -> Result<Connection<'a>, Failure> {
        let limit = self.target.plan.timeout;
        time::timeout(limit, Connection::open(self.target, self.board, version))
            .await
            .unwrap_or_else(|_| Err(Failure::lost(format!("no connection within {limit:?}"))))
    }

    fn online(&self) -> Message {
        Message { topic: topic::available(&self.target.plan.topic_prefix), payload: ONLINE.into(), retain: true }
    }

    /// Publishes jobs until the connection fails, or, with `None`, until there are no more. A job that fails with the
    /// connection is left in `job`.
    async fn serve(
        &mut self,
        mut connection: Connection<'a>,
        job: &mut Option<Job>,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> Option<Failure> {
        let began = Instant::now();
        let mut again = Some(began + AGAIN_AFTER);
        let mut ping = began + connection.ping_interval();
        let mut changes = self.board.map(Switchboard::follow);
        if let Err(failure) = self.show(&mut connection).await {
            return Some(failure);
        }
        loop {
            if let Some(current) = job.take() {
                match publish_all(&mut connection, &current).await {
                    Err(failure) if failure.ends => {
                        *job = Some(current);
                        return Some(failure);
                    }
                    result => {
                        self.pause = PAUSE_MIN;
                        let _ = current.done.send(result);
                    }
                }
            }
            let next = again.unwrap_or(ping).min(ping);
            tokio::select! {
                next = jobs.recv() => match next {
                    Some(next) => *job = Some(next),
                    None => return None,
                },
                failure = connection.idle() => return Some(failure),
                () = changed(self.board, &mut changes) => {
                    if let Err(failure) = self.show(&mut connection).await {
                        return Some(failure);
                    }
                }
                () = time::sleep_until(next) => {
                    let now = Instant::now();
                    if again.is_some_and(|at| at <= now) {
                        again = None;
                        let until = now + self.target.plan.timeout;
                        let failure = connection.publish(&self.online(), until).await.err();
                        if let Some(failure) = failure.filter(|failure| failure.ends) {
                            return Some(failure);
                        }
                    }
                    if ping <= now {
                        if let Err(failure) = connection.ping().await {
                            return Some(failure);
                        }
                        ping = Instant::now() + connection.ping_interval();
                    }
                    if now - began >= STEADY {
                        self.pause = PAUSE_MIN;
                    }
                }
            }
        }
    }

    /// Logs a failure, unless it is the one that was logged last.
    fn report(&mut self, failure: &Failure) {
        if self.trouble.as_ref() != Some(&failure.message) {
            let (peer, message) = (self.target.peer(), redact(&failure.message));
            tracing::warn!(handler = %self.target.name, "{peer}: {message}; alerts wait for the next attempt");
            self.trouble = Some(failure.message.clone());
        }
    }

    /// The pause before the next attempt without an alert.
    fn pause_after(&mut self, failure: &Failure) -> Duration {
        if failure.retry == Retry::Login {
            return LOGIN_PAUSE;
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// The names of switches: with others, the device is another one.
#[derive(PartialEq)]
struct Names(Vec<SourceId>, Vec<String>);

impl Names {
    fn of(switches: &Switches) -> Self {
        Self(switches.sources.iter().map(|(id, _)| id.clone()).collect(), switches.profiles.clone())
    }
}

/// Waits until switches have changed; for ever where there are none.
async fn changed(board: Option<&Switchboard>, seen: &mut Option<watch::Receiver<ShownSwitches>>) {
    match (board, seen) {
        (Some(board), Some(seen)) => board.changed(seen).await,
        _ => std::future::pending().await,
    }
}

async fn publish_all(connection: &mut Connection<'_>, job: &Job) -> Result<(), Failure> {
    if job.done.is_closed() {
        return Ok(());
    }
    for message in &job.messages {
        connection.publish(message, job.until).await?;
    }
    Ok(())
}
