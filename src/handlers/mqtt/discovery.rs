//! The discovery message for Home Assistant: one device whose entities are the sources; each alert triggers its event.
//! With `commands`, each source also has a switch, and the profiles are a selection.
//!
//! After Home Assistant's documentation, "MQTT" (device discovery payload: the mappings `dev`, `o` and `cmps`, shared
//! availability options and `qos` beside them; each component has its platform as `p`, and a `unique_id`) and "MQTT
//! Event" (`state_topic`, `event_types`, and a `value_template` that makes the payload one with an `event_type`), "MQTT
//! Switch" and "MQTT Select" (`command_topic`, `state_topic`, `options`). A component with nothing but its platform is
//! removed.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{switches, topic};
use crate::alert::Switches;
use crate::config::{Discovery, MqttPlan};
use crate::types::Level;

/// What an entity shows of an alert: the level is the event, the rest are its attributes.
const EVENT_TEMPLATE: &str = "{{ {'event_type': value_json.level, 'rule': value_json.rule, \
                              'message': value_json.message, 'time': value_json.time, 'id': value_json.id} | tojson }}";

/// Topic and payload of the device, to be retained. `switches` is what can be switched by messages.
pub(super) fn device(
    discovery: &Discovery,
    plan: &MqttPlan,
    client_id: &str,
    switches: Option<&Switches>,
) -> (String, Vec<u8>) {
    let device = id(client_id);
    let levels = Level::ALL.map(Level::as_str);
    let shown = switches.iter().flat_map(|shown| shown.sources.iter().map(|(source, _)| source));
    let mut components: Map<String, Value> = discovery
        .sources
        .iter()
        .chain(shown)
        .map(|source| {
            let component = format!("{device}_{}", id(source.as_str()));
            let event = json!({
                "p": "event",
                "name": source.as_str(),
                "unique_id": component,
                "state_topic": topic::of_source(&plan.topic_prefix, source.as_str()),
                "event_types": levels,
                "value_template": EVENT_TEMPLATE,
            });
            (component, event)
        })
        .collect();
    components.extend(switches.iter().flat_map(|shown| switched(shown, &plan.topic_prefix, &device)));
    let payload = json!({
        "dev": {
            "ids": [device],
            "name": plan.deployment.as_deref().unwrap_or("dsengine"),
            "mf": "dsengine",
            "mdl": "video analytics",
            "sw": env!("CARGO_PKG_VERSION"),
        },
        "o": { "name": "dsengine", "sw": env!("CARGO_PKG_VERSION") },
        "cmps": components,
        "availability_topic": topic::available(&plan.topic_prefix),
        "payload_available": super::ONLINE,
        "payload_not_available": super::OFFLINE,
        "qos": plan.qos,
    });
    (format!("{}/device/{device}/config", discovery.prefix), payload.to_string().into_bytes())
}

/// The components that switch: one per source, and one for the profiles where there are some. Their ids differ from
/// each other and from those of the events in what follows the device's.
fn switched(shown: &Switches, prefix: &str, device: &str) -> Vec<(String, Value)> {
    let source = |name: &str| {
        let component = format!("{device}-{}", id(name));
        let switch = json!({
            "p": "switch",
            "name": format!("{name} enabled"),
            "unique_id": component,
            "command_topic": topic::source_set(prefix, name),
            "state_topic": topic::source_state(prefix, name),
            "payload_on": switches::ON,
            "payload_off": switches::OFF,
            "state_on": switches::ON,
            "state_off": switches::OFF,
            "optimistic": false,
            "retain": false,
        });
        (component, switch)
    };
    let mut all: Vec<_> = shown.sources.iter().map(|(name, _)| source(name.as_str())).collect();
    if !shown.profiles.is_empty() {
        let none = (!shown.profiles.iter().any(|name| name == switches::NO_PROFILE)).then_some(switches::NO_PROFILE);
        let options: Vec<&str> = none.into_iter().chain(shown.profiles.iter().map(String::as_str)).collect();
        let select = json!({
            "p": "select",
            "name": "profile",
            "unique_id": device,
            "command_topic": topic::profile_set(prefix),
            "state_topic": topic::profile_state(prefix),
            "options": options,
            "optimistic": false,
            "retain": false,
        });
        all.push((device.to_owned(), select));
    }
    all
}

/// A name as an id, which may hold letters, digits, underscores and hyphens; others are replaced, and a digest of the
/// name keeps two such names apart.
fn id(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(allowed) {
        return name.to_owned();
    }
    let safe: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let digest: String = Sha256::digest(name).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{safe}_{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_what_home_assistant_allows_and_differs_where_the_names_do() {
        assert_eq!(id("gate-1_a"), "gate-1_a");
        let odd = ["gate 1", "gate/1", "門", "窓", "", "a+b"].map(id);
        for (at, made) in odd.iter().enumerate() {
            assert!(made.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{made}");
            assert!(odd[..at].iter().all(|other| other != made), "{made}");
        }
    }
}
