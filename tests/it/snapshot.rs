//! `dsengine snapshot`, the zones in films and answers, and what a run's summary says.

use serde_json::{Value, json};

use crate::harness::{Dsengine, get, write};

const ZONE: &str = "[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]";

/// Width, height and the samples of one of our PNGs, which are not compressed.
fn png(path: &std::path::Path) -> (usize, usize, Vec<[u8; 3]>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (width, height) = (number(16), number(20));
    let length = number(33);
    let stream = &bytes[41 + 2..41 + length - 4];
    let (mut rows, mut at) = (Vec::new(), 0);
    while at < stream.len() {
        let size = usize::from(u16::from_le_bytes([stream[at + 1], stream[at + 2]]));
        rows.extend_from_slice(&stream[at + 5..at + 5 + size]);
        at += 5 + size;
    }
    assert_eq!(rows.len(), height * (1 + 3 * width));
    let samples = rows.chunks(1 + 3 * width).flat_map(|row| row[1..].chunks(3).map(|s| [s[0], s[1], s[2]])).collect();
    (width, height, samples)
}

/// Whether a sample is bright, yellow as zones are, or neither.
fn is_white(sample: [u8; 3]) -> bool {
    sample.iter().all(|value| *value > 200)
}

fn is_yellow(sample: [u8; 3]) -> bool {
    sample[0] > 180 && sample[1] > 150 && sample[2] < 120
}

#[test]
fn a_snapshot_has_a_grid_in_shares_and_the_zones_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let source = "test:pattern=black,size=400x200,fps=5";
    let shot = |args: &[&str]| Dsengine::new([&["snapshot"], args].concat()).cwd(dir.path()).run();
    shot(&["--source", source, "--grid", "-o", "grid.png"]).expect(0);
    let (width, height, samples) = png(&dir.path().join("grid.png"));
    assert_eq!((width, height), (400, 200));
    for n in 1..10 {
        assert!(is_white(samples[30 * width + 40 * n]) && is_white(samples[20 * n * width + 50]), "line {n}");
    }
    assert!(samples[30 * width + 60].iter().all(|value| *value < 40), "between the lines");
    // The zones of the configuration, whichever way the source is named.
    let config = |more: &str| {
        let sources = format!("sources: [{{ id: a, uri: '{source}', zones: {{ gate: {ZONE} }} }}{more}]\n");
        write(dir.path(), "c.yaml", &sources);
    };
    config("");
    for args in [
        &["--config", "c.yaml"][..],
        &["--config", "c.yaml", "--id", "a"],
        &["--config", "c.yaml", "--source", source],
        &["--config", "c.yaml", "--source", "test:pattern=black,size=400x200,fps=9"],
    ] {
        shot(&[args, &["-o", "zones.png"]].concat()).expect(0);
        let (width, _, samples) = png(&dir.path().join("zones.png"));
        let edges = [(200, 50), (200, 150), (100, 100), (300, 100)];
        assert!(edges.iter().all(|(x, y)| is_yellow(samples[y * width + x])), "{args:?}");
        assert!(samples[100 * width + 200].iter().all(|value| *value < 40), "inside it: {args:?}");
    }
    shot(&["--config", "c.yaml", "--grid", "-o", "grid.jpg"]).expect(0);
    assert_eq!(&std::fs::read(dir.path().join("grid.jpg")).unwrap()[..3], b"\xff\xd8\xff");
    // What cannot be done says what to do.
    config(", { id: b, uri: test }, { id: c, uri: 'scene:street?pixels=false' }");
    for (args, told) in [
        (&["--config", "c.yaml"][..], "name it with --source URI, or one of the configuration with --id ID"),
        (&["--config", "c.yaml", "--id", "x"], "a snapshot is of one source, and there are 0"),
        (&["--config", "c.yaml", "--id", "c"], "source `c` has no pictures"),
    ] {
        let out = shot(&[args, &["-o", "no.png"]].concat()).expect(2);
        assert!(out.stderr.contains(told), "{}", out.stderr);
    }
    assert!(shot(&["--source", source, "-o", "no.gif"]).expect(2).stderr.contains("ends in .png or .jpg"));
    let ended = shot(&["--source", "test:pattern=black,frames=3,size=64x64", "--at", "60", "-o", "no.png"]).expect(1);
    assert!(ended.stderr.contains("there is no picture: it ends before --at 60.0 s"), "{}", ended.stderr);
    assert!(!dir.path().join("no.png").exists());
}

