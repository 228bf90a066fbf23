//! Network cameras: their addresses, how they are asked, what is said of those that do not answer, and how patiently.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dsengine::backend::{Backend, SourceEvent, SourceState};
use dsengine::config::{Camera as Address, Input, RetryPlan, SourcePlan, Transport};
use dsengine::gst::GstBackend;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{ClosedPort, Dsengine, Running, get, root, write};
use crate::recorder::{Machine, Recorder, Story};
use crate::sources::Camera;

const MINUTE: Duration = Duration::from_secs(60);
/// The pace of attempts at a camera whose settings have to be changed.
const SLOW: Duration = Duration::from_secs(120);

/// A camera that is tried again soon.
fn plan(id: &str, uri: &str) -> SourcePlan {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(80));
    let (first_frame, gap) = (Duration::from_secs(20), Duration::from_secs(20));
    let retry = RetryPlan { max_retries: 100, base, cap, exponential: true, first_frame, gap };
    SourcePlan::new(id, Input::Rtsp(Box::new(Address::read(uri).unwrap())), retry)
}

/// A backend on the machine's own time, and what its sources tell.
fn backend() -> (GstBackend, Arc<Recorder>, Arc<Machine>) {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    (GstBackend::new(clock.clone()).unwrap(), sink, clock)
}

