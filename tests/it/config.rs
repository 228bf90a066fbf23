//! The configuration: every promised file loads, every wrong one is refused with its place and the right word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails in a helper fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsengine::config::{
    self, Camera, HandlerKind, Input, LoadError, Loaded, Plan, Request, Severity, StrategyKind, Warning,
};
use dsengine::error::{Code, Error};
use dsengine::types::Layout;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

/// Compares a checked-in file with what the program says; `BLESS=1` rewrites it.
fn compare(path: &Path, now: &str) -> Result<(), String> {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, now).unwrap();
        return Ok(());
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == now { Ok(()) } else { Err(format!("{} differs; BLESS=1 rewrites it. Now:\n{now}", path.display())) }
}

/// A folder with a file `c.yaml` in it, and what loads it.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) request: Request,
}

impl Bench {
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("c.yaml"), text).unwrap();
        let request =
            Request { config: Some("c.yaml".into()), working_dir: folder.path().to_owned(), ..Request::default() };
        Self { folder, request }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.request.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.request.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn source(mut self, uri: &str) -> Self {
        self.request.source_uri = Some(uri.to_owned());
        self
    }

    fn sources(mut self, file: &str) -> Self {
        self.request.sources = Some(file.into());
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        config::load(&self.request)
    }

    pub(crate) fn good(&self) -> Loaded {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn error(&self) -> String {
        self.load().map(|loaded| loaded.plan).expect_err("a refusal").to_string()
    }
}

/// The plan of a text, or what is wrong with it.
pub(crate) fn plan_of(text: &str) -> Result<Plan, String> {
    Bench::new(text).load().map(|loaded| loaded.plan).map_err(|error| error.to_string())
}

fn names(warnings: &[Warning]) -> Vec<&'static str> {
    warnings.iter().map(|warning| warning.name).collect()
}

// What is promised

