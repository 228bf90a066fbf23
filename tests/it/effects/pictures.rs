//! `alerts.pictures`: what is kept of the frames that raise alerts.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::blackout::bytes;
use super::push::PUSHES;
use super::{Answer, Bench, Receiver, poll, stop};
use crate::email::Smtpd;
use crate::harness::{Dsengine, get, request, root};

/// The script that raises one alert, and nothing but that.
const ONE: &str = "function detect(frame)\n  frame:alert{ rule = 'r', key = 'k', message = 'seen' }\nend\n";

/// A bench with the script, which keeps its state in a folder of its own.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("one.lua", ONE);
    bench
}

fn config(source: &str, alerts: &str) -> String {
    format!(
        "sources: [{{ id: a, uri: 'test:{source}', zones: {{ gate: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]] }} }}]\n\
         detection: {{ strategies: [{{ name: one, module: one.lua }}] }}\n\
         alerts: {{ {alerts}handlers: [{{ name: file, config: {{ log_file: out.jsonl }} }}] }}\n"
    )
}

/// The alert of a run, and its pictures by name: all that are there afterwards.
fn run(bench: &Bench, config: &str) -> (Value, Vec<PathBuf>) {
    let _ = std::fs::remove_file(bench.path("out.jsonl"));
    bench.write("one.yaml", config);
    let args = ["run", "--config", "one.yaml", "--port", "0", "--state", "state"];
    Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
    (bench.lines("out.jsonl").remove(0), pictures(bench))
}

/// The pictures that are kept, by name.
pub(super) fn pictures(bench: &Bench) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let days: Vec<PathBuf> = below(&bench.path("state/pictures")).iter().flat_map(|config| below(config)).collect();
    let mut files: Vec<PathBuf> = days.iter().flat_map(|day| below(day)).collect();
    files.sort();
    files
}

fn forget(bench: &Bench) {
    let _ = std::fs::remove_dir_all(bench.path("state"));
}

/// Width and height of a JPEG, from its frame header.
fn size(jpeg: &[u8]) -> (u16, u16) {
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "no JPEG");
    let mut at = 2;
    while !matches!(jpeg[at + 1], 0xc0 | 0xc2) {
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    let number = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
    (number(at + 7), number(at + 5))
}

#[test]
fn a_picture_of_each_alert_is_kept_as_the_keys_say() {
    let bench = bench();
    let taken = |keys: &str| {
        forget(&bench);
        let alerts = format!("pictures: {{ {keys} }}, ");
        let (alert, files) = run(&bench, &config("pattern=smpte,size=1600x900,frames=2", &alerts));
        let read: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        (alert, files, read)
    };
    let (alert, files, usual) = taken("");
    assert_eq!(alert["picture"], true);
    let id = alert["id"].as_str().unwrap();
    let names: Vec<String> =
        files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, [format!("{id}.clean.jpg"), format!("{id}.jpg")]);
    assert_eq!([size(&usual[0]), size(&usual[1])], [(1280, 720); 2]);
    assert_ne!(usual[0], usual[1], "one has the zone's outline");
    // The day of capture is the folder.
    let day = files[0].parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(day, alert["time"].as_str().unwrap()[..10]);
    assert_eq!(size(&taken("max_width: 320").2[0]), (320, 180));
    let (rough, fine) = (taken("quality: 5").2[0].len(), taken("quality: 95").2[0].len());
    assert!(rough < usual[0].len() && usual[0].len() < fine, "{rough} {} {fine}", usual[0].len());
    let (_, files, _) = taken("clean: false");
    assert!(files.len() == 1 && !files[0].display().to_string().contains("clean"), "{files:?}");
    let (alert, files, _) = taken("enabled: false");
    assert_eq!((alert.get("picture"), files.len()), (None, 0));
    // Where no alert is kept, neither is a picture.
    let (alert, files) = {
        forget(&bench);
        run(&bench, &config("pattern=smpte,size=64x64,frames=2", "outbox: { durability: memory }, "))
    };
    assert_eq!((alert.get("picture"), files.len()), (None, 0));
}

