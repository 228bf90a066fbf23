//! The peer: a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{root, signal, skip};

const PYTHON: &str = "target/venv/bin/python";
/// Most lines kept waiting for a test to read them.
const LINES_MAX: usize = 10_000;
/// Longest wait for a line: the peer starts, connects and encodes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether the peer's library is installed; a loud skip where it is not, or where GStreamer lacks the elements.
pub(crate) fn is_there() -> bool {
    gstreamer::init().unwrap();
    let lacking = ["webrtcbin", "nicesrc"].into_iter().find(|name| gstreamer::ElementFactory::find(name).is_none());
    let python = Command::new(root().join(PYTHON)).args(["-c", "import aiortc"]).stderr(Stdio::null()).status();
    let reason = match (lacking, python) {
        (Some(_), _) => "gstreamer1.0-plugins-bad and gstreamer1.0-nice are not installed (./dev test does it)",
        (None, Ok(status)) if status.success() => return true,
        (None, _) => "aiortc is not installed in target/venv (./dev test does it)",
    };
    skip("webrtc::peer", reason);
    false
}

/// A running peer. Killed when dropped.
pub(crate) struct Peer {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<Value>,
}

impl Peer {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(root().join(PYTHON))
            .arg(root().join("tests/doubles/webrtc_peer.py"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, lines) = sync_channel(LINES_MAX);
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.try_send(serde_json::from_str(&line).unwrap_or(Value::Null));
            }
        });
        let commands = child.stdin.take().unwrap();
        Self { child, commands, lines }
    }

    /// The status of the answer to its offer.
    #[track_caller]
    pub(crate) fn answered(&self) -> Value {
        self.wait(|line| line["is"] == "answered")
    }

    /// Waits for a line; passes over those before it.
    #[track_caller]
    pub(crate) fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("the peer does not say it: {error}"),
            }
        }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
