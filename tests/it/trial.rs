//! Rules are tried before they judge: what can never work is refused, by `run`, `validate`, a save and an edit alike.

use std::path::Path;
use std::time::Duration;

use dsengine::config::{self, Plan, Request};
use dsengine::engine::Engine;

use crate::harness::{Dsengine, Outcome, get, root, street, write};

const LIMIT: Duration = Duration::from_secs(30);
/// Detections of a scene: its labels are person, bicycle and car.
const SCENE: &str = "sources: [{ id: yard, uri: 'scene:short.yaml?pixels=false' }]\n";
/// A picture without a model: the only label is motion.
const MOTION: &str = "sources: [{ id: yard, uri: 'test:pattern=red,size=64x64,frames=3' }]\n";

/// Both: a rule for persons has something to do on one of them.
const BOTH: &str = "sources: [{ id: yard, uri: 'scene:short.yaml?pixels=false' }, \
                    { id: gate, uri: 'test:pattern=red,size=64x64,frames=3' }]\n";

/// A folder with a configuration: its sources, and rules as (file, text), the first first.
fn site(sources: &str, strategies: &str, rules: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "short.yaml", &street(1, 15));
    let listed = rules.iter().map(|(file, _)| format!("{{ name: {}, module: {file} }}", file.replace('.', "_")));
    let listed: Vec<String> = strategies.split_terminator('\n').map(str::to_owned).chain(listed).collect();
    rules.iter().for_each(|(file, text)| drop(write(dir.path(), file, text)));
    let rest = "zones: { gate: [[0.2, 0.2], [0.8, 0.2], [0.8, 0.9], [0.2, 0.9]] }\n\
                monitoring: { prometheus: { port: 0 } }\nlogging: { format: text }\n\
                alerts: { burst_threshold: 0, max_alerts_per_minute: 0, handlers: [] }\n";
    let config = format!("{sources}detection: {{ strategies: [{}] }}\n{rest}", listed.join(", "));
    write(dir.path(), "config.yaml", &config);
    dir
}

fn ends(dir: &Path, command: &[&str]) -> Outcome {
    Dsengine::new(command).cwd(dir).run()
}

/// A rule whose second line is this.
fn rule(line: &str) -> String {
    format!("function detect(frame)\n  {line}\nend\n")
}

#[test]
fn a_rule_that_breaks_the_contract_starts_nowhere_and_names_its_line() {
    let each = |body: &str| format!("for i in frame:select{{ label = 'person' }} do {body} end");
    let cases = [
        ("frame:select{ zone = 'gat' }".to_owned(), "no zone 'gat'; the zones are gate"),
        (each("frame:in_zone(i, 'gat')"), "no zone 'gat'"),
        (each("local t = frame:track(i) if t and (t:dwell('gate') or 0) > 45 then frame:alrt() end"), "no 'alrt'"),
        ("if frame:count() > 40 then frame:alert{ rule = 'r', level = 'hihg' } end".to_owned(), "'hihg' is none of"),
        ("frame:select{ lable = 'person' }".to_owned(), "unknown field 'lable'"),
        ("frame:select{ min_confidence = 'high' }".to_owned(), "min_confidence is a number"),
        ("frame:select{ label = 'persn' }".to_owned(), "no label 'persn' (did you mean 'person'?)"),
        ("frame:select{ label = { 'bus', 'truck' } }".to_owned(), "no label 'bus'"),
        (each("frame:select{ label = 'cra', zone = 'gate' }"), "did you mean 'car'?"),
        ("if frame:count() > 0 then fraem() end".to_owned(), "attempt to call a nil value"),
        ("if frame:count() > 0 then return os.time() end".to_owned(), "there is no `os`"),
    ];
    for (line, said) in &cases {
        let dir = site(SCENE, "", &[("rule.lua", &rule(line))]);
        let run = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(2);
        let validate = ends(dir.path(), &["validate", "config.yaml"]).expect(1);
        for told in [&run.stderr, &validate.stderr] {
            assert!(told.contains("rule.lua:2: ") && told.contains(said), "{line}: {told}");
        }
    }
}

