//! Brokers for tests: Debian's mosquitto with its clients, and one that answers as it is told.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{skip, write};

/// Longest wait for something that takes milliseconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Asks until there is an answer; panics with what was missed after [`LIMIT`].
#[track_caller]
pub(crate) fn until<T>(what: impl Fn() -> String, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    let (_open, never) = sync_channel::<()>(0);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "in vain: {}", what());
        let _ = never.recv_timeout(BETWEEN_LOOKS);
    }
}

/// A program of mosquitto's, where it is installed.
fn program(name: &str) -> Option<PathBuf> {
    let paths = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    paths.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// A running mosquitto on loopback. Killed when dropped.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    program: PathBuf,
    clients: [PathBuf; 2],
    child: Child,
}

impl Mosquitto {
    /// Starts one with these lines in its configuration, which may name files in its folder; `None` (said loudly) where
    /// mosquitto or its clients are not installed.
    pub(crate) fn start(lines: impl Fn(&Path) -> String) -> Option<Self> {
        let found = ["mosquitto", "mosquitto_pub", "mosquitto_sub"].map(program);
        let [Some(program), Some(publisher), Some(subscriber)] = found else {
            skip("mqtt::broker", "mosquitto and mosquitto-clients are not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let more = lines(dir.path());
        let end = Instant::now() + LIMIT;
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // As root it would become a user who may not read the folder.
            let text = format!("user root\nlistener {port} 127.0.0.1\nlog_type all\nlog_dest stderr\n{more}\n");
            write(dir.path(), "conf", &text);
            let mut child = launch(&program, dir.path());
            if is_up(&mut child, port) {
                return Some(Self { port, dir, program, clients: [publisher, subscriber], child });
            }
            // Somebody else may have taken the port.
            let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "mosquitto does not start:\n{log}");
        }
    }

    /// One that lets everybody in.
    pub(crate) fn open() -> Option<Self> {
        Self::start(|_| "allow_anonymous true".to_owned())
    }

    /// One that lets `gate` in by this password.
    pub(crate) fn with_user(password: &str, rest: &str) -> Option<Self> {
        let users = |dir: &Path| {
            let file = dir.join("users");
            let tool = program("mosquitto_passwd").expect("it comes with mosquitto");
            let made = Command::new(tool).args(["-b", "-c"]).arg(&file).args(["gate", password]).status().unwrap();
            assert!(made.success());
            write(dir, "acl", rest);
            let acl = if rest.is_empty() { String::new() } else { format!("acl_file {}/acl\n", dir.display()) };
            format!("allow_anonymous false\npassword_file {}\n{acl}", file.display())
        };
        Self::start(users)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at its port, without what it knew.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let end = Instant::now() + LIMIT;
        loop {
            self.child = launch(&self.program, self.dir.path());
            if is_up(&mut self.child, self.port) {
                return;
            }
            assert!(Instant::now() < end, "mosquitto does not start again:\n{}", self.log());
        }
    }

    /// What it wrote since its first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What it keeps at a topic.
    pub(crate) fn retained(&self, topic: &str) -> Option<String> {
        self.first(topic, "20")
    }

    /// Whether it keeps nothing there. It takes a second.
    pub(crate) fn keeps_none(&self, topic: &str) -> bool {
        self.first(topic, "1").is_none()
    }

