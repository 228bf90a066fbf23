//! `dsengine sources test`: one sentence for each thing that may be wrong with a source, or what comes of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gstreamer::prelude::*;
use serde_json::Value;

use crate::harness::{ClosedPort, Dsengine, Outcome, bar, write};
use crate::sources::Camera;

/// The password of each camera here, which nothing may print.
const CANARY: &str = "C4n4ry-w0rd";

fn test(args: &[&str]) -> Outcome {
    let out = Dsengine::new([&["sources", "test"], args].concat()).run();
    assert!(!out.stdout.contains(CANARY) && !out.stderr.contains(CANARY), "{}{}", out.stdout, out.stderr);
    out
}

/// What is said of a source that does not work.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let out = test(args).expect(1);
    assert_eq!(out.stdout, "", "an error is on standard error");
    let lines: Vec<&str> = out.stderr.lines().collect();
    let [line] = lines[..] else { panic!("one sentence: {}", out.stderr) };
    line.to_owned()
}

/// A server of RTSP that answers every request but OPTIONS with a status, or with nothing at all.
fn server(status: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                let (mut seq, mut method) = (String::new(), String::new());
                while let Some(Ok(line)) = lines.next() {
                    if line.ends_with("RTSP/1.0") {
                        method = line.split(' ').next().unwrap_or_default().to_owned();
                    }
                    if let Some(value) = line.strip_prefix("CSeq: ") {
                        seq = value.to_owned();
                    }
                    if let (true, Some(status)) = (line.is_empty(), status) {
                        let status =
                            if method == "OPTIONS" { "200 OK\r\nPublic: DESCRIBE, SETUP, PLAY" } else { status };
                        let _ = (&stream).write_all(format!("RTSP/1.0 {status}\r\nCSeq: {seq}\r\n\r\n").as_bytes());
                    }
                }
            });
        }
    });
    port
}

#[test]
fn what_is_wrong_with_an_address_is_one_sentence_with_its_remedy() {
    let closed = ClosedPort::take();
    let at = |port: u16| format!("rtsp://admin:{CANARY}@127.0.0.1:{port}/s");
    for (address, wanted) in [
        (format!("rtsp://admin:{CANARY}@no-such-name.invalid/s"), "no-such-name.invalid"),
        (at(closed.port), "connection refused): is the camera on"),
        (at(server(Some("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"c\""))), "correct user and password"),
        (at(server(Some("403 Forbidden"))), "give the user the right there"),
        (at(server(Some("404 Not Found"))), "write the path in its manual"),
        (at(server(Some("503 Service Unavailable"))), "serves no more viewers"),
        (at(server(Some("404 Not Found"))).replace("rtsp://", "rtsps://"), "TLS"),
        ("/nowhere/a.mp4".to_owned(), "/nowhere/a.mp4"),
        ("scene:no-such-scene".to_owned(), "no-such-scene"),
    ] {
        // A name that no server answers for may take long.
        let said = refused(&[&address, "--timeout", "20"]);
        assert!(said.starts_with("error: ") && said.contains(wanted), "{address}: {said}");
    }
    let open = server(Some("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"c\""));
    let said = refused(&[&format!("rtsp://127.0.0.1:{open}/s")]);
    assert!(said.contains("write user and password into the uri"), "{said}");
    let said = refused(&[&at(server(None)), "--timeout", "1"]);
    assert!(said.contains("does not answer OPTIONS"), "{said}");
    let out = test(&[&at(closed.port), "--json"]).expect(1);
    assert_eq!((out.json()["ok"].as_bool(), out.stderr.as_str()), (Some(false), ""));
    assert!(out.json()["error"].as_str().unwrap().contains("connection refused"));
}

/// A clip of ten pictures; `encoder` makes it.
pub(crate) fn clip(dir: &Path, name: &str, encoder: &str) -> PathBuf {
    let path = dir.join(name);
    let text = format!(
        "videotestsrc num-buffers=10 ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! {encoder} ! \
         filesink location={}",
        path.display()
    );
    gstreamer::init().unwrap();
    let pipeline = gstreamer::parse::launch(&text).unwrap();
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    let limit = gstreamer::ClockTime::from_seconds(60);
    pipeline.bus().unwrap().timed_pop_filtered(limit, &[gstreamer::MessageType::Eos]).expect("it is written");
    pipeline.set_state(gstreamer::State::Null).unwrap();
    path
}

