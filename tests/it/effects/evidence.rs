//! `sources[].streams` and `sources[].evidence`: what is kept of a camera, what is given out, and what happens when a
//! stream dies.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use dsengine::backend::{Backend as _, SourceState};
use dsengine::config::{Camera as Address, EvidencePlan, Input, RetryPlan, SourcePlan};
use dsengine::gst::GstBackend;
use dsengine::types::since_epoch;
use gstreamer::prelude::*;
use serde_json::{Value, json};

use super::{Bench, LIMIT, poll, stop};
use crate::harness::{Dsengine, Running, get, request, rss_kib, sample, skip, soak, until};
use crate::recorder::{Machine, Recorder};
use crate::sources::Camera;

const TEST: &str = "effects::evidence";

/// A small stream that is analysed: five frames a second.
const SMALL: &[&str] = &["--size", "160x120", "--fps", "5", "--key-frames", "5"];
/// A large one of 25 frames a second, a key frame each second.
const LARGE: &[&str] = &["--size", "640x360", "--fps", "25", "--key-frames", "25"];

/// Retries come soon, and silence is noticed soon.
const HASTY: &str =
    "recovery: { max_retries: 1000, retry_delay: 0.1, max_retry_delay: 0.5, source_timeout_seconds: 3 }\n";

fn config(sources: &str) -> String {
    format!("{HASTY}sources:\n{sources}")
}

fn two_streams(detect: u16, evidence: u16, keys: &str) -> String {
    let at = |port: u16| format!("rtsp://127.0.0.1:{port}/cam");
    config(&format!(
        "  - {{ id: gate, streams: {{ detect: '{}', evidence: '{}' }}{keys} }}\n",
        at(detect),
        at(evidence)
    ))
}

/// The status of a source.
fn status(page: &str, id: &str) -> Option<Value> {
    let (code, body) = get(page, "/api/v1/status");
    let status: Value = serde_json::from_str(&body).ok().filter(|_| code == 200)?;
    status["sources"].as_array()?.iter().find(|source| source["id"] == id).cloned()
}

/// Waits until the status of a source is as wanted.
#[track_caller]
fn wait(run: &mut Running, page: &str, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    poll(run, || status(page, id).filter(&is_so))
}

fn seconds(source: &Value) -> f64 {
    source["evidence"]["seconds"].as_f64().unwrap_or_default()
}

/// An answer: its status, the header X-Evidence, and its body.
fn answer(page: &str, path: &str) -> (u16, Value, Vec<u8>) {
    let mut stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let shown = head.lines().find_map(|line| line.strip_prefix("x-evidence: "));
    let shown = shown.map_or(Value::Null, |shown| serde_json::from_str(shown).unwrap());
    (code, shown, bytes[end + 4..].to_vec())
}

/// What a clip has, by GStreamer's demuxer.
#[derive(Debug)]
struct Read {
    pictures: usize,
    begins_with_a_key_frame: bool,
    seconds: f64,
    /// Pictures that a decoder makes of it.
    decoded: usize,
    size: (i32, i32),
}

/// Reads a clip to its end.
fn read(path: &Path) -> Read {
    gstreamer::init().unwrap();
    let samples = |chain: &str| {
        let text = format!("filesrc location={path:?} ! {chain} ! appsink name=sink sync=false");
        let pipeline = gstreamer::parse::launch(&text).unwrap().downcast::<gstreamer::Pipeline>().unwrap();
        let sink = pipeline.by_name("sink").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
        pipeline.set_state(gstreamer::State::Playing).unwrap();
        let limit = gstreamer::ClockTime::from_seconds(20);
        let all: Vec<_> = std::iter::from_fn(|| sink.try_pull_sample(limit)).collect();
        assert!(sink.is_eos(), "it plays to its end");
        pipeline.set_state(gstreamer::State::Null).unwrap();
        all
    };
    let packets = samples("qtdemux ! parsebin");
    let times: Vec<_> = packets.iter().filter_map(|packet| packet.buffer().unwrap().pts()).collect();
    let decoded = samples("decodebin ! videoconvert ! video/x-raw,format=I420");
    let form = decoded[0].caps().unwrap().structure(0).unwrap().to_owned();
    Read {
        pictures: packets.len(),
        begins_with_a_key_frame: !packets[0].buffer().unwrap().flags().contains(gstreamer::BufferFlags::DELTA_UNIT),
        seconds: (*times.iter().max().unwrap() - *times.iter().min().unwrap()).nseconds() as f64 / 1e9,
        decoded: decoded.len(),
        size: (form.get("width").unwrap(), form.get("height").unwrap()),
    }
}

