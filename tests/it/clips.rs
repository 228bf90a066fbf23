//! Every shipped script on people who really walked there: vtest, detected once by yolox_nano, judged by the real
//! program, and compared with the ground truth, which says who stood where on each frame.
//!
//! The zone is where most people walk, away from the blue board at the left that the model takes for a person.

mod entries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use dsengine::types::{Alert, BBox, Level, Point, Polygon};
use serde_json::Value;

use crate::effects::{Answer, Hit, Receiver};
use crate::harness::{Dsengine, root, testdata, write};

/// The scripts with the test that runs them on the clip.
const CASES: &[(&str, fn())] = &[
    ("handlers/discord.lua", discord_is_told_each_alert_of_the_clip),
    ("handlers/ntfy.lua", ntfy_is_told_each_alert_of_the_clip),
    ("handlers/pushover.lua", pushover_is_told_each_alert_of_the_clip),
    ("handlers/slack.lua", slack_is_told_each_alert_of_the_clip_in_its_words),
    ("handlers/telegram.lua", telegram_is_told_each_alert_of_the_clip),
    ("handlers/webhook-json.lua", the_webhook_script_posts_each_alert_of_the_clip_whole),
    ("intrusion.lua", intrusion_alerts_on_each_person_in_the_zone_and_on_nothing_else),
    ("loitering.lua", loitering_alerts_on_those_who_stay_and_not_on_those_who_pass),
    ("my_detection.lua", the_custom_strategy_frames_the_people_who_are_there),
];

/// The clip's frames per second; a frame's number in it is its time.
const FPS: u64 = 10;
/// Left, top, right and bottom of the zone.
const ZONE: [f32; 4] = [0.55, 0.30, 0.95, 0.70];
/// How far outside the zone a true person may stand whose detection stands inside: boxes are drawn by hand.
const EDGE: f32 = 0.02;
/// A detection is a person whom it overlaps by as much; people side by side overlap less.
const SAME: f32 = 0.3;
/// How long `loitering.lua` lets people stay, and by how much truth and tracker may differ.
const STAY_FRAMES: u64 = 5 * FPS;
const DOUBT_FRAMES: u64 = FPS;
/// When each of the visitors of the other clip is in the room, seen by eye: the first and the last frame, with some of
/// the empty room at both ends.
const VISITS: [(u64, u64); 6] = [(55, 210), (220, 460), (500, 715), (740, 880), (920, 1_215), (1_225, 1_375)];
/// What is secret of a Slack webhook's address.
const SLACK_PATH: &str = "T0/B0/secret";

/// The hosts of the services that the shipped handlers post to.
const HOSTS: [&str; 6] =
    ["hooks.slack.com", "hooks.example.com", "ntfy.sh", "api.telegram.org", "api.pushover.net", "discord.com"];

fn polygon([left, top, right, bottom]: [f32; 4]) -> Vec<Point> {
    [(left, top), (right, top), (right, bottom), (left, bottom)].map(|(x, y)| Point { x, y }).to_vec()
}

/// Whether somebody with this box stands in the zone, or at most `edge` beside it.
fn inside(bbox: &BBox, edge: f32) -> bool {
    let [left, top, right, bottom] = ZONE;
    let wide = Polygon::new(polygon([left - edge, top - edge, right + edge, bottom + edge])).unwrap();
    wide.contains(bbox.bottom_center())
}

/// Someone's time in the zone: first and last frame. Out of it for no longer than a second is no end.
struct Stay {
    who: u32,
    from: u64,
    to: u64,
}

/// Who stood where.
struct Truth {
    frames: BTreeMap<u64, BTreeMap<u32, BBox>>,
}