#[test]
fn what_comes_of_a_source_is_said_for_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let jpegs = clip(dir.path(), "a.mkv", "jpegenc ! matroskamux");
    let file = test(&[jpegs.to_str().unwrap()]).expect(0).stdout;
    assert!(file.contains("first frame after") && file.contains("MJPEG, 320 x 240, 10 frames/s"), "{file}");
    assert!(file.contains("decoded by jpegdec (software)") || file.contains("decoded by avdec_mjpeg"), "{file}");
    assert!(test(&["test:size=64x48,fps=10"]).expect(0).stdout.contains("64 x 48, 10 frames/s"));
    assert!(test(&["scene:street"]).expect(0).stdout.contains(" x "));
    let detections = test(&["scene:street?pixels=false"]).expect(0).stdout;
    assert!(detections.contains("detections without pictures"), "{detections}");
    let trace = dir.path().join("t.jsonl");
    let record = ["record", "--source", "scene:street?pixels=false", "-o", trace.to_str().unwrap()];
    Dsengine::new(record).run().expect(0);
    let trace = test(&[&format!("trace:{}", trace.display())]).expect(0).stdout;
    assert!(trace.contains("detections without pictures"), "{trace}");
    let sound = clip(dir.path(), "sound.wav", "fakesink audiotestsrc num-buffers=5 ! wavenc");
    let said = refused(&[sound.to_str().unwrap()]);
    assert!(said.contains("there is no video stream in it"), "{said}");
}

#[test]
fn a_camera_is_described_and_one_of_a_configuration_is_tested_by_its_id() {
    const TEST: &str = "source_test::a_camera_is_described";
    let args = ["--user", "admin", "--password", CANARY, "--fps", "20"];
    let Some(camera) = Camera::start(TEST, 0, &args) else { return };
    let dir = tempfile::tempdir().unwrap();
    let address = format!("rtsp://admin:{CANARY}@127.0.0.1:{}", camera.port);
    let config = write(
        dir.path(),
        "c.yaml",
        &format!(
            "sources: [{{ id: gate, uri: '{address}/cam', parameters: {{ protocol: udp }} }}, \
             {{ id: off, uri: test, enabled: false }}]\n\
             detection: {{ strategies: [{{ name: gone, module: gone.lua }}] }}\n"
        ),
    );
    let said = test(&[&format!("{address}/cam")]).expect(0).stdout;
    assert!(said.starts_with("ok: rtsp://") && said.contains("H.264, 320 x 240"), "{said}");
    assert!(said.contains("frames/s") && said.contains("over TCP, decoded by"), "{said}");
    let config = config.to_str().unwrap();
    let said = test(&["gate", "--config", config]).expect(0).stdout;
    assert!(said.contains("over UDP"), "its own parameters hold: {said}");
    let answer = test(&["gate", "--config", config, "--json"]).expect(0).json();
    assert_eq!(answer["stream"]["codec"], "H.264");
    assert_eq!((&answer["width"], &answer["ok"]), (&Value::from(320), &Value::from(true)));
    assert!(answer["first_frame_ms"].as_u64().unwrap() > 0);
    let off = test(&["off", "--config", config]).expect(2);
    assert!(off.stderr.contains("switched off"), "{}", off.stderr);
    for (uri, wanted) in [
        (format!("{address}/other"), "404 Not Found"),
        (format!("{address}/cam").replace(CANARY, "x"), "(401 Unauthorized)"),
    ] {
        let said = refused(&[&uri]);
        assert!(said.contains(wanted), "{said}");
    }
    let Some(sound) = Camera::start(TEST, 0, &["--sound"]) else { return };
    let said = refused(&[&format!("rtsp://127.0.0.1:{}/cam", sound.port)]);
    assert!(said.contains("there is no video in what 127.0.0.1"), "{said}");
}

#[test]
fn ctrl_c_ends_a_test_that_waits() {
    let address = format!("rtsp://127.0.0.1:{}/s", server(None));
    let mut test = Dsengine::new(["sources", "test", &address, "--timeout", "600"]).start();
    let connected = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() > 4);
    crate::harness::until("it connects", || connected(test.pid()));
    let begun = Instant::now();
    test.signal("INT");
    let status = test.end(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(begun.elapsed() < bar(Duration::from_millis(500)), "{:?}", begun.elapsed());
}
