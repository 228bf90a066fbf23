//! Sources at web addresses: clips, pictures one after the other and HLS, from servers that are not ours; whom they are
//! read from, as whom, and what is said of those that cannot be read.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsengine::backend::{Backend, SourceEvent};
use dsengine::config::SourcePlan;
use dsengine::gst::GstBackend;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::config::plan_of;
use crate::harness::{ClosedPort, Dsengine, get, root, skip, until, write};
use crate::recorder::{Machine, Recorder, Story};

const MINUTE: Duration = Duration::from_secs(60);
/// The pace at which what lasts is tried, at least.
const SLOW: Duration = Duration::from_secs(100);
/// Frames of the clip that is served.
const FRAMES: usize = 20;

/// A source as it stands in a configuration, tried again soon.
fn source(id: &str, uri: &str, parameters: &str) -> SourcePlan {
    let text = format!(
        "sources: [{{ id: {id}, uri: '{}', timeout: 20, retry_delay: 0.1, parameters: {{ {parameters} }} }}]\n",
        uri.replace('\'', "''")
    );
    let mut plan = plan_of(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut source = plan.sources.remove(0);
    (source.retry.base, source.retry.cap) = (Duration::from_millis(20), Duration::from_millis(80));
    source
}

fn backend() -> (GstBackend, Arc<Recorder>, Arc<Machine>) {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    (GstBackend::new(clock.clone()).unwrap(), sink, clock)
}

/// Why attempts failed, in order.
fn reasons(story: &Story) -> Vec<String> {
    let reason = |(_, event): &(u64, SourceEvent)| match event {
        SourceEvent::Fault { reason, .. } | SourceEvent::Broken(reason) => Some(reason.clone()),
        _ => None,
    };
    story.events.iter().filter_map(reason).collect()
}

/// Whether its last failure is one that lasts.
fn is_slow(story: &Story) -> bool {
    let waits = |(_, event): &(u64, SourceEvent)| match event {
        SourceEvent::Fault { retry_in, .. } => Some(*retry_in >= SLOW),
        _ => None,
    };
    story.events.iter().rev().find_map(waits) == Some(true)
}

/// Plays a clip to its end; its frames, and what its server was told to be wrong.
fn played(source: &SourcePlan) -> (usize, Vec<String>) {
    let (mut backend, sink, _) = backend();
    backend.add_source(source, sink.clone()).unwrap();
    let story = sink.wait(source.id.as_str(), MINUTE, Story::over);
    (story.frames.len(), reasons(&story))
}

/// A clip of twenty frames, whose index stands at its end.
fn clip(dir: &Path) -> PathBuf {
    let scene = "seed: 1\nduration_s: 2\nfps: 10\nwidth: 160\nheight: 120\n\
                 camera: { height_m: 4, pitch_deg: 12, focal: 0.9 }\nnoise: 2\n\
                 objects: [{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }]\n";
    write(dir, "scene.yaml", scene);
    Dsengine::new(["scene", "render", "clip.mp4", "--scene", "scene.yaml"]).cwd(dir).run().expect(0);
    dir.join("clip.mp4")
}

/// A peer in a process of its own. Killed when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// nginx with the files of a folder, at an address; `None` after saying that it is not installed.
fn nginx(test: &str, dir: &Path) -> Option<(Peer, String)> {
    if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
        skip(test, "nginx is not installed (nginx-light)");
        return None;
    }
    let port = free_port();
    let shown = dir.display();
    let paths =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {shown}/{name};"));
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let text = format!(
        "daemon off; master_process off; {user} pid {shown}/n.pid; error_log stderr; events {{}}\nhttp {{ access_log off; {}\n\
         types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4; }}\n\
         server {{ listen 127.0.0.1:{port}; root {shown}; }} }}\n",
        paths.concat()
    );
    let config = write(dir, "nginx.conf", &text);
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let peer = Peer(command.spawn().unwrap());
    until("nginx listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some((peer, format!("127.0.0.1:{port}")))
}

/// ffmpeg with these arguments; `None` after saying that it is not installed.
fn ffmpeg(test: &str, dir: &Path, args: &str) -> Option<Peer> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-y"]).args(args.split_ascii_whitespace()).current_dir(dir);
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(child) => Some(Peer(child)),
        Err(_) => {
            skip(test, "ffmpeg is not installed");
            None
        }
    }
}