impl Truth {
    fn read(path: &Path) -> Self {
        let (x, y) = (0.625 / 480.0, 0.625 / 360.0);
        let mut frames: BTreeMap<u64, BTreeMap<u32, BBox>> = BTreeMap::new();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let n: Vec<f32> = line.split(',').map(|v| v.trim().parse().unwrap()).collect();
            let bbox = BBox { x: n[2] * x, y: n[3] * y, width: n[4] * x, height: n[5] * y };
            frames.entry(n[0] as u64 - 1).or_default().insert(n[1] as u32, bbox);
        }
        Self { frames }
    }

    /// Those in the zone on a frame.
    fn in_zone(&self, frame: u64) -> Vec<(u32, BBox)> {
        let people = self.frames.get(&frame).into_iter().flatten();
        people.filter(|(_, bbox)| inside(bbox, 0.0)).map(|(who, bbox)| (*who, *bbox)).collect()
    }

    /// Whom an alert is about.
    fn who(&self, alert: &Alert) -> Option<(u32, BBox)> {
        let seen = alert.detections.first()?.bbox;
        let people = self.frames.get(&alert.seq)?.iter().map(|(who, bbox)| (*who, *bbox));
        people.filter(|(_, b)| b.iou(&seen) >= SAME).max_by(|(_, a), (_, b)| a.iou(&seen).total_cmp(&b.iou(&seen)))
    }

    fn stays(&self) -> Vec<Stay> {
        let mut stays: Vec<Stay> = Vec::new();
        for frame in self.frames.keys() {
            for (who, _) in self.in_zone(*frame) {
                match stays.iter_mut().rfind(|s| s.who == who) {
                    Some(stay) if *frame <= stay.to + FPS => stay.to = *frame,
                    _ => stays.push(Stay { who, from: *frame, to: *frame }),
                }
            }
        }
        stays
    }

    /// The share of the stays of at least `frames` during which an alert was about the one who stayed; and their
    /// number.
    fn recall(&self, alerts: &[Alert], frames: u64) -> (f64, usize) {
        let told: BTreeSet<(u64, u32)> = alerts.iter().filter_map(|a| Some((a.seq, self.who(a)?.0))).collect();
        let mut stays = self.stays();
        stays.retain(|stay| stay.to - stay.from >= frames);
        let alerted = stays.iter().filter(|s| (s.from..=s.to).any(|frame| told.contains(&(frame, s.who)))).count();
        (share(alerted, stays.len()), stays.len())
    }

    /// The share of the alerts that are about someone in the zone.
    fn intruders(&self, alerts: &[Alert]) -> f64 {
        let right = |alert: &&Alert| self.who(alert).is_some_and(|(_, bbox)| inside(&bbox, EDGE));
        share(alerts.iter().filter(right).count(), alerts.len())
    }

    /// The share of the alerts that are about someone who has been in the zone for as long as is allowed.
    fn loiterers(&self, alerts: &[Alert]) -> f64 {
        let stays = self.stays();
        let right = |alert: &&Alert| {
            let Some((who, _)) = self.who(alert) else { return false };
            let long = |s: &Stay| alert.seq + DOUBT_FRAMES >= s.from + STAY_FRAMES && alert.seq <= s.to + FPS / 5;
            stays.iter().any(|stay| stay.who == who && long(stay))
        };
        share(alerts.iter().filter(right).count(), alerts.len())
    }
}

fn share(part: usize, whole: usize) -> f64 {
    assert!(whole > 0, "nothing to take a share of");
    part as f64 / whole as f64
}

/// A folder with the recorded clip, and the truth about it.
struct Clip {
    dir: tempfile::TempDir,
    truth: Truth,
}

