//! Cameras that detect by themselves: their detections are posted or published, and judged as any others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsengine::backend::detections::DetectionsBackend;
use dsengine::backend::{Backend, Intake, Samples, Sink, SourceState, Taken, check_backend};
use dsengine::config::{DetectionsFormat, DetectionsFrom, DetectionsPlan, Input, RetryPlan, SourcePlan};
use dsengine::error::Error;
use dsengine::types::SourceId;
use serde_json::{Value, json};

use crate::harness::{Dsengine, Running, get, post, request, sample, skip, until, write};
use crate::mqtt::broker::Mosquitto;
use crate::recorder::{Machine, Recorder};

/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// A rule that raises an alert for each person, and says where it is and who.
const PERSONS: &str = "function detect(frame)
  for i in frame:select{ label = 'person' } do
    local x, y = frame:bbox(i)
    local message = string.format('%s at %.2f %.2f, %.2f', tostring(frame:track_id(i)), x, y, frame:confidence(i))
    frame:alert{ rule = 'person', key = tostring(frame.seq), detections = { i }, message = message }
  end
end
";

/// A running program with these sources and the rule about persons.
struct Site {
    dir: tempfile::TempDir,
    run: Running,
    page: String,
}

impl Site {
    fn new(sources: &str, args: &[&str]) -> Self {
        Self::with(sources, "", args)
    }