/// A moment in a header or a status, in seconds.
fn moment(value: &Value) -> f64 {
    since_epoch(value.as_str().unwrap()).unwrap().as_secs_f64()
}

#[test]
fn evidence_is_kept_of_a_cameras_other_stream_and_given_out_as_clip_and_picture() {
    let (Some(small), Some(large)) = (Camera::start(TEST, 0, SMALL), Camera::start(TEST, 0, LARGE)) else { return };
    let bench = Bench::new();
    let mut run = bench.start(&two_streams(small.port, large.port, ", evidence: { pre_seconds: 30 }"));
    let page = run.page();
    let gate = wait(&mut run, &page, "gate", |gate| seconds(gate) >= 3.0 && gate["judged"].as_u64() > Some(0));
    let evidence = &gate["evidence"];
    assert_eq!((&evidence["stream"], &evidence["state"]), (&json!("evidence"), &json!("running")));
    assert_eq!(evidence["format"], "h264 640x360", "the large stream is kept, the small one is analysed");

    // A clip of two seconds begins at the key frame before them.
    let (code, shown, mp4) = answer(&page, "/api/v1/sources/gate/evidence.mp4?before=2");
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&mp4));
    std::fs::write(bench.path("clip.mp4"), &mp4).unwrap();
    let clip = read(&bench.path("clip.mp4"));
    assert!(clip.begins_with_a_key_frame && clip.size == (640, 360), "{clip:?}");
    assert_eq!(
        (clip.pictures, clip.decoded),
        (shown["pictures"].as_u64().unwrap() as usize, clip.pictures),
        "{clip:?}"
    );
    let covers = moment(&shown["to"]) - moment(&shown["from"]);
    assert!((2.0..3.1).contains(&covers) && (clip.seconds - covers).abs() < 0.1, "{shown} {clip:?}");

    // The picture of a moment, in the size of the large stream.
    let at = shown["from"].as_str().unwrap();
    let (code, still, jpeg) = answer(&page, &format!("/api/v1/sources/gate/evidence.jpg?at={at}"));
    assert_eq!((code, &jpeg[..2]), (200, &b"\xff\xd8"[..]), "{}", String::from_utf8_lossy(&jpeg));
    assert!((moment(&still["from"]) - moment(&shown["from"])).abs() < 0.002, "{still}");
    let (_, newest, _) = answer(&page, "/api/v1/sources/gate/evidence.jpg");
    assert!(moment(&newest["from"]) > moment(&still["from"]) + 1.0, "{newest}");

    // By the program.
    let cli = |args: &[&str]| {
        let out = Dsengine::new([&["sources", "evidence", "gate", "--at", &page], args].concat());
        out.cwd(bench.dir.path()).run()
    };
    let out = cli(&["-o", "cli.mp4", "--time", "-1s", "--before", "1"]).expect(0);
    assert!(out.stdout.contains("cli.mp4: ") && out.stdout.contains("offset to the analysed stream"), "{}", out.stdout);
    let clip = read(&bench.path("cli.mp4"));
    assert!(clip.begins_with_a_key_frame && clip.seconds >= 0.9, "{clip:?}");
    cli(&["-o", "cli.jpg"]).expect(0);
    assert!(std::fs::read(bench.path("cli.jpg")).unwrap().starts_with(b"\xff\xd8"));
    let out = cli(&["-o", "no.mp4", "--time", "-1h"]).expect(1);
    assert!(out.stderr.contains("nothing of that time is kept") && !bench.path("no.mp4").exists(), "{}", out.stderr);
    let listed = Dsengine::new(["sources", "list", "--at", &page]).run().expect(0).stdout;
    assert!(listed.contains("evidence: stream evidence is running") && listed.contains("rtsp://127.0.0.1"), "{listed}");

    // What is not there, is not asked for rightly, or is not kept.
    for (path, code, said) in [
        ("gate/evidence.mp4?from=2020-01-01T00:00:00Z&to=2020-01-01T00:01:00Z", 404, "nothing of that time is kept"),
        ("gate/evidence.mp4?from=2020-01-01T00:00:00Z", 400, "belong together"),
        ("gate/evidence.mp4?before=-1", 400, "before: from 0 to 3600"),
        ("gate/evidence.jpg?at=noon", 400, "a time is written as"),
        ("gate/evidence.mp4?alert=none", 404, "is not in memory"),
        ("yard/evidence.mp4", 404, "there is no source 'yard'"),
    ] {
        let (got, body) = get(&page, &format!("/api/v1/sources/{path}"));
        assert!(got == code && body.contains(said), "{path}: {got} {body}");
    }
    let (_, metrics) = get(&page, "/metrics");
    let of = |series: &str| sample(&metrics, series);
    assert_eq!(of("dsengine_source_stream_up{source=\"gate\",stream=\"evidence\"}"), Some(1.0));
    assert!(of("dsengine_evidence_seconds{source=\"gate\"}") >= Some(3.0), "{metrics}");
    assert!(of("dsengine_evidence_bytes{source=\"gate\"}") > Some(0.0));
    stop(run);
}

