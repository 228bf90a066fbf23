//! Alerts over MQTT: against Debian's mosquitto, and against a broker that answers as it is told.

pub(crate) mod broker;
mod commands;
mod refusals;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::Handler;
use dsengine::config::{Broker, HandlerKind, HandlerPlan, MqttPlan};
use dsengine::engine::SystemClock;
use dsengine::handlers;
use dsengine::types::Clock;
use serde_json::{Value, json};

use self::broker::{LIMIT, Message, Mosquitto, until};
use crate::alerts::check_handler;
use crate::harness::{Dsengine, Running, root, write};

/// A script that raises an alert for every frame.
const EACH: &str = "function detect(f) f:alert{ rule = 'r', key = f.seq, message = 'm' } end";
/// One that raises none.
const NONE: &str = "function detect(f) end";
/// A source of one frame.
const ONE: &str = "trace:t.jsonl";
/// A source that goes on until it is stopped.
const LIVE: &str = "test:pattern=red,size=64x64,fps=10";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A plan for a broker on loopback, with the defaults of its keys but for the client's name.
fn plan(port: u16) -> MqttPlan {
    MqttPlan {
        broker: Broker::read(&format!("mqtt://127.0.0.1:{port}")).unwrap(),
        user: None,
        client_id: Some("dsengine-test".into()),
        deployment: None,
        topic_prefix: "dsengine".into(),
        qos: 1,
        retain: false,
        timeout: LIMIT,
        ca_file: None,
        commands: false,
        discovery: None,
    }
}

fn handler(plan: MqttPlan) -> Arc<dyn Handler> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    handlers::build(&HandlerPlan::new("mqtt", HandlerKind::Mqtt(Box::new(plan))), &clock).unwrap()
}

/// A folder with a deployment named `yard` of the source `gate`, whose frames this script judges.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "r.lua", script);
        let head = "{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"0\",\"start_unix_ns\":1700000000000000000}";
        let seen = "{\"label\":\"person\",\"class_id\":0,\"confidence\":0.5,\"bbox\":[0.1,0.1,0.2,0.2],\"track_id\":1}";
        let frame = format!(
            "{{\"source\":\"gate\",\"seq\":0,\"pts_ns\":0,\"width\":64,\"height\":64,\"detections\":[{seen}]}}"
        );
        write(dir.path(), "t.jsonl", &format!("{head}\n{frame}\n"));
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The program with these sources and handlers, and these keys of `alerts`.
    fn command(&self, sources: &str, handlers: &str, keys: &str) -> Dsengine {
        let config = format!(
            "name: yard\nsources: [{sources}]\nmonitoring: {{ enabled: false }}\n\
             detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
             alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 1000, max_alerts_per_minute: 100000, \
             {keys}, handlers: [{handlers}] }}\n"
        );
        write(self.path(), "c.yaml", &config);
        Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(self.path())
    }

    /// Runs one frame to the end; what it said. `code` is what it ends with.
    #[track_caller]
    fn run(&self, handlers: &str, keys: &str, code: i32) -> String {
        let out = self.command(&format!("{{ id: gate, uri: '{ONE}' }}"), handlers, keys).run().expect(code);
        out.stdout + &out.stderr
    }

    /// Starts a source that goes on.
    fn start(&self, handlers: &str, keys: &str) -> Running {
        self.command(&format!("{{ id: gate, uri: '{LIVE}' }}"), handlers, keys).start()
    }
}

const PATIENT: &str = "retry_attempts: 100, max_age_seconds: 0, retry_delay: 0.1";
const ONCE: &str = "retry_attempts: 1, max_age_seconds: 0";

