//! `mqtt`: the alert as JSON, published to a broker.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::build::Site;
use crate::config::plan::{Broker, Discovery, HandlerKind, MqttPlan, User};
use crate::config::schema::Handler;
use crate::config::warning::{Severity, Warning};

/// Most bytes of a prefix: the rest of a topic has to fit beside it.
const PREFIX_BYTES_MAX: usize = 200;
/// Most bytes of a text in a packet.
const TEXT_BYTES_MAX: usize = 65_535;

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Mqtt {
    /// mqtt: the broker, mqtt:// or mqtts://. Default none. Example: "mqtt://broker:1883".
    url: Option<String>,
    /// mqtt: user name at the broker. Default none. Example: alerts.
    username: Option<String>,
    /// mqtt: password at the broker. Default none. Example: "${env:MQTT_PASSWORD}".
    password: Option<String>,
    /// mqtt: the name that the broker knows this client by; two clients of one name push each other out. Default
    /// `dsengine-` and `name`, or the machine's name where that is not set. Example: dsengine-gate.
    #[schemars(length(min = 1, max = 100))]
    client_id: Option<String>,
    /// mqtt: the first levels of every topic. Default dsengine. Example: site/dsengine.
    #[schemars(length(min = 1, max = 200))]
    topic_prefix: Option<String>,
    /// mqtt: 0 sent, 1 acknowledged, 2 acknowledged and passed on once. Default 1. Range 0–2. Example: 2.
    #[schemars(range(min = 0, max = 2))]
    qos: Option<u32>,
    /// mqtt: let the broker keep the latest alert of each source and rule. Default false. Example: true.
    retain: Option<bool>,
    /// mqtt: longest wait for the broker. Default 30. Unit: seconds. Range 0.1–300. Example: 5.
    #[schemars(range(min = 0.1, max = 300))]
    timeout: Option<f64>,
    /// mqtt: authorities whose certificates are trusted beside the machine's, PEM. Default none. Example: certs/ca.pem.
    ca_file: Option<PathBuf>,
    /// mqtt: let messages at PREFIX/SOURCE/enabled/set (ON, OFF) and PREFIX/profile/set (its name, or none) switch
    /// sources and profiles; whoever may publish there may switch them. Default false. Example: true.
    commands: Option<bool>,
    /// mqtt: tell Home Assistant of this device and its sources. Default false. Example: true.
    discovery: Option<bool>,
    /// mqtt: the first levels of the topics at which Home Assistant looks for devices. Default homeassistant.
    /// Example: ha.
    #[schemars(length(min = 1, max = 200))]
    discovery_prefix: Option<String>,
}

impl Type for Mqtt {
    const WORD: &'static str = "mqtt";

    fn plan(self, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let Self {
            url,
            username,
            password,
            client_id,
            topic_prefix,
            qos,
            retain,
            timeout,
            ca_file,
            commands,
            discovery,
            discovery_prefix,
        } = self;
        let name = &handler.head.name;
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            if handler.head.enabled {
                let message = format!("the mqtt handler `{name}` has no url");
                let hint = "set its config.url: mqtt://host, or take it off the list";
                site.warn(path, Warning::new("mqtt-without-url", Severity::Refusal, message).hint(hint));
            }
            return None;
        };
        let broker = match Broker::read(&url) {
            Ok(broker) => broker,
            Err((what, label)) => {
                site.wrong(&format!("{path}.config.url"), what, label);
                return None;
            }
        };
        let user = user(&broker, username, password, path, site)?;
        let topic_prefix = prefix(topic_prefix, "dsengine", &format!("{path}.config.topic_prefix"), site)?;
        let at = format!("{path}.config.discovery_prefix");
        let discovery_prefix = prefix(discovery_prefix, "homeassistant", &at, site)?;
        if let Some(bad) = client_id.as_ref().and_then(|id| id.chars().find(|c| c.is_control())) {
            let message = format!("the client's name holds the character {bad:?}");
            site.wrong(&format!("{path}.config.client_id"), message, "write letters, digits and hyphens");
            return None;
        }
        let discovery = discovery.unwrap_or_default();
        if idle(&broker, ca_file.is_some(), discovery, path, site) {
            return None;
        }
        let commands = commands.unwrap_or_default();
        // Those that can be switched are shown while it runs: this handler stays when a source comes or goes.
        let sources = if commands { Vec::new() } else { site.sources.clone() };
        let discovery = discovery.then_some(Discovery { prefix: discovery_prefix, sources });
        Some(HandlerKind::Mqtt(Box::new(MqttPlan {
            broker,
            user,
            client_id,
            deployment: site.name.clone(),
            topic_prefix,
            qos: qos.and_then(|qos| u8::try_from(qos).ok()).unwrap_or(1),
            retain: retain.unwrap_or_default(),
            timeout: Duration::from_secs_f64(timeout.unwrap_or(30.0)),
            ca_file: ca_file.map(|file| site.find(&file)),
            commands,
            discovery,
        })))
    }
}

