//! `alerts`: how long a receiver that is away is waited for, and what a full queue gives up.

use std::time::Duration;

use super::{ALARM, Answer, Bench, Receiver, TRACE};
use crate::harness::Dsengine;
use crate::webhooks::Peer;

/// A webhook's entry.
fn hook(receiver: &Receiver, name: &str, keys: &str) -> String {
    format!("{{ name: {name}, type: webhook, config: {{ url: 'http://{}/' }}{keys} }}", receiver.address)
}

#[test]
fn an_alert_is_tried_until_it_is_too_old_and_then_expires() {
    let bench = Bench::new();
    let hits = |keys: &str, own: &str| {
        let receiver = Receiver::new(Answer::Status(503));
        let alerts = format!("min_confidence: 0.8, retry_attempts: 1, retry_delay: 0.1, {keys}");
        let handlers = hook(&receiver, "away", own);
        let config =
            format!("{TRACE}{ALARM}graceful_shutdown_timeout: 30\nalerts: {{ {alerts}, handlers: [{handlers}] }}\n");
        let run = bench.run(&config).expect(1);
        assert!(run.stderr.contains("alert expired before it was delivered"), "{}", run.stderr);
        let summary = run.json();
        assert_eq!((&summary["failed"], &summary["pending"]), (&1.into(), &0.into()), "{summary}");
        receiver.hits().len()
    };
    // The pause is a random part of a bound that doubles from 0.1 s on.
    let short = hits("max_retry_delay: 0.1, max_age_seconds: 4", "");
    let long = hits("max_age_seconds: 4", "");
    let brief = hits("max_retry_delay: 0.1, max_age_seconds: 600", ", max_age_seconds: 0.5");
    // Chance alone makes one of two equal settings try a little more often.
    assert!(short > 2 * long && long > 3, "{short} with pauses of 0.1 s, {long} with longer ones");
    assert!(brief < short && brief > 1, "{brief} in half a second");
}

#[test]
fn a_full_queue_gives_up_what_it_is_told_to() {
    let bench = Bench::new();
    bench.write(
        "alarm.lua",
        "function detect(frame)\n  local level = frame.seq < 2 and 'critical' or 'low'\n  \
         frame:alert{ rule = 'r', key = tostring(frame.seq), level = level, message = tostring(frame.seq) }\nend\n",
    );
    let receiver = Receiver::new(Answer::Status(503));
    // The one that is being delivered when the others come keeps its place.
    for (when_full, left) in [("drop_lowest_level", ["99", "1", "0"].as_slice()), ("drop_oldest", &["99", "98"])] {
        let alerts = format!(
            "throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, max_queued: 3, when_full: {when_full}, \
             min_confidence: 0, retry_delay: 60"
        );
        let handlers = hook(&receiver, "away", "");
        let config =
            format!("{TRACE}{ALARM}graceful_shutdown_timeout: 1\nalerts: {{ {alerts}, handlers: [{handlers}] }}\n");
        let name = format!("{when_full}.yaml");
        bench.write(&name, &config);
        let args = |words: &[&str]| {
            let own = ["--config", name.as_str(), "--state", "state"];
            Dsengine::new(words.iter().copied().chain(own)).cwd(bench.dir.path()).run()
        };
        args(&["run", "--port", "0"]).expect(1);
        let listed = args(&["alerts", "list", "--pending", "--json"]).expect(0);
        let listed = listed.json();
        let messages: Vec<&str> =
            listed.as_array().unwrap().iter().filter_map(|kept| kept["alert"]["message"].as_str()).collect();
        assert!(messages.len() == 3 && messages.starts_with(left), "{when_full}: {messages:?}");
    }
}

#[test]
fn a_source_that_ends_waits_for_room_where_it_is_told_to_and_a_live_one_is_told_that_it_does_not() {
    let bench = Bench::new();
    bench.write("alarm.lua", "function detect(frame)\n  for n = 1, 3 do\n    frame:alert{ rule = 'r', key = frame.seq * 3 + n, message = 'm' }\n  end\nend\n");
    let alerts = |when_full: &str, url: &str| {
        format!(
            "alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, max_queued: 2, \
             when_full: {when_full}, handlers: [{{ name: hook, type: webhook, config: {{ url: '{url}' }} }}] }}\n"
        )
    };
    let run = |when_full: &str| {
        // It takes longer than the rule.
        let peer = Peer::new(|_, _| {
            std::thread::park_timeout(Duration::from_millis(2));
            "204 No Content\r\n".into()
        });
        let rest = alerts(when_full, &peer.url("/"));
        let out = bench.run(&format!("{TRACE}{ALARM}graceful_shutdown_timeout: 30\n{rest}"));
        let summary = out.json();
        let count = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("{summary} {}", out.stderr));
        (count("delivered"), count("failed"), peer.requests().len())
    };
    assert_eq!(run("block"), (300, 0, 300));
    let (delivered, ..) = run("drop_oldest");
    assert!(delivered < 300, "{delivered}: the queue is full otherwise");
    let url = "http://127.0.0.1:9/";
    let live =
        bench.command("validate", &format!("{}{ALARM}{}", super::LIVE, alerts("block", url)), &[]).run().expect(0);
    assert!(live.stderr.contains("`when_full: block` holds for sources that end; a never waits"), "{}", live.stderr);
    let ends = bench.command("validate", &format!("{TRACE}{ALARM}{}", alerts("block", url)), &[]).run().expect(0);
    assert!(!ends.stderr.contains("when_full"), "{}", ends.stderr);
}
