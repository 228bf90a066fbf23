//! `dsengine sources discover`, against a camera's ONVIF side in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Dsengine, Outcome, bar, root, skip, soak, write};

/// The camera (`tests/doubles/onvif_camera.py` says what the options mean). Killed when dropped.
struct Camera {
    process: Child,
    dir: tempfile::TempDir,
    /// `host:port` of its WS-Discovery.
    at: String,
    http: u16,
}

impl Camera {
    fn start(options: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new("python3")
            .arg(root().join("tests/doubles/onvif_camera.py"))
            .args([options.to_string(), dir.path().join("asked.jsonl").display().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        Self { process, dir, at: format!("127.0.0.1:{}", ports[0]), http: ports[1] }
    }

    /// The questions so far.
    fn asked(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("asked.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asks it alone.
    fn discover(&self, args: &[&str]) -> Outcome {
        let args = [&["sources", "discover", "--host", &self.at, "--timeout", "1"], args].concat();
        Dsengine::new(args).env("DSENGINE_CAMERA_PASSWORD", "pä<ss&").run()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

fn guarded(more: Value) -> Value {
    let mut options = json!({ "user": "admin", "password": "pä<ss&" });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

#[test]
fn a_camera_is_found_by_multicast_and_its_block_is_a_configuration() {
    let camera = Camera::start(&guarded(json!({ "group": true, "skew": 7200 })));
    let args = ["sources", "discover", "--interface", "127.0.0.1", "--timeout", "1", "--user", "admin"];
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "password", "pä<ss&\n");
    let out = Dsengine::new([&args[..], &["--password-file", file.to_str().unwrap()]].concat()).run().expect(0);
    for wanted in [
        "127.0.0.1  Double of a camera  Double D-1\n",
        "  Main: H264, 1920 x 1080, 25 frames/s  rtsp://127.0.0.1:554/main?x=1&y=2\n",
        "  Sub: H264, 640 x 360, 10 frames/s  rtsp://127.0.0.1:554/sub?x=1&y=2\n",
        "  note: its clock says",
        "\nsources:\n  - id: double-of-a-camera\n    name: \"Double of a camera\"\n",
        "    #   detect: \"rtsp://${env:CAMERA_USER}:${env:CAMERA_PASSWORD}@127.0.0.1:554/sub?x=1&y=2\"",
    ] {
        assert!(out.stdout.contains(wanted), "{wanted}: {}", out.stdout);
    }
    assert!(!out.stdout.contains("C4n4ry") && !out.stdout.contains("pä<ss&"), "{}", out.stdout);
    assert_eq!(camera.asked().iter().filter(|asked| asked["asked"] == "Probe").count(), 3, "asked three times");
    let (_, block) = out.stdout.split_once("\n\n").unwrap();
    write(dir.path(), "c.yaml", block);
    let validate = Dsengine::new(["validate", "c.yaml"]).cwd(dir.path());
    let judged = validate.env("CAMERA_USER", "admin").env("CAMERA_PASSWORD", "p@ss").run().expect(0);
    assert!(judged.stdout.contains("1 source") || judged.stdout.contains("double-of-a-camera"), "{}", judged.stdout);
}

#[test]
fn a_camera_that_wants_a_login_says_so() {
    let camera = Camera::start(&guarded(json!({})));
    let out = camera.discover(&[]).expect(0);
    assert!(out.stdout.contains("it requires a user and a password: give them with --user"), "{}", out.stdout);
    assert!(!out.stdout.contains("sources:"), "{}", out.stdout);
    let out = camera.discover(&["--user", "nobody"]).expect(0);
    assert!(out.stdout.contains("it refuses the user or the password"), "{}", out.stdout);
    let found = camera.discover(&["--user", "admin", "--json"]).expect(0).json();
    assert_eq!(found[0]["profiles"][0]["uri"], "rtsp://127.0.0.1:554/main?x=1&y=2");
    assert_eq!(found[0]["model"], "Double D-1");
    let digest = Camera::start(&guarded(json!({ "http": true })));
    let found = digest.discover(&["--user", "admin", "--json"]).expect(0).json();
    assert_eq!(found[0]["profiles"].as_array().unwrap().len(), 2, "{found}");
    assert!(digest.asked().iter().all(|asked| !asked["authorization"].to_string().contains("Basic")));
}

#[test]
fn a_camera_that_lies_is_not_followed_and_not_believed() {
    let other = Camera::start(&json!({}));
    let elsewhere = format!("http://localhost:{}/onvif/device_service", other.http);
    let lying = Camera::start(&json!({ "xaddrs": elsewhere }));
    let out = lying.discover(&[]).expect(0);
    assert!(out.stdout.contains("another address, which is not asked"), "{}", out.stdout);
    assert!(out.stdout.contains("names no service at its own address"), "{}", out.stdout);
    let lying = Camera::start(&json!({ "media": elsewhere, "hosts": "192.0.2.9", "name": "a%0A%22%5D" }));
    let out = lying.discover(&["--user", "admin"]).expect(0);
    assert!(out.stdout.contains("do not send it a password"), "{}", out.stdout);
    assert!(!out.stdout.contains("sources:"), "nothing to paste with a password: {}", out.stdout);
    assert_eq!(other.asked(), Vec::<Value>::new(), "nobody asks another host");
    for answer in ["endless", "bomb"] {
        let hostile = Camera::start(&json!({ "answer": answer }));
        let begun = Instant::now();
        let out = hostile.discover(&[]).expect(0);
        assert!(out.stdout.contains("its streams are not known"), "{answer}: {}", out.stdout);
        assert!(begun.elapsed() < bar(Duration::from_secs(4)), "{answer}: {:?}", begun.elapsed());
    }
    let nobody = Dsengine::new(["sources", "discover", "--host", "127.0.0.1:9", "--timeout", "0.3"]).run().expect(1);
    assert!(nobody.stderr.contains("no camera answered"), "{}", nobody.stderr);
}

#[test]
fn a_camera_of_another_maker_is_found() {
    if !soak() {
        return;
    }
    let python = root().join("target/peers/bin/python");
    if !python.exists() {
        return skip(
            "discover::a_camera_of_another_maker_is_found",
            "ipycam is not in target/peers (./dev soak peers)",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "camera.json",
        r#"{"local_ip":"127.0.0.1","onvif_port":18080,"rtsp_port":18556,"main_width":640,"main_height":360,
            "main_fps":10,"main_bitrate":"1M","main_stream_name":"main","sub_stream_name":"sub","hw_accel":"cpu"}"#,
    );
    crate::source_test::clip(dir.path(), "clip.mp4", "x264enc ! mp4mux");
    let script = "set -e; ip link set lo up; ip link set lo multicast on; ip route add 224.0.0.0/4 dev lo; \
                  \"$1\" -m ipycam --config camera.json --source clip.mp4 --hw cpu --no-timestamp > log 2>&1 & camera=$!; \
                  trap 'kill $camera' EXIT; shift; n=0; \
                  until \"$@\" > found 2> errors || [ $n -ge 20 ]; do n=$((n + 1)); done; cat found errors";
    let mut args = vec!["-n", "sh", "-c", script, "sh", python.to_str().unwrap()];
    let program = env!("CARGO_BIN_EXE_dsengine");
    args.extend([program, "sources", "discover", "--interface", "127.0.0.1", "--timeout", "2"]);
    let out = Command::new("unshare").args(args).current_dir(dir.path()).output().unwrap();
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.contains("rtsp://127.0.0.1:18556/main") && out.contains("640 x 360"), "{out}");
}
