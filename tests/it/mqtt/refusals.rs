//! What a broker refuses, and what goes wrong on the way to it: in words without secrets, and whether to try again.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsengine::alert::{DeliveryError, Retry};
use dsengine::config::{Broker, MqttPlan, User};

use super::broker::{LIMIT, Scripted, acknowledge, agreeable, topic, until};
use super::{handler, plan, runtime};
use crate::alerts::alert;
use crate::config::plan_of;
use crate::harness::ClosedPort;

/// How a delivery to this plan's broker ends.
fn deliver(plan: MqttPlan) -> Result<(), DeliveryError> {
    let (runtime, handler) = (runtime(), handler(plan));
    runtime.block_on(handler.deliver(&alert("1")))
}

/// A plan with a short wait and a user whose password must not be shown.
fn hasty(port: u16) -> MqttPlan {
    let user = Some(User { name: "gate".into(), password: "C4n4ry".into() });
    MqttPlan { timeout: Duration::from_millis(500), user, ..plan(port) }
}

#[track_caller]
fn refused(plan: MqttPlan, retry: Retry, told: &str) {
    let error = deliver(plan).expect_err(told);
    assert_eq!(error.retry, retry, "{error}");
    assert!(error.message.contains(told) && !error.message.contains("C4n4ry"), "{told}: {error}");
}

#[test]
fn failures_on_the_way_to_a_broker_are_told_by_what_is_wrong() {
    let closed = ClosedPort::take();
    refused(plan(closed.port), Retry::Later, &format!("nobody listens at 127.0.0.1:{}", closed.port));
    let away = Broker { host: "no-such-host.invalid".into(), ..plan(1883).broker };
    refused(MqttPlan { broker: away, ..plan(1883) }, Retry::Later, "the name no-such-host.invalid is not known");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    refused(hasty(silent.local_addr().unwrap().port()), Retry::Later, "no connection within 500ms");
    let hangs_up = Scripted::new(|_, _| None);
    refused(plan(hangs_up.port), Retry::Later, "mqtts:// where it uses TLS");
    let other = Scripted::new(|_, _| Some(b"\x90\x03\x00\x01\x00".to_vec()));
    refused(plan(other.port), Retry::Later, "does not speak MQTT");
}

#[test]
fn a_brokers_refusals_say_what_to_do_and_whether_to_try_again() {
    for (reason, retry, told) in [
        (0x86, Retry::Login, "it knows no such user or password"),
        (0x87, Retry::Login, "not authorised"),
        (0x85, Retry::Later, "it does not accept the client name dsengine-test: set config.client_id"),
        (0x88, Retry::Later, "not available at the moment"),
        (0x9A, Retry::Later, "no retained messages"),
        (0x7F, Retry::Later, "reason 0x7F"),
    ] {
        let broker = Scripted::new(move |_, _| Some(vec![0x20, 3, 0, reason, 0]));
        refused(MqttPlan { timeout: LIMIT, ..hasty(broker.port) }, retry, told);
    }
    // 3.1.1 has codes of its own.
    for (code, retry, told) in [(4, Retry::Login, "no such user or password"), (5, Retry::Login, "not authorised")] {
        let broker = Scripted::new(move |_, _| Some(vec![0x20, 2, 0, code]));
        refused(MqttPlan { timeout: LIMIT, ..hasty(broker.port) }, retry, told);
    }
    let modest = Scripted::new(|_, _| Some(vec![0x20, 5, 0, 0, 2, 0x24, 0]));
    refused(plan(modest.port), Retry::Later, "QoS up to 0: set config.qos");
}