#[test]
fn every_shipped_configuration_loads_without_a_warning() {
    let files = yaml_files("configs");
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(first, "# yaml-language-server: $schema=dsengine.schema.json", "{}", path.display());
        let request = Request { config: Some(path.clone()), working_dir: root(), ..Request::default() };
        let loaded = config::load(&request).unwrap_or_else(|error| panic!("{error}"));
        let warnings: Vec<_> = loaded.warnings.iter().filter(|w| w.fails_strict()).collect();
        assert!(warnings.is_empty(), "{}: {warnings:?}", path.display());
        assert!(!loaded.plan.sources.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_sources_file_that_is_shipped_joins_any_configuration() {
    let request = Request {
        config: Some("configs/development.yaml".into()),
        sources: Some("configs/multi-source.yaml".into()),
        working_dir: root(),
        ..Request::default()
    };
    let plan = config::load(&request).unwrap_or_else(|error| panic!("{error}")).plan;
    let ids: Vec<_> = plan.sources.iter().map(|source| source.id.as_str()).collect();
    assert_eq!(ids, ["street", "crossing", "pattern"]);
    assert_eq!(plan.name, "development");
    assert_eq!(plan.sources[0].zones[0].name, "gate");
    assert_eq!(plan.sources[0].fps, Some(15.0), "pipeline.fps");
    assert_eq!(plan.sources[1].fps, Some(10.0), "its own");
}

#[test]
fn every_block_of_the_seed_loads() {
    let files = yaml_files("tests/configs/valid");
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        let request = Request { config: Some(path.clone()), working_dir: root(), ..Request::default() };
        if let Err(error) = config::load(&request) {
            panic!("{}: {error}", path.display());
        }
    }
}

#[test]
fn the_seeds_values_arrive_in_the_plan() {
    let load = |number: u32| {
        let path = root().join(format!("tests/configs/valid/seed-{number:02}.yaml"));
        config::load(&Request { config: Some(path), working_dir: root(), ..Request::default() }).unwrap()
    };
    let first = load(1);
    assert_eq!(first.plan.batch_size, 4);
    assert_eq!(first.plan.models[0].model, Path::new("/path/to/yolo.engine"));
    assert_eq!(first.plan.models[0].confidence, 0.7);
    assert_eq!(first.plan.alerts.throttle, Duration::from_secs(60));
    let handlers: Vec<_> = first.plan.handlers.iter().map(|h| h.name.to_string()).collect();
    assert_eq!(handlers, ["console", "file"], "a webhook without url is left out, by name");
    assert!(names(&first.warnings).contains(&"webhook-without-url"));
    assert!(names(&first.warnings).contains(&"engine-without-tensorrt"));

    let second = load(2);
    let python = second.warnings.iter().find(|w| w.name == "python-module").unwrap();
    assert!(python.refuses_run() && python.hint.as_deref().unwrap().contains("scripts/my_detection.lua"));

    let fourth = load(4);
    assert_eq!(fourth.plan.models[0].input_shape, Some([3, 608, 608]));
    assert_eq!(fourth.plan.models[0].output_layers, ["output"]);
    assert_eq!(fourth.plan.models[0].labels.as_deref(), Some(Path::new("/path/to/labels.txt")));

    let fifth = load(5);
    let HandlerKind::File { path, max_bytes, .. } = &fifth.plan.handlers[1].kind else { panic!("a file") };
    assert_eq!((path.as_path(), *max_bytes), (Path::new("/var/log/pyds-alerts.log"), 100_000_000));

    assert_eq!(load(8).plan.batch_timeout, Duration::from_millis(40));
    assert_eq!(load(9).plan.cpu_affinity, [0, 1, 2, 3]);
    assert_eq!(load(9).plan.workers, Some(4));
    assert_eq!(load(10).plan.admin.port, 8000);
}

/// Each line of a block that begins a key: its line number, the key and where it stands.
fn keys_of(block: &str) -> Vec<(usize, String, usize)> {
    let mut out = Vec::new();
    for (number, line) in block.lines().enumerate() {
        let code = line.split('#').next().unwrap();
        let start = code.len() - code.trim_start_matches([' ', '-']).len();
        let key: String = code[start..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !key.is_empty() && code[start + key.len()..].starts_with(':') {
            out.push((number + 1, key, start));
        }
    }
    out
}

fn misspell_each_key(block: &str, what: &str) -> usize {
    let mut tried = 0;
    for (line, key, start) in keys_of(block) {
        // A script's own settings are the script's: nobody else knows their names.
        if key == "threshold" {
            continue;
        }
        for drop in 0..key.len() {
            let wrong = format!("{}{}", &key[..drop], &key[drop + 1..]);
            let text: Vec<String> = block
                .lines()
                .enumerate()
                .map(|(i, l)| match i + 1 == line {
                    true => format!("{}{wrong}{}", &l[..start], &l[start + key.len()..]),
                    false => l.to_owned(),
                })
                .collect();
            let error = Bench::new(&text.join("\n")).error();
            let place = format!("c.yaml:{line}:{}: unknown key `{wrong}`", start + 1);
            let label = format!("did you mean `{key}`?");
            assert!(error.contains(&place) && error.contains(&label), "{what}, {key} as {wrong}:\n{error}");
            tried += 1;
        }
    }
    tried
}

#[test]
fn each_key_of_the_seed_is_recognised_with_any_letter_missing() {
    let mut tried = 0;
    for path in yaml_files("tests/configs/valid") {
        tried += misspell_each_key(&fs::read_to_string(&path).unwrap(), &path.display().to_string());
    }
    assert!(tried > 500, "{tried} misspellings");
}

#[test]
fn the_seeds_own_readme_loads_block_by_block() {
    let path = root().join("../shared/seed/README.md");
    let Ok(readme) = fs::read_to_string(&path) else {
        println!("SKIP the_seeds_own_readme_loads_block_by_block: the seed's README is not here");
        return;
    };
    let blocks: Vec<&str> = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let blocks: Vec<_> = blocks.into_iter().filter(|block| !block.contains("apiVersion:")).collect();
    assert!(blocks.len() >= 10);
    for block in blocks {
        Bench::new(block).good();
    }
}

// What is refused

#[test]
fn every_wrong_configuration_is_refused_with_the_exact_text() {
    let files = yaml_files("tests/configs/invalid");
    assert!(files.len() >= 40, "{} cases", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let mut request = Request {
            config: Some(path.file_name().unwrap().into()),
            working_dir: path.parent().unwrap().to_owned(),
            ..Request::default()
        };
        for line in text.lines().map_while(|line| line.strip_prefix("# ")) {
            let (what, value) = line.split_once(": ").unwrap();
            let pair = || value.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            match what {
                "env" => request.env.push(pair()),
                "flag" => request.overrides.push(pair()),
                "sources" => request.sources = Some(value.into()),
                "source" => request.source_uri = Some(value.to_owned()),
                other => panic!("{}: {other}", path.display()),
            }
        }
        match config::load(&request) {
            Ok(_) => wrong.push(format!("{} is accepted", path.display())),
            Err(error) => {
                let text = format!("{error}\n");
                assert!(!text.contains("hunter2"), "{}: a secret is shown:\n{text}", path.display());
                wrong.extend(compare(&path.with_extension("err"), &text).err());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refusal_becomes_an_error_with_its_code() {
    let error = Error::from(Bench::new("nam: x\n").load().map(|l| l.plan).unwrap_err());
    assert_eq!(error.code(), Code::Config);
    assert!(error.to_string().starts_with("[E0101] the configuration cannot be used"));
}

#[test]
fn a_file_that_is_missing_too_large_or_no_text_is_refused() {
    let missing = Request { config: Some("no.yaml".into()), working_dir: root(), ..Request::default() };
    assert_eq!(config::load(&missing).unwrap_err().to_string(), "no.yaml does not exist");
    let large = Bench::new(&format!("name: x\n{}", "# filler\n".repeat(130_000)));
    assert_eq!(large.error(), "c.yaml is larger than 1024 KiB");
    let bench = Bench::new("");
    fs::write(bench.folder.path().join("c.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(bench.error(), "c.yaml is no UTF-8 text");
}

#[test]
fn a_bomb_of_aliases_is_refused_within_its_budget() {
    let mut bomb = String::from("extensions:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("  a{i}: &a{i} [{refs}]\n"));
    }
    assert!(Bench::new(&bomb).error().contains("too many values"));
    let deep = format!("extensions: {{a: {}{}}}\n", "[".repeat(80), "]".repeat(80));
    assert!(Bench::new(&deep).load().is_err());
}

#[test]
fn tens_of_thousands_of_keys_cost_seconds_of_no_processor() {
    let many = |under: &str| {
        let keys = (0..45_000).map(|n| format!("{under}k{n}: 1\n"));
        keys.collect::<String>()
    };
    let valid = Bench::new(&format!("sources: [{{ uri: 'test:' }}]\nextensions:\n{}", many("  ")));
    let spent = crate::lua::cpu_ms(|| drop(valid.good()));
    assert!(spent < 2_000, "{spent} ms");
    let unknown = Bench::new(&many(""));
    let mut error = String::new();
    let spent = crate::lua::cpu_ms(|| error = unknown.error());
    assert!(error.contains("45000 problems") || error.contains("4500"), "{}", &error[..1_000]);
    assert!(spent < 2_000, "{spent} ms");
}

// Limits of real sites

fn many_sources(count: usize) -> String {
    let zone = "{door: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]}";
    let mut text = String::from("sources:\n");
    for i in 0..count {
        text.push_str(&format!("  - {{id: cam{i}, uri: \"rtsp://10.0.{}.{}/s\", zones: {zone}}}\n", i / 256, i % 256));
    }
    text
}

#[test]
fn a_site_with_1024_cameras_and_batches_of_256_is_legal() {
    let text = format!("pipeline: {{batch_size: 256, height: 1080}}\n{}", many_sources(1024));
    let plan = Bench::new(&text).good().plan;
    assert_eq!((plan.sources.len(), plan.batch_size), (1024, 256));
    assert!(Bench::new(&many_sources(1025)).error().contains("expected a list of at most 1024 entries"));
}

#[test]
fn more_sources_than_allowed_are_refused() {
    for limit in ["max_concurrent_sources: 2", "pipeline: {max_sources: 2}"] {
        assert!(Bench::new(&format!("{limit}\n{}", many_sources(3))).error().contains("3 sources are enabled"));
        Bench::new(&format!("{limit}\n{}", many_sources(2))).good();
        let two = format!("{limit}\n{}  - {{id: off, uri: test, enabled: false}}\n", many_sources(2));
        Bench::new(&two).good();
    }
}

// Layers

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let threshold = |bench: Bench| bench.good().plan.alerts.min_confidence;
    let file = "alerts: {min_confidence: 0.2}\n";
    let name = "DSENGINE_ALERTS__MIN_CONFIDENCE";
    assert_eq!(threshold(Bench::new("name: x\n")), 0.5);
    assert_eq!(threshold(Bench::new(file)), 0.2);
    assert_eq!(threshold(Bench::new(file).env(name, "0.3")), 0.3);
    assert_eq!(threshold(Bench::new(file).env(name, "0.3").flag("alerts.min_confidence", "0.4")), 0.4);
}

#[test]
fn a_higher_layer_wins_in_whichever_form_a_key_is_written() {
    let flat = Bench::new("monitoring: {prometheus_port: 9000}\n").env("DSENGINE_MONITORING__PROMETHEUS__PORT", "9100");
    assert_eq!(flat.good().plan.admin.port, 9100);
    let nested =
        Bench::new("monitoring: {prometheus: {port: 9000}}\n").env("DSENGINE_MONITORING__PROMETHEUS_PORT", "9200");
    assert_eq!(nested.good().plan.admin.port, 9200);
    let micros = Bench::new("pipeline: {batch_timeout_ms: 40}\n").env("DSENGINE_PIPELINE__BATCH_TIMEOUT_US", "5000");
    assert_eq!(micros.good().plan.batch_timeout, Duration::from_millis(5));
}

#[test]
fn variables_are_typed_by_their_key() {
    let bench = Bench::new("sources: [{id: a, uri: test}]\n")
        .env("DSENGINE_NAME", "0755")
        .env("DSENGINE_ALERTS__ENABLED", "0")
        .env("DSENGINE_MONITORING__CPU_AFFINITY", "0, 2")
        .env("DSENGINE_SOURCES__0__FPS", "5")
        .env("DSENGINE_SOURCES__1__URI", "scene:street")
        .env("DSENGINE_SOURCES__1__PARAMETERS__SEED", "3")
        .env("DSENGINE_ALERTS__HANDLERS", "console, file")
        .env("DSENGINE_ZONES", "{door: [[0, 0], [1, 0], [1, 1]]}");
    let plan = bench.good().plan;
    assert_eq!(plan.name, "0755");
    assert!(!plan.alerts.enabled);
    assert_eq!(plan.cpu_affinity, [0, 2]);
    assert_eq!(plan.sources[0].fps, Some(5.0));
    assert_eq!(plan.sources[0].zones[0].name, "door");
    let Input::Scene { seed, .. } = &plan.sources[1].input else { panic!("a scene") };
    assert_eq!((plan.sources[1].id.as_str(), *seed), ("street", Some(3)));
    assert_eq!(plan.handlers.len(), 2);
}

#[test]
fn the_order_of_variables_does_not_matter() {
    let mut bench = Bench::new("name: x\n").env("DSENGINE_SOURCES__0__FPS", "5");
    for index in (0..12).rev() {
        bench = bench.env(&format!("DSENGINE_SOURCES__{index}__ID"), &format!("s{index}"));
    }
    let sources = bench
        .env("DSENGINE_SOURCES", &format!("[{}]", "{uri: test}, ".repeat(11)))
        .env("DSENGINE_SOURCES__11__URI", "test")
        .good()
        .plan
        .sources;
    let ids: Vec<_> = sources.iter().map(|source| source.id.to_string()).collect();
    assert_eq!(ids, (0..12).map(|index| format!("s{index}")).collect::<Vec<_>>());
    assert_eq!(sources[0].fps, Some(5.0));
}

#[test]
fn a_variable_that_is_no_text_disturbs_nothing() {
    use std::os::unix::ffi::OsStrExt as _;
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dsengine"));
    let out = command
        .args(["validate", "--syntax", "configs/demo.yaml"])
        .current_dir(root())
        .env("ODD", odd)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn unknown_variables_warn_and_reserved_ones_do_not() {
    let loaded = Bench::new("name: x\n")
        .env("DSENGINE_PIPELINE_BATCH_SIZE", "8")
        .env("DSENGINE_TESTDATA", "/data")
        .env("HOME", "/root")
        .good();
    let unknown: Vec<_> = loaded.warnings.iter().filter(|w| w.name == "unknown-variable").collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].hint.as_deref(), Some("did you mean DSENGINE_PIPELINE__BATCH_SIZE?"));
    assert_eq!(loaded.plan.batch_size, 4);
}

#[test]
fn what_kubernetes_says_of_services_is_told_once_and_sets_nothing() {
    let said = |pairs: &[(&str, &str)]| {
        let bench = pairs.iter().fold(Bench::new("name: x\n"), |bench, (name, value)| bench.env(name, value));
        let loaded = bench.good();
        assert_eq!(loaded.plan.name.to_string(), "x");
        loaded.warnings
    };
    let of_ours = said(&[
        ("DSENGINE_PORT", "tcp://10.0.48.109:8000"),
        ("DSENGINE_SERVICE_HOST", "10.0.48.109"),
        ("DSENGINE_SERVICE_PORT", "8000"),
        ("DSENGINE_SERVICE_PORT_WEB", "8000"),
        ("DSENGINE_PORT_8000_TCP", "tcp://10.0.48.109:8000"),
        ("DSENGINE_PORT_8000_TCP_PROTO", "tcp"),
        ("DSENGINE_PORT_8000_TCP_PORT", "8000"),
        ("DSENGINE_PORT_8000_TCP_ADDR", "10.0.48.109"),
        // Of services called dsengine-admin and pyds, and one by UDP.
        ("DSENGINE_ADMIN_PORT", "udp://10.0.48.110:53"),
        ("DSENGINE_ADMIN_PORT_53_UDP_ADDR", "10.0.48.110"),
        ("PYDS_SERVICE_HOST", "10.0.48.111"),
        ("PYDS_PORT_80_SCTP", "sctp://[fd00::1]:80"),
    ]);
    let shown: Vec<_> = of_ours.iter().filter(|w| w.name != "no-sources").collect();
    assert_eq!(names(&of_ours).iter().filter(|name| **name == "service-variables").count(), 1, "{shown:?}");
    assert!(!names(&of_ours).contains(&"unknown-variable") && !of_ours.iter().any(Warning::fails_strict), "{shown:?}");
    // What only looks like one of them is told as before.
    for (name, value) in [
        ("DSENGINE_PORT", "8000"),
        ("DSENGINE_PORT_8000_TCP_NAME", "x"),
        ("DSENGINE_MONITORING_PORT", "9000"),
        ("DSENGINE_MONITORING__SERVICE_PORT", "9000"),
    ] {
        assert!(names(&said(&[(name, value)])).contains(&"unknown-variable"), "{name}");
    }
}

#[test]
fn empty_variables_are_as_in_a_shell() {
    let text = "sources: [{id: s, uri: \"${env:CAM_URI:-scene:street}\", fps: \"${env:CAM_FPS:-5}\"}]\n\
                name: \"${env:NAME:-}x${env:SITE:-yard}\"\n";
    for bench in
        [Bench::new(text), Bench::new(text).env("CAM_URI", "").env("CAM_FPS", "").env("NAME", "").env("SITE", "")]
    {
        let plan = bench.good().plan;
        assert_eq!((plan.sources[0].fps, &*plan.name), (Some(5.0), "xyard"));
    }
    assert_eq!(&*Bench::new("name: \"x${env:SITE}\"\n").env("SITE", "").good().plan.name, "x");
    // Those that are ours: as good as unset where their key takes no empty text.
    let bench =
        Bench::new("sources: [{id: s, uri: 'scene:street'}]\nlogging: {level: error}\npipeline: {batch_size: 8}\n")
            .env("DSENGINE_DEBUG", "")
            .env("DSENGINE_LOGGING__LEVEL", "")
            .env("DSENGINE_LOGGING__LOG_FILE", "")
            .env("DSENGINE_PIPELINE__BATCH_SIZE", " ")
            .env("DSENGINE_SOURCES", "")
            .env("DSENGINE_SOURCES__0__FPS", "")
            .env("DSENGINE_PROFILE", "")
            .env("PYDS_LOG_LEVEL", "")
            .env("DSENGINE_CONFIG", "")
            .env("PYDS_NO_SUCH_KEY", " ")
            .env("DSENGINE_ALERTS__HANDLERS", "");
    let loaded = bench.good();
    assert!(!names(&loaded.warnings).contains(&"unknown-variable"), "{:?}", loaded.warnings);
    assert_eq!((&*loaded.plan.logging.level, loaded.plan.batch_size), ("error", 8));
    assert_eq!((loaded.plan.sources.len(), loaded.plan.sources[0].fps), (1, None));
    assert_eq!(loaded.plan.handlers.len(), 1);
}

#[test]
fn the_old_systems_variables_work_and_say_their_new_names() {
    let bench = Bench::new("name: x\n")
        .env("PYDS_LOG_LEVEL", "WARNING")
        .env("PYDS_BATCH_SIZE", "8")
        .env("PYDS_ALERTS_THROTTLE_SECONDS", "5")
        .env("DSENGINE_PIPELINE__BATCH_SIZE", "16");
    let loaded = bench.good();
    assert_eq!(loaded.plan.logging.level, "warning");
    assert_eq!(loaded.plan.batch_size, 16, "the new name wins");
    assert_eq!(loaded.plan.alerts.throttle, Duration::from_secs(5));
    let hints: Vec<_> =
        loaded.warnings.iter().filter(|w| w.name == "old-variable").filter_map(|w| w.hint.clone()).collect();
    assert_eq!(hints.len(), 3);
    assert!(hints.contains(&"write DSENGINE_LOGGING__LEVEL".to_owned()));
}

#[test]
fn debug_sets_the_log_level_unless_one_is_set() {
    let level = |bench: Bench| bench.good().plan.logging.level;
    assert_eq!(level(Bench::new("debug: true\n")), "debug");
    assert_eq!(level(Bench::new("debug: true\nlogging: {level: error}\n")), "error");
    assert_eq!(level(Bench::new("").env("DSENGINE_DEBUG", "1")), "debug");
}

// Secrets

#[test]
fn a_password_with_spaces_is_shown_nowhere() {
    for uri in [
        "\"rtsp://admin:not C4n4ry@127.0.0.1:9/s1\"",
        "'rtsp://admin:not, C4n4ry: x@127.0.0.1:9/s1'",
        "rtsp://ad min:p@ss C4n4ry@127.0.0.1:9/s1",
        "\"rtsp://admin:\\\"a C4n4ry@127.0.0.1:9/s1\"",
    ] {
        for text in [
            format!("sources: [{{id: a, uri: {uri}, fpss: 5}}]\n"),
            format!("sources: [{{id: a, fpss: 5, uri: {uri}}}]\n"),
            format!("sources:\n  - id: a\n    uri: {uri}\n    fps: {uri}\n"),
            format!("sources: [{{id: a, url: {uri}}}]\n"),
            format!("sources: [{{id: a, uri: {uri}, fps: [}}]\n"),
        ] {
            let error = Bench::new(&text).error();
            assert!(!error.contains("C4n4ry") && error.contains("c.yaml:"), "{text}{error}");
        }
        let shown = Bench::new(&format!("name: {uri}\n")).good().effective.to_string();
        assert!(!shown.contains("C4n4ry") && shown.contains("rtsp://***@127.0.0.1:9/s1"), "{shown}");
    }
}

#[test]
fn a_secret_in_a_place_of_another_kind_is_shown_nowhere() {
    let hook = |headers: &str| {
        format!("alerts: {{handlers: [{{name: webhook, config: {{url: 'https://h.example/', headers: {headers}}}}}]}}")
    };
    let source = |uri: &str| format!("sources: [{{id: a, uri: {uri}, fpss: 5}}]");
    for text in [
        "monitoring: {tokens: [C4n4ry]}".to_owned(),
        "monitoring: {tokens: C4n4ry}".to_owned(),
        "monitoring: {tokens: {admin: C4n4ry}}".to_owned(),
        "monitoring: {tokens: [[C4n4ry]]}".to_owned(),
        "monitoring: {tokens: [{admin: C4n4ry, name: [x]}]}".to_owned(),
        "monitoring: {tokens: [{name: a, token: {x: C4n4ry}, scopes: [reed]}]}".to_owned(),
        "alerts: {handlers: [{name: p, module: x.lua, settings: {topic: [C4n4ry], user: C4n4ry}, fpss: 1}]}".to_owned(),
        hook("[C4n4ry]"),
        hook("'X-Key: C4n4ry'"),
        hook("['X-Key: C4n4ry']"),
        hook("{X-Key: [C4n4ry]}"),
        source("'admin:C4n4ry@10.0.0.1/s'"),
        source("'admin:not C4n4ry@cam'"),
        source("'rtsp:/admin:C4n4ry@cam/s'"),
        source("'rtsp:\\\\admin:C4n4ry@cam/s'"),
        source("//admin:C4n4ry@cam/s"),
        "sources: [{id: a, uri: 'admin:C4n4ry@10.0.0.1/s', fps: [}]".to_owned(),
        "name: '${env:X:-C4n4ry'".to_owned(),
        "name: '${env:X-C4n4ry}'".to_owned(),
        "name: '${env:X:-C4n4ry}${env:Y}'".to_owned(),
        "monitoring: {prometheus: {port: '${env:X:-C4n4ry}x'}}".to_owned(),
        "monitoring: {tokens: [{name: a, token: 'x${C4n4ry}', scopes: [read]}]}".to_owned(),
        "monitoring: {tokens: [{name: a, token: 'x${C4n4ry', scopes: [read]}]}".to_owned(),
        "alerts: {handlers: [{name: p, module: x.lua, settings: {topic: '${C4n4ry}'}}]}".to_owned(),
        hook("{X-Key: 'x${C4n4ry}'}"),
        source("'rtsp://u:x${C4n4ry}y@cam/s'"),
    ] {
        let error = Bench::new(&format!("{text}\n")).error();
        assert!(!error.contains("C4n4ry") && error.contains("c.yaml:1:"), "{text}\n{error}");
    }
    // Of a token the text alone is secret.
    let error = Bench::new("monitoring: {tokens: [{name: a, token: C4n4ry, scopes: [read, admin]}]}\n").error();
    assert!(error.contains("`monitoring.tokens[0].scopes[1]` cannot be `admin`"), "{error}");
    assert!(!error.contains("C4n4ry"), "{error}");
    let digits = Bench::new("monitoring: {tokens: 1234567}\n").error();
    assert!(!digits.contains("1234567"), "{digits}");
    let error = Bench::new("name: x\n").source("admin:C4n4ry@cam/s").error();
    assert!(error.contains("no scheme") && error.contains("rtsp://") && !error.contains("C4n4ry"), "{error}");
    let password = "alerts: {handlers: [{name: w, type: webhook, config: {url: 'https://h.example/', headers: {X: \
                    '${env:X:-C4n4ry}C4n4ry'}}}]}\n";
    let shown = Bench::new(password).good().effective.to_string();
    assert!(!shown.contains("C4n4ry"), "{shown}");
    // What an address of a phone's service is made of.
    let push = Bench::new(
        "alerts: {handlers: [{name: p, module: push.lua, settings: {topic: C4n4ry, user: C4n4ry, path: 1/C4n4ry, \
         server: 'https://ntfy.example'}}]}\n",
    );
    let shown = push.file("push.lua", "function handle_alert(alert) end").good().effective.to_string();
    assert!(!shown.contains("C4n4ry") && shown.contains("https://ntfy.example"), "{shown}");
}

#[test]
fn a_long_line_costs_work_in_its_length() {
    for part in ["rtsp://u:p@h/ ", "rtsp://u:p ", "\\\"rtsp://u:p@h\\\",", "token: x, ", "password ", "a:b@c.d "] {
        let long = part.repeat(840_000 / part.len());
        let bench = Bench::new(&format!("sources: [{{id: a, fpss: 5, uri: \"{long}\"}}]\n"));
        let mut error = String::new();
        let spent = crate::lua::cpu_ms(|| error = bench.error());
        assert!(error.contains("`fpss`") && error.len() < 2_000, "{part}");
        assert!(spent < 5_000, "{part}: {spent} ms");
    }
}

#[test]
fn a_fallback_holds_references_and_other_forms_are_named() {
    let name = |text: &str| Bench::new(&format!("name: \"{text}\"\n")).env("B", "b");
    assert_eq!(&*name("${env:A:-${env:B:-x}}").good().plan.name, "b");
    assert_eq!(&*name("${env:A:-${env:C:-x}}y").good().plan.name, "xy");
    for (text, form) in
        [("${env:A-x}", "`${env:A-…}`"), ("${env:A:?x}", "`${env:A:?…}`"), ("${env:A:+x}", "`${env:A:+…}`")]
    {
        let error = name(text).error();
        assert!(
            error.contains("c.yaml:1:7") && error.contains(form) && error.contains("${env:A:-fallback}"),
            "{error}"
        );
    }
}

#[test]
fn secrets_come_from_outside_and_are_seen_nowhere() {
    let text = r#"
sources:
  - {id: gate, uri: "rtsp://viewer:${env:CAMERA_PASSWORD}@10.0.0.7/s"}
  - {id: yard, uri: "rtsp://viewer:hunter2@10.0.0.8/s"}
alerts:
  handlers:
    - name: webhook
      config:
        url: "${file:hook.txt}"
        headers: {Authorization: "Bearer hunter2", X-Site: "hunter2"}
        auth: {username: desk, password: hunter2}
        body: '{"token": "hunter2", "text": "{{message}}"}'
        signing_secret: whsec_hunter2h
"#;
    let load = |password: &str| {
        let bench = Bench::new(text).env("CAMERA_PASSWORD", password).file("hook.txt", "https://a.example/hunter2\n");
        bench.good()
    };
    let loaded = load("hunter2");
    assert_eq!(
        loaded.plan.sources[0].input,
        Input::Rtsp(Box::new(Camera::read("rtsp://viewer:hunter2@10.0.0.7/s").unwrap()))
    );
    let HandlerKind::Webhook(webhook) = &loaded.plan.handlers[0].kind else { panic!("a webhook") };
    assert_eq!(webhook.url, "https://a.example/hunter2");
    assert_eq!(webhook.headers["Authorization"], "Bearer hunter2");
    let secret = webhook.signing_keys.first().map(|key| key == b"\x86\xe9\xed\x7a\xbd\xa1");
    assert_eq!((secret, webhook.user.clone()), (Some(true), Some(("desk".to_owned(), "hunter2".to_owned()))));
    let shown = loaded.effective.to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("${file:hook.txt}") && shown.contains("rtsp://***@10.0.0.7/s"), "{shown}");
    assert_eq!(loaded.plan.hash, load("other").plan.hash, "a changed secret is no changed configuration");
    assert_eq!(loaded.plan.hash.len(), 64);
}

#[test]
fn a_webhooks_settings_that_cannot_work_are_told_without_what_they_hold() {
    let error = |settings: &str| {
        let url = if settings.contains("url:") { "" } else { "url: 'https://h.example/', " };
        let text = format!("alerts: {{handlers: [{{name: webhook, config: {{{url}{settings}}}}}]}}\n");
        let error = Bench::new(&text).error();
        assert!(error.contains("c.yaml:1:") && !error.contains("C4n4ry"), "{error}");
        error
    };
    for (settings, told, label) in [
        (
            r#"body: '{"t": "C4n4ry", "text": {{mesage}}}'"#,
            "`{{mesage}}` names no field of an alert",
            "did you mean `message`?",
        ),
        (r#"body: '{"t": "C4n4ry {{C4n4ry 1}}"}'"#, "`{{…}}` names no field of an alert", "the fields are alert, id,"),
        (r#"body: '{"t": "C4n4ry {{message"}'"#, "is not closed", "write {{message}}"),
        (r#"body: 'text={{message}}&key=C4n4ry'"#, "it is no JSON with its placeholders filled in", "expected JSON"),
        ("signing_secret: C4n4ry", "config.signing_secret` is no signing secret", "expected `whsec_`"),
        ("signing_secret: 'whsec_AAAA C4n4ry'", "is no signing secret", "expected `whsec_`"),
        ("signing_secret: 'whsec_'", "is no signing secret", "expected `whsec_`"),
        ("signing_secret: 'whsec_C4n4ry!'", "is no signing secret", "expected `whsec_`"),
        ("auth: {username: 'a:b', password: C4n4ry}", "the user's name holds a colon", "a colon ends"),
        ("auth: {password: C4n4ry}", "the user has no name", "set its username"),
        ("auth: {usename: a, password: C4n4ry}", "usename", "did you mean `username`?"),
        (
            "url: 'https://u:C4n4ry@h/', auth: {username: a, password: C4n4ry}",
            "the user is set twice",
            "the url names one",
        ),
        ("method: GET", "method", "`POST`"),
        ("success_codes: [99]", "is out of range", "200 to 599"),
        ("connect_timeout: 0", "is out of range", "0.1 to 300"),
    ] {
        let error = error(settings);
        assert!(error.contains(told) && error.contains(label), "{settings}\n{error}");
    }
    let idle = "alerts: {handlers: [{name: webhook, config: {url: 'http://h.example/', ca_file: ca.pem}}]}\n";
    let error = Bench::new(idle).error();
    assert!(error.contains("`ca_file` has no effect without TLS") && error.contains("c.yaml:1:"), "{error}");
    let good = "alerts: {handlers: [{name: webhook, config: {url: 'https://h.example/', method: PUT, success_codes: [200, \
                404], signing_secret: whsec_AAAA  whsec_////, body: '{{alert}}', auth: {username: a}}}]}\n";
    let loaded = Bench::new(good).good();
    let HandlerKind::Webhook(webhook) = &loaded.plan.handlers[0].kind else { panic!("a webhook") };
    assert_eq!(
        (webhook.success.as_slice(), webhook.signing_keys.as_slice()),
        ([200, 404].as_slice(), [vec![0; 3], vec![255; 3]].as_slice())
    );
}

#[test]
fn a_reference_has_a_fallback_an_escape_and_the_type_of_its_key() {
    let text = "name: \"${env:SITE:-yard} costs $${5}\"\nmonitoring: {prometheus: {port: \"${env:PORT}\"}}\n";
    let plan = Bench::new(text).env("PORT", "9100").good().plan;
    assert_eq!(plan.name, "yard costs ${5}");
    assert_eq!(plan.admin.port, 9100);
}

#[test]
fn a_reference_in_a_strategys_config_has_the_type_of_its_key_too() {
    let text = "sources: [{id: a, uri: test}]\ndetection:\n  strategies:\n    - {name: m, model_path: m.onnx, config: \
                {confidence_threshold: '${env:CONF}', layout: yolox, output_layers: '${env:OUT}'}}\n    \
                - {name: r, module: r.lua, config: {dwell: '${env:CONF}', zone: '${env:OUT}', token: '${env:T}'}}\n    \
                - {name: motion, config: {threshold: '${env:T}'}}\n";
    let bench = Bench::new(text).env("CONF", "0.3").env("OUT", "door").env("T", "6");
    let plan = bench.env("DSENGINE_DETECTION__STRATEGIES__0__CONFIG__INTERVAL", "3").good().plan;
    let model = &plan.models[0];
    assert_eq!((model.confidence, model.layout, model.interval), (0.3, Some(Layout::YoloX), 3));
    assert_eq!(model.output_layers, ["door"]);
    assert_eq!(plan.strategies[0].config, serde_json::json!({ "dwell": 0.3, "zone": "door", "token": "6" }));
    assert_eq!(plan.strategies[1].config, serde_json::json!({ "threshold": 6 }));
}

#[test]
fn a_wrong_key_of_motion_is_refused_when_the_file_is_read() {
    let text = |config: &str| {
        format!("sources: [{{id: a, uri: test}}]\ndetection: {{strategies: [{{name: motion, config: {config}}}]}}\n")
    };
    assert!(Bench::new(&text("{min_aera: 1}")).error().contains("did you mean `min_area`?"));
    assert!(Bench::new(&text("{threshold: 0.5}")).error().contains("expected a number from 1 to 20"));
    Bench::new(&text("{min_area: 0.01, warm_up_seconds: 2, max_objects: 5}")).good();
}

#[test]
fn the_hash_follows_settings_and_not_their_form() {
    let hash = |text: &str| Bench::new(text).good().plan.hash;
    assert_eq!(hash("name: a\npipeline: {batch_size: 8}\n"), hash("pipeline:\n  batch_size: 8 # eight\nname: \"a\"\n"));
    assert_eq!(hash("alerts: {handlers: [console]}\n"), hash("alerts: {handlers: [{name: console}]}\n"));
    assert_eq!(hash("pipeline: {batch_size: 4}\n"), hash(""), "a default that is written is a default");
    assert_ne!(hash("name: a\n"), hash("name: b\n"));
}

// Sources and strategies

#[test]
fn a_source_on_the_command_line_replaces_the_files() {
    let text = "sources: [{id: a, uri: test}, {id: b, uri: test}]\n";
    let id = |uri: &str| {
        let plan = Bench::new(text).source(uri).good().plan;
        assert_eq!(plan.sources.len(), 1);
        plan.sources[0].id.to_string()
    };
    assert_eq!(id("test"), "source0");
    assert_eq!(id("/videos/yard.mp4"), "yard");
    assert_eq!(id("rtsp://10.0.0.7/s"), "source0");
    assert_eq!(id("scene:street?seed=1"), "street");
    let bench = Bench::new("name: x\n").file("sub/c.yaml", text).file("sub/a.mp4", "x").source("a.mp4");
    let request = Request { config: Some("sub/c.yaml".into()), ..bench.request.clone() };
    let here = Input::File(bench.folder.path().join("a.mp4"));
    assert_eq!(config::load(&request).unwrap().plan.sources[0].input, here, "a flag's path is the shell's");
    let no_file = Request { source_uri: Some("test".into()), working_dir: root(), ..Request::default() };
    assert_eq!(config::load(&no_file).unwrap().plan.sources.len(), 1);
    let wrong = Bench::new(text).source("rstp://x/y").error();
    assert!(wrong.contains("command line, --source: no source is read from `rstp://`"), "{wrong}");
}

#[test]
fn a_sources_file_replaces_the_sources_and_adds_its_zones() {
    let zones = "zones: {a: [[0, 0], [1, 0], [1, 1]], b: [[0, 0], [1, 0], [1, 1]]}\n";
    let bench = Bench::new(&format!("{zones}sources: [{{id: old, uri: test}}]\n"))
        .file("s.yaml", "sources: [{id: new, uri: test}]\nzones: {b: [[0, 0], [0.5, 0], [0.5, 0.5]]}\n")
        .sources("s.yaml");
    let plan = bench.good().plan;
    assert_eq!(plan.sources.len(), 1);
    assert_eq!(plan.sources[0].id.as_str(), "new");
    let zones: Vec<_> = plan.sources[0].zones.iter().map(|z| (z.name.as_str(), z.polygon.points()[1].x)).collect();
    assert_eq!(zones, [("a", 1.0), ("b", 0.5)]);
}

#[test]
fn the_environment_reaches_sources_from_wherever_they_come() {
    let fps = |bench: Bench| bench.env("DSENGINE_SOURCES__0__FPS", "5").good().plan.sources[0].fps;
    assert_eq!(fps(Bench::new("sources: [{id: a, uri: test}]\n")), Some(5.0));
    assert_eq!(fps(Bench::new("").file("s.yaml", "sources: [{uri: test, fps: 9}]\n").sources("s.yaml")), Some(5.0));
    assert_eq!(fps(Bench::new("").source("test")), Some(5.0));
    let plan = Bench::new("").env("DSENGINE_SOURCES__0__URI", "scene:street").source("test").good().plan;
    assert_eq!(plan.sources.len(), 1);
    assert!(matches!(plan.sources[0].input, Input::Test { .. }), "a flag beats the environment");
}

#[test]
fn a_number_too_large_for_its_key_is_refused_in_its_place() {
    let error = Bench::new("sources: [{uri: \"scene:street\", parameters: {seed: 99999999999999999999}}]\n").error();
    assert!(error.contains("`sources[0].parameters.seed` has the wrong type"), "{error}");
    assert!(error.starts_with("the configuration cannot be used\n\nc.yaml:1:"), "{error}");
}

#[test]
fn a_path_is_looked_for_beside_the_file_and_then_in_the_working_folder() {
    let strategies = "detection: {strategies: [{name: a, module: a.lua}, {name: b, module: b.lua}]}\n";
    let mut bench = Bench::new("").file("conf/c.yaml", strategies).file("conf/a.lua", "").file("a.lua", "");
    bench.request.config = Some("conf/c.yaml".into());
    let plan = bench.good().plan;
    let folder = bench.folder.path();
    let lua: Vec<_> = plan
        .strategies
        .iter()
        .filter_map(|s| match &s.kind {
            StrategyKind::Lua(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(lua, [folder.join("conf/a.lua"), folder.join("b.lua")]);
}

#[test]
fn what_has_no_model_is_watched_for_motion() {
    let kinds = |text: &str| {
        let loaded = Bench::new(text).good();
        let names: Vec<_> = loaded
            .plan
            .strategies
            .iter()
            .map(|s| (s.name.clone(), s.sources.iter().map(ToString::to_string).collect::<Vec<_>>()))
            .collect();
        (names, loaded.warnings.iter().filter(|w| w.name == "no-model").map(|w| w.severity).collect::<Vec<_>>())
    };
    let two = "sources: [{id: a, uri: test}, {id: b, uri: test}]\n";
    let motion = |sources: &[&str]| ("motion".to_owned(), sources.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    assert_eq!(kinds(two), (vec![motion(&[])], vec![Severity::Note]));
    let some = format!("{two}detection: {{strategies: [{{name: m, model_path: m.onnx, sources: [a]}}]}}\n");
    assert_eq!(kinds(&some), (vec![motion(&["b"])], vec![Severity::Note]));
    let all = format!("{two}detection: {{model_engine_file: m.onnx}}\n");
    assert_eq!(kinds(&all), (vec![], vec![]));
    let off = format!("{two}detection: {{strategies: [{{name: motion, enabled: false}}]}}\n");
    assert_eq!(kinds(&off), (vec![], vec![]));
    let drawn = "sources: [{id: a, uri: \"scene:street?pixels=false\"}]\n";
    assert_eq!(kinds(drawn), (vec![], vec![]), "nothing to look at");
}

#[test]
fn recovery_and_a_sources_own_keys_make_its_retries() {
    let retry = |text: &str| Bench::new(text).good().plan.sources[0].retry.clone();
    let ours = retry("sources: [{id: a, uri: test}]\n");
    assert_eq!((ours.base, ours.cap), (Duration::from_millis(500), Duration::from_secs(10)));
    assert_eq!((ours.first_frame, ours.gap), (Duration::from_secs(8), Duration::from_secs(3)));
    assert_eq!((ours.max_retries, ours.exponential), (3, true));
    let recovery = "recovery: {max_retries: 7, retry_delay: 2, max_retry_delay: 60, exponential_backoff: false, \
                    source_timeout_seconds: 30}\n";
    let section = retry(&format!("{recovery}sources: [{{id: a, uri: test}}]\n"));
    assert_eq!((section.base, section.cap), (Duration::from_secs(2), Duration::from_secs(60)));
    assert_eq!((section.first_frame, section.max_retries), (Duration::from_secs(30), 7));
    assert!(!section.exponential);
    let own =
        retry(&format!("{recovery}sources: [{{id: a, uri: test, max_retries: 9, retry_delay: 90, timeout: 5}}]\n"));
    assert_eq!((own.max_retries, own.base, own.cap), (9, Duration::from_secs(90), Duration::from_secs(90)));
    assert_eq!(own.gap, Duration::from_secs(5));
}

// What this machine lacks

#[test]
fn a_key_that_could_do_nothing_is_refused() {
    let source = "sources: [{id: a, uri: 'trace:a.jsonl'";
    for (text, words) in [
        (format!("{source}, realtime: true}}]\n"), "a trace has no pace of its own"),
        (format!("{source}, parameters: {{realtime: true}}}}]\n"), "it takes none"),
        ("max_concurrent_sources: 5\npipeline: {max_sources: 2}\n".to_owned(), "the most sources are set twice"),
        ("monitoring: {prometheus: {path: /livez}}\n".to_owned(), "/livez is a page of its own"),
        ("monitoring: {prometheus_path: /api/v1/status}\n".to_owned(), "/api/v1/status is a page of its own"),
    ] {
        let error = Bench::new(&text).error();
        assert!(error.contains(words), "{text}{error}");
    }
    Bench::new("max_concurrent_sources: 5\n").env("DSENGINE_PIPELINE__MAX_SOURCES", "2").good();
}

#[test]
fn a_source_is_named_without_control_characters() {
    let error = Bench::new("sources: [{id: \"a\\0b\", uri: test}]\n").error();
    assert!(error.contains("a source's name holds a control character"), "{error}");
}

#[test]
fn a_pipe_is_named_and_not_waited_for() {
    let bench = Bench::new("sources: [{id: a, uri: clip.mp4}]\n");
    let pipe = bench.folder.path().join("clip.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let found = config::check(&bench.good());
    assert!(found[0].message.ends_with("is no regular file"), "{found:?}");
}

#[test]
fn what_this_machine_lacks_is_named() {
    let text = "detection:\n  strategies:\n    - {name: m, model_path: m.onnx, labels_path: l.txt}\n    \
                - {name: r, module: r.lua}\nalerts:\n  handlers:\n    \
                - {name: file, config: {log_file: no/such/folder/a.jsonl}}\n\
                logging: {log_file: no/such/folder/b.log}\nsources: [{id: a, uri: clip.mp4}]\n";
    let bench = Bench::new(text);
    let found = config::check(&bench.good());
    let expected = [
        "model-missing",
        "labels-missing",
        "script-missing",
        "source-missing",
        "alert-file-unwritable",
        "log-file-unwritable",
    ];
    assert_eq!(names(&found), expected);
    assert!(found.iter().filter(|w| w.name != "source-missing").all(Warning::refuses_run));
    let refusal = config::refuse(&found).unwrap_err();
    assert_eq!(refusal.code(), Code::Model);
    assert!(refusal.to_string().contains("m.onnx does not exist [model-missing]"), "{refusal}");

    let bench = bench.file("m.onnx", "x").file("l.txt", "x").file("r.lua", "x").file("clip.mp4", "x");
    let bench = bench.file("no/such/folder/x", "");
    assert_eq!(config::check(&bench.good()), []);
    assert_eq!(config::refuse(&bench.good().warnings).map_err(|error| error.to_string()), Ok(()));
}

// The tables

#[test]
fn the_checked_in_schema_is_the_programs() {
    let now = format!("{:#}\n", config::schema());
    if let Err(difference) = compare(&root().join("configs/dsengine.schema.json"), &now) {
        panic!("{}", difference.lines().next().unwrap());
    }
}

#[test]
fn the_checked_in_table_of_keys_is_the_programs() {
    if let Err(difference) = compare(&root().join("configs/KEYS.md"), &config::keys_markdown()) {
        panic!("{}", difference.lines().next().unwrap());
    }
}

#[test]
fn the_table_has_every_key_of_the_schema_and_no_other() {
    let paths: BTreeSet<String> = config::key_paths().into_iter().collect();
    let is_section = |path: &str| {
        paths
            .iter()
            .any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]")))
    };
    let table: BTreeSet<String> = config::key_table().into_iter().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(table.len(), config::key_table().len(), "no key twice");
    let missing: Vec<_> = paths.iter().filter(|path| !is_section(path) && !table.contains(*path)).collect();
    assert!(missing.is_empty(), "keys without a row in src/config/keys/: {missing:?}");
    let strange: Vec<_> = table.difference(&paths).collect();
    assert!(strange.is_empty(), "rows that are no keys: {strange:?}");
}

#[test]
fn every_proof_named_in_the_table_is_a_test() {
    fn read(folder: &Path, out: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut code = String::new();
    read(&root().join("src"), &mut code);
    read(&root().join("tests"), &mut code);
    for (key, proof) in config::key_table() {
        if let Some(proof) = proof {
            assert!(code.contains(&format!("fn {proof}(")), "{key}: there is no test {proof}");
        }
    }
}

#[test]
fn a_key_whose_capability_is_not_built_is_named_when_it_is_set() {
    let text = "pipeline: {width: 1280, gpu_id: 1}\nsources:\n  - {id: a, uri: test}\ndetection:\n  strategies:\n    \
                - {name: m, model_path: m.onnx, interval: 2}\n    - {name: n, model_path: m.onnx, interval: 2}\n";
    let loaded = Bench::new(text).good();
    let told: Vec<_> = loaded.warnings.iter().filter(|w| w.name == "not-built").collect();
    assert_eq!(told.len(), 3, "one per key: {told:?}");
    assert_eq!(told[2].message, "`pipeline.width` has no effect yet: width of the muxed picture");
    assert_eq!(told[2].place.as_deref(), Some("c.yaml:1:12"));
    assert!(told.iter().all(|w| w.fails_strict() && !w.refuses_run()));
}

#[test]
fn every_key_says_its_default_and_an_example() {
    fn walk(schema: &serde_json::Value, path: &str, poor: &mut Vec<String>) {
        let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else { return };
        for (key, child) in properties {
            let text = child.get("description").and_then(|d| d.as_str()).unwrap_or_default();
            if !text.contains("Default") || !text.contains("Example:") {
                poor.push(format!("{path}.{key}"));
            }
        }
    }
    let schema = config::schema();
    let mut poor = Vec::new();
    walk(&schema, "", &mut poor);
    for (name, part) in schema["$defs"].as_object().unwrap() {
        walk(part, name, &mut poor);
    }
    assert!(poor.is_empty(), "keys without Default and Example: {poor:?}");
}

#[test]
fn no_damage_to_a_file_crashes_the_loader() {
    let mut request = Request { working_dir: root(), ..Request::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    request.config = Some(path.clone());
    let text = fs::read_to_string(root().join("configs/production.yaml")).unwrap();
    let mut tried = 0;
    for at in (0..text.len()).step_by(3) {
        fs::write(&path, &text.as_bytes()[..at]).unwrap();
        let _ = config::load(&request);
        let sign = [b'[', b'{', b'"', b'*', b'&', b':', b'-', b'\t', b'\n', b'$', 0xff][at % 11];
        let mut bytes = text.clone().into_bytes();
        bytes[at] = sign;
        fs::write(&path, &bytes).unwrap();
        if let Err(error) = config::load(&request) {
            assert!(!error.to_string().is_empty());
        }
        tried += 2;
    }
    assert!(tried > 500);
}

#[test]
fn a_zone_that_crosses_itself_is_told_with_its_place() {
    let zones = "zones: {bow: [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]], fine: [[0, 0], [1, 0], [1, 1]]}\n";
    let loaded = Bench::new(&format!("sources: [{{id: a, uri: test}}]\n{zones}")).good();
    let told: Vec<_> = loaded.warnings.iter().filter(|warning| warning.name == "zone-crosses-itself").collect();
    assert!(told.len() == 1 && told[0].message.contains("`bow`"), "{:?}", loaded.warnings);
    assert!(told[0].place.as_ref().is_some_and(|place| place.contains(":2:")), "{told:?}");
}

#[test]
fn a_zone_without_an_area_is_refused_with_its_place() {
    for zone in ["[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]", "[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]"] {
        let error = Bench::new(&format!("zones:\n  flat: {zone}\n")).error();
        assert!(error.contains("c.yaml:2:") && error.contains("`zones.flat` encloses no area"), "{error}");
        let error = Bench::new(&format!("sources:\n  - {{id: a, uri: test, zones: {{flat: {zone}}}}}\n")).error();
        assert!(error.contains("c.yaml:2:") && error.contains("`sources[0].zones.flat` encloses no area"), "{error}");
    }
}

#[test]
fn a_score_that_is_not_reached_is_told_with_its_place() {
    let text = "alerts: {min_confidence: 1.0}\ndetection:\n  confidence_threshold: 1.0\n  strategies:\n    \
                - {name: m, model_path: m.onnx, confidence_threshold: 1}\n    \
                - {name: n, model_path: n.onnx, config: {confidence_threshold: 1}}\n    \
                - {name: o, model_path: o.onnx, confidence_threshold: 0.99}\n\
                sources:\n  - {id: a, uri: test, confidence_threshold: 1}\n";
    let loaded = Bench::new(text).good();
    let told: Vec<_> = loaded.warnings.iter().filter(|warning| warning.name == "score-out-of-reach").collect();
    let mut lines: Vec<_> = told.iter().filter_map(|warning| warning.place.as_ref()?.split(':').nth(1)).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1", "3", "5", "6", "9"], "{told:?}");
}