#[test]
fn the_box_that_raised_an_alert_is_drawn_unlike_the_others() {
    let bench = bench();
    bench.write(
        "boxes.lua",
        "function detect(frame)\n  for x = 1, 5, 4 do\n    frame:add{ label = 'box', confidence = 0.9, bbox = \
         { x = x / 10, y = 0.2, width = 0.3, height = 0.5 } }\n  end\nend\n",
    );
    let strategies = "strategies: [{ name: boxes, module: boxes.lua }, { name: one, module: one.lua }]";
    let config = config("pattern=smpte,size=320x180,frames=2", "")
        .replace("strategies: [{ name: one, module: one.lua }]", strategies);
    // The clean picture, and the one with boxes.
    let taken = |which: &str| {
        forget(&bench);
        bench.write("one.lua", &ONE.replace("key = 'k'", &format!("key = 'k', detections = {{ {which} }}")));
        let (alert, files) = run(&bench, &config);
        assert_eq!(alert["detections"].as_array().unwrap().len(), which.split_terminator(',').count(), "{alert}");
        [0, 1].map(|at: usize| std::fs::read(&files[at]).unwrap())
    };
    let [none, first, second, again] = ["", "1", "2", "1"].map(taken);
    assert_eq!(first, again, "the same picture twice");
    for (one, other) in [(&none, &first), (&none, &second), (&first, &second)] {
        assert!(one[0] == other[0] && one[1] != other[1]);
    }
}

#[test]
fn pictures_are_kept_as_long_and_as_many_as_the_keys_say() {
    let bench = bench();
    let again =
        |keys: &str| run(&bench, &config("pattern=smpte,size=64x64,frames=2", &format!("pictures: {{ {keys} }}, "))).1;
    let first = again("");
    assert_eq!(first.len(), 2);
    let old = SystemTime::now() - Duration::from_secs(2 * 86_400);
    std::fs::File::options().write(true).open(&first[0]).unwrap().set_modified(old).unwrap();
    let kept = again("keep_days: 3");
    assert!(kept.len() == 4 && kept.contains(&first[0]), "{kept:?}");
    let kept = again("keep_days: 1");
    assert!(kept.len() == 5 && !kept.contains(&first[0]), "{kept:?}");
    // By their names, this is the oldest.
    let large = first[0].with_file_name("0.jpg");
    std::fs::write(&large, vec![0; 3_000_000]).unwrap();
    assert!(again("max_mb: 4").contains(&large));
    let kept = again("max_mb: 2");
    assert!(!kept.contains(&large) && kept.len() == 9, "{kept:?}");
}

#[test]
fn the_api_and_the_page_have_the_picture_and_a_change_of_a_key_is_live() {
    let bench = bench();
    bench.write(
        "one.yaml",
        &config(
            "pattern=smpte,size=320x180,fps=30",
            "pictures: { clean: false }, throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, ",
        ),
    );
    let args = ["run", "--config", "one.yaml", "--port", "0", "--state", "state"];
    let mut run = Dsengine::new(args).cwd(bench.dir.path()).start();
    let page = run.page();
    let newest = || -> Option<Value> {
        let alerts: Value = serde_json::from_str(&get(&page, "/api/v1/alerts").1).unwrap();
        alerts.as_array().unwrap().first().cloned()
    };
    let alert = poll(&mut run, newest);
    let path = format!("/api/v1/alerts/{}/picture.jpg", alert["id"].as_str().unwrap());
    assert_eq!(alert["picture"], true);
    assert_eq!(size(&bytes(&page, &path)), (320, 180));
    assert_eq!(get(&page, &format!("{path}?clean=1")).0, 404, "it is not kept");
    assert!(get(&page, "/assets/alerts.js").1.contains("picture.jpg"));
    let change = json!({ "alerts": { "pictures": { "enabled": false } } });
    assert_eq!(request("POST", &page, "/api/v1/config/apply", &change.to_string()).0, 200);
    poll(&mut run, || newest().filter(|alert| alert.get("picture").is_none()));
    stop(run);
}

