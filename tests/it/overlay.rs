//! What the API and the command line change, laid over the files: by path, by id, with the file's own words kept.

use std::fs;

use dsengine::config::{Loaded, Overlay, Request, changed_paths};
use serde_json::{Value, json};

use crate::config::Bench;

impl Bench {
    fn set(mut self, path: &str, value: Value) -> Self {
        self.request.overlay.set(path, Some(value));
        self
    }

    fn take(mut self, path: &str) -> Self {
        self.request.overlay.set(path, None);
        self
    }
}

fn sources(loaded: &Loaded) -> Vec<String> {
    loaded.plan.sources.iter().map(|source| source.id.to_string()).collect()
}

fn handlers(loaded: &Loaded) -> Vec<String> {
    loaded.plan.handlers.iter().map(|handler| handler.name.to_string()).collect()
}

const YARD: &str = "\
name: site
alerts: {throttle_seconds: 7}
sources:
  - {id: yard, uri: test, fps: 5, zones: {gate: [[0, 0], [1, 0], [1, 1]]}}
  - {uri: test}
  - {uri: \"scene:street?pixels=false\"}
detection:
  strategies: [{name: motion, config: {threshold: 4}}]
";

fn yard() -> Bench {
    Bench::new(YARD)
}

#[test]
fn a_scalar_lies_over_the_file_and_under_the_environment() {
    let site = yard().set("alerts.throttle_seconds", json!(9)).set("alerts.level", json!("high"));
    let plan = site.good().plan;
    assert_eq!(plan.alerts.throttle.as_secs(), 9);
    assert_eq!(plan.alerts.default_level, dsengine::types::Level::High);
    let site = site.env("DSENGINE_ALERTS__THROTTLE_SECONDS", "11");
    assert_eq!(site.good().plan.alerts.throttle.as_secs(), 11);
    let mut site = site;
    site.request.overrides.push(("alerts.throttle_seconds".into(), "12".into()));
    assert_eq!(site.good().plan.alerts.throttle.as_secs(), 12);
    assert_eq!(yard().take("alerts.throttle_seconds").good().plan.alerts.throttle.as_secs(), 60, "the default again");
}

#[test]
fn a_section_is_merged_and_its_twin_goes() {
    let site = Bench::new("monitoring: {prometheus_port: 9000, cpu_affinity: [0]}\n");
    let plan = site.set("monitoring", json!({ "prometheus": { "port": 9100 } })).good().plan;
    assert_eq!((plan.admin.port, plan.cpu_affinity.as_slice()), (9100, [0].as_slice()));
}

#[test]
fn a_source_is_changed_added_and_removed_by_its_id() {
    let loaded = yard()
        .set("sources[yard].fps", json!(2))
        .set("sources[yard].zones[door]", json!([[0, 0], [1, 0], [1, 1]]))
        .take("sources[yard].zones[gate]")
        .set("sources[street].fps", json!(3))
        .set("sources[new]", json!({ "uri": "test:frames=3" }))
        .good();
    assert_eq!(sources(&loaded), ["yard", "source1", "street", "new"]);
    let plan = &loaded.plan;
    assert_eq!(plan.sources[0].fps, Some(2.0));
    let zones: Vec<_> = plan.sources[0].zones.iter().map(|zone| zone.name.as_str()).collect();
    assert_eq!(zones, ["door"]);
    assert_eq!(plan.sources[2].fps, Some(3.0), "named by its uri");

    let loaded = yard().take("sources[yard]").good();
    assert_eq!(sources(&loaded), ["source1", "street"], "the others keep the names that they had");
    assert_eq!(sources(&yard().set("sources[yard].enabled", json!(false)).good()), ["source1", "street"]);
    let whole = yard().set("sources[yard]", json!({ "uri": "test" })).good();
    assert_eq!((whole.plan.sources[0].fps, whole.plan.sources[0].zones.len()), (None, 0), "nothing of the old one");
}

#[test]
fn a_source_of_the_command_line_is_changed_and_joined_too() {
    let mut site = yard().set("sources[source0].fps", json!(4)).set("sources[new]", json!({ "uri": "test" }));
    site.request.source_uri = Some("test".into());
    let loaded = site.env("DSENGINE_SOURCES__0__CONFIDENCE_THRESHOLD", "0.25").good();
    assert_eq!(sources(&loaded), ["source0", "new"]);
    assert_eq!((loaded.plan.sources[0].fps, loaded.plan.sources[0].confidence), (Some(4.0), Some(0.25)));
    assert!(loaded.plan.sources[1].confidence.is_none());
}

#[test]
fn handlers_come_and_go_by_name_and_console_is_there_unless_a_list_says_otherwise() {
    let hook = json!({ "type": "webhook", "config": { "url": "${env:HOOK}" } });
    let site = Bench::new("name: x\n").set("alerts.handlers[hook]", hook).env("HOOK", "http://127.0.0.1:1/x");
    assert_eq!(handlers(&site.good()), ["console", "hook"]);
    assert_eq!(handlers(&site.take("alerts.handlers[console]").good()), ["hook"]);
    assert!(handlers(&Bench::new("name: x\n").take("alerts.handlers[console]").good()).is_empty());
    let words = || Bench::new("alerts: {handlers: [console, file]}\n");
    assert_eq!(handlers(&words().set("alerts.handlers[console].enabled", json!(false)).good()), ["file"]);
    assert_eq!(handlers(&words().take("alerts.handlers[file]").good()), ["console"]);
}

#[test]
fn strategies_are_switched_and_configured_by_name() {
    let site = yard().set("detection.strategies[motion].config.threshold", json!(6));
    assert_eq!(site.good().plan.strategies[0].config, json!({ "threshold": 6 }));
    let site = yard().set("detection.strategies[motion].enabled", json!(false));
    assert!(site.good().plan.strategies.is_empty());
    let site = Bench::new("sources: [{uri: test}]\n").set("detection.strategies[motion].enabled", json!(false));
    assert!(site.good().plan.strategies.is_empty(), "the one that is there by default, too");
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let mut site = yard();
    site.request.overlay.entries = [
        ("sources[new].fps", json!(1)),
        ("sources[new]", json!({ "uri": "test" })),
        ("alerts", json!({ "level": "high" })),
        ("alerts.level", json!("low")),
    ]
    .into_iter()
    .map(|(path, value)| (path.to_owned(), Some(value)))
    .collect();
    let plan = site.good().plan;
    assert_eq!(plan.sources[3].fps, Some(1.0));
    assert_eq!(plan.alerts.default_level, dsengine::types::Level::Low);
}

#[test]
fn a_wrong_entry_is_a_problem_that_shows_its_path() {
    let error = yard().set("sources[yard].fsp", json!(5)).error();
    assert_eq!(
        error,
        "the configuration cannot be used\n\noverlay: unknown key `fsp` in `sources[yard]`\n  |\n\
         1 | sources[yard].fsp\n  |               ^^^ did you mean `fps`?"
    );
    let error = yard().set("alerts.throttle_seconds", json!("soon")).error();
    assert!(error.contains("overlay: `alerts.throttle_seconds` has the wrong type"), "{error}");
    assert!(error.contains("1 | alerts.throttle_seconds\n  |        ^^^^^^^^^^^^^^^^ got the text"), "{error}");
    let error = yard().set("sources[new]", json!({ "uri": "test", "zones": { "a": [[0, 0]] } })).error();
    assert!(error.contains("1 | sources[new].zones.a\n"), "{error}");
    let error =
        yard().set("alerts.handlers[hook]", json!({ "config": { "url": "hunter2" }, "type": "webhook" })).error();
    assert!(error.contains("overlay: `alerts.handlers[hook].config.url` is no web address"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = yard().set("alerts.handlers[hook]", json!({ "type": "webhook", "confg": {} })).error();
    assert!(error.contains("unknown key `confg` in `alerts.handlers[hook]`"), "{error}");
    let error = yard().take("sources[yard]").set("sources[street].fpss", json!(1)).error();
    assert!(error.contains("unknown key `fpss` in `sources[street]`"), "{error}");
    let error = yard().set("sources[yard]", json!({ "id": "gate", "uri": "test" })).error();
    assert!(error.contains("overlay: the overlay's `yard` has another name"), "{error}");
    let error = yard().set("nothing[x].y", json!(1)).error();
    assert!(error.contains("overlay: unknown key `nothing`"), "{error}");
    let error = yard().set("alerts.handlers[hook]", json!({ "config": { "url": "${env:NO_SUCH}" } })).error();
    assert!(error.contains("overlay: the environment variable NO_SUCH is not set"), "{error}");
}

#[test]
fn a_part_of_a_thing_that_is_gone_is_said_to_have_no_effect() {
    let loaded = yard().set("sources[gone].fps", json!(5)).take("sources[gone2]").good();
    let unused: Vec<_> = loaded.warnings.iter().filter(|warning| warning.name == "overlay-unused").collect();
    assert_eq!(unused.len(), 1);
    assert!(unused[0].message.contains("there is no `sources[gone]`"), "{}", unused[0]);
}

#[test]
fn each_part_knows_its_place() {
    let site = yard().set("sources[new]", json!({ "uri": "test" })).env("DSENGINE_ALERTS__LEVEL", "low");
    let loaded = site.good();
    let place = |part: &str| loaded.place(part);
    assert_eq!(place("sources[yard]").as_deref(), Some("c.yaml:4:5"));
    assert_eq!(place("sources[yard].fps").as_deref(), Some("c.yaml:4:32"));
    assert_eq!(place("sources[yard].zones[gate]").as_deref(), Some("c.yaml:4:49"));
    assert_eq!(place("sources[source1]").as_deref(), Some("c.yaml:5:5"));
    assert_eq!(place("sources[street].fps").as_deref(), Some("c.yaml:6:5"), "of its nearest parent");
    assert_eq!(place("detection.strategies[motion]").as_deref(), Some("c.yaml:8:16"));
    assert_eq!(place("sources[new]").as_deref(), Some("overlay"));
    assert_eq!(place("alerts.level").as_deref(), Some("environment variable DSENGINE_ALERTS__LEVEL"));
    assert_eq!(
        place("alerts.handlers[console]").as_deref(),
        Some("c.yaml:2:9"),
        "by default, in a section that stands there"
    );
    assert_eq!(place("sources[nobody]"), None);
}

const PROFILES: &str = "\
pipeline: {fps: 5, batch_timeout_ms: 40}
sources: [{id: yard, uri: test}, {id: gate, uri: test}]
profiles:
  night:
    pipeline: {fps: 2, batch_timeout_us: 5000}
    sources: [{id: yard, fps: 1}, {id: lamp, uri: test}]
    alerts: {level: \"${env:NIGHT_LEVEL}\"}
  day:
    detection: {confidence_threshold: 0.25}
";

#[test]
fn a_profile_lies_between_the_file_and_the_overlay() {
    let site = Bench::new(PROFILES);
    assert_eq!(sources(&site.good()), ["yard", "gate"], "none is selected, nor is its reference followed");
    let site = site.env("DSENGINE_PROFILE", "night").env("NIGHT_LEVEL", "low");
    let plan = site.good().plan;
    let fps: Vec<_> = plan.sources.iter().map(|source| (source.id.to_string(), source.fps)).collect();
    let expected = [("yard", Some(1.0)), ("gate", Some(2.0)), ("lamp", Some(2.0))];
    assert_eq!(fps, expected.map(|(id, fps)| (id.to_owned(), fps)));
    assert_eq!(plan.batch_timeout.as_millis(), 5);
    assert_eq!(plan.alerts.default_level, dsengine::types::Level::Low);
    let site = site.set("sources[yard].fps", json!(9));
    assert_eq!(site.good().plan.sources[0].fps, Some(9.0));

    let in_file = Bench::new(&format!("profile: day\n{PROFILES}")).good();
    assert_eq!(in_file.effective["detection"]["confidence_threshold"], json!(0.25));
    let mut switched = Bench::new(PROFILES).set("profile", json!("day"));
    assert_eq!(switched.good().effective["detection"]["confidence_threshold"], json!(0.25));
    switched.request.overrides.push(("profile".into(), "night".into()));
    assert!(switched.error().contains("NIGHT_LEVEL is not set"), "a flag beats the overlay");
}

#[test]
fn a_wrong_profile_is_refused_in_its_place_whether_it_applies_or_not() {
    let file = format!("profile: nigth\n{PROFILES}");
    assert!(Bench::new(&file).error().contains("c.yaml:1:10: there is no profile `nigth`\n"));
    assert!(Bench::new(&file).error().contains("did you mean `night`?"));
    let wrong = PROFILES.replace("confidence_threshold", "confidence_treshold");
    let error = Bench::new(&wrong).error();
    assert!(error.contains("c.yaml:9:17: unknown key `confidence_treshold` in `profiles.day.detection`"), "{error}");
    let nested = format!("{PROFILES}    profile: night\n");
    let error = Bench::new(&nested).error();
    assert!(error.contains("`profile` cannot be in a profile"), "{error}");
    let overlaid = Bench::new(PROFILES).set("profile", json!("dusk")).error();
    assert!(overlaid.contains("overlay: there is no profile `dusk`"), "{overlaid}");
}

#[test]
fn an_edit_of_the_file_takes_the_entries_for_what_it_changed() {
    let mut site = yard().set("sources[yard].fps", json!(2)).set("sources[street].fps", json!(3));
    let before = site.good();
    fs::write(site.folder.path().join("c.yaml"), YARD.replace("fps: 5", "fps: 6")).unwrap();
    let after = site.good();
    let changed = changed_paths(&before.file_tree, &after.file_tree);
    assert_eq!(changed, ["sources[yard].fps"]);
    assert_eq!(site.request.overlay.without(&changed), ["sources[yard].fps"]);
    let plan = site.good().plan;
    assert_eq!((plan.sources[0].fps, plan.sources[2].fps), (Some(6.0), Some(3.0)));
}

#[test]
fn the_tree_of_the_files_follows_no_reference_and_names_what_was_read() {
    let mut site = Bench::new("alerts: {handlers: [{name: webhook, config: {url: \"${file:hook}\"}}]}\n");
    fs::write(site.folder.path().join("hook"), "http://127.0.0.1:1/hunter2").unwrap();
    fs::write(site.folder.path().join("s.yaml"), "sources: [{uri: test}]\n").unwrap();
    site.request.sources = Some("s.yaml".into());
    let loaded = site.good();
    assert_eq!(loaded.file_tree["sources"][0], json!({ "uri": "test", "id": "source0" }));
    assert_eq!(loaded.file_tree["alerts"]["handlers"][0]["config"]["url"], "${file:hook}");
    let names: Vec<_> = loaded.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["c.yaml", "s.yaml", "hook"]);
    assert!(!format!("{loaded:?}").replace(&format!("{:?}", loaded.plan), "").contains("hunter2"));
}

#[test]
fn an_overlay_on_disk_is_the_same_when_it_is_read_again() {
    let site = yard().set("sources[yard].fps", json!(2)).take("sources[street]");
    let path = site.folder.path().join("overlay.yaml");
    site.request.overlay.write(&path).unwrap();
    let read = Overlay::read(&path).unwrap();
    assert_eq!(read, site.request.overlay);
    let again = Bench { request: Request { overlay: read, ..site.request.clone() }, folder: site.folder };
    assert_eq!(sources(&again.good()), ["yard", "source1"]);
}