/// The web server among the doubles, and the requests that it got.
struct Double {
    _peer: Peer,
    port: u16,
    asked: Receiver<String>,
}

impl Double {
    fn start(test: &str, dir: &Path, args: &[&str]) -> Option<Self> {
        let mut command = Command::new("python3");
        command.arg(root().join("tests/doubles/web.py")).arg(dir).args(args);
        let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            skip(test, "python3 is not installed");
            return None;
        };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.next().and_then(|line| line.parse().ok()).unwrap();
        let (sender, asked) = sync_channel(1_000);
        std::thread::spawn(move || lines.for_each(|line| drop(sender.try_send(line))));
        Some(Self { _peer: Peer(child), port, asked })
    }

    /// The requests since the last call.
    fn asked(&self) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET /mark HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        self.asked.iter().take_while(|line| !line.starts_with("GET /mark")).collect()
    }
}

/// A server of a few lines: it answers each request with the text that `answer` makes of its path.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                        // Somebody speaks TLS.
                        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                        return;
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(&answer(path));
                });
            }
        });
        Self { port, asked }
    }
}

/// An answer with this status, these lines of its head, and this body.
fn answer(status: &str, head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{head}\r\n{body}").into_bytes()
}

#[test]
fn a_clip_is_played_whole_wherever_its_index_stands() {
    const TEST: &str = "web::nginx";
    let dir = tempfile::tempdir().unwrap();
    clip(dir.path());
    let Some((_nginx, at)) = nginx(TEST, dir.path()) else { return };
    assert_eq!(played(&source("end", &format!("http://{at}/clip.mp4"), "")), (FRAMES, vec![]));
    if let Some(mut ffmpeg) = ffmpeg(TEST, dir.path(), "-i clip.mp4 -c copy -movflags +faststart front.mp4") {
        assert!(ffmpeg.0.wait().unwrap().success());
        assert_eq!(played(&source("front", &format!("http://{at}/front.mp4"), "")), (FRAMES, vec![]));
        let network = format!("sources: [{{ id: net, type: network, uri: 'http://{at}/front.mp4' }}]\n");
        assert_eq!(played(&plan_of(&network).unwrap().sources[0]), (FRAMES, vec![]));
    }
    // A small buffer slows the server down, and loses nothing.
    assert_eq!(played(&source("small", &format!("http://{at}/clip.mp4"), "buffer_size: 1")), (FRAMES, vec![]));
    let broken = |path: &str| played(&source("none", &format!("http://{at}/{path}"), "live: false"));
    assert!(broken("nothing.mp4").1[0].contains("has nothing at this path (404"), "{:?}", broken("nothing.mp4"));
    write(dir.path(), "list.mp4", &format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://{at}/clip.mp4\n"));
    // By its content type it is a clip, whatever stands in it.
    let (frames, reasons) = broken("list.mp4");
    assert!(frames == 0 && reasons[0].contains("none of them is opened"), "{reasons:?}");
}

#[test]
fn a_clip_that_is_interrupted_goes_on_where_it_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    clip(dir.path());
    let Some(server) = Double::start("web::double", dir.path(), &[]) else { return };
    let uri = format!("http://127.0.0.1:{}/clip.mp4?cut=3000", server.port);
    assert_eq!(played(&source("clip", &uri, "")), (FRAMES, vec![]));
    assert!(server.asked().len() >= 4, "three of its answers broke off");
}

/// A JPEG picture.
fn jpeg(shade: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let pixels = vec![shade; 64 * 48 * 3];
    jpeg_encoder::Encoder::new(&mut out, 80).encode(&pixels, 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

/// A camera that sends a picture every few milliseconds, with this content type, to the first `viewers` that ask.
fn camera(content_type: &'static str, boundary: &'static str, has_length: bool) -> (u16, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let viewers = Arc::<Mutex<Vec<TcpStream>>>::default();
    let kept = Arc::clone(&viewers);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            kept.lock().unwrap().push(stream.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
                let mut sent = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n");
                for shade in (0..=255).cycle() {
                    let picture = jpeg(shade);
                    let length =
                        if has_length { format!("Content-Length: {}\r\n", picture.len()) } else { String::new() };
                    let head = format!("{boundary}\r\nContent-Type: image/jpeg\r\n{length}\r\n");
                    sent = sent.and_then(|()| stream.write_all(&[head.as_bytes(), &picture, b"\r\n"].concat()));
                    if sent.is_err() {
                        return;
                    }
                    std::thread::park_timeout(Duration::from_millis(15));
                }
            });
        }
    });
    (port, viewers)
}

