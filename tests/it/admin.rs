//! The HTTP side, as a client sees it: probes, metrics, API, page, live pictures, and who is turned away.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsengine::admin::{self, Admin};
use dsengine::alert::Pictures;
use dsengine::backend::SourceState;
use dsengine::config::AdminPlan;
use dsengine::engine::EngineApi;
use dsengine::engine::live::{Events, Live};
use dsengine::engine::status::{AlertStatus, SourceStatus, Status};
use dsengine::error::Code;
use dsengine::telemetry::Metrics;
use dsengine::types::{BBox, Clock, Detection, Frame, Picture};
use tokio::runtime::Runtime;

use crate::watch::Wall;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(20);

/// What stands behind the page, without an engine.
pub(crate) struct Standing {
    metrics: Arc<Metrics>,
    pub(crate) states: Mutex<BTreeMap<&'static str, SourceState>>,
    pub(crate) live: Arc<Live>,
    /// What a source called `yard` shows, for a test that adds one.
    pub(crate) yard: Arc<Live>,
    pub(crate) events: Arc<Events>,
    pub(crate) pictures: Mutex<Pictures>,
}

impl EngineApi for Standing {
    fn plugins(&self) -> Vec<dsengine::engine::status::PluginStatus> {
        Vec::new()
    }

    fn reload(&self, plugin: &str) -> Result<dsengine::engine::Reloaded, dsengine::error::Error> {
        Err(dsengine::error::Error::new(dsengine::error::Code::Plugin, format!("there is no plugin '{plugin}'")))
    }

    fn promote(&self, plugin: &str) -> Result<dsengine::engine::Reloaded, dsengine::error::Error> {
        self.reload(plugin)
    }

    fn plugin_state(&self, plugin: &str) -> Result<Vec<dsengine::guest::StateStatus>, dsengine::error::Error> {
        self.reload(plugin).map(|_| Vec::new())
    }

    fn clear_plugin_state(&self, plugin: &str) -> Result<usize, dsengine::error::Error> {
        self.reload(plugin).map(|_| 0)
    }

    fn status(&self) -> Status {
        let states = self.states.lock().unwrap();
        let sources = states
            .iter()
            .map(|(id, state)| {
                SourceStatus::read(&(*id).into(), *state, None, None, &self.metrics.source(&(*id).into()))
            })
            .collect();
        Status::new("test".into(), 1.0, sources, vec![], vec![], AlertStatus::default(), vec![])
    }
    fn metrics_text(&self) -> String {
        self.metrics.render()
    }
    fn live(&self, source: &str) -> Option<Arc<Live>> {
        match source {
            "gate" => Some(self.live.clone()),
            "yard" => Some(self.yard.clone()),
            _ => None,
        }
    }
    fn events(&self) -> Arc<Events> {
        self.events.clone()
    }
    fn pictures(&self) -> Pictures {
        self.pictures.lock().unwrap().clone()
    }
}

pub(crate) struct Served {
    runtime: Runtime,
    pub(crate) board: Arc<Standing>,
    pub(crate) admin: Admin,
}

fn plan(port: u16) -> AdminPlan {
    AdminPlan { port, ..AdminPlan::default() }
}

impl Served {
    fn new() -> Self {
        Self::with(&plan(0))
    }

    pub(crate) fn with(plan: &AdminPlan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock: Arc<dyn Clock> = Wall::new();
        let board = Arc::new(Standing {
            metrics: Metrics::new(clock),
            states: Mutex::new(BTreeMap::from([("gate", SourceState::Running)])),
            live: Live::new(),
            yard: Live::new(),
            events: Events::new(),
            pictures: Mutex::default(),
        });
        let admin = admin::serve(runtime.handle(), plan, board.clone()).unwrap();
        Self { runtime, board, admin }
    }

    fn get(&self, path: &str) -> Answer {
        ask(self.admin.address(), path, "127.0.0.1")
    }

    fn state(&self, state: SourceState) {
        self.board.states.lock().unwrap().insert("gate", state);
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

fn connect(address: SocketAddr, path: &str, host: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    request(stream, "GET", path, &[("Host", host)], "")
}

/// Sends a request; the answer is still to be read.
pub(crate) fn request(
    mut stream: TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> BufReader<TcpStream> {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    BufReader::new(stream)
}

pub(crate) fn head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "closed: {head}");
    }
    head.to_lowercase()
}

fn ask(address: SocketAddr, path: &str, host: &str) -> Answer {
    answer(connect(address, path, host))
}

/// The whole answer.
pub(crate) fn answer(mut reader: BufReader<TcpStream>) -> Answer {
    let head = head(&mut reader);
    let mut body = String::new();
    reader.read_to_string(&mut body).unwrap();
    Answer { status: head[9..12].parse().unwrap(), head, body }
}