#[test]
fn as_much_evidence_is_kept_as_the_keys_say() {
    let noise = ["--size", "320x240", "--fps", "25", "--key-frames", "10", "--pattern", "snow", "--bitrate", "8000"];
    let Some(camera) = Camera::start(TEST, 0, &noise) else { return };
    let at = format!("uri: 'rtsp://127.0.0.1:{}/cam'", camera.port);
    let bench = Bench::new();
    let mut run = bench.start(&config(&format!(
        "  - {{ id: short, {at}, fps: 1, evidence: {{ pre_seconds: 2 }} }}\n  - {{ id: small, {at}, fps: 1, evidence: \
         {{ pre_seconds: 600, max_mb: 1 }} }}\n  - {{ id: none, {at}, fps: 1 }}\n"
    )));
    let page = run.page();
    // One stream: its packets are kept before they are decoded.
    let dropped = |source: &Value| source["evidence"]["dropped"]["bytes"].as_u64().unwrap_or_default();
    let small = wait(&mut run, &page, "small", |source| dropped(source) > 20);
    assert_eq!(small["evidence"]["stream"], "detect");
    wait(&mut run, &page, "short", |source| seconds(source) >= 1.99);
    for _ in 0..20 {
        let short = status(&page, "short").unwrap();
        let held = seconds(&short);
        // Two seconds, and at most one group of 0.4 s more.
        assert!((1.9..=2.5).contains(&held), "{short}");
        let bytes = status(&page, "small").unwrap()["evidence"]["bytes"].as_u64().unwrap();
        assert!((400_000..=1_000_000).contains(&bytes), "{bytes}");
        run.end(Duration::from_millis(40));
    }
    assert!(status(&page, "none").unwrap().get("evidence").is_none());
    let (code, body) = get(&page, "/api/v1/sources/none/evidence.mp4");
    assert!(code == 404 && body.contains("`sources[].evidence` is not set"), "{body}");
    // A clip of the stream that is analysed, and other limits while it runs.
    let (code, shown, mp4) = answer(&page, "/api/v1/sources/short/evidence.mp4?before=1");
    assert_eq!(code, 200);
    std::fs::write(bench.path("clip.mp4"), &mp4).unwrap();
    let clip = read(&bench.path("clip.mp4"));
    assert!(clip.begins_with_a_key_frame && clip.decoded == clip.pictures && clip.seconds >= 0.95, "{clip:?} {shown}");
    let before = status(&page, "short").unwrap();
    let (code, body) = request("PATCH", &page, "/api/v1/sources/short", "{\"evidence\": {\"pre_seconds\": 1}}");
    assert_eq!(code, 200, "{body}");
    let after = wait(&mut run, &page, "short", |source| seconds(source) <= 1.5);
    assert!(after["frames"].as_u64() >= before["frames"].as_u64(), "the source was not started again");
    stop(run);
}