/// Whether a key has no effect beside the others; reports it.
fn idle(broker: &Broker, has_ca_file: bool, discovery: bool, path: &str, site: &mut Site<'_>) -> bool {
    let prefix = format!("{path}.config.discovery_prefix");
    let (at, message, label) = match () {
        () if has_ca_file && !broker.tls => {
            let label = "write mqtts:// in the url, or leave ca_file out";
            (format!("{path}.config.ca_file"), "`ca_file` has no effect without TLS", label)
        }
        () if site.places.is_set(&prefix) && !discovery => {
            (prefix, "`discovery_prefix` has no effect without discovery", "set discovery: true, too")
        }
        () => return false,
    };
    site.wrong_key(&at, message, label);
    true
}

/// The credentials, from the address or from the keys; `None` after reporting why they cannot be used.
fn user(
    broker: &Broker,
    username: Option<String>,
    password: Option<String>,
    path: &str,
    site: &mut Site<'_>,
) -> Option<Option<User>> {
    if broker.user.is_some() && (username.is_some() || password.is_some()) {
        let key = if username.is_some() { "username" } else { "password" };
        let label = "write user and password in the url, or as `username` and `password`";
        site.wrong_key(&format!("{path}.config.{key}"), "the broker's user is set twice", label);
        return None;
    }
    if password.is_some() && username.is_none() {
        site.wrong_key(&format!("{path}.config.password"), "a password without a user", "set `username`, too");
        return None;
    }
    let own = username.map(|name| User { name, password: password.unwrap_or_default() });
    let user = own.or_else(|| broker.user.clone());
    let fits = |text: &str| text.len() <= TEXT_BYTES_MAX && !text.contains('\0');
    if user.as_ref().is_some_and(|user| !fits(&user.name) || !fits(&user.password)) {
        let label = format!("MQTT allows {TEXT_BYTES_MAX} bytes without NUL");
        site.wrong(&format!("{path}.config"), "the user or password cannot be sent", label);
        return None;
    }
    Some(user)
}

/// The first levels of topics; `None` after reporting why they cannot be used.
fn prefix(written: Option<String>, default: &str, at: &str, site: &mut Site<'_>) -> Option<String> {
    let text = written.unwrap_or_else(|| default.to_owned());
    let label = if text.starts_with('$') {
        "topics that begin with $ are the broker's own"
    } else if text.contains(['+', '#']) {
        "+ and # stand for levels of other topics where one subscribes"
    } else if text.split('/').any(str::is_empty) {
        "write levels with one slash between them: site/dsengine"
    } else if text.chars().any(char::is_control) {
        "it holds a control character"
    } else if text.len() > PREFIX_BYTES_MAX {
        "write at most 200 bytes"
    } else {
        return Some(text);
    };
    site.wrong(at, format!("`{at}` cannot begin a topic"), label);
    None
}