#[test]
fn alerts_are_published_where_and_as_they_are_told() {
    let Some(broker) = Mosquitto::open() else { return };
    let mut subscriber = broker.subscribe();
    let url = format!("url: 'mqtt://127.0.0.1:{}'", broker.port);
    let handlers = format!(
        "{{ name: mqtt, config: {{ {url} }} }}, \
         {{ name: two, type: mqtt, config: {{ {url}, topic_prefix: site/two, qos: 2, retain: true, client_id: own }} }}, \
         {{ name: sent, type: mqtt, config: {{ {url}, topic_prefix: sent, qos: 0 }} }}"
    );
    let script = "function detect(f) for i in f:select{} do f:alert{ rule = 'r', key = 'k', detections = { i }, \
                  message = 'm' } end end";
    Bench::new(script).run(&handlers, PATIENT, 0);
    let own = subscriber.at("dsengine/gate/r");
    assert!(own.qos == 1 && !own.is_kept, "{own:?}");
    let alert = own.json();
    for (key, value) in [("rule", "r"), ("source", "gate"), ("key", "k"), ("message", "m"), ("level", "medium")] {
        assert_eq!(alert[key], value, "{alert}");
    }
    let event = subscriber.at("dsengine/events").json();
    assert_eq!((&event["type"], &event["before"]), (&json!("new"), &event["after"]));
    for (key, value) in alert.as_object().unwrap() {
        assert_eq!(event["after"][key], *value, "{key}");
    }
    let after = &event["after"];
    assert_eq!(
        (&after["camera"], &after["label"], &after["top_score"]),
        (&json!("gate"), &json!("person"), &json!(0.5))
    );
    for (prefix, qos) in [("site/two", 2), ("sent", 0)] {
        for topic in ["events", "gate/r"] {
            let message = subscriber.at(&format!("{prefix}/{topic}"));
            assert_eq!(message.qos, qos, "{message:?}");
        }
    }
    assert_eq!(broker.retained("site/two/gate/r"), Some(subscriber.at("site/two/gate/r").payload));
    assert!(broker.keeps_none("dsengine/gate/r") && broker.keeps_none("site/two/events"));
    let log = broker.log();
    for name in ["dsengine-yard", "own", "dsengine-yard-sent"] {
        assert!(log.contains(&format!(" as {name} (p5")), "{name}: {log}");
    }
}

#[test]
fn a_broker_is_told_that_the_program_is_there_and_when_it_is_gone() {
    let Some(broker) = Mosquitto::open() else { return };
    let bench = Bench::new(NONE);
    let handlers = format!("{{ name: mqtt, config: {{ url: 'mqtt://127.0.0.1:{}' }} }}", broker.port);
    let says = |word: &'static str| {
        move |message: &Message| message.topic == "dsengine/available" && message.payload == word && !message.is_kept
    };
    for signal in ["KILL", "TERM"] {
        let mut subscriber = broker.subscribe();
        let mut run = bench.start(&handlers, ONCE);
        subscriber.wait(says("online"));
        assert_eq!(broker.retained("dsengine/available").as_deref(), Some("online"), "before there is an alert");
        run.signal(signal);
        run.end(LIMIT).expect("it ends");
        subscriber.wait(says("offline"));
        assert_eq!(broker.retained("dsengine/available").as_deref(), Some("offline"), "{signal}");
    }
}

#[test]
fn a_broker_that_is_away_for_a_while_costs_no_alert() {
    let Some(mut broker) = Mosquitto::open() else { return };
    // A rule for each alert, so that the broker's log names it.
    let bench = Bench::new("function detect(f) f:alert{ rule = 'r' .. f.seq, key = 'k', message = 'm' } end");
    let handlers = format!(
        "{{ name: mqtt, config: {{ url: 'mqtt://127.0.0.1:{}' }} }}, {{ name: file, config: {{ log_file: all.jsonl }} }}",
        broker.port
    );
    let mut run = bench.start(&handlers, PATIENT);
    let published = |log: &str| -> BTreeSet<String> {
        let topics =
            log.lines().filter(|line| line.contains("Received PUBLISH")).filter_map(|line| line.split('\'').nth(1));
        topics.filter_map(|topic| topic.strip_prefix("dsengine/gate/")).map(str::to_owned).collect()
    };
    let raised = || -> BTreeSet<String> {
        let text = fs::read_to_string(bench.path().join("all.jsonl")).unwrap_or_default();
        let rule = |line: &str| serde_json::from_str::<Value>(line).ok()?["rule"].as_str().map(str::to_owned);
        text.lines().filter_map(rule).collect()
    };
    until(|| broker.log(), || (published(&broker.log()).len() >= 3).then_some(()));
    broker.kill();
    run.wait_line(LIMIT, |line| line.contains("delivery failed, trying again"));
    let (before, meanwhile) = (published(&broker.log()).len(), raised().len());
    until(|| "alerts while it is away".to_owned(), || (raised().len() >= meanwhile + 3).then_some(()));
    broker.restart();
    until(|| broker.log(), || (published(&broker.log()).len() >= before + 5).then_some(()));
    assert_eq!(broker.retained("dsengine/available").as_deref(), Some("online"), "it is told again");
    run.signal("TERM");
    run.end(LIMIT).expect("it ends once all are delivered");
    let said = run.seen.join("\n");
    assert!(!said.contains("alert given up"), "{said}");
    let (raised, published) = (raised(), published(&broker.log()));
    assert!(raised.len() >= 8, "{raised:?}");
    assert_eq!(raised.difference(&published).collect::<Vec<_>>(), Vec::<&String>::new(), "lost");
}

