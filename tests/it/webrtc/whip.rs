//! Publishers.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::peer::{Peer, is_there};
use super::{Engine, NOTICED, silent_offer, threads};
use crate::harness::{ClosedPort, bar, rss_kib, skip, until};

const TOKENS: &str = "monitoring:\n  listen: 0.0.0.0\n  tokens:\n  \
    - {name: cam, token: '${env:CAM_TOKEN}', scopes: [publish], sources: [yard]}\n  \
    - {name: see, token: '${env:SEE_TOKEN}', scopes: [read]}";
const PUBLISHER: Option<&str> = Some("publisher-0123456789abcdef");
const VIEWER: Option<&str> = Some("viewer-0123456789abcdef");

#[test]
fn a_publisher_is_seen_with_either_codec_and_the_source_outlives_every_way_to_go() {
    if !is_there() {
        return;
    }
    let engine = Engine::start("- {id: yard, type: webrtc, uri: 'whip:'}", "");
    let whip = engine.url("/whip/yard");
    engine.wait("yard", "waiting");
    for codec in ["VP8", "H264"] {
        let mut peer = Peer::start(&["publish", &whip, "--codec", codec]);
        assert_eq!(peer.answered()["status"], 201);
        engine.frames("yard", 10);
        assert_eq!(engine.status("yard")["state"], "running", "{codec}");
        let second = engine.offer("/whip/yard", "application/sdp", None, &silent_offer());
        assert_eq!(second.status, 409, "{}", second.body);
        assert!(second.body.contains("another publisher") && second.head.contains("retry-after: 3"), "{}", second.head);
        peer.tell("bye");
        assert_eq!(peer.wait(|line| line["is"] == "deleted")["status"], 200);
        engine.wait("yard", "waiting");
    }
    let mut peer = Peer::start(&["publish", &whip]);
    engine.frames("yard", 5);
    peer.tell("freeze");
    let begun = Instant::now();
    engine.wait("yard", "waiting");
    assert!(begun.elapsed() <= bar(NOTICED), "frozen: noticed after {:?}", begun.elapsed());
    drop(peer);
    let peer = Peer::start(&["publish", &whip, "--codec", "H264"]);
    engine.frames("yard", 5);
    peer.kill();
    let begun = Instant::now();
    engine.wait("yard", "waiting");
    assert!(begun.elapsed() <= bar(NOTICED), "killed: noticed after {:?}", begun.elapsed());
    let peer = Peer::start(&["publish", &whip]);
    engine.frames("yard", 5);
    let status = engine.status("yard");
    assert_eq!((&status["reconnects"], &status["error"]), (&0.into(), &serde_json::Value::Null), "{status}");
    drop(peer);
}

