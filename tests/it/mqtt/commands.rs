//! Sources and profiles that are switched over MQTT.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::broker::{LIMIT, Mosquitto, Scripted, agreeable, topic, until};
use super::{Bench, EACH, LIVE, NONE, ONCE};
use crate::harness::{Dsengine, Running, get, post, request, write};

/// A deployment of two sources, of which one is disabled, and two profiles, that a broker's clients may switch.
fn command(folder: &Path, port: u16, keys: &str, args: &[&str]) -> Dsengine {
    let config = format!(
        "name: yard\nsources: [{{ id: gate, uri: '{LIVE}' }}, {{ id: yard-2, uri: '{LIVE}', enabled: false }}]\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n\
         detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
         profiles: {{ home: {{ alerts: {{ min_confidence: 0.2 }} }}, away: {{ alerts: {{ min_confidence: 0.4 }} }} }}\n\
         alerts: {{ handlers: [{{ name: broker, type: mqtt, config: {{ url: 'mqtt://127.0.0.1:{port}', \
         commands: true, {keys} }} }}] }}\n"
    );
    write(folder, "c.yaml", &config);
    Dsengine::new([&["run", "--config", "c.yaml", "--state", "state"], args].concat()).cwd(folder)
}

fn api(page: &str, path: &str) -> Value {
    serde_json::from_str(&get(page, path).1).unwrap()
}

/// Whether the API says that a source is enabled.
fn is_enabled(page: &str, id: &str) -> bool {
    let sources = api(page, "/api/v1/sources");
    let found = sources.as_array().unwrap().iter().find(|source| source["id"] == id);
    found.unwrap_or_else(|| panic!("{sources}"))["enabled"] == true
}

fn ends_with(wanted: &'static str) -> impl Fn(&[&str]) -> bool {
    move |payloads| payloads.last() == Some(&wanted)
}