pub(crate) fn frame(seq: u64) -> Frame {
    let mut person = Detection::new("Fußgänger", 0, 0.9, BBox { x: 0.25, y: 0.25, width: 0.5, height: 0.5 });
    person.track_id = Some(7);
    Frame {
        pts_ns: seq * 1_000_000,
        width: 1280,
        height: 720,
        detections: vec![person],
        tracked: true,
        picture: Picture::from_rgb(1280, 720, vec![90; 1280 * 720 * 3]),
        ..Frame::empty("gate", seq)
    }
}

#[test]
fn probes_follow_the_sources_but_liveness_does_not() {
    let served = Served::new();
    for (state, ready) in [
        (SourceState::Running, 200),
        (SourceState::Stalled, 503),
        (SourceState::Backoff { attempt: 3 }, 503),
        (SourceState::Running, 200),
    ] {
        served.state(state);
        assert_eq!(served.get("/livez").status, 200);
        let readyz = served.get("/readyz");
        assert_eq!(readyz.status, ready);
        assert!(ready == 200 || readyz.body.contains("source gate "), "{}", readyz.body);
        for path in ["/health", "/healthz"] {
            let health = served.get(path);
            assert_eq!(health.status, ready);
            assert_eq!(health.json()["sources"][0]["state"], state.as_str());
        }
    }
}

