//! Tests of an overlay by itself: set, remove, refuse and write.

use serde_json::json;

use super::*;

#[test]
fn an_item_replaces_its_parts_and_parts_are_set_inside_it() {
    let mut overlay = Overlay::default();
    overlay.set("sources[yard].fps", Some(json!(5)));
    overlay.set("sources[yard].zones[gate]", None);
    overlay.set("sources[gate].fps", Some(json!(2)));
    assert_eq!(overlay.get("sources[yard].zones[gate]"), Some(None));
    overlay.set("sources[yard]", Some(json!({ "uri": "test" })));
    assert_eq!(overlay.entries.keys().collect::<Vec<_>>(), ["sources[gate].fps", "sources[yard]"]);
    overlay.set("sources[yard].fps", Some(json!(7)));
    overlay.set("sources[yard].zones[door]", Some(json!([[0, 0], [1, 0], [1, 1]])));
    assert_eq!(overlay.entries.len(), 2);
    assert_eq!(overlay.get("sources[yard].fps"), Some(Some(&json!(7))));
    assert_eq!(overlay.get("sources[yard].zones[door]").flatten().unwrap()[1], json!([1, 0]));
    assert!(overlay.remove("sources[yard].fps") && !overlay.remove("sources[yard].fps"));
    assert_eq!(overlay.get("sources[yard].fps"), None);
    overlay.set("sources[yard]", None);
    overlay.set("sources[yard].uri", Some(json!("test")));
    assert_eq!(overlay.get("sources[yard]"), Some(Some(&json!({ "uri": "test" }))), "made again from nothing");
}

#[test]
fn entries_are_removed_with_overlapping_paths() {
    let mut overlay = Overlay::default();
    for path in ["sources[yard].fps", "sources[yard].enabled", "detection.strategies[a]", "zones[gate]", "name"] {
        overlay.set(path, Some(json!("x")));
    }
    let changed = ["sources[yard].fps", "detection.strategies[a].config.seconds", "zones.gate"].map(str::to_owned);
    let gone = overlay.without(&changed);
    assert_eq!(gone, ["detection.strategies[a]", "sources[yard].fps", "zones[gate]"]);
    assert_eq!(overlay.entries.keys().collect::<Vec<_>>(), ["name", "sources[yard].enabled"]);
}

#[test]
fn a_change_of_the_file_is_named_by_id() {
    let old = json!({
        "alerts": { "throttle_seconds": 5, "rules": { "r.x": { "level": "low" } },
            "handlers": ["console", { "name": "hook", "config": { "url": "a" } }] },
        "sources": [{ "id": "yard", "fps": 5, "zones": { "gate": [1] } }, { "id": "gate" }],
        "profiles": { "night": { "alerts": { "level": "low" } } },
        "profile": "night",
    });
    let new = json!({
        "name": "x",
        "alerts": { "throttle_seconds": 6, "rules": { "r.x": { "level": "high" } },
            "handlers": [{ "name": "hook", "config": { "url": "b" } }] },
        "sources": [{ "id": "new" }, { "id": "yard", "fps": 5, "alerts": { "rules": { "r": { "level": "low" } } },
            "zones": { "gate": [2] } }],
        "profiles": { "night": { "alerts": { "level": "high" } } },
        "profile": "night",
        "pipeline": { "fps": 3 },
    });
    let expected = [
        "alerts.handlers[console]",
        "alerts.handlers[hook].config.url",
        "alerts.level",
        "alerts.rules[r.x].level",
        "alerts.throttle_seconds",
        "name",
        "pipeline.fps",
        "profiles[night].alerts.level",
        "sources[gate]",
        "sources[new]",
        "sources[yard].alerts.rules[r]",
        "sources[yard].zones[gate]",
    ];
    assert_eq!(changed_paths(&old, &new), expected);
    assert_eq!(changed_paths(&new, &old), expected);
    assert!(changed_paths(&old, &old).is_empty());
}

#[test]
fn a_secret_is_saved_as_a_reference_only() {
    let check = |path: &str, value: serde_json::Value| {
        let mut overlay = Overlay::default();
        overlay.set(path, Some(value));
        overlay.check_secrets().map_err(|error| error.message().to_owned())
    };
    for (path, value) in [
        ("alerts.handlers[hook].config.url", json!("${env:HOOK}")),
        ("alerts.handlers[hook]", json!({ "config": { "headers": { "A": "${file:/run/a}" } } })),
        ("sources[yard].uri", json!("rtsp://10.0.0.7/stream")),
        ("sources[yard].uri", json!("rtsp://${env:USER}:${env:PASSWORD}@10.0.0.7/stream")),
        ("sources[yard].uri", json!("rtsp://viewer:${file:/run/cam}@10.0.0.7/stream")),
        ("detection.strategies[a].config", json!({ "page": "https://example.com/a", "seconds": 5 })),
    ] {
        assert_eq!(check(path, value.clone()), Ok(()), "{path}: {value}");
    }
    for (path, value, named) in [
        ("alerts.handlers[hook].config.url", json!("https://h/hunter2"), "alerts.handlers[hook].config.url"),
        ("alerts.handlers[hook].config.url", json!("${env:HOOK:-hunter2}"), "alerts.handlers[hook].config.url"),
        (
            "alerts.handlers[hook]",
            json!({ "config": { "headers": { "A": "hunter2" } } }),
            "alerts.handlers[hook].config.headers.A",
        ),
        ("sources[yard].uri", json!("rtsp://u:hunter2@10.0.0.7/stream"), "sources[yard].uri"),
        ("sources[yard].uri", json!("rtsp://${env:USER}:hunter2@10.0.0.7/stream"), "sources[yard].uri"),
        ("detection.strategies[a].config", json!({ "password": 1234 }), "detection.strategies[a].config.password"),
    ] {
        assert_eq!(check(path, value.clone()), Err(format!("overlay: `{named}` holds a secret as text")), "{value}");
    }
}

