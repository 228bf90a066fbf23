//! Nothing happens that the configuration does not name: in an empty network, with an empty home, no command asks for a
//! name, and none leaves a file of somebody else's.

use std::fs;
use std::path::Path;

use crate::harness::{Dsengine, Outcome, root, skip, street, write};

/// A network with nothing but loopback, whose name server writes down what it is asked.
const SETUP: &str = "set -e; sink=$1; shift; ip link set lo up; echo nameserver 127.0.0.1 >resolv.conf; \
                     mount --bind resolv.conf /etc/resolv.conf; python3 \"$sink\" \"$PWD/asked\" \"$PWD/ready\" & \
                     sink=$!; while [ ! -e ready ]; do sleep 0.02; done; set +e; \"$@\"; code=$?; kill $sink; exit $code";

const CONFIG: &str = "
sources: [{ id: gate, uri: 'scene:scene.yaml' }]
detection:
  confidence_threshold: 0.4
  strategies:
    - { name: street, model_path: street.onnx }
    - { name: rule, module: rule.lua }
alerts: { handlers: [{ name: console, type: console }, { name: file, type: file, config: { log_file: alerts.jsonl } }] }
monitoring: { prometheus: { port: 0 } }
";

/// A command in a folder of its own, with a home of its own.
struct Alone {
    dir: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "scene.yaml", &street(2, 15));
        write(dir.path(), "c.yaml", CONFIG);
        write(dir.path(), "rule.lua", "function detect(frame) end\n");
        fs::copy(root().join("models/street.onnx"), dir.path().join("street.onnx")).unwrap();
        fs::copy(root().join("plugins/prebuilt/crowd.wasm"), dir.path().join("crowd.wasm")).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        Self { dir }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let (dir, sink) = (self.dir.path(), root().join("tests/doubles/dns_sink.py"));
        let _ = fs::remove_file(dir.join("ready"));
        let home = format!("HOME={}", dir.join("home").display());
        let sink = sink.display().to_string();
        // Without what keeps that library quiet for other reasons.
        let by =
            ["-n", "-m", "env", "-u", "ORT_DISABLE_TELEMETRY", "-u", "CI", "-u", "XDG_CACHE_HOME", &home, "sh", "-c"];
        let by = [&by[..], &[SETUP, "sh", &sink]].concat();
        Dsengine::new(args).cwd(dir).by("unshare", &by).run()
    }

    /// The names that were asked for.
    fn asked(&self) -> String {
        fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default()
    }

    /// The files in the home but for dsengine's own and the list of plugins that every program with GStreamer keeps.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        files(&self.dir.path().join("home"), &mut left);
        left.retain(|path| !path.contains("/.cache/dsengine/") && !path.contains("/.cache/gstreamer-1.0/"));
        left
    }
}

fn files(dir: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), all);
        } else {
            all.push(entry.path().display().to_string());
        }
    }
}

#[test]
fn no_command_asks_for_a_name_or_leaves_a_file_of_somebody_elses() {
    let test = "no_command_asks_for_a_name_or_leaves_a_file_of_somebody_elses";
    let alone = Alone::new();
    let probe = std::process::Command::new("unshare").args(["-n", "-m", "ip", "link", "set", "lo", "up"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip(test, "no network namespace can be made here (it takes root and unshare)");
    }
    let commands: [&[&str]; 24] = [
        &["run", "--config", "c.yaml"],
        &["validate", "c.yaml"],
        &["record", "--source", "scene:scene.yaml", "--model", "street.onnx", "--output", "t.jsonl"],
        &["replay", "t.jsonl"],
        &["snapshot", "--source", "scene:scene.yaml", "--grid", "--output", "grid.png"],
        &["new", "strategy", "mine"],
        &["test", "mine"],
        &["plugin", "check", "mine"],
        &["plugin", "bench", "rule.lua"],
        &["plugin", "list", "--at", "127.0.0.1:9"],
        &["sources", "list", "--at", "127.0.0.1:9"],
        &["config", "show", "--at", "127.0.0.1:9"],
        &["config", "diff", "--at", "127.0.0.1:9", "c.yaml"],
        &["scene", "render", "out.mp4", "--scene", "scene.yaml"],
        &["benchmark", "--source", "scene:scene.yaml?live=true&loop=true", "--model", "street.onnx", "--duration", "1"],
        &["monitor", "--count", "1", "--at", "127.0.0.1:9"],
        &["health-check", "--at", "127.0.0.1:9"],
        &["plugin", "build", "crowd.wasm"],
        &["config", "apply", "--at", "127.0.0.1:9", "c.yaml"],
        &["doctor"],
        &["schema"],
        &["explain", "E0301"],
        &["completions", "bash"],
        &["--version"],
    ];
    for args in commands {
        let out = alone.run(args);
        let expected = if args.contains(&"--at") { vec![1, 2] } else { vec![0] };
        assert!(expected.contains(&out.code()), "{args:?}: {} {}{}", out.code(), out.stdout, out.stderr);
        assert_eq!(alone.asked(), "", "{args:?} asks for names");
        assert_eq!(alone.left(), Vec::<String>::new(), "{args:?} leaves files");
    }
    assert!(
        alone.run(&["run", "--config", "c.yaml"]).stderr.contains("ONNX Runtime"),
        "the runtime it is about is open"
    );
}