#[test]
fn a_broker_that_asks_for_a_user_gets_it() {
    let Some(broker) = Mosquitto::with_user("C4n4ry@/#1", "") else { return };
    let bench = Bench::new(EACH);
    let handler = |user: &str, keys: &str| {
        format!("{{ name: mqtt, config: {{ url: 'mqtt://{user}127.0.0.1:{}'{keys} }} }}", broker.port)
    };
    for (number, (user, keys)) in
        [("gate:C4n4ry@/#1@", ""), ("gate:C4n4ry%40%2F%231@", ""), ("", ", username: gate, password: 'C4n4ry@/#1'")]
            .into_iter()
            .enumerate()
    {
        bench.run(&handler(user, keys), ONCE, 0);
        let log = broker.log();
        assert_eq!(log.matches("'dsengine/gate/r'").count(), number + 1, "{log}");
    }
    let patient = "retry_attempts: 5, max_age_seconds: 0, retry_delay: 0.1";
    for (user, keys) in [
        ("gate:C4n4ryX@", ""),
        ("other:C4n4ry@/#1@", ""),
        ("", ", username: gate, password: C4n4ryX"),
        ("", ", username: gate"),
        ("", ""),
    ] {
        let before = broker.log().matches("New connection from").count();
        let said = bench.run(&handler(user, keys), patient, 1);
        assert!(said.contains("not authorised: check config.username") && said.contains("given up"), "{said}");
        assert!(!said.contains("C4n4ry"), "{said}");
        let asked = broker.log().matches("New connection from").count() - before;
        assert!((1..=3).contains(&asked), "once at the start, and once for the alert: {asked}");
    }
}

#[test]
fn a_message_that_a_user_may_not_publish_is_no_delivery() {
    let Some(broker) = Mosquitto::with_user("word", "user gate\ntopic write dsengine/available\ntopic write ok/#\n")
    else {
        return;
    };
    let bench = Bench::new(EACH);
    let handler = |prefix: &str| {
        let url = format!("mqtt://gate:word@127.0.0.1:{}", broker.port);
        format!("{{ name: mqtt, config: {{ url: '{url}', topic_prefix: {prefix} }} }}")
    };
    let said = bench.run(&handler("dsengine"), ONCE, 1);
    assert!(said.contains("the broker refused the message to dsengine/events: this user may not publish"), "{said}");
    bench.run(&handler("ok"), ONCE, 0);
}

#[test]
fn a_broker_is_reached_over_tls_by_the_authorities_that_are_told() {
    let doubles = root().join("tests/doubles/tls");
    let lines = |_: &Path| {
        let shown = doubles.display();
        format!("allow_anonymous true\ncertfile {shown}/server.pem\nkeyfile {shown}/server.key\n")
    };
    let Some(broker) = Mosquitto::start(lines) else { return };
    let bench = Bench::new(EACH);
    let ca = doubles.join("ca.pem").display().to_string();
    let handler = |scheme: &str, host: &str, keys: &str| {
        format!("{{ name: mqtt, config: {{ url: '{scheme}://{host}:{}'{keys} }} }}", broker.port)
    };
    let named = format!(", ca_file: '{ca}'");
    bench.run(&handler("mqtts", "localhost", &named), ONCE, 0);
    assert!(broker.log().contains("'dsengine/gate/r'"), "{}", broker.log());
    for (scheme, host, keys, told) in [
        (
            "mqtts",
            "localhost",
            "",
            "is of an authority that this machine does not trust: name its file as config.ca_file",
        ),
        ("mqtts", "127.0.0.1", &*named, "is for another name than 127.0.0.1"),
        ("mqtt", "127.0.0.1", "", "mqtts:// where it uses TLS"),
    ] {
        let said = bench.run(&handler(scheme, host, keys), ONCE, 1);
        assert!(said.contains(told), "{said}");
    }
    let said = bench.run(&handler("mqtts", "localhost", ", ca_file: r.lua"), ONCE, 2);
    assert!(said.contains("ca_file") && said.contains("holds no certificate"), "{said}");
}

