//! Plugins that are dropped into a folder: they judge as they lie there, and go with their file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::guests;
use crate::harness::{Dsengine, Running, get, root, write};

const LIMIT: Duration = Duration::from_secs(60);
/// A script that does nothing, and one that never comes back.
const IDLE: &str = "function detect(frame) end\n";
const HOSTILE: &str = "function detect(frame) while true do end end\n";

/// An engine with two cameras, of which the files in `plugins` judge those that are set.
struct Site {
    dir: TempDir,
    run: Running,
    page: String,
}

impl Site {
    fn new(plugins: &str, files: &[(&str, &[u8])]) -> Self {
        Self::with(plugins, files, |_| {})
    }

    /// The same with what `more` puts into the folder before the start.
    fn with(plugins: &str, files: &[(&str, &[u8])], more: impl FnOnce(&Path)) -> Self {
        Self::at(5, plugins, files, more)
    }

    /// The same with so many frames a second.
    fn at(fps: u32, plugins: &str, files: &[(&str, &[u8])], more: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "sources: [{{ id: a, uri: 'test:size=64x64,fps={fps}' }}, {{ id: b, uri: 'test:size=64x64,fps={fps}' }}]\n\
             monitoring: {{ prometheus: {{ port: 0 }} }}\nalerts: {{ handlers: [] }}\n\
             detection: {{ strategies: [{{ name: listed, module: listed.lua }}] }}\nplugins: {plugins}\n"
        );
        write(dir.path(), "config.yaml", &config);
        write(dir.path(), "listed.lua", IDLE);
        if !files.is_empty() {
            fs::create_dir(dir.path().join("plugins")).unwrap();
        }
        for (name, bytes) in files {
            fs::write(dir.path().join("plugins").join(name), bytes).unwrap();
        }
        more(&dir.path().join("plugins"));
        let args = ["run", "--config", "config.yaml", "--state", "state", "--judgements", "judged.jsonl"];
        let mut run = Dsengine::new(args).cwd(dir.path()).start();
        let page = run.page();
        Self { dir, run, page }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("plugins").join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn status(&self) -> Value {
        serde_json::from_str(&get(&self.page, "/api/v1/status").1).unwrap()
    }

    /// The dropped-in strategies that run, with their generations.
    fn dropped_in(&self) -> Vec<(String, u64)> {
        let status = self.status();
        let strategies = status["strategies"].as_array().unwrap().iter();
        let named = strategies.map(|s| (s["name"].as_str().unwrap().to_owned(), s["generation"].as_u64().unwrap()));
        named.filter(|(name, _)| !["motion", "listed"].contains(&name.as_str())).collect()
    }

    fn problems(&self) -> String {
        let status = self.status();
        let problems = status["problems"].as_array().unwrap().iter().filter_map(Value::as_str);
        problems.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let from = Instant::now();
        while !is_so(self) {
            let ended = self.run.end(Duration::from_millis(20));
            assert!(ended.is_none(), "it ended before {what}:\n{}", self.run.seen.join("\n"));
            let told = || format!("{:?}\n{}\n{}", self.dropped_in(), self.problems(), self.run.seen.join("\n"));
            assert!(from.elapsed() < LIMIT, "never {what}: {}", told());
        }
    }

    #[track_caller]
    fn until_dropped_in(&mut self, expected: &[(&str, u64)]) {
        let expected: Vec<_> = expected.iter().map(|(name, generation)| ((*name).to_owned(), *generation)).collect();
        self.until(&format!("{expected:?}"), |site| site.dropped_in() == expected);
    }

    /// Waits until two more frames are judged: by what runs now.
    #[track_caller]
    fn until_judged(&mut self) {
        let judged = |site: &Self| site.status()["sources"][0]["judged"].as_u64().unwrap_or_default();
        let before = judged(self);
        self.until("two more frames", |site| judged(site) > before + 2);
    }