#[test]
fn pictures_one_after_the_other_are_played_by_content_type_or_by_parameter() {
    let (mut backend, sink, _) = backend();
    let replace = "multipart/x-mixed-replace; boundary=frame";
    for (id, content_type, boundary, has_length, parameters) in [
        ("length", replace, "--frame", true, ""),
        ("boundary", replace, "--frame", false, ""),
        ("dashes", "multipart/x-mixed-replace;boundary=--frame", "--frame", true, ""),
        ("told", "application/octet-stream", "--anything", false, "form: mjpeg"),
    ] {
        let (port, viewers) = camera(content_type, boundary, has_length);
        let plan = source(id, &format!("http://127.0.0.1:{port}/video.cgi?c=1"), parameters);
        backend.add_source(&plan, sink.clone()).unwrap();
        let story = sink.wait(id, MINUTE, |s| s.frames.len() >= 10 || !reasons(s).is_empty());
        assert_eq!(reasons(&story), Vec::<String>::new(), "{id}");
        // It hangs up, and is seen again.
        let seen = story.frames.len();
        viewers.lock().unwrap().drain(..).for_each(|viewer| drop(viewer.shutdown(std::net::Shutdown::Both)));
        let story = sink.wait(id, MINUTE, |s| !reasons(s).is_empty());
        assert!(reasons(&story)[0].contains("hung up while it sent"), "{:?}", reasons(&story));
        sink.wait(id, MINUTE, |s| s.frames.len() > seen + 10);
        backend.remove_source(&id.into(), Duration::from_secs(3));
    }
}

#[test]
fn the_pictures_that_ffmpeg_sends_are_played() {
    const TEST: &str = "web::ffmpeg";
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let args = format!(
        "-re -f lavfi -i testsrc=rate=20:size=160x120 -f mpjpeg \
         -content_type multipart/x-mixed-replace;boundary=ffmpeg -listen 1 http://127.0.0.1:{port}/"
    );
    let Some(_ffmpeg) = ffmpeg(TEST, dir.path(), &args) else { return };
    let (mut backend, sink, _) = backend();
    // It serves one viewer, so nobody asks before the source whether it listens.
    backend.add_source(&source("cam", &format!("http://127.0.0.1:{port}/"), ""), sink.clone()).unwrap();
    let story = sink.wait("cam", MINUTE, |s| s.frames.len() >= 20);
    assert!(reasons(&story).iter().all(|reason| reason.contains("nobody listens")), "{:?}", reasons(&story));
}

