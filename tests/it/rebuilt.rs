//! A source that is built anew, or switched off and on, goes on where it was; one that is removed begins anew.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Dsengine, Running, request, write};

/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);
/// Counts frames in the host's state and in a variable that it hands over; somebody stays.
const RULE: &str = "---@version 1\nlocal own = 0\nfunction suspend() return own end\n\
    function resume(_, handed) own = handed end\n\
    function detect(frame)\n  if frame.source ~= 'a' then return end\n  local n = (state.get('n') or 0) + 1\n  state.set('n', n)\n  own += 1\n  \
    if own ~= n then log.error('apart: ' .. own .. ' and ' .. n) end\n  \
    if n == 1 then\n    state.set('long', 1, 3600)\n    state.set('short', 1, 0.2)\n  end\n  \
    if not state.get('long') then log.error('apart: the long one is gone at ' .. n) end\n  \
    if n > 20 and state.get('short') then log.error('apart: the short one lives at ' .. n) end\n  \
    log.info('tally ' .. n)\n  frame:alert{ rule = 'stays', key = 'door', message = 'm' }\nend\n";

/// An engine whose source `a` is judged; `b` keeps it busy without it.
struct Site {
    dir: tempfile::TempDir,
    run: Running,
    page: String,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "count.lua", RULE);
        for name in ["scene.yaml", "other.yaml"] {
            write(
                dir.path(),
                name,
                "seed: 1\nduration_s: 3000\nfps: 20\nwidth: 320\nheight: 240\n\
                 camera: { height_m: 4, pitch_deg: 12, focal: 0.9 }\nnoise: 2\n\
                 objects: [{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }]\n",
            );
        }
        let config = format!(
            "sources: [{{ id: a, uri: '{}' }}, {{ id: b, uri: '{}' }}]\n\
             detection: {{ strategies: [{{ name: count, module: count.lua, limits: {{ \
             log_lines_per_second: 1000 }} }}] }}\n\
             alerts: {{ throttle_seconds: 3600, min_confidence: 0, handlers: [{{ name: file, config: {{ log_file: \
             alerts.jsonl }} }}] }}\n",
            uri("scene"),
            uri("scene")
        );
        write(dir.path(), "c.yaml", &config);
        let (run, page) = Self::run(dir.path());
        Self { dir, run, page }
    }

    fn run(dir: &Path) -> (Running, String) {
        let args = ["run", "--config", "c.yaml", "--state", "state", "--port", "0"];
        let mut run = Dsengine::new(args).cwd(dir).start();
        let page = run.page();
        (run, page)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &str) {
        let (status, answer) = request(method, &self.page, &format!("/api/v1/sources{path}"), body);
        assert!(matches!(status, 200 | 201), "{method} {path}: {status} {answer}");
    }

    /// Waits for a count of at least so many; returns it.
    #[track_caller]
    fn reaches(&mut self, least: u64) -> u64 {
        count(&self.run.wait_line(LIMIT, |line| count(line).is_some_and(|n| n >= least))).unwrap()
    }

    /// Ends it as a service does; returns what it counted.
    fn end(run: &mut Running) -> Vec<u64> {
        run.signal("TERM");
        assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
        let apart: Vec<&String> = run.seen.iter().filter(|line| line.contains("apart")).collect();
        assert!(apart.is_empty(), "{apart:?}");
        run.seen.iter().filter_map(|line| count(line)).collect()
    }

    /// How often it was told that somebody stays.
    fn told(&self) -> usize {
        let text = std::fs::read_to_string(self.dir.path().join("alerts.jsonl")).unwrap_or_default();
        let alerts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        alerts.filter(|alert| alert["rule"] == "stays" && alert["source"] == "a").count()
    }
}

fn uri(scene: &str) -> String {
    format!("scene:{scene}.yaml?live=true&pixels=false")
}

/// The count in a log line.
fn count(line: &str) -> Option<u64> {
    line.split_once("tally ")?.1.split_whitespace().next()?.trim_matches('"').parse().ok()
}

#[test]
fn a_source_that_is_built_anew_or_switched_off_and_on_goes_on_where_it_was() {
    let mut site = Site::start();
    let mut last = site.reaches(25);
    let address = json!({ "uri": uri("other") }).to_string();
    for steps in [
        &[("PATCH", "/a", &*address)][..],
        &[("POST", "/a/disable", ""), ("POST", "/a/enable", "")],
        &[("POST", "/a/restart", "")],
    ] {
        for (method, path, body) in steps {
            site.ask(method, path, body);
        }
        last = site.reaches(last + 10);
    }
    // A change that is refused touches nothing.
    let (status, answer) =
        request("PATCH", &site.page, "/api/v1/sources/a", &json!({ "uri": uri("missing") }).to_string());
    assert!((400..500).contains(&status), "{status} {answer}");
    site.reaches(last + 10);
    let counted = Site::end(&mut site.run);
    let expected: Vec<u64> = (1..=counted.len() as u64).collect();
    assert_eq!(counted, expected, "each frame is counted once");
    assert_eq!(site.told(), 1, "over four pipelines");
}

#[test]
fn what_was_kept_for_a_removed_source_goes_away_with_it() {
    let mut site = Site::start();
    site.reaches(25);
    site.ask("DELETE", "/a", "");
    let added = json!({ "id": "a", "uri": uri("scene") }).to_string();
    site.ask("POST", "", &added);
    site.run.wait_line(LIMIT, |line| count(line) == Some(1));
    let end = Instant::now() + LIMIT;
    while site.told() < 2 {
        assert!(Instant::now() < end, "not told again: it is another source of the same name");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    site.reaches(5);
    // Removed while it is switched off. The file has it still, so the next process has it.
    site.ask("POST", "/a/disable", "");
    site.ask("DELETE", "/a", "");
    Site::end(&mut site.run);
    let (run, page) = Site::run(site.dir.path());
    (site.run, site.page) = (run, page);
    site.reaches(5);
    assert!(site.run.seen.iter().any(|line| count(line) == Some(1)), "{}", site.run.seen.join("\n"));
    Site::end(&mut site.run);
}
