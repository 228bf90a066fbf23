//! Sources of detections that others make.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Broker;

/// Advice for an address that cannot be read.
const FORM: &str = "write mqtt://[user:password@]host[:port]/topic, or mqtts:// with TLS";
/// Most bytes of a topic in a packet.
const TOPIC_BYTES_MAX: usize = 65_535;

/// How a source gets detections, and how they are read.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionsPlan {
    /// Where they come from.
    pub from: DetectionsFrom,
    /// How they are written.
    pub format: DetectionsFormat,
    /// Width and height of the picture in pixels, for messages that do not state them.
    pub size: Option<(u32, u32)>,
    /// The sensor whose detections are taken; `None` takes all.
    pub sensor: Option<String>,
    /// Longest silence; `None`: any, since a camera may send nothing while it sees nothing.
    pub silence: Option<Duration>,
}

/// Where detections come from.
#[derive(Debug, Clone, PartialEq)]
pub enum DetectionsFrom {
    /// They are posted to the engine's own listener.
    Post,
    /// They are published at a topic.
    Mqtt(Box<Subscription>),
}

/// How detections are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectionsFormat {
    /// A frame of our own trace format per line.
    Trace,
    /// DeepStream's `nvmsgconv`, payload type 1: the minimal schema.
    Nvmsgconv,
}

/// A topic at a broker. `Debug` shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The broker.
    pub broker: Broker,
    /// The topic.
    pub topic: String,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

impl Subscription {
    /// Parses `mqtt://[user[:password]@]host[:port][/topic]`; user and password end at the last `@`. `topic` is that of
    /// the parameters.
    ///
    /// # Errors
    /// What is wrong, and what to write. Neither contains a part of the address.
    pub fn read(uri: &str, topic: Option<String>) -> Result<Self, (String, String)> {
        let wrong = |what: &str, label: &str| Err((what.to_owned(), label.to_owned()));
        let Some((scheme, rest)) = uri.split_once("://") else {
            return wrong("the broker's address cannot be read", FORM);
        };
        let peer_at = rest.rfind('@').map_or(0, |at| at + 1);
        let (peer, named) = rest[peer_at..].split_once('/').unwrap_or((&rest[peer_at..], ""));
        let address = format!("{scheme}://{}{peer}", &rest[..peer_at]);
        let broker = Broker::read(&address).map_err(|(what, _)| (what, FORM.to_owned()))?;
        let topic = match topic {
            Some(_) if !named.is_empty() => {
                return wrong("the topic is set twice", "write it in the address or as `parameters.topic`");
            }
            Some(topic) => topic,
            None => named.to_owned(),
        };
        if topic.is_empty() {
            return wrong("the broker's address has no topic", FORM);
        }
        if topic.contains(['+', '#']) || topic.starts_with('$') || topic.chars().any(char::is_control) {
            let label = "a source has one topic, without the wildcards + and #; `parameters.sensor` selects within it";
            return wrong("that is not the topic of one source", label);
        }
        if topic.len() > TOPIC_BYTES_MAX {
            return wrong("the topic is too long", "MQTT takes 65535 bytes");
        }
        Ok(Self { broker, topic, ca_file: None })
    }

    /// The address for display.
    pub fn address(&self) -> String {
        let scheme = if self.broker.tls { "mqtts" } else { "mqtt" };
        format!("{scheme}://{}/{}", self.broker.peer(), self.topic)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("address", &self.address()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_from_the_address_or_the_parameters() {
        let read = |uri: &str, topic: Option<&str>| {
            Subscription::read(uri, topic.map(str::to_owned)).map(|read| (read.address(), read.broker.user))
        };
        let (address, user) = read("mqtt://gate:p/q@10.0.0.7:1884/site/gate", None).unwrap();
        assert_eq!(address, "mqtt://10.0.0.7:1884/site/gate");
        assert_eq!(user.map(|user| (user.name, user.password)), Some(("gate".into(), "p/q".into())));
        assert_eq!(read("mqtts://broker", Some("a@b")).unwrap().0, "mqtts://broker:8883/a@b");
        for (uri, topic, part) in [
            ("mqtt://u:canary@broker", None, "no topic"),
            ("mqtt://u:canary@broker/", None, "no topic"),
            ("mqtt://u:canary@broker/a", Some("b"), "set twice"),
            ("mqtt://u:canary@broker/a/#", None, "not the topic of one source"),
            ("mqtt://u:canary@broker", Some("$SYS/a"), "not the topic of one source"),
            ("mqtt://u:canary@broker:0/a", None, "cannot be read"),
            ("mqtt:broker", None, "cannot be read"),
        ] {
            let (what, label) = read(uri, topic).unwrap_err();
            assert!(what.contains(part) && !what.contains("canary") && !label.contains("canary"), "{uri}: {what}");
        }
        let shown = format!("{:?}", Subscription::read("mqtt://viewer:canary@b/t", None).unwrap());
        assert!(shown.contains("b:1883/t") && !shown.contains("viewer") && !shown.contains("canary"), "{shown}");
    }
}