#[test]
fn either_stream_dies_and_comes_back_alone_and_an_address_changes_alone() {
    let (small, large) = (Camera::start(TEST, 0, SMALL), Camera::start(TEST, 0, LARGE));
    let (Some(mut small), Some(mut large)) = (small, large) else { return };
    let bench = Bench::new();
    let mut run = bench.start(&two_streams(small.port, large.port, ", evidence: { pre_seconds: 60 }"));
    let page = run.page();
    let is_up =
        |gate: &Value| gate["evidence"]["state"] == "running" && gate["state"] == "running" && seconds(gate) > 0.5;
    wait(&mut run, &page, "gate", is_up);

    // The evidence's stream dies: the other goes on, and what was kept is still given out.
    large.kill();
    let gate = wait(&mut run, &page, "gate", |gate| gate["evidence"]["error"].is_string());
    assert_ne!(gate["evidence"]["state"], "running", "{gate}");
    let judged = |gate: &Value| gate["judged"].as_u64().unwrap();
    let gate = wait(&mut run, &page, "gate", |later| judged(later) > judged(&gate) + 3);
    assert_eq!((&gate["state"], &gate["reconnects"]), (&json!("running"), &json!(0)));
    let (_, health) = get(&page, "/health");
    assert!(health.contains("degraded") && health.contains("the evidence stream of source gate is"), "{health}");
    let (_, metrics) = get(&page, "/metrics");
    assert_eq!(sample(&metrics, "dsengine_source_stream_up{source=\"gate\",stream=\"evidence\"}"), Some(0.0));
    assert!(
        sample(&metrics, "dsengine_source_stream_reconnects_total{source=\"gate\",stream=\"evidence\"}") > Some(0.0)
    );
    assert_eq!(answer(&page, "/api/v1/sources/gate/evidence.mp4?before=60").0, 200);

    // It returns: it goes on, and a clip goes over the gap.
    let kept = gate["evidence"]["pictures"].as_u64().unwrap();
    let large = Camera::start(TEST, large.port, LARGE).unwrap();
    let gate =
        wait(&mut run, &page, "gate", |gate| is_up(gate) && gate["evidence"]["pictures"].as_u64() > Some(kept + 25));
    assert_eq!((&gate["evidence"]["error"], &gate["reconnects"]), (&Value::Null, &json!(0)));
    let (_, shown, mp4) = answer(&page, "/api/v1/sources/gate/evidence.mp4?before=60");
    std::fs::write(bench.path("gap.mp4"), &mp4).unwrap();
    let clip = read(&bench.path("gap.mp4"));
    assert!(clip.pictures as u64 > kept && clip.begins_with_a_key_frame, "{shown} {clip:?}");
    assert_eq!(clip.decoded, clip.pictures, "{shown} {clip:?}");

    // The analysed stream dies: evidence is kept.
    small.kill();
    let gate = wait(&mut run, &page, "gate", |gate| gate["state"] != "running");
    let kept = gate["evidence"]["pictures"].as_u64();
    let gate = wait(&mut run, &page, "gate", |gate| gate["evidence"]["pictures"].as_u64() > kept.map(|n| n + 25));
    assert_eq!((&gate["evidence"]["state"], gate["state"] == "running"), (&json!("running"), false));
    let _small = Camera::start(TEST, small.port, SMALL).unwrap();
    let gate = wait(&mut run, &page, "gate", is_up);

    // Another address of the evidence: the analysed stream is not touched, and what was kept stays.
    let other = Camera::start(TEST, 0, &["--size", "320x180", "--fps", "25", "--key-frames", "25"]).unwrap();
    let edit = json!({ "streams": { "evidence": format!("rtsp://viewer:C4n4ry@127.0.0.1:{}/cam", other.port) } });
    let (code, body) = request("PATCH", &page, "/api/v1/sources/gate", &edit.to_string());
    assert!(code == 200 && !body.contains("C4n4ry"), "{body}");
    let reconnects = gate["reconnects"].clone();
    let changed = wait(&mut run, &page, "gate", |gate| gate["evidence"]["format"] == "h264 320x180");
    assert_eq!((&changed["reconnects"], &changed["state"]), (&reconnects, &json!("running")));
    assert!(judged(&changed) >= judged(&gate) && changed["evidence"]["from"] == gate["evidence"]["from"], "{changed}");
    for path in ["/api/v1/sources/gate", "/api/v1/config", "/api/v1/sources", "/api/v1/status"] {
        let (code, body) = get(&page, path);
        assert!(code == 200 && !body.contains("C4n4ry"), "{path}: {body}");
    }
    drop(other);
    wait(&mut run, &page, "gate", |gate| gate["evidence"]["error"].is_string());
    drop(large);
    let said = stop(run);
    assert!(said.iter().all(|line| !line.contains("C4n4ry")), "{said:?}");
}

