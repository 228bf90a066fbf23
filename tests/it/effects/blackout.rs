//! `sources[].blackout`: no picture, live picture, film, detection or script has what is inside.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::pictures::pictures;
use super::{Answer, Bench, LIMIT, Receiver, labels, model, poll, stop};
use crate::email::Smtpd;
use crate::harness::{Dsengine, get, request, skip};

/// The whole picture.
const WHOLE: &str = "[[[0, 0], [1, 0], [1, 1], [0, 1]]]";
/// Its left half.
const LEFT: &str = "[[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]";
/// The script that says how red the left and the right of the picture are.
const REDNESS: &str = "---@needs pixels\nfunction detect(frame)\n  local left = pixels.mean{ 0, 0, 0.5, 1 }\n  \
    local right = pixels.mean{ 0.5, 0, 0.5, 1 }\n  frame:alert{ rule = 'red', message = \
    ('%s %s'):format(tostring(left > 200), tostring(right > 200)) }\nend\n";

/// The body of an answer, byte by byte. A picture of a stream is what follows its own head.
pub(super) fn bytes(page: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    after(&answer, b"\r\n\r\n").to_vec()
}

/// What follows the first `mark`.
fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let at = bytes.windows(mark.len()).position(|window| window == mark);
    at.map_or(&[], |at| &bytes[at + mark.len()..])
}

/// The next live picture of the source `a`.
fn live(page: &str) -> Vec<u8> {
    let part = bytes(page, "/live/a?limit=1");
    let jpeg = after(&part, b"\r\n\r\n");
    // Behind it are the ends of the part and of its chunk.
    let end = jpeg.windows(2).rposition(|window| window == b"\xff\xd9").map_or(0, |at| at + 2);
    jpeg[..end].to_vec()
}

fn source(pattern: &str, more: &str) -> String {
    format!("sources: [{{ id: a, uri: 'test:pattern={pattern},size=64x64,{more} }}]\n")
}

#[test]
fn what_is_blacked_out_is_seen_by_nobody() {
    let bench = Bench::new();
    bench.write("redness.lua", REDNESS);
    // A model does not detect it.
    let detected = |blackout: &str| {
        let model = format!("detection: {{ model_engine_file: {} }}\n", model("colours"));
        let frames = bench.record(&format!("{}{model}", source("red", &format!("frames=3', blackout: {blackout}"))));
        labels(frames.last().unwrap()).contains(&"red")
    };
    assert!(detected("[]") && !detected(WHOLE));
    // A script does not see it.
    let rule = "detection: { strategies: [{ name: redness, module: redness.lua, grants: { pixels: true } }] }\n\
                alerts: { handlers: [{ name: file, config: { log_file: out.jsonl } }] }\n";
    for (blackout, said) in [("[]", "true true"), (LEFT, "false true"), (WHOLE, "false false")] {
        let _ = std::fs::remove_file(bench.path("out.jsonl"));
        bench.summary(&format!("{}{rule}", source("red", &format!("frames=3', blackout: {blackout}"))));
        assert_eq!(bench.lines("out.jsonl")[0]["message"], said, "{blackout}");
    }
    // A snapshot does not show it, whichever way the source is named.
    let shown = |name: &str, args: &[&str]| {
        Dsengine::new([&["snapshot", "-o", name], args].concat()).cwd(bench.dir.path()).run().expect(0);
        std::fs::read(bench.path(name)).unwrap()
    };
    let black = shown("black.jpg", &["--source", "test:pattern=black,size=64x64,frames=3"]);
    bench.write("whole.yaml", &source("red", &format!("frames=3', blackout: {WHOLE}")));
    assert_eq!(shown("config.jpg", &["--config", "whole.yaml"]), black);
    let named = ["--config", "whole.yaml", "--source", "test:pattern=red,size=64x64,frames=3"];
    assert_eq!(shown("named.jpg", &named), black);
    assert_ne!(shown("red.jpg", &["--source", "test:pattern=red,size=64x64,frames=3"]), black);
}

