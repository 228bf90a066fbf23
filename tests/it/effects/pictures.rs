//! `alerts.pictures`: what is kept of the frames that raise alerts.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::blackout::bytes;
use super::{Bench, poll, stop};
use crate::harness::get;

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
    crate::harness::Dsengine::new(args).cwd(bench.dir.path()).run().expect(0);
    (bench.lines("out.jsonl").remove(0), pictures(bench))
}

fn pictures(bench: &Bench) -> Vec<PathBuf> {
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
fn the_api_and_the_page_have_the_picture_and_a_change_of_the_keys_is_live() {
    let bench = bench();
    bench.write(
        "one.yaml",
        &config("pattern=smpte,size=320x180,fps=30", "pictures: { clean: false }, throttle_seconds: 0, "),
    );
    let args = ["run", "--config", "one.yaml", "--port", "0", "--state", "state"];
    let mut run = crate::harness::Dsengine::new(args).cwd(bench.dir.path()).start();
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
    assert!(get(&page, "/assets/page.js").1.contains("/picture.jpg"));
    stop(run);
}