#[test]
fn a_recording_in_segments_is_played_whole_and_a_live_one_at_its_own_pace() {
    const TEST: &str = "web::nginx";
    let dir = tempfile::tempdir().unwrap();
    clip(dir.path());
    let Some((mut nginx, at)) = nginx(TEST, dir.path()) else { return };
    for (name, kind) in [("ts", "mpegts"), ("fmp4", "fmp4")] {
        let args = format!(
            "-i clip.mp4 -c:v libx264 -g 5 -f hls -hls_time 0.5 -hls_playlist_type vod -hls_segment_type {kind} \
             -hls_fmp4_init_filename {name}-init.mp4 -hls_segment_filename {name}%d.seg {name}.m3u8"
        );
        let Some(mut ffmpeg) = ffmpeg(TEST, dir.path(), &args) else { return };
        assert!(ffmpeg.0.wait().unwrap().success());
        assert_eq!(
            played(&source(name, &format!("http://{at}/{name}.m3u8"), "live: false")),
            (FRAMES, vec![]),
            "{name}"
        );
    }
    let (mut backend, sink, _) = backend();
    backend.add_source(&source("ended", &format!("http://{at}/ts.m3u8"), ""), sink.clone()).unwrap();
    let story = sink.wait("ended", MINUTE, |s| !reasons(s).is_empty());
    assert!(reasons(&story)[0].contains("has an end, as a clip has: write parameters.live: false"), "{story:?}");
    // One that is written while it is played.
    let args = "-re -f lavfi -i testsrc=rate=10:size=160x120 -c:v libx264 -preset ultrafast -tune zerolatency -g 10 \
                -f hls -hls_time 1 -hls_list_size 5 -hls_flags delete_segments live.m3u8";
    let Some(camera) = ffmpeg(TEST, dir.path(), args) else { return };
    until("the playlist has segments", || {
        std::fs::read_to_string(dir.path().join("live.m3u8")).is_ok_and(|text| text.matches("#EXTINF").count() >= 3)
    });
    let mut plan = source("live", &format!("http://{at}/live.m3u8"), "");
    plan.retry.gap = Duration::from_secs(2);
    backend.add_source(&plan, sink.clone()).unwrap();
    let story = sink.wait("live", MINUTE, |s| s.frames.len() >= 40 || !reasons(s).is_empty());
    assert_eq!(reasons(&story), Vec::<String>::new());
    // Its segments come whole, its frames one after the other: no second has more than a few too many.
    let arrived: Vec<u64> = story.frames.iter().map(|(_, at, _)| at / 1_000_000).collect();
    let most = arrived.iter().map(|from| arrived.iter().filter(|at| (*from..from + 1_000).contains(*at)).count()).max();
    assert!(most <= Some(20), "{most:?} of ten frames a second came in one");
    // It stops, and that is noticed once what was read is played; nothing is played twice.
    drop(camera);
    let story = sink.wait("live", MINUTE, |s| !reasons(s).is_empty());
    assert!(reasons(&story)[0].contains("no frame for"), "{:?}", reasons(&story));
    let mut plan = plan.clone();
    plan.retry.first_frame = Duration::from_secs(2);
    backend.change_source(&plan).unwrap();
    let seen = story.frames.len();
    let story = sink.wait("live", MINUTE, |s| reasons(s).iter().any(|reason| reason.contains("does not grow")));
    assert_eq!(story.frames.len(), seen, "{:?}", reasons(&story));
    let _ = nginx.0.kill();
    sink.wait("live", MINUTE, |s| reasons(s).iter().any(|reason| reason.contains("nobody listens")));
}