/// Adds a detection to each of the first frames, which scores so.
const SCORES: &str = "local scores = { 0.6, 0.55, 0.7, 0.95, 0.97, 0.6 }\nfunction detect(frame)\n  \
    local score = scores[frame.seq + 1]\n  if score then\n    frame:add{ label = 'box', confidence = score, bbox = \
    { x = 0.2, y = 0.2, width = 0.3, height = 0.5 } }\n  end\nend\n";

#[test]
fn a_digest_has_the_picture_of_its_best_alert_and_the_others_are_not_kept() {
    let bench = bench();
    bench.write("scores.lua", SCORES);
    // The alerts of a run, its pictures by name, and what a receiver got of the digest.
    let taken = |frames: &str, keys: &str| {
        forget(&bench);
        let _ = std::fs::remove_file(bench.path("out.jsonl"));
        bench.write(
            "one.lua",
            &format!(
                "function detect(frame)\n  if {frames} then\n    frame:alert{{ rule = 'r', key = tostring(frame.seq), \
                 message = 'frame ' .. frame.seq, detections = {{ 1 }} }}\n  end\nend\n"
            ),
        );
        let receiver = Receiver::new(Answer::Status(200));
        let hook = format!("url: 'http://{}/', include_picture: true", receiver.address);
        bench.write(
            "burst.yaml",
            &format!(
                "sources: [{{ id: a, uri: 'scene:scene.yaml' }}]\ndetection: {{ strategies: [{{ name: scores, module: \
                 scores.lua }}, {{ name: one, module: one.lua }}] }}\nalerts: {{ burst_threshold: 1, {keys}handlers: \
                 [{{ name: file, config: {{ log_file: out.jsonl }} }}, {{ name: hook, type: webhook, config: {{ {hook} \
                 }} }}] }}\n"
            ),
        );
        let args = ["run", "--config", "burst.yaml", "--port", "0", "--state", "state"];
        Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
        let mut bodies = receiver
            .hits()
            .into_iter()
            .map(|hit| serde_json::from_str::<Value>(hit.request.split_once("\r\n\r\n").unwrap().1).unwrap());
        let attached = bodies.find(|body| body.get("digest").is_some());
        (bench.lines("out.jsonl"), pictures(&bench), attached)
    };
    let (alerts, files, attached) = taken("frame.seq < 6", "");
    let [sent, digest] = alerts.as_slice() else { panic!("one alert and a digest: {alerts:?}") };
    assert_eq!((&digest["digest"]["count"], &digest["picture"]), (&json!(5), &json!(true)), "{digest}");
    assert!(digest["message"].as_str().unwrap().ends_with("; best: frame 3"), "{digest}");
    let mut names: Vec<String> = [sent, digest]
        .iter()
        .flat_map(|alert| ["clean.jpg", "jpg"].map(|kind| format!("{}.{kind}", alert["id"].as_str().unwrap())))
        .collect();
    names.sort();
    let found = files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned());
    assert_eq!(found.collect::<Vec<_>>(), names, "none of those held back");
    let of_digest = |kind: &str| {
        let name = format!("{}.{kind}", digest["id"].as_str().unwrap());
        std::fs::read(files.iter().find(|file| file.ends_with(&name)).unwrap()).unwrap()
    };
    let (clean, annotated) = (of_digest("clean.jpg"), of_digest("jpg"));
    assert_eq!(size(&annotated), (320, 240));
    let attached = attached.unwrap();
    assert!(STANDARD.decode(attached["picture_jpeg"].as_str().unwrap()).unwrap() == annotated, "{}", attached["id"]);
    // The same frame, where it raises an alert that is sent.
    let (alerts, files, _) = taken("frame.seq == 3", "");
    assert!(alerts.len() == 1 && files.len() == 2, "{alerts:?} {files:?}");
    assert!(std::fs::read(&files[0]).unwrap() == clean && std::fs::read(&files[1]).unwrap() == annotated);
    let (alerts, files, _) = taken("frame.seq < 6", "pictures: { enabled: false }, ");
    assert!(alerts.len() == 2 && alerts.iter().all(|alert| alert.get("picture").is_none()), "{alerts:?}");
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn the_api_has_the_picture_of_a_digest_under_its_id() {
    let bench = bench();
    bench.write("one.lua", &ONE.replace("key = 'k'", "key = tostring(frame.seq)"));
    let keys = "throttle_seconds: 0, burst_threshold: 1, burst_window_seconds: 1, ";
    bench.write("one.yaml", &config("pattern=smpte,size=320x180,fps=30", keys));
    let args = ["run", "--config", "one.yaml", "--port", "0", "--state", "state"];
    let mut run = Dsengine::new(args).cwd(bench.dir.path()).start();
    let page = run.page();
    let digest = poll(&mut run, || {
        let alerts: Value = serde_json::from_str(&get(&page, "/api/v1/alerts").1).unwrap();
        alerts.as_array().unwrap().iter().find(|alert| alert.get("digest").is_some()).cloned()
    });
    assert_eq!(digest["picture"], true, "{digest}");
    let path = |id: &Value| format!("/api/v1/alerts/{}/picture.jpg", id.as_str().unwrap());
    assert_eq!(size(&bytes(&page, &path(&digest["id"]))), (320, 180));
    assert_eq!(size(&bytes(&page, &format!("{}?clean=1", path(&digest["id"])))), (320, 180));
    // Those that it stands for have none, the best one neither.
    let held = digest["digest"]["ids"].as_array().unwrap();
    assert!(!held.is_empty() && held.iter().all(|id| get(&page, &path(id)).0 == 404), "{digest}");
    stop(run);
}

