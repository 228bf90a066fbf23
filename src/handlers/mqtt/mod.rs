//! Publishes alerts to an MQTT broker: each as an event at `PREFIX/events`, and by itself at `PREFIX/SOURCE/RULE`.
//!
//! A task (`link`) owns the one connection (`connection`, over `outbound::mqtt`) from when the handler is attached, so that
//! `PREFIX/available` tells whether this program runs, and ends with the handler. A delivery hands it the alert and
//! waits until the broker has acknowledged both messages. `topic` and `discovery` have the names and payloads,
//! `failure` the words for what goes wrong, `switches` what others may switch by messages.
//!
//! The client is our own: it needs eleven packets, each delivery needs the acknowledgement of its own messages
//! with its reason, and TLS is that of all other requests (`outbound`).

mod connection;
mod discovery;
mod failure;
mod link;
mod switches;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{self, Instant};

use connection::Message;
use link::Job;
use switches::Switchboard;

use crate::alert::{BoxFuture, Commands, DeliveryError, Handler, Retry};
use crate::config::MqttPlan;
use crate::error::{Code, Error};
use crate::outbound::{self, Dialer};
use crate::telemetry::redact;
use crate::types::Alert;

/// The payloads of `PREFIX/available`.
const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// Most deliveries that wait for the task: one, and those that were abandoned.
const JOBS_MAX: usize = 4;
/// How much longer a delivery waits than the task, whose message is the better one.
const GRACE: Duration = Duration::from_millis(250);
/// The name of this handler where none is set, which needs no mention in its client's name.
const USUAL_NAME: &str = "mqtt";

/// Publishes alerts to one broker.
pub struct Mqtt {
    target: Arc<Target>,
    /// Where commands of others go, once it is attached.
    commands: Mutex<Option<Commands>>,
    link: Mutex<Option<Running>>,
}

/// Where to publish.
struct Target {
    name: Arc<str>,
    plan: MqttPlan,
    dialer: Dialer,
    client_id: String,
}

impl Target {
    /// The broker, for display.
    fn peer(&self) -> String {
        format!("{}://{}", if self.plan.broker.tls { "mqtts" } else { "mqtt" }, self.dialer.peer())
    }
}

/// The task. Dropping it ends the connection.
struct Running {
    jobs: mpsc::Sender<Job>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mqtt {
    /// Creates a handler; it connects when it is attached.
    ///
    /// # Errors
    /// [`Code::Handler`] for an unusable `ca_file`.
    pub fn new(name: Arc<str>, plan: &MqttPlan) -> Result<Self, Error> {
        let tls = match plan.broker.tls || plan.ca_file.is_some() {
            true => Some(outbound::tls(plan.ca_file.as_deref()).map_err(|what| {
                Error::new(Code::Handler, format!("handler {name}: ca_file: {what}"))
                    .hint("write ca_file: certs/ca.pem, a file with `BEGIN CERTIFICATE` in it, or DER")
            })?),
            false => None,
        };
        let dialer = Dialer::new(&plan.broker.host, plan.broker.port, tls.filter(|_| plan.broker.tls));
        let client_id = plan.client_id.clone().unwrap_or_else(|| {
            let deployment = plan.deployment.clone().unwrap_or_else(machine);
            // Two handlers of one configuration need two names.
            let own = if &*name == USUAL_NAME { String::new() } else { format!("-{}", topic::level(&name)) };
            format!("dsengine-{}{own}", topic::level(&deployment))
        });
        let target = Arc::new(Target { name, plan: plan.clone(), dialer, client_id });
        Ok(Self { target, commands: Mutex::default(), link: Mutex::default() })
    }

    /// The task's queue; starts the task if there is none and the caller is on a runtime.
    fn jobs(&self) -> Option<mpsc::Sender<Job>> {
        let commands = self.commands.lock().clone().filter(|_| self.target.plan.commands);
        let mut link = self.link.lock();
        if link.as_ref().is_none_or(|running| running.task.is_finished()) {
            let runtime = Handle::try_current().ok()?;
            let (jobs, receiver) = mpsc::channel(JOBS_MAX);
            let Target { name, plan, .. } = &*self.target;
            let board = commands.map(|own| Switchboard::new(Arc::clone(name), plan.topic_prefix.clone(), own));
            let task = runtime.spawn(link::run(Arc::clone(&self.target), board, receiver)).abort_handle();
            *link = Some(Running { jobs, task });
        }
        link.as_ref().map(|running| running.jobs.clone())
    }

    async fn publish(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let Target { plan, .. } = &*self.target;
        let messages = self.messages(alert).map_err(|error| self.failed(&error.to_string(), Retry::Never))?;
        let until = Instant::now() + plan.timeout;
        let late = || self.failed(&format!("no connection within {:?}", plan.timeout), Retry::Later);
        let ended = || self.failed("the connection's task has ended", Retry::Later);
        let jobs = self.jobs().ok_or_else(ended)?;
        let (done, answer) = oneshot::channel();
        let sent = time::timeout_at(until, jobs.send(Job { messages, until, done })).await.map_err(|_| late())?;
        sent.map_err(|_| ended())?;
        match time::timeout_at(until + GRACE, answer).await {
            Ok(Ok(result)) => result.map_err(|failure| self.failed(&failure.message, failure.retry)),
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(late()),
        }
    }

    fn messages(&self, alert: &Alert) -> serde_json::Result<Vec<Message>> {
        let MqttPlan { topic_prefix, retain, .. } = &self.target.plan;
        let event = Message { topic: topic::events(topic_prefix), payload: topic::event(alert)?, retain: false };
        let topic = topic::of_rule(topic_prefix, alert.source.as_str(), &alert.rule);
        let own = Message { topic, payload: serde_json::to_vec(alert)?, retain: *retain };
        Ok(vec![event, own])
    }

    fn failed(&self, what: &str, retry: Retry) -> DeliveryError {
        DeliveryError { message: format!("{}: {}", self.target.peer(), redact(what)), retry }
    }
}

/// The machine's name.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "machine".to_owned() } else { name.to_owned() }
}

impl Handler for Mqtt {
    fn name(&self) -> &str {
        &self.target.name
    }

    /// A delivery has its own timeout.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Connects, so that the broker tells of this program before there is an alert.
    fn attach(&self, commands: Commands) {
        *self.commands.lock() = Some(commands);
        self.jobs();
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.publish(alert))
    }
}