#[test]
fn labels_are_known_from_models_detectors_and_components() {
    let model = format!("{{ name: m, model_path: {} }}\n", root().join("models/street.onnx").display());
    let crowd = format!(
        "{{ name: crowd, module: {}, config: {{ zone: gate }} }}\n",
        root().join("plugins/prebuilt/crowd.wasm").display()
    );
    let asks = rule("frame:select{ label = 'person' }");
    let group = rule("frame:select{ label = 'group' }");
    let adds = rule("frame:add{ label = 'group', bbox = { 0, 0, 0.5, 0.5 } }");
    let motion = "{ name: motion }\n";
    let refused = [
        (MOTION, motion, vec![("rule.lua", &*asks)], "no label 'person'; the labels are motion"),
        (MOTION, &*format!("{motion}{crowd}"), vec![], "no label 'person'; the labels are motion"),
        (MOTION, &*model, vec![("rule.lua", &*group)], "no label 'group'"),
        // What is added after a rule, it never sees.
        (SCENE, "", vec![("rule.lua", &*group), ("adds.lua", &*adds)], "no label 'group'"),
    ];
    for (sources, strategies, rules, said) in refused {
        let dir = site(sources, strategies, &rules);
        let out = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(2);
        assert!(out.stderr.contains(said), "{strategies}: {}", out.stderr);
    }
    let taken = [
        (MOTION, &*format!("{motion}{model}"), vec![("rule.lua", &*asks)]),
        (MOTION, &*format!("{motion}{model}{crowd}"), vec![]),
        (SCENE, "", vec![("adds.lua", &*adds), ("rule.lua", &*group)]),
        (BOTH, "", vec![("rule.lua", &*asks)]),
        (BOTH, &*format!("{motion}{crowd}"), vec![]),
    ];
    for (sources, strategies, rules) in taken {
        let dir = site(sources, strategies, &rules);
        ends(dir.path(), &["run", "--config", "config.yaml"]).expect(0);
    }
}

#[test]
fn what_may_never_come_is_told_where_it_is_not_certain_to_fail() {
    let compares = rule("for i = 1, frame:count() do if frame:label(i) == 'persn' then frame:drop(i) end end");
    let dir = site(SCENE, "", &[("rule.lua", &compares)]);
    let out = ends(dir.path(), &["validate", "--strict", "config.yaml"]).expect(1);
    assert!(
        out.stderr.contains("compares with a label that is not there: ")
            && out.stderr.contains("rule.lua:2: no label 'persn' (did you mean 'person'?)"),
        "{}",
        out.stderr
    );
    // Some of a list are there: the rule works, and one of its labels does nothing.
    let live = SCENE.replace("pixels=false", "pixels=false&live=true").replace("short", "street");
    std::fs::write(dir.path().join("street.yaml"), std::fs::read(root().join("scenes/street.yaml")).unwrap()).unwrap();
    let dir = site(&live, "", &[("rule.lua", &rule("frame:select{ label = { 'person', 'bus' } }"))]);
    std::fs::copy(root().join("scenes/street.yaml"), dir.path().join("street.yaml")).unwrap();
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let health = get(&page, "/health").1;
    assert!(health.contains("strategy rule_lua asks for a label that is not there: no label 'bus'"), "{health}");
    let rejected = || {
        let health: serde_json::Value = serde_json::from_str(&get(&page, "/health").1).unwrap();
        health["rejected"].to_string()
    };
    // A save is tried as a start is: no remembered frame comes to this branch.
    write(dir.path(), "rule.lua", &rule("if frame:count() > 40 then frame:select{ zone = 'gat' } end"));
    run.wait_line(LIMIT, |line| line.contains("not reloaded"));
    assert!(rejected().contains("no zone 'gat'"), "{}", rejected());
    write(dir.path(), "rule.lua", &rule("frame:select{ label = 'person' }"));
    run.wait_line(LIMIT, |line| line.contains("script reloaded"));
    let health = get(&page, "/health").1;
    assert!(!health.contains("'bus'") && !health.contains("'gat'"), "{health}");
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0));
}