    /// Ends it; the judgements of a source, in order.
    fn judgements(mut self, source: &str) -> Vec<Value> {
        self.run.signal("INT");
        assert_eq!(self.run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", self.run.seen.join("\n"));
        let text = fs::read_to_string(self.dir.path().join("judged.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["source"] == source).collect()
    }
}

#[test]
fn what_is_dropped_into_the_folder_judges_and_goes_with_its_file() {
    let mut site = Site::new("{ folder: plugins }", &[(".hidden.lua", IDLE.as_bytes())]);
    site.until("frames", |site| site.status()["sources"][0]["judged"].as_u64() > Some(2));
    assert_eq!((site.dropped_in(), site.problems().as_str()), (vec![], ""));
    site.put("rule.lua", IDLE.as_bytes());
    site.until_dropped_in(&[("rule", 1)]);
    site.until_judged();
    let component = guests::good();
    site.put("good.wasm", &component);
    site.until_dropped_in(&[("good", 1), ("rule", 1)]);
    site.until_judged();
    site.put("README.md", b"not a plugin");
    site.put("half.lua.part", b"not finished");
    site.put("rule.lua", format!("-- another\n{IDLE}").as_bytes());
    site.until_dropped_in(&[("good", 1), ("rule", 2)]);
    site.until_judged();
    // The same component with a custom section after it.
    site.put("good.wasm", &[component.as_slice(), &[0, 2, 1, b'x']].concat());
    site.until_dropped_in(&[("good", 2), ("rule", 2)]);
    site.until_judged();
    fs::copy(root().join("plugins/prebuilt/crowd.wasm"), site.path("crowd.wasm")).unwrap();
    // It wants settings, which the folder gives to none.
    site.until("a problem", |site| site.problems().contains("plugin crowd is left out: crowd:init: config.zone"));
    fs::remove_file(site.path("good.wasm")).unwrap();
    site.until_dropped_in(&[("rule", 2)]);
    fs::remove_file(site.path("crowd.wasm")).unwrap();
    site.until("no problem", |site| site.problems().is_empty());
    site.until_judged();
    let judged = site.judgements("a");
    for (name, generation) in [("rule", 1), ("rule", 2), ("good", 1), ("good", 2)] {
        assert!(judged.iter().any(|line| line["generations"][name] == generation), "{name} {generation}");
    }
    assert!(judged.last().unwrap()["generations"].get("good").is_none(), "{:?}", judged.last());
}

#[test]
fn a_dropped_in_plugin_that_cannot_run_is_left_out_and_the_others_run() {
    let mut site =
        Site::new("{ folder: plugins }", &[("bad.lua", b"function detect(\n"), ("fine.lua", IDLE.as_bytes())]);
    site.until_dropped_in(&[("fine", 1)]);
    assert!(
        site.problems().contains("plugin bad is left out") && site.problems().contains("bad.lua:"),
        "{}",
        site.problems()
    );
    site.put("later.lua", IDLE.as_bytes());
    site.until_dropped_in(&[("fine", 1), ("later", 1)]);
    site.put("worse.wasm", b"\0asm");
    site.until("a problem", |site| site.problems().contains("plugin worse is left out"));
    assert_eq!(site.dropped_in(), [("fine".to_owned(), 1), ("later".to_owned(), 1)]);
    site.put("bad.lua", IDLE.as_bytes());
    fs::remove_file(site.path("worse.wasm")).unwrap();
    site.until_dropped_in(&[("bad", 1), ("fine", 1), ("later", 1)]);
    site.until("no problem", |site| site.problems().is_empty());
}

#[test]
fn a_hostile_plugin_that_is_dropped_in_costs_nobody_a_frame() {
    // So few frames a second that none is late on a busy machine either.
    let mut site = Site::at(2, "{ folder: plugins }", &[("fine.lua", IDLE.as_bytes())], |_| {});
    site.until_dropped_in(&[("fine", 1)]);
    site.put("hostile.lua", HOSTILE.as_bytes());
    site.until("it is switched off", |site| site.problems().contains("strategy hostile is switched off"));
    let status = site.status();
    let seen = status["sources"][0]["judged"].as_u64().unwrap();
    site.until("more frames", |site| site.status()["sources"][0]["judged"].as_u64() > Some(seen + 5));
    let judged = site.judgements("a");
    let seqs: Vec<u64> = judged.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert!(judged.iter().all(|line| line["generations"]["listed"] == 1));
}

#[test]
fn dropped_in_plugins_judge_the_sources_that_are_set() {
    let mut site = Site::new("{ folder: plugins, sources: [b] }", &[("rule.lua", IDLE.as_bytes())]);
    site.until_dropped_in(&[("rule", 1)]);
    let count = |site: &Site, number: usize| site.status()["sources"][number]["judged"].as_u64();
    site.until("frames", |site| count(site, 0) > Some(3) && count(site, 1) > Some(3));
    let path = site.dir.path().join("judged.jsonl");
    site.run.signal("INT");
    assert_eq!(site.run.end(LIMIT).and_then(|status| status.code()), Some(0));
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert_eq!(line["generations"].get("rule").is_some(), line["source"] == "b", "{line}");
    }
}

#[test]
fn a_folder_that_is_made_later_is_noticed_and_one_with_a_manifest_is_a_plugin() {
    let mut site = Site::new("{ folder: plugins }", &[]);
    assert!(site.run.seen.iter().any(|line| line.contains("plugin-folder-missing")), "{}", site.run.seen.join("\n"));
    let folder = site.path("made");
    fs::create_dir_all(&folder).unwrap();
    let manifest = "name = \"made\"\nversion = \"0.1.0\"\napi = \"0.1\"\nkind = \"strategy\"\nentry = \"made.lua\"\n";
    write(&folder, "plugin.toml", manifest);
    write(&folder, "made.lua", IDLE);
    // A name that the configuration has is left to it.
    site.put("listed.lua", IDLE.as_bytes());
    site.until_dropped_in(&[("made", 1)]);
    site.run.wait_line(LIMIT, |line| line.contains("there is a strategy `listed` already"));
}

#[test]
fn what_is_no_regular_file_is_left_out_and_the_others_run() {
    let pipe = |path: PathBuf| {
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success(), "mkfifo {}", path.display());
    };
    let mut site = Site::with("{ folder: plugins }", &[("fine.lua", IDLE.as_bytes())], |folder| {
        pipe(folder.join("pipe.lua"));
        std::os::unix::fs::symlink("nowhere", folder.join("dangling.lua")).unwrap();
        fs::create_dir(folder.join("made")).unwrap();
        pipe(folder.join("made/plugin.toml"));
    });
    site.until_dropped_in(&[("fine", 1)]);
    let seen = site.run.seen.join("\n");
    for name in ["pipe.lua: cannot be read", "dangling.lua: cannot be read", "plugin.toml: it is no regular file"] {
        assert!(seen.lines().any(|line| line.contains(name)), "{name}: {seen}");
    }
    pipe(site.path("later.wasm"));
    site.put("later.lua", IDLE.as_bytes());
    site.until_dropped_in(&[("fine", 1), ("later", 1)]);
    fs::remove_file(site.path("pipe.lua")).unwrap();
    site.put("pipe.lua", IDLE.as_bytes());
    site.until_dropped_in(&[("fine", 1), ("later", 1), ("pipe", 1)]);
}
