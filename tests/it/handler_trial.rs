//! Handlers are tried before they deliver, as rules are before they judge: what can never work is refused, by `run`,
//! `validate` and a save alike, and nothing of the trial leaves the process.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::effects::{Answer, Receiver};
use crate::guests;
use crate::harness::{Dsengine, Outcome, alarming, get, sample, until, write};

const LIMIT: Duration = Duration::from_secs(30);

/// A folder with a configuration that raises an alert on every frame, whose handler has these keys.
fn site(source: &str, handler: &str) -> tempfile::TempDir {
    let alerts = format!("retry_attempts: 1, max_age_seconds: 0, handlers: [{{ name: desk, {handler} }}]");
    alarming(source, &alerts, "logging: { format: text }")
}

const BRIEF: &str = "test:pattern=red,size=64x64,frames=3";
const LIVE: &str = "test:pattern=red,size=64x64,fps=30";

fn ends(dir: &Path, command: &[&str]) -> Outcome {
    Dsengine::new(command).cwd(dir).run()
}

/// A handler whose second line is this.
fn handler(line: &str) -> String {
    format!("function handle_alert(alert)\n  {line}\nend\n")
}

#[test]
fn a_handler_that_breaks_the_contract_starts_nowhere_and_names_its_line() {
    let cases = [
        ("log.info(alert.mesage)", "an alert has no field 'mesage' (did you mean 'message'?)"),
        ("log.info(alert.detections[1].lable)", "a detection has no field 'lable' (did you mean 'label'?)"),
        ("log.inof(alert.message)", "attempt to call"),
        ("if alert.level == 'critical' then sned(alert) end", "attempt to call a nil value"),
        ("log.info(#alert.digest.ids)", "attempt to index nil"),
        ("if alert.digest then log.info('held by ' .. alert.digest) end", "attempt to concatenate"),
        ("http.post(42)", "http.post: the url is a text, got number"),
        ("http.post('https://a.example', 'x', { header = {} })", "unknown option 'header'"),
        ("state.set(1, 2)", "state.set: a key is a text"),
    ];
    for (line, said) in cases {
        let dir = site(BRIEF, "module: desk.lua");
        write(dir.path(), "desk.lua", &handler(line));
        let run = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(2);
        let validate = ends(dir.path(), &["validate", "config.yaml"]).expect(1);
        for told in [&run.stderr, &validate.stderr] {
            assert!(told.contains("desk.lua:2: ") && told.contains(said), "{line}: {told}");
        }
    }
    let dir = site(BRIEF, "module: desk.lua");
    write(dir.path(), "desk.lua", &handler("return 'deliverd'"));
    let out = ends(dir.path(), &["validate", "config.yaml"]).expect(1);
    assert!(out.stderr.contains("handle_alert returned 'deliverd', which is none of"), "{}", out.stderr);
    // What it returns is quoted without the secrets of its settings.
    let dir = site(BRIEF, "module: desk.lua, settings: { password: C4n4ry-2 }");
    write(dir.path(), "desk.lua", &handler("return config.password"));
    let out = ends(dir.path(), &["validate", "config.yaml"]).expect(1);
    assert!(out.stderr.contains("handle_alert returned '***'") && !out.stderr.contains("C4n4ry"), "{}", out.stderr);
    // A component that breaks with whatever it is given.
    let dir = site(BRIEF, "module: desk.wasm");
    std::fs::write(dir.path().join("desk.wasm"), guests::trapping_handler()).unwrap();
    for command in [&["run", "--config", "config.yaml"][..], &["validate", "config.yaml"]] {
        let out = ends(dir.path(), command);
        assert!(out.code() != 0 && out.stderr.contains("wasm `unreachable`"), "{}", out.stderr);
    }
}