#[test]
fn what_moves_in_a_blackout_what_a_rule_encodes_and_what_is_kept_shows_nothing_of_it() {
    let bench = Bench::new();
    let moves = |blackout: &str| {
        let scene = "type: scene, uri: scene.yaml, parameters: { pixels: true }";
        let frames = bench.record(&format!("sources: [{{ id: a, {scene}, blackout: {blackout} }}]\n"));
        frames.iter().any(|frame| !frame["detections"].as_array().unwrap().is_empty())
    };
    assert!(moves("[]") && !moves(WHOLE));
    // The picture that a rule makes of the pixels, and both of the frame: as files, which handlers send.
    bench.write(
        "own.lua",
        "---@needs pixels\nfunction detect(frame)\n  frame:alert{ rule = 'own', key = 'k', message = 'm', picture = \
         pixels.encode() }\n  frame:alert{ rule = 'frame', key = 'k', message = 'm' }\nend\n",
    );
    let rule = "detection: { strategies: [{ name: own, module: own.lua, grants: { pixels: true } }] }\n\
                alerts: { handlers: [{ name: file, config: { log_file: own.jsonl } }] }\n";
    let kept = |pattern: &str, blackout: &str| -> Vec<Vec<u8>> {
        let _ = std::fs::remove_dir_all(bench.path("state"));
        bench.write("own.yaml", &format!("{}{rule}", source(pattern, &format!("frames=2', blackout: {blackout}"))));
        let args = ["run", "--config", "own.yaml", "--port", "0", "--state", "state"];
        Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
        pictures(&bench).iter().map(|file| std::fs::read(file).unwrap()).collect()
    };
    let (black, red) = (kept("black", "[]"), kept("red", "[]"));
    assert_eq!(black.len(), 3, "the rule's own, and two of the frame");
    assert!(black.iter().zip(&red).all(|(black, red)| black != red));
    assert_eq!(kept("red", WHOLE), black);
    // The grid to read coordinates from.
    let grid = |pattern: &str, blackout: &str| {
        bench.write("grid.yaml", &source(pattern, &format!("frames=2', blackout: {blackout}")));
        let args = ["snapshot", "--config", "grid.yaml", "--grid", "-o", "grid.jpg"];
        Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
        std::fs::read(bench.path("grid.jpg")).unwrap()
    };
    assert_eq!(grid("red", WHOLE), grid("black", "[]"));
    assert_ne!(grid("red", "[]"), grid("black", "[]"));
}

#[test]
fn a_blackout_is_drawn_and_taken_away_while_the_source_runs() {
    let bench = Bench::new();
    let pictures = |pattern: &str, change: &mut dyn FnMut(&str)| {
        let mut run = bench.start(&source(pattern, "fps=30'"));
        let page = run.page();
        poll(&mut run, || Some(live(&page)).filter(|picture| !picture.is_empty()));
        change(&page);
        // Those that were on their way keep what they had.
        let mut last = live(&page);
        let settled = poll(&mut run, || {
            let next = live(&page);
            let same = !next.is_empty() && next == last;
            last.clone_from(&next);
            same.then_some(next)
        });
        stop(run);
        settled
    };
    let set = |page: &str, blackout: serde_json::Value| {
        let (status, body) = request("PATCH", page, "/api/v1/sources/a", &json!({ "blackout": blackout }).to_string());
        assert_eq!(status, 200, "{body}");
    };
    let whole = || serde_json::from_str::<serde_json::Value>(WHOLE).unwrap();
    let (black, red) = (pictures("black", &mut |_| {}), pictures("red", &mut |_| {}));
    assert_ne!(black, red);
    assert_eq!(pictures("red", &mut |page| set(page, whole())), black);
    let taken_away = pictures("red", &mut |page| {
        set(page, whole());
        set(page, serde_json::Value::Null);
    });
    assert_eq!(taken_away, red);
}

#[test]
fn an_outline_that_leaves_something_to_be_seen_is_refused() {
    let bench = Bench::new();
    for (outline, told) in [
        ("[[0, 0], [1, 1], [1, 0], [0, 1]]", "the outline `sources[0].blackout[0]` crosses itself"),
        ("[[0, 0], [0.5, 0.5], [1, 1]]", "`sources[0].blackout[0]` encloses no area"),
        ("[[0, 0], [640, 0], [640, 480]]", "corners are shares of the picture (0..1), not pixels"),
    ] {
        let out = bench.run(&source("red", &format!("frames=3', blackout: [{outline}]")));
        assert!(out.code() == 2 && out.stderr.contains(told), "{outline}: {}", out.stderr);
    }
}