/// What the program says and how it ends with one alert that has a picture, sent by this handler.
#[track_caller]
fn sent(bench: &Bench, handler: &str) -> String {
    let rule = "detection: { strategies: [{ name: one, module: one.lua }] }";
    bench.write(
        "sent.yaml",
        &format!(
            "sources: [{{ id: a, uri: 'test:pattern=smpte,size=320x180,frames=2' }}]\n{rule}\n\
             alerts:\n  retry_attempts: 1\n  handlers:\n    - {handler}\n"
        ),
    );
    let args = ["run", "--config", "sent.yaml", "--port", "0", "--state", "state"];
    let out = Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
    format!("{}{}", out.stdout, out.stderr)
}

#[test]
fn a_mail_has_the_picture_of_its_alert_where_it_is_wanted() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let bench = bench();
    for (wanted, html) in [(true, true), (true, false), (false, true)] {
        let keys = format!("smtp_server: 127.0.0.1, smtp_port: {}, tls: none, html: {html}", server.port);
        let whom = "from_address: gate@example.com, to_addresses: [guard@example.com]";
        sent(
            &bench,
            &format!("{{ name: mail, type: email, config: {{ {whom}, {keys}, include_attachments: {wanted} }} }}"),
        );
        let mail = server.mails().pop().unwrap();
        let parts = mail["parts"].as_array().unwrap();
        let kinds: Vec<&str> = parts.iter().map(|part| part["type"].as_str().unwrap()).collect();
        let texts = if html { &["text/plain", "text/html"][..] } else { &["text/plain"] };
        let picture: &[&str] = if wanted { &["image/jpeg"] } else { &[] };
        assert_eq!(kinds, [texts, picture].concat());
        if wanted {
            let picture = parts.last().unwrap();
            assert_eq!(size(&STANDARD.decode(picture["text"].as_str().unwrap()).unwrap()), (320, 180));
            let id = mail["headers"]["x-dsengine-alert"].as_str().unwrap();
            assert_eq!(picture["name"], format!("{id}.jpg"));
        }
    }
}