#[test]
fn evidence_that_cannot_be_kept_is_refused_with_its_place() {
    let bench = Bench::new();
    for (source, said) in [
        (
            "uri: 'rtsp://h/a', evidence: { pre_seconds: 5 }, blackout: [[[0, 0], [1, 0], [1, 1]]]",
            "cannot be painted over",
        ),
        (
            "streams: { detect: 'rtsp://h/a', evidence: 'rtsp://h/b' }, blackout: [[[0, 0], [1, 0], [1, 1]]]",
            "cannot be painted over",
        ),
        ("uri: 'rtsp://h/a', streams: { evidence: 'rtsp://h/b' }", "has both `uri` and `streams`"),
        ("streams: { evidence: 'rtsp://h/b' }", "has no `detect`"),
        ("streams: { detect: 'rtsp://h/a', evidence: clip.mp4 }", "evidence is kept of a camera's stream"),
        ("streams: { detect: 'rtsp://h/a', evidence: 'admin:C4n4ry@h/b' }", "has no scheme"),
        ("streams: { detect: 'test:', evidence: 'rtsp://h/b' }", "only a camera has two streams and evidence"),
        ("uri: 'test:', evidence: { pre_seconds: 5 }", "only a camera has two streams and evidence"),
        ("uri: 'rtsp://h/a', evidence: { pre_seconds: 0.5 }", "pre_seconds"),
        ("uri: 'rtsp://h/a', evidence: { max_mb: 2000 }", "max_mb"),
    ] {
        let out = bench.command("validate", &format!("sources:\n  - {{ id: gate, {source} }}\n"), &[]).run();
        assert!(out.stderr.contains(said) && out.stderr.contains(".yaml:2:"), "{source}: {}", out.stderr);
        assert!(!out.stderr.contains("C4n4ry"), "{}", out.stderr);
        out.expect(2);
    }
}

/// The size of a JPEG, from its frame header.
fn size(jpeg: &[u8]) -> (u16, u16) {
    let mut rest = &jpeg[2..];
    loop {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if (0xc0..=0xc2).contains(&rest[1]) {
            return (u16::from_be_bytes([rest[7], rest[8]]), u16::from_be_bytes([rest[5], rest[6]]));
        }
        rest = &rest[2 + length..];
    }
}