#[test]
fn an_offer_needs_the_right_to_publish_and_to_make_sense() {
    if !is_there() {
        return;
    }
    let sources =
        "- {id: yard, type: webrtc, uri: 'whip:'}\n- {id: hall, type: webrtc, uri: 'whip:'}\n- {id: bars, uri: test}";
    let engine = Engine::with_tokens(sources, TOKENS, &[("CAM_TOKEN", PUBLISHER), ("SEE_TOKEN", VIEWER)]);
    let (sdp, offer) = ("application/sdp", silent_offer());
    let refused = |path: &str, kind: &str, token, body: &str| {
        let answer = engine.offer(path, kind, token, body);
        (answer.status, answer.body)
    };
    let bomb = format!("{offer}{}", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n".repeat(2_000));
    let floods = format!("{offer}{}", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n".repeat(100));
    let data = format!("{offer}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n");
    for (path, kind, token, body, status, said) in [
        ("/whip/yard", sdp, None, &*offer, 401, "a token is needed"),
        ("/whip/yard", sdp, Some("publisher-wrong-one-1234"), &*offer, 401, "no such token"),
        ("/whip/yard", sdp, VIEWER, &*offer, 403, "no scope 'publish'"),
        ("/whip/hall", sdp, PUBLISHER, &*offer, 403, "for these sources only: yard"),
        ("/whip/yard", "application/json", PUBLISHER, &*offer, 415, "application/sdp"),
        ("/whip/yard", sdp, PUBLISHER, &*bomb, 413, "longer than 65536 bytes"),
        ("/whip/yard", sdp, PUBLISHER, &*floods, 400, "more than 64 ICE candidates"),
        ("/whip/yard", sdp, PUBLISHER, &*data, 400, "data channels"),
        ("/whip/yard", sdp, PUBLISHER, "hello", 400, "v=0"),
        ("/whip/yard", sdp, PUBLISHER, "v=0\r\n", 400, "no media"),
        ("/whip/yard", sdp, PUBLISHER, "", 400, "v=0"),
    ] {
        let (got, body) = refused(path, kind, token, body);
        assert!(got == status && body.contains(said), "{path} {status} {said}: {got} {body}");
    }
    let open = Engine::start(sources, "");
    for (path, status, said) in [("/whip/nobody", 404, "nobody"), ("/whip/bars", 409, "takes no publisher")] {
        let answer = open.offer(path, sdp, None, &offer);
        assert!(answer.status == status && answer.body.contains(said), "{path}: {} {}", answer.status, answer.body);
    }
    open.wait("yard", "waiting");
}

#[test]
fn a_thousand_sessions_that_never_send_are_one_at_a_time_and_bounded() {
    if !is_there() {
        return;
    }
    let mut engine = Engine::start("- {id: yard, type: webrtc, uri: 'whip:', timeout: 5}", "");
    engine.wait("yard", "waiting");
    let pid = engine.running.pid();
    let (before, begun) = ((threads(pid), rss_kib(pid)), Instant::now());
    let mut accepted = 0;
    for _ in 0..1_000 {
        let answer = engine.offer("/whip/yard", "application/sdp", None, &silent_offer());
        accepted += u64::from(answer.status == 201);
        assert!(matches!(answer.status, 201 | 409), "{}", answer.body);
    }
    let most = 1 + begun.elapsed().as_secs() / 5;
    assert!(accepted >= 1 && accepted <= most, "{accepted} accepted in {:?}", begun.elapsed());
    let (now, growth) = (threads(pid), rss_kib(pid).saturating_sub(before.1));
    assert!(now <= before.0 + 20 && growth < 64 * 1024, "{} threads, then {now}; {growth} KiB more", before.0);
    engine.wait("yard", "waiting");
    until("the threads of half-open sessions have ended", || threads(pid) <= before.0);
    engine.running.signal("TERM");
    assert!(engine.running.end(Duration::from_secs(20)).is_some_and(|status| status.success()));
}

#[test]
fn a_publisher_is_reached_through_the_servers_that_are_set() {
    if !is_there() {
        return;
    }
    for key in ["stun", "turn"] {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let user = if key == "turn" { "u:C4n4ry%2Fsecret@" } else { "" };
        let address = format!("{key}://{user}{}", server.local_addr().unwrap());
        let source = format!("- {{id: yard, type: webrtc, uri: 'whip:', parameters: {{{key}: '{address}'}}}}");
        let mut engine = Engine::start(&source, "");
        engine.wait("yard", "waiting");
        let answer = engine.offer("/whip/yard", "application/sdp", None, &silent_offer());
        assert_eq!(answer.status, 201, "a server that does not answer holds nothing up: {}", answer.body);
        let mut packet = [0; 1_500];
        let length = server.recv(&mut packet).unwrap();
        // A STUN message: Binding, or Allocate for TURN; then the length of what follows its header.
        let kind = if key == "turn" { [0, 3] } else { [0, 1] };
        let rest = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        assert!(packet[..2] == kind && length == 20 + rest, "{length}: {:?}", &packet[..20]);
        engine.running.signal("TERM");
        assert!(engine.running.end(Duration::from_secs(20)).is_some());
        let said = engine.running.seen.join("\n");
        assert!(!said.contains("C4n4ry"), "{said}");
    }
}

#[test]
fn a_publisher_that_can_be_reached_by_no_other_way_is_seen_through_a_turn_server() {
    if !is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = ClosedPort::take().port;
    let [pidfile, database] = ["pid", "db"].map(|name| dir.path().join(name).display().to_string());
    let port_text = port.to_string();
    let args = ["-n", "-L", "127.0.0.1", "-p", &port_text, "--no-tcp", "--no-tls", "--no-dtls", "--no-cli", "-a", "-u"];
    let more =
        ["u:p/1", "-r", "test", "--allow-loopback-peers", "-l", "stdout", "--pidfile", &pidfile, "--db", &database];
    let mut command = Command::new("turnserver");
    let Ok(mut server) = command.args(args).args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return skip("webrtc::turn", "coturn is not installed");
    };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    until("coturn answers", || {
        // A STUN binding request.
        let request = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let sent = socket.send_to(&request, ("127.0.0.1", port));
        sent.is_ok() && socket.recv(&mut [0; 500]).is_ok()
    });
    let source =
        format!("- {{id: yard, type: webrtc, uri: 'whip:', parameters: {{turn: 'turn://u:p%2F1@127.0.0.1:{port}'}}}}");
    let engine = Engine::start(&source, "");
    let peer = Peer::start(&["publish", &engine.url("/whip/yard"), "--relay"]);
    let answered = peer.answered();
    assert!(answered["body"].as_str().unwrap().contains(" typ relay"), "{answered}");
    engine.frames("yard", 10);
    server.kill().unwrap();
    server.wait().unwrap();
    engine.wait("yard", "waiting");
}