    fn with(sources: &str, monitoring: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "r.lua", PERSONS);
        let config = format!(
            "sources: [{sources}]\nmonitoring: {{ prometheus: {{ port: 0 }}, {monitoring} }}\n\
             detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
             recovery: {{ max_retries: 1000, retry_delay: 0.1, exponential_backoff: false }}\n\
             alerts: {{ throttle_seconds: 0, min_confidence: 0, burst_threshold: 0, max_alerts_per_minute: 0, \
             handlers: [{{ name: file, config: {{ log_file: alerts.jsonl }} }}] }}\n"
        );
        write(dir.path(), "c.yaml", &config);
        let args = ["run", "--config", "c.yaml", "--state", "state"].iter().chain(args).copied();
        let program = Dsengine::new(args).cwd(dir.path());
        let program = program.env("CAM", "camera-0123456789abcdef").env("SEE", "viewer-0123456789abcdef");
        let mut run = program.start();
        let page = run.page();
        Self { dir, run, page }
    }

    #[track_caller]
    fn post(&self, source: &str, body: &str) -> Value {
        let (status, answer) = request("POST", &self.page, &format!("/api/v1/sources/{source}/detections"), body);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    fn source(&self, id: &str) -> Value {
        let (status, answer) = get(&self.page, &format!("/api/v1/sources/{id}"));
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["status"].clone()
    }

    #[track_caller]
    fn wait_state(&self, id: &str, state: &str) {
        until(&format!("{id} is not {state}: {}", self.source(id)), || self.source(id)["state"] == state);
    }

    fn dropped(&self, source: &str, reason: &str) -> Option<f64> {
        let series = format!("dsengine_frames_dropped_total{{reason=\"{reason}\",source=\"{source}\"}}");
        sample(&get(&self.page, "/metrics").1, &series)
    }

    fn alerts(&self) -> Vec<Value> {
        alerts(self.dir.path())
    }

    /// The alerts' messages, once there are so many.
    #[track_caller]
    fn messages(&self, count: usize) -> Vec<String> {
        until(&format!("{count} alerts, not {:?}", self.alerts()), || self.alerts().len() >= count);
        self.alerts().iter().map(|alert| alert["message"].as_str().unwrap().to_owned()).collect()
    }

    fn stop(mut self) -> tempfile::TempDir {
        self.run.signal("TERM");
        assert_eq!(self.run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", self.run.seen.join("\n"));
        self.dir
    }
}

fn alerts(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("alerts.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A line of a camera that sees one person, with this id.
fn line(seq: u64, id: Option<u64>) -> String {
    let seen = json!({ "label": "person", "class_id": 0, "confidence": 0.5, "bbox": [0.25, 0.5, 0.125, 0.25],
                       "track_id": id });
    json!({ "seq": seq, "pts_ns": seq * 100_000_000, "width": 640, "height": 480, "detections": [seen] }).to_string()
}

#[test]
fn posted_detections_are_judged_and_what_cannot_be_is_counted_by_its_reason() {
    let site =
        Site::new("{ id: gate, type: detections }, { id: yard, uri: 'scene:empty?live=true&pixels=false' }", &[]);
    assert_eq!(site.source("gate")["state"], "waiting");
    let body = [line(0, Some(7)), line(2, Some(7)), line(1, Some(7)), String::new(), line(1, Some(7))].join("\n");
    let taken = site.post("gate", &body);
    assert_eq!((&taken["accepted"], &taken["doubled"], &taken["errors"]), (&json!(3), &json!(1), &json!([])));
    assert_eq!(site.messages(3), ["7 at 0.25 0.50, 0.50"; 3], "the camera's own id");
    let seqs: Vec<Value> = site.alerts().iter().map(|alert| alert["seq"].clone()).collect();
    assert_eq!(seqs, [0, 1, 2], "in order");
    site.wait_state("gate", "running");

    // What lies is refused with its line, and the rest is judged.
    let body = [
        "{\"detections\":[{\"label\":\"person\",\"bbox\":[0,0,1,NaN]}]}".to_owned(),
        line(3, None).replace("0.25,", "7.5,"),
        line(4, None),
        "x".repeat(300_000),
        line(0, None).replace("\"pts_ns\":0", "\"pts_ns\":5"),
    ];
    let taken = site.post("gate", &body.join("\n"));
    assert_eq!([&taken["accepted"], &taken["refused"], &taken["late"]], [&json!(1), &json!(3), &json!(1)], "{taken}");
    let lines: Vec<_> = taken["errors"].as_array().unwrap().iter().map(|error| error["line"].as_u64()).collect();
    assert_eq!(lines, [Some(1), Some(2), Some(4)]);
    // 4 follows 2, so 3 is waited for a moment.
    assert_eq!(site.messages(4)[3], "1 at 0.25 0.50, 0.50", "the engine's own id, where the camera gives none");
    for (reason, count) in
        [("malformed", 1.0), ("out_of_range", 1.0), ("too_large", 1.0), ("late", 1.0), ("doubled", 1.0)]
    {
        assert_eq!(site.dropped("gate", reason), Some(count), "{reason}");
    }

    let path = |source: &str| format!("/api/v1/sources/{source}/detections");
    let status = |source: &str, body: &str| request("POST", &site.page, &path(source), body);
    for (source, body, wanted, part) in [
        ("gate", "{}", 422, "line 1: missing field `detections`"),
        ("yard", "{\"detections\":[]}", 409, "takes no detections by POST"),
        ("none", "{\"detections\":[]}", 404, "there is no source"),
    ] {
        let (status, answer) = status(source, body);
        assert!(status == wanted && answer.contains(part), "{source}: {status}: {answer}");
    }
    assert_eq!(post(&site.page, &path("gate")).0, 415, "as a form would");
    let many = vec!["{\"detections\":[]}"; 257].join("\n");
    let taken = site.post("gate", &many);
    assert_eq!((&taken["accepted"], &taken["refused"]), (&json!(256), &json!(1)));
    site.stop();
}

#[test]
fn a_recorded_run_of_posted_detections_is_replayed_as_it_was() {
    let site = Site::new("{ id: gate, uri: 'detections:' }", &["--record", "t.jsonl"]);
    for seq in [0, 1, 3, 2, 3, 10] {
        site.post("gate", &line(seq, None));
    }
    site.messages(5);
    let dir = site.stop();
    let head =
        |alert: &Value| ["source", "seq", "pts_ns", "time", "message"].map(|key| alert[key].to_string()).join(" ");
    let live: Vec<String> = alerts(dir.path()).iter().map(head).collect();
    let replayed = Dsengine::new(["replay", "t.jsonl", "--config", "c.yaml"]).cwd(dir.path()).run().expect(0).stdout;
    let replayed = replayed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(replayed.map(|alert| head(&alert)).collect::<Vec<_>>(), live);
    assert_eq!(live.len(), 5);
}

#[test]
fn a_token_posts_for_its_sources_with_the_scope_publish_only() {
    let tokens = "listen: 0.0.0.0, tokens: [{ name: cam, token: '${env:CAM}', scopes: [publish], sources: [gate] }, \
                  { name: see, token: '${env:SEE}', scopes: [read] }]";
    let site = Site::with("{ id: gate, type: detections }, { id: yard, type: detections }", tokens, &[]);
    let port = site.page.rsplit(':').next().unwrap().to_owned();
    let status = |source: &str, token: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let body = line(0, None);
        let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        write!(
            stream,
            "POST /api/v1/sources/{source}/detections HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\
             Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].parse::<u16>().unwrap()
    };
    assert_eq!(status("gate", "camera-0123456789abcdef"), 200);
    assert_eq!(status("yard", "camera-0123456789abcdef"), 403);
    assert_eq!(status("gate", "viewer-0123456789abcdef"), 403);
    assert_eq!(status("gate", "nobody-0123456789abcdef"), 401);
    assert_eq!(status("gate", ""), 401);
    assert_eq!(site.messages(1), ["1 at 0.25 0.50, 0.50"]);
}

#[test]
fn detections_come_by_mqtt_and_come_back_with_the_broker() {
    let Some(mut broker) = Mosquitto::open() else { return };
    let sources = format!(
        "{{ id: gate, uri: 'mqtt://127.0.0.1:{port}/site/gate' }}, \
         {{ id: yard, type: detections, uri: 'mqtt://127.0.0.1:{port}', parameters: {{ topic: site/yard }} }}",
        port = broker.port
    );
    // What the broker kept is of another time.
    broker.publish("site/gate", &line(99, Some(1)), &["-r"]);
    let site = Site::new(&sources, &[]);
    site.wait_state("gate", "running");
    site.wait_state("yard", "running");
    broker.publish("site/gate", &format!("{}\n{}\nnot json\n", line(0, Some(3)), line(1, Some(3))), &[]);
    broker.publish("site/yard", &line(0, Some(4)), &[]);
    let mut messages = site.messages(3);
    messages.sort();
    assert_eq!(messages, ["3 at 0.25 0.50, 0.50", "3 at 0.25 0.50, 0.50", "4 at 0.25 0.50, 0.50"]);
    until("the refused line is counted", || site.dropped("gate", "malformed") == Some(1.0));
    broker.kill();
    until("it notices", || site.source("gate")["state"] != "running");
    until("it says why", || site.source("gate")["error"].to_string().contains("nobody listens at 127.0.0.1"));
    broker.restart();
    site.wait_state("gate", "running");
    broker.publish("site/gate", &line(2, Some(3)), &[]);
    assert_eq!(site.messages(4).len(), 4, "it goes on where it was");
    site.stop();
}

#[test]
fn a_broker_that_refuses_is_told_by_what_to_do_and_without_the_password() {
    let Some(broker) = Mosquitto::with_user("right", "user gate\ntopic read site/gate\n") else { return };
    let port = broker.port;
    let sources = format!(
        "{{ id: gate, uri: 'mqtt://gate:right@127.0.0.1:{port}/site/gate' }}, \
         {{ id: wrong, uri: 'mqtt://gate:C4n4ry@127.0.0.1:{port}/site/gate' }}"
    );
    let site = Site::new(&sources, &[]);
    site.wait_state("gate", "running");
    broker.publish("site/gate", &line(0, Some(3)), &["-u", "gate", "-P", "right"]);
    until("it is refused", || !site.source("wrong")["remedy"].is_null());
    let source = site.source("wrong");
    assert!(source["remedy"].to_string().contains("user"), "{source}");
    assert!(!get(&site.page, "/api/v1/sources").1.contains("C4n4ry"));
    let dir = site.stop();
    assert!(dir.path().exists());
}

/// A message of DeepStream, with line breaks as it writes them.
fn minimal(id: u64, sensor: &str) -> String {
    format!(
        "{{\n  \"version\" : \"4.0\",\n  \"id\" : \"{id}\",\n  \"@timestamp\" : \"2018-04-11T04:59:59.828Z\",\n  \
         \"sensorId\" : \"{sensor}\",\n  \"objects\" : [\n    \
         \"957|960|540|1152|756|person|#|male|30|black|none|formal|0.75\",\
         \n    \"958|0|0|192|108|bag\"\n  ]\n}}\n"
    )
}

#[test]
fn messages_of_nvmsgconv_are_judged_by_the_size_of_their_pictures() {
    let Some(broker) = Mosquitto::open() else { return };
    let size = "format: nvmsgconv, width: 1920, height: 1080";
    let sources = format!(
        "{{ id: ds, uri: 'mqtt://127.0.0.1:{}/ds', parameters: {{ {size}, sensor: sensor-0 }} }}, \
         {{ id: half, type: detections, parameters: {{ format: nvmsgconv, width: 3840, height: 2160 }} }}",
        broker.port
    );
    let site = Site::new(&sources, &[]);
    site.wait_state("ds", "running");
    broker.publish("ds", &minimal(1, "sensor-1"), &[]);
    broker.publish("ds", &minimal(2, "sensor-0"), &[]);
    assert_eq!(site.messages(1), ["957 at 0.50 0.50, 0.75"]);
    assert_eq!(site.dropped("ds", "other_sensor"), Some(1.0));
    let taken = site.post("half", &format!("{}{}", minimal(1, "a"), minimal(2, "b")));
    // Its time is of another year.
    assert_eq!((&taken["accepted"], &taken["retimed"]), (&json!(2), &json!(2)), "{taken}");
    assert_eq!(site.messages(3)[1..], ["957 at 0.25 0.25, 0.75"; 2]);
    site.stop();
}

#[test]
fn silence_is_a_failure_only_where_a_timeout_is_set() {
    let site = Site::new("{ id: watched, type: detections, timeout: 0.5 }, { id: free, type: detections }", &[]);
    site.post("watched", &line(0, None));
    site.post("free", &line(0, None));
    site.wait_state("watched", "stalled");
    assert_eq!(site.source("free")["state"], "running");
    assert!(site.source("watched")["error"].to_string().contains("no detections came for 500ms"));
    site.post("watched", "{\"detections\":[]}");
    site.wait_state("watched", "running");
    site.stop();
}

fn plan(format: DetectionsFormat) -> SourcePlan {
    let second = Duration::from_secs(1);
    let retry = RetryPlan {
        max_retries: 3,
        base: second / 50,
        cap: second / 10,
        exponential: true,
        first_frame: second,
        gap: second,
    };
    let (from, size, sensor) = (DetectionsFrom::Post, Some((640, 480)), None);
    SourcePlan::new(
        "cam",
        Input::Detections(Box::new(DetectionsPlan { from, format, size, sensor, silence: None })),
        retry,
    )
}

/// Bytes that are more or less what the format says.
fn hostile(rng: &mut fastrand::Rng, next: &mut u64, format: DetectionsFormat) -> Vec<u8> {
    let number = |rng: &mut fastrand::Rng| match rng.u8(..60) {
        0 => "1e999".to_owned(),
        1 => "-1".to_owned(),
        2 => u64::MAX.to_string(),
        3 => "null".to_owned(),
        4 => "NaN".to_owned(),
        5 => "1e38".to_owned(),
        _ => format!("{}", rng.u32(..100)),
    };
    let mut out = String::new();
    for _ in 0..rng.usize(..12) {
        let label = ["", "a\\u001b[2J", "\u{202e}x", "\\ud800"].get(rng.usize(..20)).unwrap_or(&"person");
        let objects: Vec<String> = (0..[1001, 0, 1].get(rng.usize(..30)).copied().unwrap_or(2))
            .map(|_| match format {
                DetectionsFormat::Trace => {
                    let (a, b, c) = (rng.f32() * 1.2 - 0.1, number(rng), rng.f32());
                    format!("{{\"label\":\"{label}\",\"bbox\":[{a},0.25,{c},0.5],\"confidence\":{c},\"track_id\":{b}}}")
                }
                DetectionsFormat::Nvmsgconv => {
                    format!("\"{}|{}|{}|600|400|{label}|#|{}\"", number(rng), number(rng), number(rng), rng.f32())
                }
            })
            .collect();
        *next += 1;
        let seq = if rng.u8(..5) == 0 { number(rng) } else { next.to_string() };
        let time = number(rng);
        out += &match format {
            DetectionsFormat::Trace => format!(
                "{{\"seq\":{seq},\"pts_ns\":{time},\"captured_unix_ns\":{},\"detections\":[{}]}}\n",
                number(rng),
                objects.join(",")
            ),
            DetectionsFormat::Nvmsgconv => format!(
                "{{\"id\":{seq},\"@timestamp\":\"{time}-01-01T00:00:00Z\",\"objects\":[{}]}}\n",
                objects.join(",")
            ),
        };
    }
    let mut bytes = out.into_bytes();
    // Damaged in places, cut, or something else altogether.
    match rng.u8(..8) {
        0 => (0..3).for_each(|_| {
            if !bytes.is_empty() {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
        }),
        1 => bytes.truncate(rng.usize(..=bytes.len())),
        _ => {}
    }
    bytes
}

#[test]
fn whatever_is_posted_is_bounded_and_counted_and_frames_stay_in_order() {
    for format in [DetectionsFormat::Trace, DetectionsFormat::Nvmsgconv] {
        let clock = Machine::start();
        let sink = Recorder::new(&clock);
        let mut backend = DetectionsBackend::new(clock.clone());
        backend.add_source(&plan(format), sink.clone()).unwrap();
        let intake = backend.intake(&"cam".into()).unwrap();
        let (mut sums, mut next) = (Taken::default(), 0);
        for seed in 0..400 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let body = hostile(&mut rng, &mut next, format);
            let Taken { accepted, late, doubled, refused, errors, .. } = intake.take(&body);
            assert!(errors.len() <= 10 && errors.len() as u64 <= refused, "seed {seed}");
            sums.accepted += accepted;
            sums.late += late;
            sums.doubled += doubled;
            sums.refused += refused;
        }
        assert!(sums.accepted > 100 && sums.refused > 100, "{sums:?}");
        // Some wait for earlier frames, for a moment.
        let story = sink.wait("cam", LIMIT, |story| story.frames.len() as u64 == sums.accepted);
        assert!(story.frames.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1), "in order");
        let reasons: u64 = ["malformed", "out_of_range", "too_large"].iter().map(|why| story.dropped(why)).sum();
        assert_eq!((reasons, story.dropped("late"), story.dropped("doubled")), (sums.refused, sums.late, sums.doubled));
        // A million detections are refused as one line.
        let many = vec!["{\"label\":\"a\",\"bbox\":[0,0,1,1]}"; 1_000_000].join(",");
        let taken = intake.take(format!("{{\"objects\":[],\"detections\":[{many}]}}").as_bytes());
        assert_eq!((taken.accepted, taken.refused, story.dropped("overload")), (0, 1, 0));
        backend.stop(LIMIT);
        assert_eq!(sink.story("cam").states().last(), Some(&SourceState::Stopped));
    }
}

/// The backend with a camera for each of its sources, which posts a frame every few milliseconds.
struct Fed {
    backend: DetectionsBackend,
    cameras: BTreeMap<SourceId, dsengine::own::Thread>,
}

impl Backend for Fed {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        self.backend.add_source(plan, sink)?;
        let intake: Arc<dyn Intake> = self.backend.intake(&plan.id).unwrap();
        let camera = dsengine::own::Thread::start("camera", move |stop| {
            let mut seq = 0;
            while stop.pause(Duration::from_millis(5)) {
                intake.take(line(seq, None).as_bytes());
                seq += 1;
            }
        });
        self.cameras.insert(plan.id.clone(), camera.unwrap());
        Ok(())
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        self.backend.change_source(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.backend.remove_source(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.backend.stop(deadline);
    }
}

#[test]
fn detections_keep_to_the_seam() {
    let samples = Samples { endless: Some(plan(DetectionsFormat::Trace)), ..Samples::default() };
    let make = || -> Box<dyn Backend> {
        Box::new(Fed { backend: DetectionsBackend::new(Machine::start()), cameras: BTreeMap::new() })
    };
    check_backend(&make, &samples).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn the_readmes_camera_and_its_curl_line_work() {
    let readme = std::fs::read_to_string(crate::harness::root().join("README.md")).unwrap();
    let block = |start: &str| {
        let from = readme.split_once(start).unwrap_or_else(|| panic!("README has no {start}")).1;
        from.split_once("```").unwrap().0
    };
    let example = block("```console\n$ curl localhost:8000/api/v1/sources/");
    let (command, answer) = example.rsplit_once("\n{").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(crate::harness::root().join("scripts"), dir.path().join("scripts")).unwrap();
    write(dir.path(), "detector.yaml", block("```yaml\n# detector.yaml\n"));
    let args = ["run", "--config", "detector.yaml", "--state", "state", "--port", "0"];
    let mut run = Dsengine::new(args).cwd(dir.path()).start();
    let page = run.page();
    let line = format!("curl -s {page}/api/v1/sources/{command}");
    let Ok(said) = std::process::Command::new("sh").args(["-c", &line]).output() else { panic!("there is no shell") };
    if said.status.code() == Some(127) {
        return skip("detections::curl", "curl is not installed");
    }
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("{{{}", answer.trim_end()), "{line}");
    run.wait_line(LIMIT, |line| line.contains("person in yard"));
}