#[test]
fn the_picture_of_an_alert_is_that_of_the_evidence_and_the_frames_own_where_there_is_none() {
    let (Some(small), Some(mut large)) = (Camera::start(TEST, 0, SMALL), Camera::start(TEST, 0, LARGE)) else { return };
    let bench = Bench::new();
    bench.write(
        "each.lua",
        "function detect(frame)\n  frame:alert{ rule = 'each', key = tostring(frame.seq), message = 'm' }\nend\n",
    );
    let rule = "detection: { strategies: [{ name: each, module: each.lua }] }\n\
                alerts: { throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0 }\n";
    let config = two_streams(small.port, large.port, ", fps: 1") + rule;
    let mut run = bench.command("run", &config, &["--port", "0", "--state", "state"]).start();
    let page = run.page();
    let newest = |page: &str| -> Option<Value> {
        let alerts: Value = serde_json::from_str(&get(page, "/api/v1/alerts?limit=1").1).ok()?;
        Some(alerts.get(0)?.clone()).filter(|alert| alert["picture"] == true)
    };
    let picture = |page: &str, alert: &Value, which: &str| {
        let (code, _, jpeg) =
            answer(page, &format!("/api/v1/alerts/{}/picture.jpg{which}", alert["id"].as_str().unwrap()));
        assert_eq!(code, 200, "{alert}");
        size(&jpeg)
    };
    // Both streams have reported when they captured what they send.
    // One machine captures both, so nothing but encoding, sending and decoding is in between.
    let is_near = |ms: &Value| ms.as_f64().is_some_and(|ms| ms.abs() < 250.0);
    wait(&mut run, &page, "gate", |gate| {
        gate["evidence"]["offset_by"] == "sender_reports" && is_near(&gate["evidence"]["offset_ms"])
    });
    let alert = poll(&mut run, || newest(&page).filter(|alert| alert["evidence"]["offset_by"] == "sender_reports"));
    assert_eq!(alert["evidence"]["stream"], "evidence", "{alert}");
    assert_eq!((picture(&page, &alert, ""), picture(&page, &alert, "?clean=1")), ((640, 360), (640, 360)));
    let id = alert["id"].as_str().unwrap();
    let (code, shown, mp4) = answer(&page, &format!("/api/v1/sources/gate/evidence.mp4?alert={id}&before=1&after=1"));
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&mp4));
    std::fs::write(bench.path("alert.mp4"), &mp4).unwrap();
    let clip = read(&bench.path("alert.mp4"));
    assert!(clip.begins_with_a_key_frame && clip.decoded == clip.pictures && clip.size == (640, 360), "{clip:?}");
    let at = moment(&alert["time"]) + alert["evidence"]["offset_ms"].as_f64().unwrap() / 1e3;
    assert!(moment(&shown["from"]) <= at - 0.95 && moment(&shown["to"]) >= at - 0.1, "{shown} {alert}");

    // Without the evidence's stream, alerts go on with the pictures of their frames.
    large.kill();
    let gate = wait(&mut run, &page, "gate", |gate| gate["evidence"]["error"].is_string());
    let after = moment(&gate["evidence"]["to"]) + 2.0;
    let alert = poll(&mut run, || newest(&page).filter(|alert| moment(&alert["time"]) > after));
    assert_eq!(picture(&page, &alert, ""), (160, 120));
    stop(run);
}