/// Why attempts failed, in order.
fn reasons(story: &Story) -> Vec<String> {
    let reason = |(_, event): &(u64, SourceEvent)| match event {
        SourceEvent::Fault { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    story.events.iter().filter_map(reason).collect()
}

#[test]
fn every_password_lets_in_as_it_is_and_encoded_and_so_does_none() {
    const TEST: &str = "cameras::every_password_lets_in";
    let (mut backend, sink, _) = backend();
    for (n, (user, password, ways)) in [
        ("admin", "p@ss", &["admin:p@ss", "admin:p%40ss"][..]),
        ("admin", "100%sure", &["admin:100%sure", "admin:100%25sure"]),
        ("admin", "p@ss:w/rd#1?", &["admin:p@ss:w/rd#1?", "admin:p%40ss%3Aw%2Frd%231%3F"]),
        ("ad min", "pa ss", &["ad min:pa ss", "ad%20min:pa%20ss"]),
        ("a@b.example", "", &["a@b.example", "a%40b.example", "a%40b.example:"]),
    ]
    .into_iter()
    .enumerate()
    {
        let args = ["--user", user, "--password", password, "--path", "/live@1/s"];
        let Some(camera) = Camera::start(TEST, 0, &args) else { return };
        for (m, way) in ways.iter().enumerate() {
            let id = format!("cam-{n}-{m}");
            let plan = plan(&id, &format!("rtsp://{way}@127.0.0.1:{}/live@1/s", camera.port));
            backend.add_source(&plan, sink.clone()).unwrap();
            let story = sink.wait(&id, MINUTE, |s| !s.frames.is_empty() || !reasons(s).is_empty());
            assert_eq!(reasons(&story), Vec::<String>::new(), "{way}");
            backend.remove_source(&id.as_str().into(), Duration::from_secs(3));
        }
    }
}

/// What a server of a few lines does when it is asked to describe its stream.
#[derive(Clone)]
enum Says {
    /// Hangs up as soon as somebody connects.
    Nothing,
    /// Answers as it should, but never this.
    Until(&'static str),
    /// Answers so long after it was asked.
    Late(Duration, &'static str),
    /// Speaks another protocol.
    Other(&'static str),
    /// Answers with this status, and what else stands in the head; PORT stands for its own port.
    Status(&'static str),
    /// Answers this request so, and the others as it should.
    At(&'static str, &'static str),
    /// Describes itself with a text of this kind.
    Page(&'static str, &'static str),
    /// Describes these media, and answers SETUP with this status.
    Media(&'static str, &'static str),
}

/// A server of a few lines.
struct Server {
    port: u16,
    /// Requests that came with a user.
    logins: Arc<AtomicUsize>,
}

impl Server {
    fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let logins = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&logins);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (says, count) = (says.clone(), Arc::clone(&count));
                std::thread::spawn(move || serve(stream, &says, &count));
            }
        });
        Self { port, logins }
    }
}

fn serve(stream: TcpStream, says: &Says, logins: &AtomicUsize) {
    if matches!(says, Says::Nothing) {
        return;
    }
    let mut writer = stream.try_clone().unwrap();
    let port = stream.local_addr().unwrap().port().to_string();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let Some(method) = head.first().and_then(|line| line.split(' ').next()) else { return };
        let sequence = head.iter().find(|line| line.to_lowercase().starts_with("cseq")).cloned().unwrap_or_default();
        logins.fetch_add(usize::from(head.iter().any(|line| line.starts_with("Authorization"))), Ordering::SeqCst);
        let answer = |status: &str, rest: &str| format!("RTSP/1.0 {status}\r\n{sequence}\r\n{rest}");
        let said = match (says, method) {
            (Says::Nothing, _) => continue,
            (Says::Until(never), _) if *never == method => continue,
            (Says::Other(text), _) => (*text).to_owned(),
            (Says::At(asked, status), _) if *asked == method => answer(status, "\r\n"),
            (_, "OPTIONS") => answer("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n"),
            (Says::Status(status), _) => answer(&status.replace("PORT", &port), "\r\n"),
            (Says::Late(after, status), _) => {
                std::thread::sleep(*after);
                answer(status, "\r\n")
            }
            (Says::Until(_) | Says::At(..), "DESCRIBE") => answer("200 OK", &described(PICTURES)),
            (Says::Until(_) | Says::At(..), "SETUP") => {
                answer("200 OK", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1;timeout=60\r\n\r\n")
            }
            (Says::Until(_) | Says::At(..), _) => answer("200 OK", "Session: 1\r\n\r\n"),
            (Says::Page(kind, text), _) => {
                answer("200 OK", &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
            }
            (Says::Media(media, _), "DESCRIBE") => answer("200 OK", &described(media)),
            (Says::Media(_, setup), _) => answer(setup, "\r\n"),
        };
        if writer.write_all(said.as_bytes()).is_err() || matches!(says, Says::Other(_)) {
            return;
        }
    }
}

/// The description of a stream of these media, with what stands before it.
fn described(media: &str) -> String {
    let sdp = format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nc=IN IP4 0.0.0.0\r\n{media}");
    format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

/// A camera's login page, so to speak.
const DIGEST: Says = Says::Status("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"IP Camera\", nonce=\"1f\"");
const SETUP_LOGIN: Says =
    Says::At("SETUP", "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"IP Camera\", nonce=\"1f\"");
const PLAY_LOGIN: Says =
    Says::At("PLAY", "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"IP Camera\", nonce=\"1f\"");
const PICTURES: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";
const SOUND: &str = "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:streamid=0\r\n";

#[test]
fn failures_are_told_apart_with_what_to_do_and_what_lasts_is_not_hammered() {
    let (mut backend, sink, _) = backend();
    let closed = ClosedPort::take();
    // What it does, how it is asked, what is said of it, and whether somebody has to change something.
    let cases: [(Option<Says>, &str, &str, bool); 29] = [
        (
            None,
            "rtsp://127.0.0.1:PORT/s",
            "nobody listens at 127.0.0.1:PORT (connection refused): is the camera on",
            false,
        ),
        (None, "rtsps://127.0.0.1:PORT/s", "nobody listens at 127.0.0.1:PORT", false),
        (None, "rtsp://no-such-camera.invalid/s", "the name no-such-camera.invalid ", false),
        (Some(Says::Nothing), "rtsp://127.0.0.1:PORT/s", "127.0.0.1:PORT hung up before it", false),
        (
            Some(Says::Nothing),
            "rtsps://127.0.0.1:PORT/s",
            "127.0.0.1:PORT speaks no TLS on this port: write rtsp://",
            true,
        ),
        (
            Some(Says::Other("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
            "rtsp://127.0.0.1:PORT/s",
            "does not speak RTSP: write the port",
            true,
        ),
        (Some(DIGEST), "rtsp://admin:wr0ng-canary@127.0.0.1:PORT/s", "refuses the user or the password (401", true),
        (Some(DIGEST), "rtsp://127.0.0.1:PORT/s", "requires a user and a password (401", true),
        (
            Some(Says::Status("403 Forbidden")),
            "rtsp://a:b@127.0.0.1:PORT/s",
            "does not let this user see it (403",
            true,
        ),
        (Some(Says::Status("404 Not Found")), "rtsp://127.0.0.1:PORT/s", "has nothing at this path (404", true),
        (Some(Says::Status("453 Not Enough Bandwidth")), "rtsp://127.0.0.1:PORT/s", "serves no more viewers", false),
        (Some(Says::Status("500 Oh No")), "rtsp://127.0.0.1:PORT/s", "127.0.0.1:PORT answers 500 Oh No", false),
        (
            Some(Says::Media(SOUND, "200 OK")),
            "rtsp://127.0.0.1:PORT/s",
            "there is no video in what 127.0.0.1:PORT sends",
            true,
        ),
        (
            Some(Says::Page("text/html", "<html></html>")),
            "rtsp://127.0.0.1:PORT/s",
            "127.0.0.1:PORT answers, and not with a stream",
            true,
        ),
        (
            Some(Says::Page("application/sdp", "")),
            "rtsp://127.0.0.1:PORT/s",
            "127.0.0.1:PORT answers, and not with a stream (SDP contains no streams)",
            true,
        ),
        (
            Some(Says::Media(PICTURES, "461 Unsupported Transport")),
            "rtsp://127.0.0.1:PORT/s?tcp",
            "the camera takes no TCP",
            true,
        ),
        (
            Some(Says::Media(PICTURES, "461 Unsupported Transport")),
            "rtsp://127.0.0.1:PORT/s",
            "the camera takes neither TCP nor UDP",
            true,
        ),
        (Some(SETUP_LOGIN), "rtsp://a:wr0ng-canary@127.0.0.1:PORT/s", "refuses the user or the password (401", true),
        (Some(PLAY_LOGIN), "rtsp://a:wr0ng-canary@127.0.0.1:PORT/s", "refuses the user or the password (401", true),
        (Some(SETUP_LOGIN), "rtsp://127.0.0.1:PORT/s", "requires a user and a password (401", true),
        (Some(Says::At("SETUP", "403 Forbidden")), "rtsp://127.0.0.1:PORT/s", "does not let this user see it", true),
        (Some(Says::At("PLAY", "403 Forbidden")), "rtsp://127.0.0.1:PORT/s", "does not let this user see it", true),
        (Some(Says::At("SETUP", "404 Not Found")), "rtsp://127.0.0.1:PORT/s", "has nothing at this path (404", true),
        (Some(Says::At("SETUP", "453 Full")), "rtsp://127.0.0.1:PORT/s", "serves no more viewers", false),
        (Some(Says::At("PLAY", "453 Full")), "rtsp://127.0.0.1:PORT/s", "serves no more viewers", false),
        (Some(Says::At("SETUP", "500 Oh No")), "rtsp://127.0.0.1:PORT/s", "127.0.0.1:PORT answers 500", false),
        (Some(Says::Status("400 Bad Request")), "rtsp://127.0.0.1:PORT/s", "answers 400 Bad Request: compare", true),
        (
            Some(Says::Status("302 Moved Temporarily\r\nLocation: rtsp://127.0.0.1:PORT/s")),
            "rtsp://a:canary@127.0.0.1:PORT/s",
            "sends it on to itself: no redirect is followed",
            true,
        ),
        (
            Some(Says::At("PLAY", "302 Moved Temporarily\r\nLocation: rtsp://a:canary@127.0.0.1:1/t?canary")),
            "rtsp://127.0.0.1:PORT/s",
            "sends it on to rtsp://127.0.0.1:1/t: no redirect is followed",
            true,
        ),
    ];
    let mut servers = Vec::new();
    let mut asked = Vec::new();
    for (n, (says, uri, said, lasts)) in cases.into_iter().enumerate() {
        let server = says.map(Server::start);
        let port = server.as_ref().map_or(closed.port, |server| server.port).to_string();
        let mut plan = plan(&format!("cam-{n}"), &uri.replace("PORT", &port));
        if let (Input::Rtsp(camera), true) = (&mut plan.input, uri.ends_with("?tcp")) {
            camera.transport = Transport::Tcp;
        }
        backend.add_source(&plan, sink.clone()).unwrap();
        servers.extend(server);
        asked.push((plan.id, said.replace("PORT", &port), lasts));
    }
    let mut wrong = Vec::new();
    let slowly = |event: &SourceEvent| matches!(event, SourceEvent::Fault { retry_in, .. } if *retry_in >= SLOW);
    for (id, said, lasts) in asked {
        let rests = |s: &Story| s.events.iter().any(|(_, event)| slowly(event));
        let story = sink.wait(id.as_str(), MINUTE, |s| reasons(s).len() >= 3 || rests(s));
        let faults: Vec<_> = story
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                SourceEvent::Fault { reason, remedy, class, retry_in, .. } => Some((reason, remedy, *class, *retry_in)),
                _ => None,
            })
            .take(3)
            .collect();
        let Some((reason, remedy, class, retry_in)) = faults.iter().find(|fault| fault.3 >= SLOW).or(faults.last())
        else {
            continue;
        };
        let rests = *retry_in >= SLOW;
        // What the camera refuses is asked for slowly at once; what may be a setting is tried three times.
        let is_refused = ["(401", "(403", "(404"].iter().any(|status| reason.contains(status));
        if is_refused != (*class == "permanent") || (rests && faults.len() != if is_refused { 1 } else { 3 }) {
            wrong.push(format!("{id}: {class}: {faults:?}"));
        }
        // A name may not be known yet: it is asked for more often.
        let soon = reason.contains(" is not known");
        if !reason.contains(&said) || remedy.is_some() != (lasts || soon) || rests != lasts {
            wrong.push(format!("{id}: {said}: {faults:?}"));
        }
        let all = format!("{faults:?}");
        for part in ["Generic error", "eneral stream error", "Internal data stream", "canary", "missing the right"] {
            if all.contains(part) {
                wrong.push(format!("{id}: {part}: {all}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_password_is_tried_once_and_then_every_two_minutes_and_at_once_after_an_edit() {
    let server = Server::start(DIGEST);
    let (mut backend, sink, clock) = backend();
    backend.add_source(&plan("cam", &format!("rtsp://u:wrong@127.0.0.1:{}/s", server.port)), sink.clone()).unwrap();
    let rests = |s: &Story| s.states().last() == Some(&SourceState::Failed);
    let story = sink.wait("cam", MINUTE, |s| !reasons(s).is_empty() && rests(s));
    assert_eq!((reasons(&story).len(), server.logins.load(Ordering::SeqCst)), (1, 1));
    clock.skip(SLOW);
    let story = sink.wait("cam", MINUTE, |s| reasons(s).len() >= 2);
    assert_eq!((reasons(&story).len(), server.logins.load(Ordering::SeqCst)), (2, 2));
    // Something else was changed meanwhile: one try at once, and no more.
    let mut changed = plan("cam", &format!("rtsp://u:wrong@127.0.0.1:{}/s", server.port));
    changed.retry.max_retries = 7;
    backend.change_source(&changed).unwrap();
    let story = sink.wait("cam", MINUTE, |s| reasons(s).len() >= 3 && rests(s));
    assert_eq!((reasons(&story).len(), server.logins.load(Ordering::SeqCst)), (3, 3));
}

/// The health page, once it has this text.
#[track_caller]
fn health_with(run: &mut Running, page: &str, text: &str) -> String {
    let until = Instant::now() + MINUTE;
    loop {
        let (_, health) = get(page, "/health");
        if health.contains(text) {
            return health;
        }
        assert!(Instant::now() < until, "{health}");
        assert!(run.end(Duration::from_millis(50)).is_none());
    }
}

#[test]
fn a_wrong_path_is_asked_for_slowly_and_at_once_when_told() {
    let server = Server::start(Says::Status("404 Not Found"));
    let dir = tempfile::tempdir().unwrap();
    let port = server.port;
    let config = format!(
        "monitoring: {{ prometheus: {{ port: 0 }} }}\nrecovery: {{ retry_delay: 0.1 }}\nlogging: {{ filter_spam: false }}\n\
         sources: [{{ id: cam, uri: 'rtsp://127.0.0.1:{port}/nothing' }}]\n"
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let failed = |line: &str, attempt: u32| {
        line.contains(&format!("attempt={attempt} ")) && line.contains("has nothing at this path (404 Not Found)")
    };
    run.wait_line(MINUTE, |line| failed(line, 1));
    let health = health_with(&mut run, &page, "source cam is failed, tried again every 120 s and at once by");
    let cam: Value = serde_json::from_str::<Value>(&health).unwrap()["sources"][0].clone();
    assert_eq!(cam["retry_every_s"], 120.0, "{health}");
    assert_eq!((&cam["last_error"]["class"], &cam["stays_down"]), (&"permanent".into(), &false.into()), "{health}");
    let history = cam["history"].as_array().unwrap();
    let states: Vec<&str> = history.iter().map(|change| change["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["connecting", "failed"], "{health}");
    assert!(history[1]["reason"].as_str().unwrap().contains("(404 Not Found)"), "{health}");
    assert_eq!((&cam["health_score"], &cam["health"]), (&0.0.into(), &"critical".into()), "{health}");
    assert!(cam["remedy"].as_str().unwrap().contains("write the path"), "{health}");
    let told = Dsengine::new(["sources", "restart", "cam", "--at", &page]).cwd(dir.path()).run();
    told.expect(0);
    // The same source of a new start: it counts its attempts from one.
    run.wait_line(MINUTE, |line| failed(line, 1));
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
}

#[test]
fn the_health_page_says_what_to_change_of_a_camera_that_refuses() {
    let server = Server::start(DIGEST);
    let dir = tempfile::tempdir().unwrap();
    let port = server.port;
    let config = format!(
        "monitoring: {{ prometheus: {{ port: 0 }} }}\nrecovery: {{ retry_delay: 0.1 }}\n\
         sources: [{{ id: cam, uri: 'rtsp://admin:can4ry@127.0.0.1:{port}/cam' }}]\n"
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    run.wait_line(MINUTE, |line| line.contains("attempt=1 ") && line.contains("refuses the user or the password"));
    let health =
        health_with(&mut run, &page, "tried again every 120 s and at once by `dsengine sources restart cam`: ");
    let cam: Value = serde_json::from_str::<Value>(&health).unwrap()["sources"][0].clone();
    assert!(cam["remedy"].as_str().unwrap().contains("correct user and password"), "{health}");
    assert_eq!(cam["retry_every_s"], 120.0, "{health}");
    assert!(!health.contains("can4ry") && !run.seen.join("\n").contains("can4ry"), "{health}");
    assert_eq!(server.logins.load(Ordering::SeqCst), 1);
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
}

#[test]
fn a_camera_that_takes_udp_only_is_seen_and_the_protocol_can_be_set() {
    const TEST: &str = "cameras::a_camera_that_takes_udp_only";
    let Some(udp) = Camera::start(TEST, 0, &["--transport", "udp"]) else { return };
    let Some(both) = Camera::start(TEST, 0, &[]) else { return };
    let Some(sound) = Camera::start(TEST, 0, &["--sound"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = |id: &str, camera: &Camera, protocol: &str| {
        let (port, parameters) = (camera.port, format!("parameters: {{ protocol: {protocol} }}"));
        format!("  - {{ id: {id}, uri: 'rtsp://127.0.0.1:{port}/cam', retry_delay: 0.1, {parameters} }}\n")
    };
    let config = format!(
        "monitoring: {{ prometheus: {{ port: 0 }} }}\nsources:\n{}{}{}{}{}",
        source("auto", &udp, "auto"),
        source("told", &both, "udp"),
        source("plain", &both, "tcp"),
        source("not", &udp, "tcp"),
        source("sound", &sound, "auto"),
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let until = Instant::now() + MINUTE;
    let sources = loop {
        let status: Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
        let of = |id: &str| status["sources"].as_array().unwrap().iter().find(|s| s["id"] == id).unwrap().clone();
        let sources = ["auto", "told", "plain", "not", "sound"].map(of);
        // A busy server may also answer that it has too many viewers, in between.
        let says = |at: usize, words: &str| sources[at]["error"].as_str().is_some_and(|why| why.contains(words));
        let is_refused = says(3, "takes no TCP") && says(4, "there is no video");
        if is_refused && sources[..3].iter().all(|s| s["state"] == "running") {
            break sources;
        }
        assert!(Instant::now() < until, "{sources:#?}\n{}", run.seen.join("\n"));
        assert!(run.end(Duration::from_millis(50)).is_none());
    };
    let told = |line: &&String| line.contains("source=auto") && line.contains("takes no");
    assert_eq!(run.seen.iter().find(told), None, "falling back to UDP is no failure");
    assert!(sources[3]["remedy"].as_str().unwrap().contains("parameters.protocol: udp"), "{}", sources[3]);
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
}

/// The certificates of a file, and its SHA-256 as people write it.
fn fingerprint(pem: &Path) -> String {
    let own = CertificateDer::from_pem_file(pem).unwrap();
    Sha256::digest(&own).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[test]
fn a_cameras_certificate_is_accepted_by_its_authority_or_its_fingerprint() {
    const TEST: &str = "cameras::a_cameras_certificate_is_accepted";
    let tls = root().join("tests/doubles/tls");
    let dir = tempfile::tempdir().unwrap();
    // One that an authority has signed, for localhost.
    let text = ["server.pem", "server.key"].map(|name| std::fs::read_to_string(tls.join(name)).unwrap()).concat();
    let signed = write(dir.path(), "signed.pem", &text);
    let served = |pem: &Path| Camera::start(TEST, 0, &["--tls", pem.to_str().unwrap()]);
    let [own, name, expired] = ["own", "name", "expired"].map(|kind| tls.join(format!("camera-{kind}.pem")));
    let Some(by_authority) = served(&signed) else { return };
    let [by_itself, misnamed, old] = [&own, &name, &expired].map(|pem| served(pem).unwrap());
    let ca = tls.join("ca.pem");
    let by_ca = |pem: &Path| format!("ca_file: '{}'", pem.display());
    let pinned = |pem: &Path| format!("fingerprint: '{}'", fingerprint(pem));
    let source = |id: &str, host: &str, camera: &Camera, parameters: &str| {
        let port = camera.port;
        format!(
            "  - {{ id: {id}, uri: 'rtsps://{host}:{port}/cam', retry_delay: 0.1, parameters: {{ {parameters} }} }}\n"
        )
    };
    let seen = [
        source("ca", "localhost", &by_authority, &by_ca(&ca)),
        source("pin", "localhost", &by_authority, &pinned(&signed)),
        source("pinned-ip", "127.0.0.1", &by_authority, &pinned(&signed)),
        source("own", "127.0.0.1", &by_itself, &by_ca(&own)),
        source("old", "127.0.0.1", &old, &pinned(&expired)),
        source("misnamed", "127.0.0.1", &misnamed, &pinned(&name)),
    ];
    let refused = [
        (source("unknown", "localhost", &by_authority, ""), "authority that this machine does not trust"),
        (source("unknown-own", "127.0.0.1", &by_itself, ""), "the certificate of 127.0.0.1"),
        (source("another", "localhost", &by_authority, &pinned(&own)), "another fingerprint"),
        (source("other-name", "127.0.0.1", &misnamed, &by_ca(&name)), "another name"),
        (source("other-ip", "127.0.0.1", &by_authority, &by_ca(&ca)), "another name"),
        (source("expired", "127.0.0.1", &old, &by_ca(&expired)), "expired"),
    ];
    let sources = seen.concat() + &refused.iter().map(|(source, _)| source.as_str()).collect::<String>();
    write(dir.path(), "config.yaml", &format!("monitoring: {{ prometheus: {{ port: 0 }} }}\nsources:\n{sources}"));
    let found = settle(dir.path(), None, |id| {
        (seen.len() + refused.len(), refused.iter().any(|(s, _)| s.contains(&format!("id: {id},"))))
    });
    for (source, said) in &refused {
        let id = source.split("id: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        let (error, remedy) = (found[id]["error"].as_str().unwrap(), found[id]["remedy"].as_str().unwrap_or_default());
        assert!(error.contains(said) && remedy.contains("parameters.fingerprint"), "{id}: {error}; {remedy}");
    }
    // The variable that other programs know does it, too.
    let plain = source("unknown", "localhost", &by_authority, "");
    write(dir.path(), "config.yaml", &format!("monitoring: {{ prometheus: {{ port: 0 }} }}\nsources:\n{plain}"));
    settle(dir.path(), Some(&ca), |_| (1, false));
    // A file that is none is refused at once.
    let wrong = source("unknown", "localhost", &by_authority, &by_ca(&dir.path().join("config.yaml")));
    write(dir.path(), "config.yaml", &format!("monitoring: {{ prometheus: {{ port: 0 }} }}\nsources:\n{wrong}"));
    let out = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).run();
    assert!(out.code() != 0 && out.stderr.contains("parameters.ca_file"), "{}", out.stderr);
}

/// Runs `config.yaml` until each of its sources runs, or has an error where `expects` says so; how many there are, too.
fn settle(dir: &Path, trusted: Option<&Path>, expects: impl Fn(&str) -> (usize, bool)) -> BTreeMap<String, Value> {
    let mut command = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir);
    if let Some(file) = trusted {
        command = command.env("SSL_CERT_FILE", file.to_str().unwrap());
    }
    let mut run = command.start();
    let page = run.page();
    let until = Instant::now() + MINUTE;
    let found = loop {
        let status: Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
        let sources = status["sources"].as_array().unwrap();
        let found: BTreeMap<String, Value> =
            sources.iter().map(|s| (s["id"].as_str().unwrap().to_owned(), s.clone())).collect();
        let done = found.iter().all(|(id, s)| match expects(id).1 {
            true => s["error"].is_string(),
            false => s["state"] == "running",
        });
        if done && found.keys().all(|id| expects(id).0 == found.len()) {
            break found;
        }
        assert!(Instant::now() < until, "{found:#?}\n{}", run.seen.join("\n"));
        assert!(run.end(Duration::from_millis(50)).is_none());
    };
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
    found
}

#[test]
fn every_phase_up_to_the_first_frame_is_under_the_one_deadline_and_is_named() {
    let (mut backend, sink, _) = backend();
    let cases = [
        ("OPTIONS", "does not answer OPTIONS"),
        ("DESCRIBE", "does not answer DESCRIBE"),
        ("SETUP", "does not answer SETUP"),
        ("PLAY", "does not answer PLAY"),
        ("a packet", "plays, and sends nothing"),
    ];
    let servers = cases.map(|(never, _)| Server::start(Says::Until(never)));
    for ((never, _), server) in cases.iter().zip(&servers) {
        let mut plan = plan(never, &format!("rtsp://127.0.0.1:{}/s", server.port));
        plan.retry.first_frame = Duration::from_secs(1);
        backend.add_source(&plan, sink.clone()).unwrap();
    }
    for (never, said) in cases {
        let story = sink.wait(never, MINUTE, |s| !reasons(s).is_empty());
        let reason = reasons(&story).remove(0);
        assert!(reason.starts_with("no first frame for 1") && reason.contains(said), "{never}: {reason}");
    }
}

#[test]
fn an_answer_that_takes_longer_than_most_is_waited_for_as_long_as_the_deadline_says() {
    let (mut backend, sink, _) = backend();
    let server = Server::start(Says::Late(Duration::from_secs(6), "404 Not Found"));
    backend.add_source(&plan("cam", &format!("rtsp://127.0.0.1:{}/s", server.port)), sink.clone()).unwrap();
    let story = sink.wait("cam", MINUTE, |s| !reasons(s).is_empty());
    assert!(reasons(&story)[0].contains("404"), "{:?}", reasons(&story));
}

#[test]
fn pictures_that_come_slower_than_the_longest_gap_are_no_silence() {
    const TEST: &str = "cameras::pictures_that_come_slower";
    let Some(slow) = Camera::start(TEST, 0, &["--fps", "1", "--key-frames", "1"]) else { return };
    let (mut backend, sink, _) = backend();
    let mut plan = plan("cam", &format!("rtsp://127.0.0.1:{}/cam", slow.port));
    plan.retry.gap = Duration::from_millis(400);
    backend.add_source(&plan, sink.clone()).unwrap();
    let story = sink.wait("cam", MINUTE, |s| s.frames.len() >= 5);
    assert_eq!(reasons(&story), Vec::<String>::new());
}