impl Clip {
    /// The clip's detections on every second frame, recorded once for all tests; `None` after saying what is missing.
    fn open(test: &str) -> Option<Self> {
        static TRACE: OnceLock<String> = OnceLock::new();
        let truth = Truth::read(&testdata(test, "groundtruth/PETS09-S2L1/gt.txt")?);
        let names = ["clips/vtest-480x360.mp4", "models/yolox_nano_416.onnx", "models/coco.names"];
        let mut paths = Vec::new();
        for name in names {
            paths.push(testdata(test, name)?.display().to_string());
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.jsonl");
        let trace = TRACE.get_or_init(|| {
            let target = path.display().to_string();
            let args = ["record", "--source", &paths[0], "--model", &paths[1], "--labels", &paths[2], "--every", "2"];
            // The built-in runtime is there on every machine, and the figures are the same.
            let more = ["--confidence", "0.25", "--runtime", "rten", "-o", &target];
            Dsengine::new([&args[..], &more[..]].concat()).run().expect(0);
            std::fs::read_to_string(&path).unwrap()
        });
        std::fs::write(&path, trace).unwrap();
        Some(Self { dir, truth })
    }

    /// A configuration with these strategies, handlers, and seconds between alerts of one kind; the zones are `z` and
    /// `all`.
    fn config(&self, strategies: &str, throttle: u32, handlers: &str) {
        let zone = |corners| serde_json::to_string(&polygon(corners).iter().map(|p| [p.x, p.y]).collect::<Vec<_>>());
        let text = format!(
            "sources: [{{ id: vtest-480x360, uri: 'trace:clip.jsonl' }}]\nzones: {{ z: {}, all: {} }}\n\
             detection: {{ strategies: [{strategies}] }}\n\
             alerts: {{ throttle_seconds: {throttle}, burst_threshold: 0, max_alerts_per_minute: 0, handlers: [{handlers}] }}\n",
            zone(ZONE).unwrap(),
            zone([0.0, 0.0, 1.0, 1.0]).unwrap()
        );
        write(self.dir.path(), "config.yaml", &text);
    }

    /// What these strategies raise, nothing held back.
    fn alerts(&self, strategies: &str) -> Vec<Alert> {
        self.config(strategies, 0, "");
        self.replay()
    }

    fn replay(&self) -> Vec<Alert> {
        let replay = Dsengine::new(["replay", "clip.jsonl", "--config", "config.yaml"]).cwd(self.dir.path());
        let out = replay.env("SLACK_PATH", SLACK_PATH).run().expect(0);
        out.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The alerts of intrusion, one for each stay of a track, and the requests that a handler made of them.
    fn delivered(&self, script: &str, more: &str) -> (Vec<Alert>, Vec<Hit>) {
        let receiver = Receiver::new(Answer::Status(200));
        // As its first lines say: the receiver's host is written into the script, and granted.
        let text = std::fs::read_to_string(root().join("scripts/handlers").join(script)).unwrap();
        let host = HOSTS.iter().copied().find(|host| text.contains(&format!("---@needs http {host}\n"))).unwrap();
        let text = text.replace(&format!("https://{host}"), &format!("http://{host}")).replace(host, &receiver.address);
        write(self.dir.path(), script, &text);
        let handler = format!("{{ name: desk, module: {script}, {} }}", more.replace("HOST", &receiver.address));
        self.config(&strategy("intrusion.lua", "{ zone: z }"), 3, &handler);
        let run = Dsengine::new(["run", "--config", "config.yaml", "--port", "0", "--json"]).cwd(self.dir.path());
        run.env("SLACK_PATH", SLACK_PATH).run().expect(0);
        let (alerts, hits) = (self.replay(), receiver.hits());
        assert!(alerts.len() > 20 && self.truth.intruders(&alerts) >= 0.9, "{} alerts", alerts.len());
        println!("{script}: {} alerts, {} requests", alerts.len(), hits.len());
        (alerts, hits)
    }
}

/// A shipped strategy with its settings, for a configuration.
fn strategy(script: &str, config: &str) -> String {
    let module = root().join("scripts").join(script);
    format!("{{ name: {}, module: '{}', config: {config} }}", script.trim_end_matches(".lua"), module.display())
}

/// The body of each request, which were all made to this path; sorted by its text.
fn bodies(hits: &[Hit], path: &str) -> Vec<String> {
    let body = |hit: &Hit| {
        assert!(hit.request.starts_with(&format!("POST {path} ")), "{}", hit.request);
        hit.request.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let mut bodies: Vec<String> = hits.iter().map(body).collect();
    bodies.sort();
    bodies
}

#[test]
fn every_shipped_script_is_run_on_a_real_clip() {
    let mut shipped = BTreeSet::new();
    for folder in ["", "handlers/"] {
        for entry in std::fs::read_dir(root().join("scripts").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            shipped.extend(name.ends_with(".lua").then(|| format!("{folder}{name}")));
        }
    }
    let cases: BTreeSet<String> = CASES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shipped, cases, "left: the scripts; right: those with a case here");
}

#[test]
fn intrusion_alerts_on_each_person_in_the_zone_and_on_nothing_else() {
    let Some(clip) = Clip::open("clips::intrusion") else { return };
    let alerts = clip.alerts(&strategy("intrusion.lua", "{ zone: z }"));
    let (precision, (recall, stays)) = (clip.truth.intruders(&alerts), clip.truth.recall(&alerts, FPS));
    println!("intrusion.lua: {} alerts, precision {precision:.3}; {stays} stays, recall {recall:.3}", alerts.len());
    assert!(precision >= 0.9 && recall >= 0.8 && stays >= 25, "{precision} {recall} {stays}");
    // Frame by frame: each person in the zone, each time.
    let told: BTreeSet<_> = alerts.iter().filter_map(|a| Some((a.seq, clip.truth.who(a)?.0))).collect();
    let there: Vec<_> = (0..795)
        .step_by(2)
        .flat_map(|frame| clip.truth.in_zone(frame).into_iter().map(move |(who, _)| (frame, who)))
        .collect();
    let seen = share(there.iter().filter(|one| told.contains(one)).count(), there.len());
    println!("intrusion.lua: {seen:.3} of {} persons in the zone, frame by frame", there.len());
    assert!(seen >= 0.8, "{seen}");
    for alert in &alerts {
        let about = (&*alert.rule, alert.level, &*alert.message, alert.detections.len());
        assert_eq!(about, ("intrusion", Level::High, "person in z", 1));
        assert_eq!(alert.detections[0].track_id.map(|id| id.to_string()).as_deref(), Some(&*alert.key));
    }
    // The truth tells right from wrong: alerts on everybody in the picture are not those of the zone.
    let everybody = clip.truth.intruders(&clip.alerts(&strategy("intrusion.lua", "{ zone: all }")));
    assert!(everybody < 0.7, "{everybody}");
}

#[test]
fn one_visitor_after_the_other_raises_one_alert_each_however_long_each_stays() {
    let test = "clips::one_visitor";
    let Some(clip) = testdata(test, "clips/one-by-one-person-detection.mp4") else { return };
    let Some(model) = testdata(test, "models/yolox_nano_416.onnx") else { return };
    let Some(labels) = testdata(test, "models/coco.names") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = |source: &str, alerts: &str| {
        format!(
            "sources: [{{ id: one-by-one-person-detection, uri: '{source}' }}]\n\
             zones: {{ all: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\n\
             detection: {{ strategies: [{{ name: objects, model_path: '{}', labels_path: '{}' }}, {}] }}\n{alerts}",
            model.display(),
            labels.display(),
            strategy("intrusion.lua", "{ zone: all }")
        )
    };
    write(dir.path(), "clip.yaml", &config(&clip.display().to_string(), ""));
    let record = ["record", "--config", "clip.yaml", "-o", "clip.jsonl"];
    Dsengine::new(record).cwd(dir.path()).run().expect(0);
    let replay = |alerts: &str| -> Vec<Alert> {
        write(dir.path(), "replay.yaml", &config("unused.mp4", alerts));
        let out = Dsengine::new(["replay", "clip.jsonl", "--config", "replay.yaml"]).cwd(dir.path()).run().expect(0);
        out.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // Six came, and some stayed for more than ten seconds; held back or not, they were seen on most frames.
    for (throttle, expected) in [(1, 6..=6), (10, 6..=6), (60, 6..=6), (0, 500..=1_394)] {
        let alerts = replay(&format!(
            "alerts: {{ throttle_seconds: {throttle}, burst_threshold: 0, max_alerts_per_minute: 0, handlers: [] }}\n"
        ));
        assert!(expected.contains(&alerts.len()), "{throttle} s: {} alerts", alerts.len());
    }
    // With the defaults, one while each is there, and none while the room is empty.
    let alerts = replay("");
    let visits = |alert: &Alert| VISITS.iter().position(|(from, to)| (*from..=*to).contains(&alert.seq));
    assert_eq!(alerts.iter().map(visits).collect::<Vec<_>>(), (0..6).map(Some).collect::<Vec<_>>());
    assert!(alerts.iter().all(|alert| alert.digest.is_none() && alert.suppressed == 0));
}

#[test]
fn loitering_alerts_on_those_who_stay_and_not_on_those_who_pass() {
    let Some(clip) = Clip::open("clips::loitering") else { return };
    let alerts = clip.alerts(&strategy("loitering.lua", "{ zone: z, seconds: 5 }"));
    let precision = clip.truth.loiterers(&alerts);
    let (recall, stays) = clip.truth.recall(&alerts, STAY_FRAMES + DOUBT_FRAMES);
    println!("loitering.lua: {} alerts, precision {precision:.3}; {stays} stays, recall {recall:.3}", alerts.len());
    assert!(precision >= 0.9 && recall >= 0.8 && stays >= 10, "{precision} {recall} {stays}");
    for alert in &alerts {
        let (start, end) = (format!("person {} stayed ", alert.key), " s in z");
        let seconds = alert.message.strip_prefix(&start).and_then(|rest| rest.strip_suffix(end));
        assert!(seconds.is_some_and(|s| s.parse::<u64>().is_ok_and(|s| s >= 5)), "{}", alert.message);
        assert_eq!((&*alert.rule, alert.level), ("loitering", Level::High));
    }
    // The truth tells right from wrong: most of those in the zone have not stayed yet.
    let passing = clip.truth.loiterers(&clip.alerts(&strategy("intrusion.lua", "{ zone: z }")));
    assert!(passing < 0.7, "{passing}");
}

#[test]
fn the_custom_strategy_frames_the_people_who_are_there() {
    let Some(clip) = Clip::open("clips::my_detection") else { return };
    // Only people in the zone are handed on, so that truth knows all there is to frame.
    let keep = "function detect(frame)\n  local kept = {}\n  for i in frame:select{ label = 'person', zone = 'z' } do\n\
                \x20   kept[#kept + 1] = i\n  end\n  frame:keep(kept)\nend\n";
    write(clip.dir.path(), "keep.lua", keep);
    let alerts = clip.alerts(&format!(
        "{{ name: keep, module: keep.lua, filters: true }}, {{ name: custom, class: MyCustomStrategy, module: '{}', \
         config: {{ threshold: 0.5 }} }}, {}",
        root().join("scripts/my_detection.lua").display(),
        strategy("intrusion.lua", "{ zone: all, labels: [group] }")
    ));
    // The box around all who are in the zone, where there are at least two.
    let group = |frame: u64| {
        let people = clip.truth.in_zone(frame);
        let around = people.iter().map(|(_, bbox)| *bbox).reduce(|a, b| {
            let (right, bottom) = (a.right().max(b.right()), a.bottom().max(b.bottom()));
            BBox::from_corners(a.x.min(b.x), a.y.min(b.y), right, bottom)
        });
        around.filter(|_| people.len() >= 2)
    };
    let fits = |a: &&Alert| group(a.seq).is_some_and(|around| around.iou(&a.detections[0].bbox) >= 0.5);
    let right: BTreeSet<u64> = alerts.iter().filter(fits).map(|a| a.seq).collect();
    let there = (0..795).step_by(2).filter(|frame| group(*frame).is_some()).count();
    let (precision, recall) = (share(right.len(), alerts.len()), share(right.len(), there));
    println!("my_detection.lua: {} groups, precision {precision:.3}; {there} true, recall {recall:.3}", alerts.len());
    assert!(precision >= 0.9 && recall >= 0.8 && there > 100, "{precision} {recall} {there}");
    assert!(alerts.iter().all(|a| a.message == "group in all" && a.detections[0].confidence == 1.0));
}

#[test]
fn the_webhook_script_posts_each_alert_of_the_clip_whole() {
    let Some(clip) = Clip::open("clips::webhook-json") else { return };
    let settings = "settings: { url: 'http://HOST/desk', labels: [person] }, grants: { http: ['HOST'] }";
    let (alerts, hits) = clip.delivered("webhook-json.lua", settings);
    let posted: Vec<Alert> = bodies(&hits, "/desk").iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let by_id = |alerts: &[Alert]| alerts.iter().map(|a| (a.id.to_string(), a.clone())).collect::<BTreeMap<_, _>>();
    assert_eq!((posted.len(), by_id(&posted)), (alerts.len(), by_id(&alerts)));
    for hit in &hits {
        let body: Value = serde_json::from_str(hit.request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(hit.request.contains(&format!("webhook-id: {}\r\n", body["id"].as_str().unwrap())), "{}", hit.request);
    }
}

#[test]
fn slack_is_told_each_alert_of_the_clip_in_its_words() {
    let Some(clip) = Clip::open("clips::slack") else { return };
    let more = "class: SlackHandler, grants: { http: ['http://HOST'], secrets: { SLACK: '${env:SLACK_PATH}' } }";
    let (alerts, hits) = clip.delivered("slack.lua", more);
    let text = |alert: &Alert| serde_json::json!({ "text": alert.message }).to_string();
    let mut expected: Vec<String> = alerts.iter().map(text).collect();
    expected.sort();
    assert_eq!(bodies(&hits, &format!("/services/{SLACK_PATH}")), expected);
}

/// Runs a handler for phones on the clip; its requests go to this path and hold each alert's message at this pointer.
fn each_alert_is_told_by(script: &str, more: &str, path: &str, message: &str) {
    let Some(clip) = Clip::open(&format!("clips::{script}")) else { return };
    let (alerts, hits) = clip.delivered(script, more);
    let told = |body: &String| {
        let body: Value = serde_json::from_str(body).unwrap();
        body.pointer(message).and_then(Value::as_str).unwrap_or_else(|| panic!("{body}")).to_owned()
    };
    let mut told: Vec<String> = bodies(&hits, path).iter().map(told).collect();
    let mut expected: Vec<String> = alerts.iter().map(|alert| alert.message.clone()).collect();
    told.sort();
    expected.sort();
    assert!(told.len() == expected.len() && told.iter().zip(&expected).all(|(told, message)| told.ends_with(message)));
}

#[test]
fn ntfy_is_told_each_alert_of_the_clip() {
    let more = "settings: { topic: gate }, grants: { http: ['http://HOST'] }";
    each_alert_is_told_by("ntfy.lua", more, "/", "/message");
}

#[test]
fn telegram_is_told_each_alert_of_the_clip() {
    let more = "settings: { chat_id: 7 }, grants: { http: ['http://HOST'], secrets: { TELEGRAM: '1:secret' } }";
    each_alert_is_told_by("telegram.lua", more, "/bot1:secret/sendMessage", "/text");
}

#[test]
fn pushover_is_told_each_alert_of_the_clip() {
    let more = "settings: { token: secret, user: u }, grants: { http: ['http://HOST'] }";
    each_alert_is_told_by("pushover.lua", more, "/1/messages.json", "/message");
}

#[test]
fn discord_is_told_each_alert_of_the_clip() {
    let more = "grants: { http: ['http://HOST'], secrets: { DISCORD: '1/secret' } }";
    each_alert_is_told_by("discord.lua", more, "/api/webhooks/1/secret?wait=true", "/embeds/0/description");
}