#[test]
fn evidence_in_h265_is_kept_too() {
    if gstreamer::init().is_err() || gstreamer::ElementFactory::find("x265enc").is_none() {
        skip("effects::evidence::evidence_in_h265", "GStreamer has no x265enc here");
        return;
    }
    let small = ["--size", "320x240", "--fps", "10", "--key-frames", "10", "--codec", "h265"];
    let Some(camera) = Camera::start(TEST, 0, &small) else { return };
    let bench = Bench::new();
    let at = format!("uri: 'rtsp://127.0.0.1:{}/cam'", camera.port);
    let mut run = bench.start(&config(&format!("  - {{ id: gate, {at}, evidence: {{}} }}\n")));
    let page = run.page();
    let gate = wait(&mut run, &page, "gate", |gate| seconds(gate) >= 2.0);
    assert_eq!(gate["evidence"]["format"], "h265 320x240");
    let (code, _, mp4) = answer(&page, "/api/v1/sources/gate/evidence.mp4?before=1");
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&mp4));
    std::fs::write(bench.path("clip.mp4"), &mp4).unwrap();
    let clip = read(&bench.path("clip.mp4"));
    assert!(clip.begins_with_a_key_frame && clip.decoded == clip.pictures && clip.seconds >= 0.9, "{clip:?}");
    let (code, _, jpeg) = answer(&page, "/api/v1/sources/gate/evidence.jpg");
    assert_eq!((code, size(&jpeg)), (200, (320, 240)));
    stop(run);
}

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn streams_that_come_and_go_leave_nothing_behind() {
    // In a process of its own, whose threads and files are nobody else's.
    const ALONE: &str = "DSENGINE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "effects::evidence::streams_that_come_and_go_leave_nothing_behind";
        let program = std::env::current_exe().unwrap();
        let mut alone = std::process::Command::new(program);
        let status = alone.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, "1").status();
        assert!(status.unwrap().success());
        return;
    }
    let often = ["--size", "160x120", "--fps", "25", "--key-frames", "5"];
    let (Some(small), Some(a)) = (Camera::start(TEST, 0, SMALL), Camera::start(TEST, 0, &often)) else { return };
    let b = Camera::start(TEST, 0, &often).unwrap();
    let address =
        |camera: &Camera| Address::read(&format!("rtsp://127.0.0.1:{}/cam", camera.port)).map(Box::new).unwrap();
    let second = Duration::from_secs(1);
    let retry = RetryPlan {
        max_retries: 100,
        base: second,
        cap: second,
        exponential: true,
        first_frame: 20 * second,
        gap: 20 * second,
    };
    let plan = |camera: &Camera| {
        let evidence = EvidencePlan { time: second, ..EvidencePlan::new(Some(address(camera))) };
        SourcePlan { evidence: Some(evidence), ..SourcePlan::new("gate", Input::Rtsp(address(&small)), retry.clone()) }
    };
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock).unwrap();
    backend.add_source(&plan(&a), sink.clone()).unwrap();
    sink.wait("gate", LIMIT, |story| !story.frames.is_empty());
    let (rounds, warm) = if soak() { (1_000, 50) } else { (24, 6) };
    let mut at_first = (0, 0, 0);
    for round in 0..rounds {
        backend.change_source(&plan(if round % 2 == 0 { &b } else { &a })).unwrap();
        let kept = backend.evidence(&"gate".into()).unwrap();
        let before = kept.newest_ns();
        until("the other stream is kept", || kept.newest_ns() > before);
        if round % 6 == 0 {
            let newest = kept.newest_ns().unwrap();
            let clip = kept.clip(newest, newest).unwrap();
            assert!(clip.pictures > 0 && kept.picture(newest, Duration::ZERO).is_ok());
        }
        if round == warm {
            let (threads, files) = held();
            at_first = (threads, files, rss_kib(std::process::id()));
        }
    }
    // The threads of a pipeline that was shut down end a moment later.
    until("threads and descriptors are those of the beginning", || {
        let (threads, files) = held();
        threads <= at_first.0 + 1 && files <= at_first.1 + 1
    });
    let grown = rss_kib(std::process::id()).saturating_sub(at_first.2);
    assert!(grown < 5 << 10, "{grown} KiB more after {rounds} streams");
    assert_eq!(sink.story("gate").states().iter().filter(|s| **s == SourceState::Connecting).count(), 1, "one start");
    backend.stop(Duration::from_secs(3));
}
