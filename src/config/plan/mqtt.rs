//! The handler that publishes to an MQTT broker.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Broker, User};
use crate::types::SourceId;

/// Where and how alerts are published. `Debug` does not show user and password.
#[derive(Clone, PartialEq)]
pub struct MqttPlan {
    /// The broker.
    pub broker: Broker,
    /// The credentials, from the address or from the keys.
    pub user: Option<User>,
    /// The name that the broker knows this client by, if it is set.
    pub client_id: Option<String>,
    /// The deployment's name, if it has one of its own.
    pub deployment: Option<String>,
    /// The first levels of every topic, without a slash at the end.
    pub topic_prefix: String,
    /// How a message is acknowledged: 0 not at all, 1 once it has arrived, 2 once it has arrived exactly once.
    pub qos: u8,
    /// Whether the broker keeps the latest alert of each source and rule for later subscribers.
    pub retain: bool,
    /// Longest wait for the broker, for each alert.
    pub timeout: Duration,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether sources and profiles are switched by messages of others.
    pub commands: bool,
    /// What Home Assistant is told about this program; `None` if nothing.
    pub discovery: Option<Discovery>,
}

/// What Home Assistant is told about this program.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// The first levels of the topics at which Home Assistant looks for devices.
    pub prefix: String,
    /// The sources, enabled or not: each is one entity. Empty with `commands`, where the engine shows them.
    pub sources: Vec<SourceId>,
}

impl fmt::Debug for MqttPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MqttPlan");
        shown.field("broker", &self.broker).field("topic_prefix", &self.topic_prefix).finish_non_exhaustive()
    }
}