#[test]
fn a_file_round_trips_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/overlay.yaml");
    assert_eq!(Overlay::read(&path).unwrap(), Overlay::default(), "no file is an empty overlay");
    let mut overlay = Overlay::default();
    overlay.set("sources[a \"b\": c].fps", Some(json!(1e20)));
    overlay.set("zones[gate]", Some(json!([[0.25, 0], [1, 0], [1, 1]])));
    overlay.set("alerts.handlers[hook]", Some(json!({ "type": "webhook", "config": { "url": "${env:HOOK}" } })));
    overlay.set("name", Some(json!("0755\n#: \u{e9}\u{1}")));
    overlay.set("sources[old]", None);
    overlay.write(&path).unwrap();
    overlay.write(&path).unwrap();
    assert_eq!(Overlay::read(&path).unwrap(), overlay);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path().join("state")).unwrap().count(), 1, "nothing is left beside it");
    std::fs::write(&path, "- a\n").unwrap();
    assert!(Overlay::read(&path).unwrap_err().to_string().contains("overlay.yaml:1:1: an overlay is a map"));
}

#[test]
fn a_reference_stands_for_a_secret_only() {
    let written = json!({ "environment": "${env:SITE}", "sources": [{ "id": "yard", "uri": "${env:YARD}" }] });
    let checked = |path: &str, value: Json| {
        let mut overlay = Overlay::default();
        overlay.set(path, Some(value));
        overlay.check_references(&written).map_err(|error| error.message().to_owned())
    };
    for (path, value) in [
        ("sources[a].uri", json!("${file:/etc/passwd}")),
        ("sources[a]", json!({ "uri": "${env:CAM_PW}" })),
        ("sources[a].uri", json!("rtsp://${file:/etc/passwd}/s")),
        ("sources[a].uri", json!("rtsp://h/${file:/etc/passwd}")),
        ("sources[a].uri", json!("${env:X}://u:p@h/")),
        ("name", json!("site ${file:/etc/passwd}")),
        ("environment", json!("${env:OTHER}")),
        ("detection.strategies[a].config", json!({ "zone": ["${env:CAM_PW}"] })),
    ] {
        let refused = checked(path, value).expect_err(path);
        assert!(refused.contains("a reference stands for a secret only"), "{refused}");
    }
    for (path, value) in [
        ("sources[a].uri", json!("rtsp://${env:USER}:${file:/run/secrets/cam}@h/s")),
        ("sources[a].uri", json!("rtsp://h/s?token=${env:T}")),
        ("alerts.handlers[hook].config.url", json!("${file:/run/secrets/hook}")),
        ("alerts.handlers[hook].config.headers", json!({ "Authorization": "Bearer ${env:T}" })),
        ("name", json!("$${not} a reference")),
        ("environment", json!("${env:SITE}")),
        ("sources[yard].uri", json!("${env:YARD}")),
    ] {
        assert_eq!(checked(path, value), Ok(()), "{path}");
    }
}

#[test]
fn a_reference_is_new_unless_the_same_stands_there() {
    let uri = "rtsp://u:${env:CAM}@h/s";
    let written = json!({
        "sources": [{ "id": "yard", "uri": uri, "zones": { "a.b": "${env:Z}" } }, { "id": "gate", "uri": "test:" }],
        "alerts": { "handlers": [{ "name": "hook", "config": { "headers": { "A": "${file:/run/a}" } } }] },
    });
    let mut before = Overlay::default();
    before.set("sources[dock]", Some(json!({ "id": "dock", "uri": uri })));
    let new = |path: &str, value: Json| {
        let mut overlay = before.clone();
        overlay.set(path, Some(value));
        overlay.new_reference(&before, &written)
    };
    for (path, value) in [
        ("sources[yard].uri", json!(uri)),
        ("sources[yard]", json!({ "id": "yard", "uri": uri, "zones": { "a.b": "${env:Z}" } })),
        ("sources[yard].zones[a.b]", json!("${env:Z}")),
        ("sources[dock].fps", json!(3)),
        ("sources[dock].uri", json!(uri)),
        ("alerts.handlers[hook].config.headers", json!({ "A": "${file:/run/a}" })),
        ("name", json!("$${no} reference")),
        ("profile", json!("away")),
    ] {
        assert_eq!(new(path, value), None, "{path}");
    }
    for (path, value) in [
        ("sources[gate].uri", json!(uri)),
        ("sources[yard].uri", json!("rtsp://u:${env:CAM}@elsewhere/s")),
        ("sources[dock].uri", json!("rtsp://x:${file:/etc/hostname}@h/s")),
        ("alerts.handlers[hook].config.headers.B", json!("${file:/run/a}")),
        ("alerts.handlers[other].config.headers.A", json!("${file:/run/a}")),
        ("name", json!("$${no} ${env:X:-y}")),
        ("name", json!("${")),
    ] {
        assert_eq!(new(path, value).as_deref(), Some(path));
    }
}