#[test]
fn sources_and_profiles_are_switched_by_messages_and_their_state_is_published() {
    let Some(mut broker) = Mosquitto::open() else { return };
    let bench = Bench::new(NONE);
    let mut subscriber = broker.subscribe();
    let mut run = command(bench.path(), broker.port, "topic_prefix: site/ds", &[]).start();
    let page = run.page();
    let (gate, yard, profile) = ("site/ds/gate/enabled/state", "site/ds/yard-2/enabled/state", "site/ds/profile/state");
    subscriber.payloads(gate, ends_with("ON"));
    subscriber.payloads(yard, ends_with("OFF"));
    subscriber.payloads(profile, ends_with("none"));

    broker.publish("site/ds/gate/enabled/set", "OFF", &[]);
    subscriber.payloads(gate, ends_with("OFF"));
    assert!(!is_enabled(&page, "gate"));
    broker.publish("site/ds/yard-2/enabled/set", "ON", &[]);
    subscriber.payloads(yard, ends_with("ON"));
    assert!(is_enabled(&page, "yard-2"));
    let audit = || api(&page, "/api/v1/audit").to_string();
    let parts = ["mqtt:broker", "disable source gate, to be kept", "enable source yard-2"];
    until(audit, || parts.iter().all(|part| audit().contains(part)).then_some(()));
    // Others change it, too.
    assert_eq!(post(&page, "/api/v1/sources/gate/enable").0, 200);
    subscriber.payloads(gate, ends_with("ON"));

    broker.publish("site/ds/profile/set", "away", &[]);
    subscriber.payloads(profile, ends_with("away"));
    assert_eq!(api(&page, "/api/v1/profile")["profile"], "away");
    assert_eq!(request("POST", &page, "/api/v1/profile", r#"{"name":"home"}"#).0, 200);
    subscriber.payloads(profile, ends_with("home"));
    broker.publish("site/ds/profile/set", "none", &[]);
    subscriber.payloads(profile, ends_with("none"));
    assert_eq!(api(&page, "/api/v1/profile")["profile"], Value::Null);

    // A broker that knows nothing any more is told everything again.
    broker.restart();
    until(
        || broker.log(),
        || [gate, yard].iter().all(|topic| broker.retained(topic).as_deref() == Some("ON")).then_some(()),
    );
    assert_eq!(broker.retained(profile).as_deref(), Some("none"));
    broker.publish("site/ds/gate/enabled/set", "OFF", &[]);
    until(|| api(&page, "/api/v1/sources").to_string(), || (!is_enabled(&page, "gate")).then_some(()));
    // It outlasts a restart of the program.
    end(run);
    let mut run = command(bench.path(), broker.port, "topic_prefix: site/ds", &[]).start();
    let page = run.page();
    assert!(!is_enabled(&page, "gate") && is_enabled(&page, "yard-2"));
    end(run);
}

fn end(mut run: Running) {
    run.signal("TERM");
    run.end(LIMIT).expect("it ends");
}

#[test]
fn a_message_that_switches_nothing_is_logged_and_the_state_is_published_again() {
    let Some(broker) = Mosquitto::open() else { return };
    let bench = Bench::new(NONE);
    // A kept message is of another time.
    broker.publish("dsengine/gate/enabled/set", "OFF", &["-r"]);
    let mut subscriber = broker.subscribe();
    let mut run = command(bench.path(), broker.port, "", &["--profile", "home"]).start();
    let page = run.page();
    let (gate, profile) = ("dsengine/gate/enabled/state", "dsengine/profile/state");
    subscriber.payloads(gate, ends_with("ON"));
    subscriber.payloads(profile, ends_with("home"));
    for (topic, payload, state, told) in [
        ("profile/set", "moon", profile, "there is no profile moon: known are home, away"),
        ("profile/set", "away", profile, "the profile cannot be switched: --profile sets it"),
        ("gate/enabled/set", "maybe", gate, "maybe is neither ON nor OFF"),
    ] {
        let before = subscriber.payloads(state, |_| true);
        broker.publish(&format!("dsengine/{topic}"), payload, &[]);
        run.wait_line(LIMIT, |line| line.contains(told));
        let after = subscriber.payloads(state, |payloads| payloads.len() > before.len());
        assert!(after.iter().all(|state| *state == after[0]), "{topic}: {after:?}");
    }
    broker.publish("dsengine/attic/enabled/set", "ON", &[]);
    run.wait_line(LIMIT, |line| line.contains("there is no such source"));
    broker.publish("dsengine/gate/enabled/set", &"O".repeat(10_000), &[]);
    run.wait_line(LIMIT, |line| line.contains("a message that is too long switches nothing"));
    assert!(is_enabled(&page, "gate"));
    let audit = api(&page, "/api/v1/audit").to_string();
    assert_eq!(audit.matches("mqtt:broker").count(), 1, "the switch that the engine refused: {audit}");
    end(run);
}

#[test]
fn kept_and_long_messages_of_a_broker_of_the_former_version_switch_nothing() {
    let message = |first: u8, payload: &[u8]| {
        let topic = "dsengine/gate/enabled/set";
        let length = 2 + topic.len() + payload.len();
        let mut bytes = vec![first];
        match length {
            0..128 => bytes.push(length as u8),
            _ => bytes.extend([(length % 128) as u8 | 0x80, (length / 128) as u8]),
        }
        bytes.extend([0, topic.len() as u8]);
        [&bytes, topic.as_bytes(), payload].concat()
    };
    let broker = Scripted::new(move |first, body| match first >> 4 {
        1 if body[6] == 5 => Some(vec![0x20, 2, 0, 1]),
        8 => {
            let taken = vec![0x90, 4, body[0], body[1], 0, 0];
            Some([taken, message(0x31, b"OFF"), message(0x30, &[b'O'; 10_000]), message(0x30, b"nothing")].concat())
        }
        _ => Some(agreeable(first, body)),
    });
    let bench = Bench::new(NONE);
    let mut run = command(bench.path(), broker.port, "", &[]).start();
    run.wait_line(LIMIT, |line| line.contains("nothing is neither ON nor OFF"));
    let said = run.seen.join("\n");
    assert!(said.contains("a kept message at dsengine/gate/enabled/set is ignored"), "{said}");
    assert!(said.contains("a message that is too long switches nothing"), "{said}");
    let state = |body: &[u8]| topic(body) == "dsengine/gate/enabled/state" && !body.ends_with(b"ON");
    assert!(broker.got(3).iter().all(|(_, body)| !state(body)), "it stayed on");
    assert_eq!(broker.got(8).len(), 1);
    end(run);
}

#[test]
fn a_user_who_may_not_read_there_is_told_so_and_alerts_go_out_even_so() {
    let broker = Scripted::new(|first, body| match first >> 4 {
        8 => Some(vec![0x90, 5, body[0], body[1], 0, 0x87, 0x87]),
        _ => Some(agreeable(first, body)),
    });
    let bench = Bench::new(EACH);
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let said = bench.run(&format!("{{ name: mqtt, config: {{ url: '{url}', commands: true }} }}"), ONCE, 0);
    let told = "the broker lets nobody switch by dsengine/+/enabled/set and dsengine/profile/set";
    assert!(said.contains(told), "{said}");
    assert!(broker.got(3).iter().any(|(_, body)| topic(body) == "dsengine/gate/r"));
}

#[test]
fn home_assistant_is_told_of_a_switch_for_each_source_and_of_the_profiles() {
    let Some(broker) = Mosquitto::open() else { return };
    let bench = Bench::new(NONE);
    let mut subscriber = broker.subscribe();
    let mut run = command(bench.path(), broker.port, "discovery: true", &[]).start();
    let page = run.page();
    let device = "homeassistant/device/dsengine-yard-broker/config";
    let holds = |component: &'static str| {
        move |payloads: &[&str]| payloads.last().is_some_and(|payload| payload.contains(&format!("\"{component}\":")))
    };
    let last = |payloads: Vec<String>| -> Value { serde_json::from_str(payloads.last().unwrap()).unwrap() };
    let payload = last(subscriber.payloads(device, holds("dsengine-yard-broker-gate")));
    let switch = json!({
        "p": "switch",
        "name": "gate enabled",
        "unique_id": "dsengine-yard-broker-gate",
        "command_topic": "dsengine/gate/enabled/set",
        "state_topic": "dsengine/gate/enabled/state",
        "payload_on": "ON",
        "payload_off": "OFF",
        "state_on": "ON",
        "state_off": "OFF",
        "optimistic": false,
        "retain": false,
    });
    assert_eq!(payload["cmps"]["dsengine-yard-broker-gate"], switch);
    let select = json!({
        "p": "select",
        "name": "profile",
        "unique_id": "dsengine-yard-broker",
        "command_topic": "dsengine/profile/set",
        "state_topic": "dsengine/profile/state",
        "options": ["none", "home", "away"],
        "optimistic": false,
        "retain": false,
    });
    assert_eq!(payload["cmps"]["dsengine-yard-broker"], select);
    assert_eq!(payload["availability_topic"], "dsengine/available");
    let components = payload["cmps"].as_object().unwrap();
    let kinds = |kind: &str| components.values().filter(|component| component["p"] == kind).count();
    assert_eq!((kinds("event"), kinds("switch"), kinds("select")), (2, 2, 1), "also of the disabled source");

    // A source that comes is announced, and one that goes leaves nothing.
    let added = format!(r#"{{"id":"extra","uri":"{LIVE}"}}"#);
    let (status, said) = request("POST", &page, "/api/v1/sources", &added);
    assert!(status < 300, "{said}");
    subscriber.payloads(device, holds("dsengine-yard-broker-extra"));
    subscriber.payloads("dsengine/extra/enabled/state", ends_with("ON"));
    assert_eq!(request("DELETE", &page, "/api/v1/sources/extra", "").0, 200);
    let gone = |payloads: &[&str]| payloads.last().is_some_and(|payload| !payload.contains("extra"));
    subscriber.payloads(device, gone);
    until(|| "its state to be removed".to_owned(), || broker.keeps_none("dsengine/extra/enabled/state").then_some(()));
    end(run);
}

/// The state of a source that goes while the broker is away must not stay there.
#[test]
fn the_state_of_a_source_that_is_gone_is_removed_with_the_next_connection() {
    let state = |body: &[u8]| topic(body) == "dsengine/extra/enabled/state";
    let is_empty = |body: &[u8]| !body.ends_with(b"ON") && !body.ends_with(b"OFF");
    let hung_up = AtomicBool::new(false);
    let broker = Scripted::new(move |first, body| match first >> 4 {
        8 => Some(vec![0x90, 5, body[0], body[1], 0, 0, 0]),
        // It goes the first time that it is to forget.
        3 if state(body) && is_empty(body) && !hung_up.swap(true, Ordering::Relaxed) => None,
        _ => Some(agreeable(first, body)),
    });
    let bench = Bench::new(NONE);
    let mut run = command(bench.path(), broker.port, "", &[]).start();
    let page = run.page();
    let (status, said) = request("POST", &page, "/api/v1/sources", &format!(r#"{{"id":"extra","uri":"{LIVE}"}}"#));
    assert!(status < 300, "{said}");
    let told = |empty: bool| broker.got(3).iter().filter(|(_, body)| state(body) && is_empty(body) == empty).count();
    until(|| "its state".to_owned(), || (told(false) > 0).then_some(()));
    assert_eq!(request("DELETE", &page, "/api/v1/sources/extra", "").0, 200);
    until(|| format!("{} packets", broker.got(3).len()), || (told(true) > 1).then_some(()));
    end(run);
}