#[test]
fn a_playlist_names_its_own_host_and_those_that_are_listed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let other = Server::start(|_| answer("200 OK", "Content-Type: video/mp2t\r\n", "no segment"));
    let secret = write(dir.path(), "secret.ts", "nobody reads this");
    let list = |uri: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{uri}\n");
    let inside = format!("http://127.0.0.1:{}/s.ts", other.port);
    let lists = [
        ("file", list(&format!("file://{}", secret.display())), "sends it on to file:, which is not asked"),
        ("port", list(&inside), "sends it on to http://127.0.0.1:"),
        (
            "map",
            format!("#EXTM3U\n#EXT-X-MAP:URI=\"{inside}\"\n#EXTINF:1,\na.ts\n"),
            "sends it on to http://127.0.0.1:",
        ),
        ("variant", format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{inside}\n"), "sends it on to http://127.0.0.1:"),
        ("ftp", list("ftp://127.0.0.1/a.ts"), "sends it on to ftp://127.0.0.1, which"),
        ("data", list("data:video/mp2t;base64,AAAA"), "sends it on to data:"),
        ("key", "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:1,\na.ts\n".to_owned(), "it is encrypted"),
    ];
    let texts: Vec<(String, String)> =
        lists.iter().map(|(name, text, _)| (format!("/{name}.m3u8"), text.clone())).collect();
    let to = inside.clone();
    let server = Server::start(move |path| match texts.iter().find(|(own, _)| own == path) {
        Some((_, text)) => answer("200 OK", "Content-Type: application/vnd.apple.mpegurl\r\n", text),
        None if path == "/away.m3u8" => answer("302 Found", &format!("Location: {to}\r\n"), ""),
        None => answer("404 Not Found", "", ""),
    });
    let (mut backend, sink, _) = backend();
    let at = |name: &str| format!("http://127.0.0.1:{}/{name}.m3u8", server.port);
    for (name, _, said) in &lists {
        backend.add_source(&source(name, &at(name), ""), sink.clone()).unwrap();
        let story = sink.wait(name, MINUTE, |s| !reasons(s).is_empty());
        assert!(reasons(&story)[0].contains(said), "{name}: {:?}", reasons(&story));
    }
    backend.add_source(&source("away", &at("away"), ""), sink.clone()).unwrap();
    let story = sink.wait("away", MINUTE, |s| !reasons(s).is_empty());
    assert!(reasons(&story)[0].contains("sends it on to http://127.0.0.1:"), "{:?}", reasons(&story));
    assert_eq!(other.asked.load(Ordering::SeqCst), 0, "the other server is asked nothing");
    // One that is listed is asked.
    let hosts = format!("hosts: ['127.0.0.1:{}']", other.port);
    backend.add_source(&source("listed", &at("port"), &hosts), sink.clone()).unwrap();
    until("the listed host is asked", || other.asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn failures_of_a_web_address_are_told_apart_with_what_to_do() {
    let (mut backend, sink, _) = backend();
    let closed = ClosedPort::take();
    let server = Server::start(|path| match path.split('?').next().unwrap_or_default() {
        "/401" => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""),
        "/403" => answer("403 Forbidden", "", ""),
        "/404" => answer("404 Not Found", "", ""),
        "/503" => answer("503 Service Unavailable", "", ""),
        "/500" => answer("500 Oh No", "", ""),
        "/page" => answer("200 OK", "Content-Type: text/html\r\n", "<html>log in</html>"),
        "/picture" => answer("200 OK", "Content-Type: image/jpeg\r\n", "x"),
        "/ends" => answer("200 OK", "Content-Type: video/mp4\r\n", "a clip"),
        "/ring" => answer("302 Found", "Location: /ring\r\n", ""),
        "/nowhere" => answer("302 Found", "", ""),
        "/list" => answer("200 OK", "Content-Type: application/x-mpegurl\r\n", "words"),
        "/large" => answer("200 OK", &format!("X: {}\r\n", "x".repeat(200_000)), ""),
        "/ssh" => b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
        _ => Vec::new(),
    });
    let cases = [
        ("http://127.0.0.1:CLOSED/s", "", "nobody listens at 127.0.0.1:CLOSED (connection refused)", false),
        ("http://no-such-camera.invalid/s", "", "the name no-such-camera.invalid ", false),
        ("https://127.0.0.1:PORT/s", "", "127.0.0.1:PORT speaks no TLS on this port: write http://", true),
        ("http://127.0.0.1:PORT/hangup", "", "127.0.0.1:PORT hung up before it answered", false),
        ("http://127.0.0.1:PORT/ssh", "", "127.0.0.1:PORT does not speak HTTP", true),
        ("http://127.0.0.1:PORT/401", "", "requires a user and a password (401", true),
        ("http://u:wr0ng-canary@127.0.0.1:PORT/401", "", "refuses the user or the password (401", true),
        ("http://127.0.0.1:PORT/403", "", "does not let this user see it (403", true),
        ("http://127.0.0.1:PORT/404?token=canary", "", "has nothing at this path (404", true),
        ("http://127.0.0.1:PORT/503", "", "serves no more viewers", false),
        ("http://127.0.0.1:PORT/500", "", "127.0.0.1:PORT answers 500", false),
        ("http://127.0.0.1:PORT/page", "", "sends text/html, which is not video", true),
        ("http://127.0.0.1:PORT/picture", "", "sends image/jpeg, which is not video", true),
        ("http://127.0.0.1:PORT/ends", "", "has an end, as a clip has", true),
        ("http://127.0.0.1:PORT/ring", "", "sends it on to one address after the other", true),
        ("http://127.0.0.1:PORT/nowhere", "", "sends it on to no address that can be read", true),
        ("http://127.0.0.1:PORT/list", "", "cannot be played (it does not begin with #EXTM3U)", true),
        ("http://127.0.0.1:PORT/list", "form: stream", "sends application/x-mpegurl, which is not video", true),
        ("http://127.0.0.1:PORT/large", "", "does not speak HTTP", true),
    ];
    let filled =
        |text: &str| text.replace("PORT", &server.port.to_string()).replace("CLOSED", &closed.port.to_string());
    for (n, (uri, parameters, ..)) in cases.iter().enumerate() {
        backend.add_source(&source(&format!("cam-{n}"), &filled(uri), parameters), sink.clone()).unwrap();
    }
    let mut wrong = Vec::new();
    for (n, (uri, _, said, lasts)) in cases.iter().enumerate() {
        // What lasts is tried slowly from the first failure or the third on.
        let story = sink.wait(&format!("cam-{n}"), MINUTE, |s| reasons(s).len() >= 3 || is_slow(s));
        let mut fault = story.events.iter().filter_map(|(_, event)| match event {
            SourceEvent::Fault { reason, remedy, retry_in, .. } => Some((reason.clone(), remedy.clone(), *retry_in)),
            _ => None,
        });
        let (reason, remedy, retry_in) = fault.next_back().unwrap();
        // A name may not be known yet: it is asked for more often.
        let soon = reason.contains(" is not known");
        let rests = retry_in >= SLOW;
        let is_told = reason.contains(&filled(said)) && remedy.is_some() == (*lasts || soon) && rests == *lasts;
        if !is_told || reason.contains("canary") {
            wrong.push(format!("{uri}: {reason} | {remedy:?} | {retry_in:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_login_is_as_it_was_written_and_for_the_addresss_own_host_only() {
    const TEST: &str = "web::double";
    let dir = tempfile::tempdir().unwrap();
    clip(dir.path());
    let Some(other) = Double::start(TEST, dir.path(), &[]) else { return };
    let (user, password) = ("ad min\"", "p@ss:w/rd#1?%\\");
    let address = "ad%20min%22:p%40ss%3Aw%2Frd%231%3F%25%5C";
    for login in ["basic", "md5", "sha-256", "old-md5"] {
        let args = ["--login", login, "--user", user, "--password", password];
        let server = Double::start(TEST, dir.path(), &args).unwrap();
        let at = format!("127.0.0.1:{}", server.port);
        assert_eq!(
            played(&source("clip", &format!("http://{address}@{at}/clip.mp4"), "")),
            (FRAMES, vec![]),
            "{login}"
        );
        let asked = server.asked();
        assert!(asked[0].ends_with(" -") && asked[1..].iter().all(|line| !line.ends_with(" -")), "{asked:?}");
        // A wrong password is tried once per attempt.
        let (frames, reasons) = played(&source("wrong", &format!("http://ad%20min:no@{at}/clip.mp4"), ""));
        assert!(frames == 0 && reasons[0].contains("refuses the user or the password"), "{login}: {reasons:?}");
        assert_eq!(server.asked().len(), 2, "{login}");
        // What it sends on to gets no password.
        let to = format!("http://{address}@{at}/to/http%3A%2F%2F127.0.0.1%3A{}%2Fclip.mp4", other.port);
        let hosts = format!("live: false, hosts: ['127.0.0.1:{}']", other.port);
        assert_eq!(played(&source("sent", &to, &hosts)), (FRAMES, vec![]), "{login}");
        let asked = other.asked();
        assert!(!asked.is_empty() && asked.iter().all(|line| line.ends_with(" -")), "{login}: {asked:?}");
    }
}

#[test]
fn a_web_servers_certificate_is_accepted_by_its_authority_or_its_fingerprint() {
    const TEST: &str = "web::double";
    let tls = root().join("tests/doubles/tls");
    let dir = tempfile::tempdir().unwrap();
    clip(dir.path());
    let text = ["server.pem", "server.key"].map(|name| std::fs::read_to_string(tls.join(name)).unwrap()).concat();
    let signed = write(dir.path(), "signed.pem", &text);
    let Some(server) = Double::start(TEST, dir.path(), &["--tls", signed.to_str().unwrap()]) else { return };
    let own = CertificateDer::from_pem_file(&signed).unwrap();
    let fingerprint = Sha256::digest(&own).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let ca = format!("ca_file: '{}'", tls.join("ca.pem").display());
    let pinned = format!("fingerprint: '{fingerprint}'");
    let other = format!("fingerprint: '{}'", "0a".repeat(32));
    for (host, parameters, said) in [
        ("localhost", &*ca, ""),
        ("localhost", &*pinned, ""),
        ("127.0.0.1", &*pinned, ""),
        ("localhost", "", "authority that this machine does not trust"),
        ("127.0.0.1", &*ca, "another name"),
        ("localhost", &*other, "another fingerprint"),
    ] {
        let (frames, reasons) =
            played(&source("clip", &format!("https://{host}:{}/clip.mp4", server.port), parameters));
        match said.is_empty() {
            true => assert_eq!((frames, reasons), (FRAMES, vec![]), "{host} {parameters}"),
            false => assert!(frames == 0 && reasons[0].contains(said), "{host} {parameters}: {reasons:?}"),
        }
    }
}

#[test]
fn a_clip_comes_through_the_proxy_of_the_environment_and_no_secret_is_shown() {
    const TEST: &str = "web::double";
    let dir = tempfile::tempdir().unwrap();
    clip(dir.path());
    let served = std::fs::read(dir.path().join("clip.mp4")).unwrap();
    let proxy = Server::start(move |path| match path {
        "http://camera.invalid/clip.mp4?token=c4nary" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n";
            [head.as_bytes(), format!("Content-Length: {}\r\n\r\n", served.len()).as_bytes(), &served].concat()
        }
        _ => answer("404 Not Found", "", ""),
    });
    let uri = "http://u:C4nary@camera.invalid/clip.mp4?token=c4nary";
    let run = Dsengine::new(["run", "--source", uri, "--port", "0"]).cwd(dir.path());
    let out = run.env("http_proxy", &format!("http://127.0.0.1:{}", proxy.port)).env("NO_PROXY", "").run();
    let said = format!("{}{}", out.stdout, out.stderr);
    assert!(said.contains(&format!("{FRAMES} frames")) && !said.to_lowercase().contains("c4nary"), "{TEST}: {said}");
    // The status shows the address without its secrets.
    let (port, _viewers) = camera("multipart/x-mixed-replace; boundary=f", "--f", true);
    let uri = format!("http://u:C4nary@127.0.0.1:{port}/v?token=c4nary");
    let mut run = Dsengine::new(["run", "--source", &uri, "--port", "0"]).cwd(dir.path()).start();
    let page = run.page();
    until("it runs", || get(&page, "/api/v1/status").1.contains("\"running\""));
    let status = get(&page, "/api/v1/status").1;
    assert!(!status.to_lowercase().contains("c4nary"), "{status}");
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
}

#[test]
fn a_silent_server_is_noticed_and_a_slow_one_is_not_given_up() {
    let (mut backend, sink, _) = backend();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut plan = source("mute", &format!("http://127.0.0.1:{port}/s"), "");
    plan.retry.first_frame = Duration::from_secs(1);
    backend.add_source(&plan, sink.clone()).unwrap();
    let story = sink.wait("mute", MINUTE, |s| !reasons(s).is_empty());
    let reason = &reasons(&story)[0];
    assert!(reason.starts_with("no first frame for 1") && reason.contains("does not answer"), "{reason}");
    // A clip is waited for; then the reason is what it was waited for.
    let closed = ClosedPort::take();
    let mut clip = source("clip", &format!("http://127.0.0.1:{}/clip.mp4", closed.port), "");
    clip.retry.first_frame = Duration::from_secs(1);
    backend.add_source(&clip, sink.clone()).unwrap();
    let story = sink.wait("clip", MINUTE, |s| !reasons(s).is_empty());
    assert!(reasons(&story)[0].contains("(connection refused)"), "{:?}", reasons(&story));
    // Removing it while it waits takes no time.
    let (mut accepted, _) = listener.accept().unwrap();
    let _ = accepted.read(&mut [0; 16]);
    let removed = std::time::Instant::now();
    backend.remove_source(&"mute".into(), Duration::from_secs(5));
    assert!(removed.elapsed() < Duration::from_secs(4));
}