#[test]
fn home_assistant_is_told_of_each_source() {
    let Some(broker) = Mosquitto::open() else { return };
    let mut subscriber = broker.subscribe();
    let bench = Bench::new(NONE);
    let url = format!("url: 'mqtt://127.0.0.1:{}'", broker.port);
    let handlers = format!(
        "{{ name: mqtt, config: {{ {url}, discovery: true, discovery_prefix: ha, qos: 2 }} }}, \
         {{ name: two, type: mqtt, config: {{ {url}, discovery: true, topic_prefix: site/two, client_id: 'own 2' }} }}, \
         {{ name: off, type: mqtt, config: {{ {url}, topic_prefix: off }} }}"
    );
    let sources = format!("{{ id: gate, uri: '{LIVE}' }}, {{ id: yard-2, uri: '{LIVE}' }}");
    let _run = bench.command(&sources, &handlers, ONCE).start();
    let payload = subscriber.at("ha/device/dsengine-yard/config").json();
    let version = env!("CARGO_PKG_VERSION");
    let component = |source: &str| {
        let template = &payload["cmps"][format!("dsengine-yard_{source}")]["value_template"];
        json!({
            "p": "event",
            "name": source,
            "unique_id": format!("dsengine-yard_{source}"),
            "state_topic": format!("dsengine/{source}/+"),
            "event_types": ["low", "medium", "high", "critical"],
            "value_template": template,
        })
    };
    let expected = json!({
        "dev": { "ids": ["dsengine-yard"], "name": "yard", "mf": "dsengine", "mdl": "video analytics", "sw": version },
        "o": { "name": "dsengine", "sw": version },
        "cmps": { "dsengine-yard_gate": component("gate"), "dsengine-yard_yard-2": component("yard-2") },
        "availability_topic": "dsengine/available",
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 2,
    });
    assert_eq!(payload, expected);
    // The event's type, and keys of an alert.
    let template = payload["cmps"]["dsengine-yard_gate"]["value_template"].as_str().unwrap();
    for part in ["'event_type': value_json.level", "value_json.rule", "value_json.message", "| tojson"] {
        assert!(template.contains(part), "{template}");
    }
    let two = subscriber.wait(|message| message.topic.starts_with("homeassistant/device/own_2_"));
    assert_eq!(two.json()["availability_topic"], "site/two/available");
    let id = two.topic.split('/').nth(2).unwrap();
    assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "{id}");
    assert_eq!(broker.retained(&two.topic), Some(two.payload), "it is kept for a Home Assistant that starts later");
    subscriber.at("off/available");
    assert!(subscriber.seen.iter().all(|message| !message.topic.contains("dsengine-yard-off")), "it was not asked to");
}

#[test]
fn a_rule_of_any_name_has_a_topic_of_one_level() {
    let Some(broker) = Mosquitto::open() else { return };
    let mut subscriber = broker.subscribe();
    let script = "function detect(f) for _, rule in { 'a/b#c+ ü', '$x', '..' } do f:alert{ rule = rule, key = rule, \
                  message = 'm' } end end";
    let handler = format!("{{ name: mqtt, config: {{ url: 'mqtt://127.0.0.1:{}' }} }}", broker.port);
    Bench::new(script).run(&handler, ONCE, 0);
    for (topic, rule) in [("a_b_c_ ü", "a/b#c+ ü"), ("$x", "$x"), ("..", "..")] {
        assert_eq!(subscriber.at(&format!("dsengine/gate/{topic}")).json()["rule"], rule);
    }
}

#[test]
fn the_mqtt_handler_keeps_to_the_rules_of_the_seam() {
    let Some(broker) = Mosquitto::open() else { return };
    for qos in [0, 1, 2] {
        check_handler(|| handler(MqttPlan { qos, timeout: Duration::from_secs(20), ..plan(broker.port) }));
    }
}
