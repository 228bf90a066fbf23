//! `alerts.source_lost_seconds`: cameras that go away make an alert, those that go away together one.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Bench;
use crate::harness::{get, request};
use crate::sources::Camera;

/// Longest wait for what takes some ten seconds.
const LIMIT: Duration = Duration::from_secs(90);

const NAMES: [&str; 3] = ["north", "east", "yard"];

#[test]
fn cameras_that_go_away_together_make_one_alert() {
    const TEST: &str = "effects::cameras_that_go_away_together";
    let cameras: Vec<Camera> = NAMES.iter().map_while(|_| Camera::start(TEST, 0, &[])).collect();
    if cameras.len() < NAMES.len() {
        return;
    }
    let source =
        |(id, camera): (&&str, &Camera)| format!("{{ id: {id}, uri: 'rtsp://127.0.0.1:{}/cam' }}", camera.port);
    let sources: Vec<String> = NAMES.iter().zip(&cameras).map(source).collect();
    let bench = Bench::new();
    let mut run = bench.start(&format!(
        "sources: [{}]\nrecovery: {{ retry_delay: 0.3 }}\nalerts: {{ source_lost_seconds: 0, handlers: [] }}\n",
        sources.join(", ")
    ));
    let page = run.page();
    let json = |path: &str| serde_json::from_str::<Value>(&get(&page, path).1).unwrap();
    let mut until = |what: &str, is_so: &dyn Fn() -> bool| {
        let from = Instant::now();
        while !is_so() {
            let ended = run.end(Duration::from_millis(50));
            assert!(ended.is_none() && from.elapsed() < LIMIT, "never {what}:\n{}", run.seen.join("\n"));
        }
    };
    let states = || json("/api/v1/status")["sources"].clone();
    until("running", &|| states().as_array().unwrap().iter().all(|source| source["state"] == "running"));
    let (status, answer) =
        request("POST", &page, "/api/v1/config/apply", r#"{ "alerts": { "source_lost_seconds": 1 } }"#);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("source_lost_seconds"), "{answer}");

    drop(cameras);
    let lost = || {
        let alerts = json("/api/v1/alerts");
        let is_it = |alert: &&Value| alert["rule"] == "system.source_lost";
        alerts.as_array().unwrap().iter().filter(is_it).cloned().collect::<Vec<Value>>()
    };
    until("an alert", &|| !lost().is_empty());
    let alerts = lost();
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((&alert["source"], &alert["level"]), (&"engine".into(), &"high".into()));
    let message = alert["message"].as_str().unwrap();
    let rest = message.strip_prefix("3 sources are lost, the first for ").unwrap_or_else(|| panic!("{message}"));
    let (seconds, rest) = rest.split_once(" s: east, north, yard; ").unwrap_or_else(|| panic!("{message}"));
    // A second, and ten for the others; by default it would be forty.
    assert!((11..40).contains(&seconds.parse::<u64>().unwrap()), "{message}");
    assert!(rest.contains("is the camera on"), "{message}");
    let counts = json("/api/v1/status")["alerts"].clone();
    assert_eq!((&counts["raised"], &counts["delivered"], &counts["pending"]), (&1.into(), &1.into(), &0.into()));
    super::stop(run);
}
