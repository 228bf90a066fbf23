//! Sources that are fetched from a server.

use std::time::Instant;

use super::peer::{Peer, is_there};
use super::{Engine, NOTICED};
use crate::harness::{bar, request, until};

#[test]
fn a_source_is_fetched_from_a_server_with_its_token_and_outlives_it() {
    if !is_there() {
        return;
    }
    let token = "C4n4ry-server-token";
    let mut server = Peer::start(&["serve", "/cam", "--codec", "H264", "--token", token]);
    let port = server.wait(|line| line["is"] == "listens")["port"].as_u64().unwrap();
    let uri = format!("whep://127.0.0.1:{port}/cam");
    let source = |id: &str, uri: &str, token: &str| {
        format!("- {{id: {id}, uri: '{uri}', retry_delay: 1, parameters: {{token: {token}}}}}")
    };
    let sources = [
        source("yard", &uri, token),
        source("wrong", &uri, "C4n4ry-wrong"),
        source("gone", &format!("{uri}/nobody"), token),
        "- {id: open, type: webrtc, uri: 'http://127.0.0.1:9/cam'}".to_owned(),
    ];
    let mut engine = Engine::start(&sources.join("\n"), "");
    engine.frames("yard", 10);
    let error = |source: &str| engine.status(source)["error"].as_str().unwrap_or_default().to_owned();
    for (source, said) in [("wrong", "401"), ("gone", "404"), ("open", "127.0.0.1:9")] {
        until(&format!("{source} says {said}"), || error(source).contains(said));
    }
    server.tell("freeze");
    let begun = Instant::now();
    until("the silence is noticed", || engine.status("yard")["state"] != "running");
    assert!(begun.elapsed() <= bar(NOTICED), "noticed after {:?}", begun.elapsed());
    server.tell("thaw");
    engine.wait("yard", "running");
    engine.frames("yard", 5);
    let (status, body) = request("DELETE", &engine.address, "/api/v1/sources/yard", "");
    assert_eq!(status, 200, "{body}");
    server.wait(|line| line["is"] == "asked" && line["method"] == "delete" && line["status"] == 200);
    engine.running.signal("TERM");
    assert!(engine.running.end(std::time::Duration::from_secs(20)).is_some());
    let said = engine.running.seen.join("\n");
    assert!(!said.contains("C4n4ry"), "{said}");
}