#[test]
fn a_fault_that_may_be_of_the_made_up_frames_is_told_and_the_start_goes_on() {
    for line in ["if frame:count() > 40 then error('boom') end", "if frame:count() == 96 then frame:label(97) end"] {
        let dir = site(SCENE, "", &[("rule.lua", &rule(line))]);
        let out = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(0);
        let told = "fails on made-up frames: rule.lua:2: ";
        assert!(out.stderr.contains(told) || out.stderr.contains("made-up frames"), "{}", out.stderr);
        let out = ends(dir.path(), &["validate", "config.yaml"]).expect(0);
        assert!(out.stderr.contains("warning: strategy rule_lua fails on made-up frames"), "{}", out.stderr);
        ends(dir.path(), &["validate", "--strict", "config.yaml"]).expect(1);
        ends(dir.path(), &["validate", "--strict", "--syntax", "config.yaml"]).expect(0);
    }
}

#[test]
fn a_trial_leaves_no_trace() {
    let text = "function detect(frame)\n  local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n\
                \x20 log.info('said ' .. n)\n  metrics.add('calls')\n\
                \x20 frame:alert{ rule = 'r', key = tostring(n), message = 'frame ' .. n }\nend\n";
    let dir = site(SCENE, "", &[("rule.lua", text)]);
    let out = ends(dir.path(), &["run", "--config", "config.yaml", "--json"]).expect(0);
    let summary = out.json();
    let judged = summary["sources"][0]["judged"].as_u64().unwrap();
    assert!(judged > 5 && summary["sources"][0]["alerts"] == judged, "{summary}");
    assert_eq!(out.stderr.matches(" said 1 ").count() + out.stderr.matches(" said 1\n").count(), 1, "{}", out.stderr);
}

#[test]
fn pictures_are_shown_where_they_are_granted() {
    let text = "---@needs pixels\nfunction detect(frame)\n  local r = pixels.mean()\n  if frame:count() > 40 and r then frame:select{ zone = 'gat' } end\nend\n";
    let granted = "{ name: p, module: p.lua, grants: { pixels: true } }\n";
    let dir = site("sources: [{ id: yard, uri: 'scene:short.yaml' }]\n", granted, &[]);
    write(dir.path(), "p.lua", text);
    let out = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(2);
    assert!(out.stderr.contains("p.lua:4: ") && out.stderr.contains("no zone 'gat'"), "{}", out.stderr);
}

fn plan(dir: &Path) -> Plan {
    let request = Request { config: Some(dir.join("config.yaml")), working_dir: dir.to_owned(), ..Request::default() };
    config::load(&request).unwrap_or_else(|error| panic!("{error}")).plan
}

#[test]
fn an_edit_that_takes_a_rules_zone_away_is_refused_and_a_source_without_it_too() {
    let live = "sources: [{ id: yard, uri: 'scene:street?pixels=false&live=true' }]\n";
    let dir = site(live, "", &[("rule.lua", &rule("if frame:count() > 40 then frame:select{ zone = 'gate' } end"))]);
    let text = std::fs::read_to_string(dir.path().join("config.yaml")).unwrap();
    let engine = Engine::builder(plan(dir.path())).start().unwrap();
    let another = ", { id: other, uri: 'scene:street?pixels=false&live=true' }]\n";
    let own = "zones: { gate: [[0.2, 0.2], [0.8, 0.2], [0.8, 0.9]] } }";
    for edit in [
        text.replace("zones: { gate:", "zones: { door:"),
        text.replace("zones: { gate:", "zones: { door:")
            .replace("live=true' }]\n", &format!("live=true', {own}{another}")),
    ] {
        write(dir.path(), "config.yaml", &edit);
        let error = engine.apply(plan(dir.path())).expect_err("there is no such zone");
        assert!(error.message().contains("rule.lua:2: ") && error.message().contains("no zone 'gate'"), "{error}");
        assert_eq!(engine.handle().plan().sources.len(), 1);
    }
    write(dir.path(), "config.yaml", &text.replace("live=true' }]\n", &format!("live=true' }}{another}")));
    engine.apply(plan(dir.path())).unwrap();
    assert_eq!(engine.handle().plan().sources.len(), 2);
}