#[test]
fn a_message_that_is_refused_costs_that_message_alone() {
    for (reason, retry, told) in [
        (0x87, Retry::Login, "may not publish there"),
        (0x90, Retry::Never, "check config.topic_prefix"),
        (0x95, Retry::Never, "too large"),
        (0x97, Retry::Later, "a quota is used up"),
    ] {
        let broker = Scripted::new(move |first, body| match first >> 4 {
            3 if topic(body) == "dsengine/events" => Some(acknowledge(body, reason)),
            _ => Some(agreeable(first, body)),
        });
        let (runtime, handler) = (runtime(), handler(plan(broker.port)));
        for _ in 0..2 {
            let error = runtime.block_on(handler.deliver(&alert("1"))).unwrap_err();
            assert!(error.retry == retry && error.message.contains(told), "{error}");
            assert!(error.message.contains("dsengine/events"), "it names the topic: {error}");
        }
        assert_eq!(broker.got(1).len(), 1, "the connection is kept");
    }
    // One that says how much it takes is not sent more.
    let small = Scripted::new(|first, body| match first >> 4 {
        1 => Some(vec![0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 100]),
        _ => Some(agreeable(first, body)),
    });
    refused(plan(small.port), Retry::Never, "is too large: the broker takes 100 bytes");
    let topics: Vec<_> = small.got(3).iter().map(|(_, body)| topic(body).to_owned()).collect();
    assert_eq!(topics, ["dsengine/available"]);
}

#[test]
fn a_delivery_is_one_only_when_both_messages_are_acknowledged() {
    // Silent to what it gets at this topic, for now.
    for silent_at in ["dsengine/events", "dsengine/gate/loitering"] {
        let silent = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&silent);
        let broker = Scripted::new(move |first, body| match first >> 4 {
            3 if topic(body) == silent_at && still.load(Ordering::SeqCst) => Some(Vec::new()),
            _ => Some(agreeable(first, body)),
        });
        let plan = MqttPlan { timeout: Duration::from_secs(2), ..plan(broker.port) };
        let (runtime, handler) = (runtime(), handler(plan));
        let error = runtime.block_on(handler.deliver(&alert("1"))).unwrap_err();
        assert!(error.retry == Retry::Later && error.message.contains("no acknowledgement within 2s"), "{error}");
        silent.store(false, Ordering::SeqCst);
        // By another connection: this one may be half open.
        until(|| "a delivery".to_owned(), || runtime.block_on(handler.deliver(&alert("1"))).ok());
        assert!(broker.got(1).len() >= 2);
    }
}

#[test]
fn a_connection_is_kept_alive_as_the_broker_asks_and_replaced_once_it_is_silent() {
    let silent = Arc::new(AtomicBool::new(false));
    let still = Arc::clone(&silent);
    // It asks for a packet a second.
    let broker = Scripted::new(move |first, body| match first >> 4 {
        1 => Some(vec![0x20, 6, 0, 0, 3, 0x13, 0, 1]),
        12 if still.load(Ordering::SeqCst) => Some(Vec::new()),
        _ => Some(agreeable(first, body)),
    });
    let plan = MqttPlan { timeout: Duration::from_secs(3), ..plan(broker.port) };
    let (runtime, handler) = (runtime(), handler(plan));
    runtime.block_on(handler.deliver(&alert("1"))).unwrap();
    let greetings = || broker.got(3).iter().filter(|(_, body)| topic(body) == "dsengine/available").count();
    until(|| "pings".to_owned(), || (broker.got(12).len() >= 2).then_some(()));
    // A connection that this one replaced may have said `offline` since.
    until(|| "a second `online`".to_owned(), || (greetings() >= 2).then_some(()));
    let connections = broker.got(1).len();
    silent.store(true, Ordering::SeqCst);
    until(|| "another connection".to_owned(), || (broker.got(1).len() > connections).then_some(()));
    drop(handler);
}

#[test]
fn a_broker_that_ends_the_connection_says_why() {
    let broker = Scripted::new(|first, body| match first >> 4 {
        3 if topic(body) == "dsengine/events" => Some(vec![0xE0, 2, 0x8E, 0]),
        _ => Some(agreeable(first, body)),
    });
    refused(plan(broker.port), Retry::Later, "another client has the name dsengine-test");
}