#[test]
fn what_may_be_due_to_the_trial_is_told_and_nothing_leaves_the_process() {
    let receiver = Receiver::new(Answer::Status(204));
    let address = &receiver.address;
    let cases = [
        // Its own error, after an answer that nobody gave.
        (
            format!("local answer = http.post('http://{address}/', alert)\n  error('status ' .. answer.status)"),
            "status 200",
        ),
        (
            format!("local answer = http.post('http://{address}/', alert)\n  return answer.json().id.text"),
            "attempt to index nil",
        ),
        (
            format!(
                "local answer = http.post('http://{address}/', alert)\n  return http.post(answer.json().next, alert)"
            ),
            "the url is a text, got nil",
        ),
        ("error('nobody is at the desk')".to_owned(), "desk.lua:3: nobody is at the desk"),
        ("local jpeg = picture.jpeg()\n  log.info(#jpeg)".to_owned(), "attempt to get length"),
        // A port is another grant.
        (
            "return http.post('https://example.com:8443/', alert)".to_owned(),
            "requests to example.com:8443 are not granted",
        ),
        ("return http.post('https://other.example/', alert)".to_owned(), "requests to other.example are not granted"),
    ];
    for (body, said) in cases {
        let keys = format!("module: desk.lua, grants: {{ http: ['http://{address}', example.com] }}");
        let dir = site(BRIEF, &keys);
        let needs = format!("---@needs http {address} example.com\n");
        write(dir.path(), "desk.lua", &format!("{needs}{}", handler(&body)));
        let out = ends(dir.path(), &["validate", "config.yaml"]).expect(0);
        let told = "warning: handler desk fails on a made-up alert: ";
        assert!(out.stderr.contains(told) && out.stderr.contains(said), "{body}: {}", out.stderr);
        ends(dir.path(), &["validate", "--strict", "config.yaml"]).expect(1);
    }
    assert!(receiver.hits().is_empty(), "{:?}", receiver.hits().iter().map(|hit| &hit.request).collect::<Vec<_>>());
    // It has an instance of its own, without effects.
    let dir = site(BRIEF, "module: desk.lua");
    let counts = "local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n  log.info('tally ' .. n)";
    write(dir.path(), "desk.lua", &handler(counts));
    let out = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(0);
    let tallies: Vec<&str> = out.stderr.lines().filter(|line| line.contains("tally ")).collect();
    assert!(tallies.len() == 3 && tallies[0].contains("tally 1"), "{tallies:?}");
}

#[test]
fn a_broken_save_of_a_handler_is_refused_and_the_running_version_goes_on() {
    let good = handler("log.debug(alert.message)");
    let dir = site(LIVE, "module: desk.lua");
    write(dir.path(), "desk.lua", &good);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let delivered = || {
        let series = "dsengine_alert_deliveries_total{handler=\"desk\",outcome=\"delivered\"}";
        sample(&get(&page, "/metrics").1, series).unwrap_or_default()
    };
    until("it delivers", || delivered() > 0.0);
    write(dir.path(), "desk.lua", &handler("log.debug(alert.mesage)"));
    let line = run.wait_line(LIMIT, |line| line.contains("not reloaded"));
    assert!(line.contains("desk.lua:2: ") && line.contains("did you mean 'message'?"), "{line}");
    let health: Value = serde_json::from_str(&get(&page, "/health").1).unwrap();
    assert!(health["rejected"].to_string().contains("no field 'mesage'"), "{health}");
    let before = delivered();
    until("it goes on", || delivered() > before + 2.0);
    assert_eq!(
        sample(&get(&page, "/metrics").1, "dsengine_alert_undelivered_total{reason=\"given_up\"}").unwrap_or(0.0),
        0.0
    );
    // An edit of the configuration that brings a broken one is refused as a whole.
    let config = std::fs::read_to_string(dir.path().join("config.yaml")).unwrap();
    write(dir.path(), "late.lua", &handler("log.inof(alert.message)"));
    write(
        dir.path(),
        "config.yaml",
        &config.replace("{ name: desk,", "{ name: late, module: late.lua }, { name: desk,"),
    );
    run.wait_line(LIMIT, |line| line.contains("late.lua:2: "));
    let plugins: Value = serde_json::from_str(&get(&page, "/api/v1/plugins").1).unwrap();
    assert!(!plugins.to_string().contains("late"), "{plugins}");
    write(dir.path(), "config.yaml", &config);
    write(dir.path(), "desk.lua", &format!("{good}-- mended\n"));
    run.wait_line(LIMIT, |line| line.contains("script reloaded"));
    let health: Value = serde_json::from_str(&get(&page, "/health").1).unwrap();
    assert_eq!(health["rejected"], serde_json::json!([]), "another good text was accepted: {health}");
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0));
}

/// A mended plugin.toml must be tried, though its handler never ran.
#[test]
fn a_mended_manifest_of_a_handler_that_was_refused_is_noticed() {
    let dir = site(LIVE, "module: desk.lua");
    write(dir.path(), "desk.lua", &handler("log.debug(alert.message)"));
    let config = std::fs::read_to_string(dir.path().join("config.yaml")).unwrap();
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let folder = dir.path().join("late");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, "late.lua", &handler("log.debug(alert.message)"));
    let manifest =
        |kind: &str| format!("name = \"late\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\nentry = \"late.lua\"\n");
    write(&folder, "plugin.toml", &manifest("strategy"));
    let added = config.replace("{ name: desk,", "{ name: late, module: late/late.lua }, { name: desk,");
    write(dir.path(), "config.yaml", &added);
    run.wait_line(LIMIT, |line| line.contains("its plugin.toml says it is a strategy"));
    write(&folder, "plugin.toml", &manifest("handler"));
    until("it runs", || get(&page, "/api/v1/plugins").1.contains("late"));
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0));
}
