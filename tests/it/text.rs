//! Text files from other editors and systems: marks at their front, line ends, a first line for the shell.

use std::path::Path;

use crate::harness::{Dsengine, write};
use crate::lua::camera;
use dsengine::config::{self, Plan, Request};

const MARK: &str = "\u{FEFF}";
const RULE: &str = "function detect(frame)\n  for i in frame:select{ label = \"motion\" } do\n    frame:alert{ rule = \"p\", detections = { i } }\n  end\nend\n";

fn utf16(text: &str) -> Vec<u8> {
    [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
}

fn load_in(dir: &Path, file: &str, sources: Option<&str>) -> Result<Plan, String> {
    let request = Request {
        config: Some(file.into()),
        sources: sources.map(Into::into),
        working_dir: dir.to_owned(),
        ..Request::default()
    };
    config::load(&request).map(|loaded| loaded.plan).map_err(|error| error.to_string())
}

fn config(rule: &str) -> String {
    format!(
        "sources: [{{ id: s, uri: 'scene:street' }}]\ndetection: {{ strategies: [{{ name: r, module: {rule} }}] }}\n"
    )
}

/// What `validate` says of a rule's file with those bytes.
fn validate(bytes: &[u8]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rule.lua"), bytes).unwrap();
    write(dir.path(), "c.yaml", &config("rule.lua"));
    write(dir.path(), "marked.lua", &format!("{MARK}#!lua\nreturn {{ one = 1 }}\n"));
    let out = Dsengine::new(["validate", "c.yaml"]).cwd(dir.path()).run();
    (out.code(), out.stdout + &out.stderr)
}

#[test]
fn scripts_are_read_as_editors_and_shells_have_them() {
    for bytes in [
        format!("{MARK}{RULE}").into_bytes(),
        format!("#!/usr/bin/env lua\n{RULE}").into_bytes(),
        format!("{MARK}#!/usr/bin/env lua\r\n{}", RULE.replace('\n', "\r\n")).into_bytes(),
        format!("{MARK}---@since 0.1\n{RULE}").into_bytes(),
        format!("#!/usr/bin/env lua\n---@since 0.1\n---@version 3\n{RULE}").into_bytes(),
        format!("assert(require(\"marked\").one == 1)\n{RULE}").into_bytes(),
        utf16(RULE),
    ] {
        let (code, said) = validate(&bytes);
        assert_eq!(code, 0, "{said}\n{}", String::from_utf8_lossy(&bytes));
    }
    // Lines keep their numbers, and a comment is read behind the first line, too.
    let (code, said) = validate(format!("{MARK}#!lua\nlocal x =\n{RULE}").as_bytes());
    assert!(code == 1 && said.contains("rule.lua:3:"), "{said}");
    let (code, said) = validate(format!("#!lua\n---@since 9.9\n{RULE}").as_bytes());
    assert!(code == 1 && said.contains("rule.lua:2:"), "{said}");
    let (code, said) = validate(b"x = 1\ny = '\xFF'\n");
    assert!(code == 1 && said.contains("rule.lua:2: this is not text"), "{said}");
}

#[test]
fn a_save_with_a_mark_is_a_version_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame) end\n");
    let config = "monitoring: { prometheus: { port: 0 } }\nalerts: { handlers: [] }\n".to_owned()
        + "sources: [{ id: s, uri: 'test:size=64x64,fps=20' }]\n"
        + "detection: { strategies: [{ name: r, module: rule.lua }] }\n";
    write(dir.path(), "c.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir.path()).start();
    run.page();
    write(dir.path(), "rule.lua", &format!("{MARK}#!lua\r\nlog.info('the saved one') function detect(frame) end\r\n"));
    run.wait_line(std::time::Duration::from_secs(60), |line| line.contains("the saved one"));
    run.signal("TERM");
    run.end(std::time::Duration::from_secs(30));
}

#[test]
fn configurations_and_what_they_name_are_read_with_marks_and_any_line_ends() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let yaml = "#!/usr/bin/env dsengine\r\nname: \"${file:name.txt}\"\r\nsources: [{id: a, uri: test}]\r\n";
    at("name.txt", format!("{MARK}yard ü\r\n").as_bytes());
    at("sources.yaml", &utf16("sources:\r\n  - {id: b, uri: test}\r\nzones: {door: [[0, 0], [1, 0], [1, 1]]}\r\n"));
    for bytes in [format!("{MARK}{yaml}").into_bytes(), yaml.as_bytes().to_vec(), utf16(yaml)] {
        at("c.yaml", &bytes);
        let plan = load_in(dir.path(), "c.yaml", Some("sources.yaml")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&*plan.name, "yard ü");
        assert_eq!(plan.sources[0].zones[0].name, "door");
    }
    at("c.yaml", b"name: \xFF\n");
    let error = load_in(dir.path(), "c.yaml", None).unwrap_err();
    assert!(error.contains("c.yaml is no UTF-8 text"), "{error}");
}

#[test]
fn manifests_cases_scenes_and_recordings_are_read_with_marks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        write(dir.path(), name, text);
    };
    at("p.lua", RULE);
    at("plugin.toml", &format!("{MARK}name = \"p\"\r\nversion = \"1\"\r\nentry = \"p.lua\"\r\n"));
    at("t.jsonl", &format!("{MARK}{}", recording()));
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    at("tests/case.yaml", &format!("{MARK}frames: ../t.jsonl\r\nexpect: {{ alerts: [] }}\r\n"));
    Dsengine::new(["plugin", "check", "."]).cwd(dir.path()).run().expect(0);
    Dsengine::new(["test", "."]).cwd(dir.path()).run().expect(0);
    at(
        "c.yaml",
        "sources: [{ id: a, uri: 'trace:t.jsonl' }, { id: b, uri: 'scene:s.yaml' }]\nalerts: { handlers: [] }\n",
    );
    let scene = std::fs::read_to_string(crate::harness::root().join("scenes/empty.yaml")).unwrap();
    at("s.yaml", &format!("{MARK}{}", scene.replace('\n', "\r\n")));
    Dsengine::new(["validate", "--strict", "c.yaml"]).cwd(dir.path()).run().expect(0);
    assert_eq!(frames_of(&dir.path().join("t.jsonl")), 1);
    assert!(dsengine::scene::Scene::load(&dir.path().join("s.yaml").display().to_string()).is_ok());
}

fn recording() -> String {
    let head = r#"{"format":1,"dsengine":"0","config_hash":"0","start_unix_ns":1700000000000000000}"#;
    let frame = r#"{"source":"a","seq":0,"pts_ns":0,"width":64,"height":64,"detections":[]}"#;
    format!("{head}\r\n{frame}\r\n")
}

fn frames_of(path: &Path) -> usize {
    let mut reader = dsengine::backend::trace::Reader::open(path).unwrap_or_else(|error| panic!("{error}"));
    std::iter::from_fn(|| reader.next_record().unwrap_or_else(|error| panic!("{error}"))).count()
}

#[test]
fn json_of_others_may_begin_with_a_mark() {
    let script = "local t = json.decode('\u{FEFF}{\"a\": [1]}')\nassert(t.a[1] == 1)\nfunction detect(frame) end";
    camera(script).see(vec![]).unwrap_or_else(|fault| panic!("{}", fault.message));
}