#[test]
fn a_trace_of_other_sources_than_the_configurations_is_told() {
    let dir = site("sources: [{ id: yard, uri: 'clip.mp4' }]\n", "", &[("rule.lua", &rule("frame:count()"))]);
    let trace = |source: &str| {
        format!(
            "{{\"format\":1,\"dsengine\":\"0\",\"config_hash\":\"\",\"start_unix_ns\":0}}\n\
             {{\"source\":\"{source}\",\"seq\":0,\"pts_ns\":0,\"width\":4,\"height\":3,\"detections\":[]}}\n"
        )
    };
    write(dir.path(), "other.jsonl", &trace("vtest-480x360"));
    write(dir.path(), "same.jsonl", &trace("yard"));
    let out = ends(dir.path(), &["replay", "other.jsonl", "--config", "config.yaml"]).expect(1);
    assert!(out.stderr.contains("the trace is of source vtest-480x360; the configuration has yard"), "{}", out.stderr);
    ends(dir.path(), &["replay", "same.jsonl", "--config", "config.yaml"]).expect(0);
    ends(dir.path(), &["replay", "other.jsonl"]).expect(0);
}

#[test]
fn validate_says_whether_this_machine_can_start_it_and_syntax_judges_the_file_alone() {
    let dir = site(MOTION, "", &[("rule.lua", &rule("frame:count()"))]);
    let text = std::fs::read_to_string(dir.path().join("config.yaml")).unwrap();
    ends(dir.path(), &["validate", "config.yaml"]).expect(0);
    write(dir.path(), "lfs.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    write(dir.path(), "page.names", "<!DOCTYPE html>\n<html>\n</html>\n");
    write(dir.path(), "few.names", "person\n");
    write(dir.path(), "broken.lua", "function detect(frame)\n  if then\nend\n");
    let street = root().join("models/street.onnx").display().to_string();
    let strategies = |with: &str| text.replace("strategies: [", &format!("strategies: [{with}, "));
    let cases = [
        (strategies("{ name: m, model_path: none.onnx }"), "none.onnx does not exist"),
        (strategies("{ name: m, model_path: lfs.onnx }"), "pointer of Git LFS"),
        (strategies(&format!("{{ name: m, model_path: {street}, labels_path: page.names }}")), "web page"),
        (strategies(&format!("{{ name: m, model_path: {street}, labels_path: few.names }}")), "[E0303]"),
        (strategies("{ name: b, module: broken.lua }"), "broken.lua:2:"),
        (text.replace("'test:pattern=red,size=64x64,frames=3'", "none.mp4"), "none.mp4 does not exist"),
        (text.replace("'test:pattern=red,size=64x64,frames=3'", "'scene:nowhere'"), "nowhere"),
    ];
    for (edited, said) in cases {
        write(dir.path(), "config.yaml", &edited);
        let out = ends(dir.path(), &["validate", "config.yaml"]).expect(1);
        assert!(
            out.stderr.contains(said) && out.stdout.starts_with("not valid: "),
            "{said}: {}{}",
            out.stdout,
            out.stderr
        );
        ends(dir.path(), &["validate", "--syntax", "config.yaml"]).expect(0);
    }
}

#[test]
fn a_strategy_that_asks_for_requests_is_told_that_it_sends_none() {
    let text = format!("---@needs http api.example.org\n{}", rule("frame:count()"));
    let granted = "{ name: r, module: r.lua }\n";
    let dir = site(SCENE, granted, &[]);
    write(dir.path(), "r.lua", &text);
    let out = ends(dir.path(), &["run", "--config", "config.yaml"]).expect(2);
    assert!(out.stderr.contains("a strategy sends none") && !out.stderr.contains("grants: {http"), "{}", out.stderr);
}