#[test]
fn an_annotated_film_and_the_status_have_the_zones() {
    let dir = tempfile::tempdir().unwrap();
    let source = |uri: &str| format!("sources: [{{ id: a, uri: '{uri}', zones: {{ gate: {ZONE} }} }}]\n");
    write(dir.path(), "film.yaml", &source("test:pattern=black,frames=12,size=400x200"));
    let record = ["record", "--config", "film.yaml", "--annotated", "film.mp4", "-o", "film.jsonl"];
    Dsengine::new(record).cwd(dir.path()).run().expect(0);
    let shot = ["snapshot", "--source", "film.mp4", "-o", "film.png"];
    Dsengine::new(shot).cwd(dir.path()).run().expect(0);
    let (width, _, samples) = png(&dir.path().join("film.png"));
    // Lossy: an edge is yellowish, the inside is dark.
    let edge = samples[50 * width + 250];
    assert!(edge[0] > 120 && edge[1] > 100 && edge[2] < 120, "{edge:?}");
    assert!(samples[100 * width + 200].iter().all(|value| *value < 60));

    write(dir.path(), "live.yaml", &source("test:pattern=black,size=64x64,fps=5"));
    let mut run = Dsengine::new(["run", "--config", "live.yaml", "--port", "0"]).cwd(dir.path()).start();
    let page = run.page();
    let answer = |path: &str| -> Value { serde_json::from_str(&get(&page, path).1).unwrap() };
    let zones = json!([{ "name": "gate", "points": serde_json::from_str::<Value>(ZONE).unwrap() }]);
    assert_eq!(answer("/api/v1/status")["sources"][0]["zones"], zones);
    assert_eq!(answer("/api/v1/sources/a")["status"]["zones"], zones);
}

#[test]
fn a_summary_explains_its_words_and_how_to_get_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    // A cap is no drop, and a clip with motion alone says how to get an alert.
    write(dir.path(), "c.yaml", "sources: [{ id: a, uri: 'scene:street', fps: 2 }]\n");
    let out = Dsengine::new(["run", "--config", "c.yaml", "--port", "0"]).cwd(dir.path()).run().expect(0);
    let line = out.stdout.lines().find(|line| line.starts_with("a: ")).unwrap();
    assert!(line.contains(", left out by fps: ") && line.ends_with("dropped: none"), "{line}");
    let hint =
        out.stdout.lines().find(|line| line.starts_with("no rule ran")).unwrap_or_else(|| panic!("{}", out.stdout));
    assert!(hint.contains("module: scripts/intrusion.lua") && hint.contains("labels: [motion]"), "{hint}");
    // With a rule there is nothing to say; a word that stands there is explained.
    write(dir.path(), "fail.lua", "function detect(frame) if frame.seq > 3 then error('no') end end\n");
    let rule = "{ name: fail, module: fail.lua, on_failure: skip }";
    write(
        dir.path(),
        "c.yaml",
        &format!("sources: [{{ id: a, uri: 'scene:street', fps: 2 }}]\ndetection: {{ strategies: [{rule}] }}\n"),
    );
    let out = Dsengine::new(["run", "--config", "c.yaml", "--port", "0"]).cwd(dir.path()).run().expect(1);
    assert!(!out.stdout.contains("no rule ran"), "{}", out.stdout);
    let told = "  strategy_fault: a strategy failed on them, and its on_failure is skip";
    assert!(out.stdout.lines().any(|line| line == told), "{}", out.stdout);
}