    fn first(&self, topic: &str, seconds: &str) -> Option<String> {
        let mut command = self.client(&self.clients[1]);
        let output = command.args(["-C", "1", "-W", seconds, "-t", topic, "-F", "%r %p"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        Some(text.strip_prefix("1 ")?.trim_end().to_owned())
    }

    /// Publishes a message as another client.
    #[track_caller]
    pub(crate) fn publish(&self, topic: &str, payload: &str, more: &[&str]) {
        let mut publish = self.client(&self.clients[0]);
        let published = publish.args(["-t", topic, "-m", payload, "-q", "1"]).args(more).status().unwrap();
        assert!(published.success(), "{}", self.log());
    }

    /// A subscriber to everything, in place once this returns.
    pub(crate) fn subscribe(&self) -> Subscriber {
        self.publish("in/place", "x", &["-r"]);
        let mut command = self.client(&self.clients[1]);
        command.args(["-q", "2", "-t", "#", "-F", "%q\t%r\t%t\t%p"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = sync_channel(10_000);
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut subscriber = Subscriber { child, lines, seen: Vec::new() };
        subscriber.wait(|message| message.topic == "in/place");
        subscriber
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(program: &Path, dir: &Path) -> Child {
    let log: File = OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(dir.join("conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// Waits until it listens; whether it does.
fn is_up(child: &mut Child, port: u16) -> bool {
    until(
        || "a mosquitto that listens".to_owned(),
        || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true),
        },
    )
}

/// A message as a subscriber got it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) qos: u8,
    /// Whether it was kept from before the subscription.
    pub(crate) is_kept: bool,
    pub(crate) topic: String,
    pub(crate) payload: String,
}

impl Message {
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, '\t');
        let qos = parts.next()?.parse().ok()?;
        let is_kept = parts.next()? == "1";
        Some(Self { qos, is_kept, topic: parts.next()?.to_owned(), payload: parts.next()?.to_owned() })
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{error}: {}", self.payload))
    }
}

/// A running `mosquitto_sub`. Killed when dropped.
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<String>,
    pub(crate) seen: Vec<Message>,
}

impl Subscriber {
    /// The first message that `wanted` accepts, of those it has got and those to come.
    #[track_caller]
    pub(crate) fn wait(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        let end = Instant::now() + LIMIT;
        let mut at = 0;
        loop {
            if let Some(found) = self.seen[at..].iter().find(|message| wanted(message)) {
                return found.clone();
            }
            at = self.seen.len();
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.extend(Message::read(&line)),
                Err(_) => panic!("no such message; got {:#?}", self.seen),
            }
        }
    }

    /// The payloads at a topic, once they are as `wanted`.
    #[track_caller]
    pub(crate) fn payloads(&mut self, topic: &str, wanted: impl Fn(&[&str]) -> bool) -> Vec<String> {
        let end = Instant::now() + LIMIT;
        loop {
            let at_topic = self.seen.iter().filter(|message| message.topic == topic);
            let payloads: Vec<&str> = at_topic.map(|message| message.payload.as_str()).collect();
            if wanted(&payloads) {
                return payloads.into_iter().map(str::to_owned).collect();
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.extend(Message::read(&line)),
                Err(_) => panic!("{topic} is not as wanted; got {:#?}", self.seen),
            }
        }
    }

    /// The first message at a topic.
    #[track_caller]
    pub(crate) fn at(&mut self, topic: &str) -> Message {
        self.wait(|message| message.topic == topic)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A received packet: its first byte, and what follows its length.
pub(crate) type Packet = (u8, Vec<u8>);

/// A broker that answers each packet as it is told: with bytes, with none, or (`None`) by closing the connection.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    got: Arc<Mutex<Vec<Packet>>>,
}

impl Scripted {
    pub(crate) fn new(answer: impl Fn(u8, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got: Arc<Mutex<Vec<Packet>>> = Arc::default();
        let log = Arc::clone(&got);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                while let Some((first, body)) = packet(&mut stream) {
                    let said = answer(first, &body);
                    log.lock().unwrap().push((first, body));
                    let Some(bytes) = said else { break };
                    if stream.write_all(&bytes).is_err() {
                        break;
                    }
                }
            }
        });
        Self { port, got }
    }

    /// The packets whose kind is this one: 1 for CONNECT, 3 for PUBLISH.
    pub(crate) fn got(&self, kind: u8) -> Vec<Packet> {
        self.got.lock().unwrap().iter().filter(|(first, _)| first >> 4 == kind).cloned().collect()
    }
}

fn packet(stream: &mut TcpStream) -> Option<Packet> {
    let mut byte = || {
        let mut one = [0];
        stream.read_exact(&mut one).ok().map(|()| one[0])
    };
    let first = byte()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let digit = byte()?;
        length |= usize::from(digit & 0x7F) << shift;
        shift += 7;
        if digit & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}

/// What an agreeable broker answers.
pub(crate) fn agreeable(first: u8, body: &[u8]) -> Vec<u8> {
    match first >> 4 {
        1 if body[6] == 5 => vec![0x20, 3, 0, 0, 0],
        1 => vec![0x20, 2, 0, 0],
        3 if first & 0b110 != 0 => acknowledge(body, 0),
        12 => vec![0xD0, 0],
        _ => Vec::new(),
    }
}

/// The answer to a message of QoS 1, in MQTT 5.
pub(crate) fn acknowledge(body: &[u8], reason: u8) -> Vec<u8> {
    let topic = 2 + topic(body).len();
    vec![0x40, 3, body[topic], body[topic + 1], reason]
}

/// The topic of a message.
pub(crate) fn topic(body: &[u8]) -> &str {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    std::str::from_utf8(&body[2..2 + length]).unwrap()
}