#[test]
fn a_webhook_has_the_picture_of_its_alert_where_it_is_wanted() {
    let bench = bench();
    for wanted in [true, false] {
        let receiver = Receiver::new(Answer::Status(200));
        let config = format!("url: 'http://{}/', include_picture: {wanted}", receiver.address);
        sent(&bench, &format!("{{ name: hook, type: webhook, config: {{ {config} }} }}"));
        let request = receiver.hits().remove(0).request;
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((body["picture"].as_bool(), body.get("picture_jpeg").is_some()), (Some(true), wanted));
        if let Some(picture) = body["picture_jpeg"].as_str() {
            assert_eq!(size(&STANDARD.decode(picture).unwrap()), (320, 180));
        }
    }
    let both = "{ name: hook, type: webhook, config: { url: 'http://h/', include_picture: true, body: '{}' } }";
    let out = bench.run(&format!("sources: [{{ id: a, uri: 'test:frames=1' }}]\nalerts: {{ handlers: [{both}] }}\n"));
    assert!(out.code() == 2 && out.stderr.contains("has no place for the picture"), "{}", out.stderr);
}

#[test]
fn phones_and_chats_get_the_picture() {
    let bench = bench();
    for push in &PUSHES {
        let receiver = Receiver::new(Answer::Status(200));
        let text = std::fs::read_to_string(root().join(format!("scripts/handlers/{}.lua", push.script))).unwrap();
        let text = text.replace(&format!("https://{}", push.host), &format!("http://{}", push.host));
        bench.write("push.lua", &text.replace(push.host, &receiver.address));
        let grants = format!("{{ http: ['http://{}'], secrets: {{ {} }} }}", receiver.address, push.secrets);
        let settings = push.settings;
        sent(&bench, &format!("{{ name: push, module: push.lua, settings: {settings}, grants: {grants} }}"));
        let request = receiver.hits().remove(0).request;
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        // The receiver reads text: of the picture, what is text is left.
        assert!(body.contains("JFIF") && body.contains("dsengine\0a"), "{}: {head}", push.script);
        let form = "content-type: multipart/form-data; boundary=dsengine-form";
        match push.script {
            "ntfy" => assert!(head.starts_with("put /gate?title=r%20at%20a&message=seen&priority=3"), "{head}"),
            "telegram" => assert!(head.contains("/sendphoto ") && body.contains("name=\"photo\"; filename="), "{head}"),
            "discord" => assert!(body.contains("attachment://alert.jpg") && body.contains("files[0]"), "{head}"),
            _ => assert!(body.contains("name=\"attachment\"; filename=\"alert.jpg\""), "{head}"),
        }
        assert_eq!(head.contains(form), push.script != "ntfy", "{head}");
    }
}

#[test]
fn a_rule_gives_its_alert_a_picture_of_its_own() {
    let bench = bench();
    bench.write(
        "one.lua",
        "---@needs pixels\nfunction detect(frame)\n  local jpeg = pixels.encode({ 0, 0, 0.5, 0.5 }, { max_side = 64 })\n  \
         frame:alert{ rule = 'r', key = 'k', message = 'seen', picture = jpeg }\nend\n",
    );
    let config = config("pattern=smpte,size=320x180,frames=2", "");
    let (alert, files) = run(&bench, &config.replace("module: one.lua", "module: one.lua, grants: { pixels: true }"));
    assert_eq!((alert["picture"].as_bool(), files.len()), (Some(true), 1), "there is no clean one");
    assert_eq!(size(&std::fs::read(&files[0]).unwrap()), (64, 36));
    // What is no JPEG is the rule's mistake.
    bench.write("one.lua", "function detect(frame)\n  frame:alert{ rule = 'r', picture = 'GIF89a' }\nend\n");
    let out = bench.run(&config);
    let told = "one.lua:2: frame:alert: picture is a JPEG such as pixels.encode gives, got string";
    assert!(format!("{}{}", out.stdout, out.stderr).contains(told), "{}", out.stderr);
}