/// A clip that shows a QR code in its middle; `None` without the tools.
fn clip(bench: &Bench, name: &str) -> Option<()> {
    let done = |command: &mut Command| {
        command.current_dir(bench.dir.path()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    // 33 modules of 8 pixels.
    let code = done(Command::new("qrencode").args(["-v", "2", "-s", "8", "-m", "4", "-o", "qr.png", "BLACKOUT-7"]));
    let film = code
        && done(Command::new("gst-launch-1.0").args(["-q", "filesrc", "location=qr.png", "!", "pngdec", "!"]).args([
            "imagefreeze",
            "num-buffers=30",
            "!",
            "video/x-raw,framerate=10/1",
            "!",
            "videoconvert",
            "!",
            "videobox",
            "left=-100",
            "right=-100",
            "top=-60",
            "bottom=-60",
            "fill=white",
            "!",
            "videoconvert",
            "!",
            "video/x-raw,format=I420",
            "!",
            "x264enc",
            "!",
            "h264parse",
            "!",
            "mp4mux",
            "!",
            "filesink",
            &format!("location={name}"),
        ]));
    film.then_some(())
}

/// What `zbarimg` reads in a picture; `None` if there is no such program.
fn code(path: &Path) -> Option<String> {
    let out = Command::new("zbarimg").args(["--quiet", "--raw"]).arg(path).output().ok()?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// A bench with the clip; `None`, and said to be so, without the tools.
fn bench(test: &str) -> Option<Bench> {
    let bench = Bench::new();
    if clip(&bench, "code.mp4").is_none() {
        skip(test, "qrencode, or gst-launch-1.0 with x264enc, is not there");
        return None;
    }
    if code(&bench.path("qr.png")).is_none() {
        skip(test, "zbarimg is not there");
        return None;
    }
    Some(bench)
}

/// A blackout, what is read in each picture with it, and a name for it.
const BOTH: [(&str, &str, &str); 2] =
    [("[]", "BLACKOUT-7", "without"), ("[[[0.2, 0.14], [0.8, 0.14], [0.8, 0.86], [0.2, 0.86]]]", "", "with")];

#[test]
fn a_code_inside_a_blackout_is_in_no_picture() {
    let Some(bench) = bench("effects::blackout::a_code_inside_a_blackout_is_in_no_picture") else { return };
    for (blackout, expected, state) in BOTH {
        let sources = |more: &str| format!("sources: [{{ id: a, uri: code.mp4, {more}blackout: {blackout} }}]\n");
        let read = |name: &str| code(&bench.path(name)).unwrap();
        bench.write("code.yaml", &sources(""));
        for name in ["shot.jpg", "shot.png"] {
            let args = ["snapshot", "--config", "code.yaml", "-o", name];
            Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
            assert_eq!(read(name), expected, "{name} {blackout}");
        }
        let args = ["record", "--config", "code.yaml", "-o", "code.jsonl", "--annotated", "drawn.mp4"];
        Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
        let film = ["-q", "filesrc", "location=drawn.mp4", "!", "decodebin", "!", "videoconvert", "!", "pngenc", "!"];
        let mut stills = Command::new("gst-launch-1.0");
        stills.args(film).args(["multifilesink", "location=still-%02d.png"]).current_dir(bench.dir.path());
        assert!(stills.status().unwrap().success());
        for still in ["still-00.png", "still-15.png", "still-29.png"] {
            assert_eq!(read(still), expected, "{still} {blackout}");
        }
        let mut run = bench.start(&sources("realtime: true, parameters: { loop: true }, "));
        let page = run.page();
        let picture = poll(&mut run, || Some(live(&page)).filter(|picture| !picture.is_empty()));
        stop(run);
        std::fs::write(bench.path("live.jpg"), picture).unwrap();
        assert_eq!(read("live.jpg"), expected, "the live picture {blackout}");
        // The pictures of an alert, as the API and its handlers have them.
        bench.write("code.lua", "function detect(frame)\n  frame:alert{ rule = 'r', message = 'seen' }\nend\n");
        let rule = "detection: { strategies: [{ name: code, module: code.lua }] }\n";
        let sources = sources("realtime: true, parameters: { loop: true }, ");
        bench.write("alert.yaml", &format!("{sources}{rule}"));
        let args = ["run", "--config", "alert.yaml", "--port", "0", "--state", state];
        let mut run = Dsengine::new(args).cwd(bench.dir.path()).start();
        let page = run.page();
        let alert = poll(&mut run, || {
            let alerts: serde_json::Value = serde_json::from_str(&get(&page, "/api/v1/alerts").1).unwrap();
            alerts.as_array().unwrap().first().cloned()
        });
        let path = format!("/api/v1/alerts/{}/picture.jpg", alert["id"].as_str().unwrap());
        for (name, path) in [("drawn.jpg", path.clone()), ("clean.jpg", format!("{path}?clean=1"))] {
            std::fs::write(bench.path(name), bytes(&page, &path)).unwrap();
            assert_eq!(read(name), expected, "{name} {blackout}");
        }
        stop(run);
    }
}

/// The JPEGs in a folder and below.
fn jpegs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { jpegs(&path) } else { vec![path] };
    entries.flat_map(of).filter(|path| path.extension().is_some_and(|end| end == "jpg")).collect()
}

/// The picture of the frame, and one that the rule makes of it.
const PICTURED: &str = "---@needs pixels\nfunction detect(frame)\n  frame:alert{ rule = 'r', key = 'k', message = 'seen' }\n  \
    frame:alert{ rule = 'own', key = 'k', message = 'seen', picture = pixels.encode({ 0, 0, 1, 1 }, \
    { max_side = 1024 }) }\nend\n";

#[test]
fn a_code_inside_a_blackout_is_in_nothing_that_is_sent_or_kept() {
    let Some(bench) = bench("effects::blackout::a_code_inside_a_blackout_is_in_nothing_that_is_sent_or_kept") else {
        return;
    };
    bench.write("pictured.lua", PICTURED);
    let mail = Smtpd::start(json!({}));
    for (blackout, expected, state) in BOTH {
        let hook = Receiver::new(Answer::Status(200));
        let mut handlers = format!(
            "{{ name: hook, type: webhook, config: {{ url: 'http://{}/', include_picture: true }} }}",
            hook.address
        );
        if let Some(server) = &mail {
            handlers += &format!(
                ", {{ name: mail, type: email, config: {{ smtp_server: 127.0.0.1, smtp_port: {}, tls: none, \
                 from_address: gate@example.com, to_addresses: [guard@example.com], include_attachments: true, \
                 min_interval_seconds: 0 }} }}",
                server.port
            );
        }
        bench.write(
            "sent.yaml",
            &format!(
                "sources: [{{ id: a, uri: code.mp4, blackout: {blackout} }}]\n\
                 detection: {{ strategies: [{{ name: pictured, module: pictured.lua, grants: {{ pixels: true }} }}] }}\n\
                 alerts: {{ handlers: [{handlers}] }}\n"
            ),
        );
        let args = ["run", "--config", "sent.yaml", "--port", "0", "--state", state];
        Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
        let read = |jpeg: &str| {
            std::fs::write(bench.path("sent.jpg"), STANDARD.decode(jpeg).unwrap()).unwrap();
            code(&bench.path("sent.jpg")).unwrap()
        };
        let hits = hook.hits();
        assert_eq!(hits.len(), 2);
        for hit in hits {
            let body: serde_json::Value = serde_json::from_str(hit.request.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(read(body["picture_jpeg"].as_str().unwrap()), expected, "{} by webhook, {state}", body["rule"]);
        }
        let mails = mail.as_ref().map(Smtpd::mails).unwrap_or_default();
        // Those of the first of the two runs are the first two.
        for mail in mails.iter().skip(if state == "with" { 2 } else { 0 }) {
            let parts = mail["parts"].as_array().unwrap();
            let pictures: Vec<_> = parts.iter().filter(|part| part["type"] == "image/jpeg").collect();
            assert_eq!(pictures.len(), 1);
            assert_eq!(read(pictures[0]["text"].as_str().unwrap()), expected, "by mail, {state}");
        }
        let kept = jpegs(&bench.path(state));
        // Of the frame there is a clean one, too.
        assert_eq!(kept.len(), 3, "{kept:?}");
        for kept in kept {
            assert_eq!(code(&kept).unwrap(), expected, "{} {state}", kept.display());
        }
    }
    assert!(mail.is_none_or(|server| server.mails().len() == 4));
}