#[test]
fn metrics_are_at_their_path_and_nothing_is_anywhere_else() {
    let served = Served::new();
    served.board.metrics.source(&"gate".into()).frames_judged.inc();
    let metrics = served.get("/metrics");
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"));
    assert!(metrics.body.contains("dsengine_frames_total{source=\"gate\"} 1"));
    for path in ["/nothing", "/assets/../Cargo.toml", "/assets/x", "/api/v1/", "/live/unknown"] {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_path_of_the_users_choice_that_is_taken_does_not_crash() {
    let served = Served::new();
    for path in ["/livez", "", "no-slash", "/{x}/*y"] {
        let plan = AdminPlan { metrics_path: path.into(), ..plan(0) };
        let admin = admin::serve(served.runtime.handle(), &plan, served.board.clone()).unwrap();
        assert_eq!(ask(admin.address(), "/livez", "localhost").body, "ok\n");
    }
}

#[test]
fn who_asks_for_another_name_is_turned_away_everywhere() {
    let served = Served::new();
    for path in ["/", "/metrics", "/api/v1/status", "/live/gate", "/livez", "/nothing"] {
        for host in ["evil.example", "127.0.0.1.evil.example:80", "0.0.0.0"] {
            assert_eq!(ask(served.admin.address(), path, host).status, 403, "{path} as {host}");
        }
    }
    assert_eq!(
        ask(served.admin.address(), "/livez", &format!("localhost:{}", served.admin.address().port())).status,
        200
    );
}

#[test]
fn the_page_has_no_inline_script_and_everything_it_names_is_there() {
    let served = Served::new();
    let page = served.get("/");
    assert!(page.head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{}", page.head);
    assert!(page.head.contains("x-content-type-options: nosniff"));
    assert!(!page.head.contains("access-control-allow-origin"));
    assert!(!page.body.contains("onclick") && !page.body.contains("style=") && !page.body.contains("<style"));
    for tag in page.body.split("<script").skip(1) {
        assert!(tag.split('>').next().unwrap().contains("src="), "{tag}");
    }
    let named = page.body.split(['"']).filter(|part| part.starts_with("/"));
    let mut seen = 0;
    for path in named {
        seen += 1;
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    assert!(seen >= 5);
}

#[test]
fn the_api_describes_itself() {
    let served = Served::new();
    let api = served.get("/api/v1/openapi.json").json();
    for (path, methods) in api["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else { continue };
        let real = path.replace("{source}", "gate").replace("v1/explain", "v1/explain?source=gate");
        // Streams do not end by themselves: their head is enough.
        let head = head(&mut connect(served.admin.address(), &real, "127.0.0.1"));
        // There is no configuration here that could be changed.
        let expected = match get["responses"].get("409") {
            Some(_) => "409",
            // The alert and the plugin do not exist, and the source keeps no evidence.
            None if ["{id}", "{name}", "/evidence."].iter().any(|part| path.contains(part)) => "404",
            None => "200",
        };
        assert!(head.starts_with(&format!("http/1.1 {expected}")), "{path}: {head}");
    }
    let fields = api["components"]["schemas"]["Status"]["properties"].as_object().unwrap();
    let status = served.get("/api/v1/status").json();
    assert_eq!(fields.keys().collect::<Vec<_>>(), status.as_object().unwrap().keys().collect::<Vec<_>>());
}

#[test]
fn pictures_are_made_only_while_watched_and_carry_their_own_boxes() {
    let served = Served::new();
    assert_eq!(served.board.live.watchers(), 0);
    let mut reader = connect(served.admin.address(), "/live/gate", "localhost");
    assert!(head(&mut reader).contains("multipart/x-mixed-replace; boundary=dsengine-frame"));
    wait_until(|| served.board.live.watchers() == 1);
    for seq in [3, 4] {
        served.board.live.publish(&frame(seq), seq * 1_000_000_000);
        let mut part = String::new();
        while !(part.contains("X-Frame") && part.ends_with("\r\n\r\n")) {
            reader.read_line(&mut part).unwrap();
        }
        // The chunk length of the transfer encoding, or the end of the former part, may stand in front.
        let value = |name: &str| part.split(&format!("{name}: ")).nth(1).unwrap().lines().next().unwrap().to_owned();
        assert_eq!(value("Content-Type"), "image/jpeg");
        let meta: serde_json::Value = serde_json::from_str(&value("X-Frame")).unwrap();
        assert_eq!((meta["seq"].as_u64(), meta["width"].as_u64()), (Some(seq), Some(1280)));
        assert_eq!(
            (meta["detections"][0]["label"].as_str(), meta["detections"][0]["track_id"].as_u64()),
            (Some("Fußgänger"), Some(7))
        );
        let mut jpeg = vec![0; value("Content-Length").parse().unwrap()];
        reader.read_exact(&mut jpeg).unwrap();
        assert_eq!((&jpeg[..2], &jpeg[jpeg.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
        assert!(jpeg.windows(4).any(|w| w == [0x01, 0x68, 0x02, 0x80]), "640 wide, 360 high");
    }
    drop(reader);
    // The server notices a client that left; then nothing is published any more.
    wait_until(|| served.board.live.watchers() == 0);
}

#[test]
fn events_arrive_as_they_happen() {
    let served = Served::new();
    let mut reader = connect(served.admin.address(), "/api/v1/events?kinds=state", "localhost");
    head(&mut reader);
    served.board.events.detections(&frame(1));
    served.board.events.state(&"gate".into(), SourceState::Stalled);
    let mut text = String::new();
    while !text.contains("\"stalled\"") {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0);
    }
    assert!(text.contains("event: state") && !text.contains("detections"), "{text}");
}

#[test]
fn streams_beyond_the_limit_are_refused_and_probes_still_answer() {
    let served = Served::new();
    let mut open: Vec<_> =
        (0..admin::STREAMS_MAX).map(|_| connect(served.admin.address(), "/live/gate", "localhost")).collect();
    open.iter_mut().for_each(|reader| assert!(head(reader).starts_with("http/1.1 200")));
    assert_eq!(served.get("/live/gate").status, 503);
    assert_eq!(served.get("/api/v1/events").status, 503);
    assert_eq!(served.get("/livez").status, 200);
}

#[test]
fn a_client_that_stops_reading_loses_the_whole_stream_not_some_of_its_sources() {
    let served = Served::new();
    served.board.states.lock().unwrap().insert("yard", SourceState::Running);
    let mut reader = connect(served.admin.address(), "/live", "localhost");
    head(&mut reader);
    let (gate, yard) = (&served.board.live, &served.board.yard);
    wait_until(|| gate.watchers() == 1 && yard.watchers() == 1);
    // Noise is large as JPEG, and fills the buffers on the way soon.
    let mut random = fastrand::Rng::with_seed(7);
    let noise = Picture::from_rgb(1280, 720, (0..1280 * 720 * 3).map(|_| random.u8(..)).collect());
    let started = std::time::Instant::now();
    for seq in 1.. {
        if gate.watchers() == 0 {
            break;
        }
        assert!(started.elapsed() < 3 * LIMIT, "it goes on for a client that reads nothing");
        gate.publish(&Frame { picture: noise.clone(), ..frame(seq) }, seq * 1_000_000_000);
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_until(|| yard.watchers() == 0);
}

#[test]
fn a_client_that_never_finishes_its_request_is_hung_up_on() {
    let served = Served::new();
    let mut stream = TcpStream::connect(served.admin.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET /livez HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    let waiting = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!waiting, "the connection is still open after {LIMIT:?}");
}

#[test]
fn a_busy_port_is_an_error_that_names_it_and_who_has_it() {
    let served = Served::new();
    let port = served.admin.address().port();
    let error = admin::serve(served.runtime.handle(), &plan(port), served.board.clone()).unwrap_err();
    assert_eq!(error.code(), Code::Listen);
    let pid = format!("(pid {})", std::process::id());
    assert!(error.message().contains(&format!("port {port} ")) && error.message().contains(&pid), "{error}");
}

#[test]
fn stopping_ends_streams_frees_the_port_and_takes_no_time() {
    let Served { runtime, board, admin } = Served::new();
    let address = admin.address();
    let mut stream = connect(address, "/live", "localhost");
    head(&mut stream);
    runtime.block_on(admin.stop(LIMIT));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    wait_until(|| board.live.watchers() == 0);
    // Somebody else may have taken it for a moment.
    wait_until(|| TcpListener::bind(address).is_ok());
}

/// Waits for a condition that another thread brings about.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let clock = Wall::new();
    while !holds() {
        assert!(clock.monotonic_ns() < LIMIT.as_nanos() as u64, "not within the limit");
        std::thread::yield_now();
    }
}