#[test]
fn a_broker_of_the_former_version_is_spoken_to_in_it() {
    for refusal in [Some(vec![0x20, 2, 0, 1]), Some(vec![0x20, 3, 0, 0x84, 0]), None] {
        let broker = Scripted::new(move |first, body| match first >> 4 {
            1 if body[6] == 5 => refusal.clone(),
            3 => Some(vec![0x40, 2, acknowledge(body, 0)[2], acknowledge(body, 0)[3]]),
            _ => Some(agreeable(first, body)),
        });
        deliver(plan(broker.port)).unwrap();
        let levels: Vec<u8> = broker.got(1).iter().map(|(_, body)| body[6]).collect();
        assert_eq!(levels, [5, 4]);
    }
}

#[test]
fn a_message_of_qos_2_is_delivered_once_it_is_complete() {
    let broker = Scripted::new(|first, body| match first >> 4 {
        3 => {
            let taken = acknowledge(body, 0);
            Some(vec![0x50, 2, taken[2], taken[3]])
        }
        6 => Some(vec![0x70, 2, body[0], body[1]]),
        _ => Some(agreeable(first, body)),
    });
    deliver(MqttPlan { qos: 2, ..plan(broker.port) }).unwrap();
    assert_eq!((broker.got(3).len(), broker.got(6).len()), (3, 3), "the greeting, the event and the alert");
    let never_complete = Scripted::new(|first, body| match first >> 4 {
        3 if topic(body) == "dsengine/events" => Some(vec![0x50, 2, acknowledge(body, 0)[2], acknowledge(body, 0)[3]]),
        _ => Some(agreeable(first, body)),
    });
    let error = deliver(MqttPlan { qos: 2, ..hasty(never_complete.port) }).unwrap_err();
    assert_eq!(error.retry, Retry::Later, "{error}");
}

#[test]
fn the_keys_of_a_broker_are_refused_in_their_place_without_their_secrets() {
    let with = |config: &str| {
        let handlers = format!("[{{name: mqtt, config: {{{config}}}}}]");
        plan_of(&format!("sources: [{{id: a, uri: test}}]\nalerts: {{handlers: {handlers}}}\n"))
    };
    for (config, told) in [
        ("url: 'http://u:C4n4ry@h'", "the broker's address cannot be read"),
        ("url: 'mqtt://u:C4n4ry@h/topic'", "the broker's address has a path"),
        ("url: 'mqtt://u:C4n4ry@'", "the broker's address has no host"),
        ("url: 'mqtt://u:C4n4ry@h', username: v", "the broker's user is set twice"),
        ("url: 'mqtt://u@h', password: C4n4ry", "the broker's user is set twice"),
        ("url: 'mqtt://h', password: C4n4ry", "a password without a user"),
        ("url: 'mqtt://h', topic_prefix: 'a/#'", "stand for levels of other topics"),
        ("url: 'mqtt://h', topic_prefix: /a", "one slash between them"),
        ("url: 'mqtt://h', topic_prefix: $SYS", "the broker's own"),
        ("url: 'mqtt://h', discovery_prefix: a//b", "one slash between them"),
        ("url: 'mqtt://h', ca_file: r.pem", "`ca_file` has no effect without TLS"),
        ("url: 'mqtt://h', discovery_prefix: ha", "`discovery_prefix` has no effect without discovery"),
        ("url: 'mqtt://h', qos: 3", "qos"),
        ("url: 'mqtt://h', log_file: a", "`log_file` is no setting of a mqtt handler"),
    ] {
        let error = with(config).expect_err(config);
        assert!(error.contains(told) && error.contains("c.yaml:2:"), "{config}: {error}");
        assert!(!error.contains("C4n4ry"), "{config}: {error}");
    }
    let plan = with("url: 'mqtts://u:C4n4ry@h', topic_prefix: site/ds, qos: 2").unwrap();
    let shown = format!("{:?}", plan.handlers);
    assert!(shown.contains("h:8883") && !shown.contains("C4n4ry"), "{shown}");
    assert!(with("").unwrap().handlers.is_empty(), "one without an address is left out, and `run` refuses");
}
