//! `recovery` and a source's own keys: when a camera that does not answer is tried again, as the camera sees it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Answer, Bench, Receiver, poll, stop};
use crate::harness::{Dsengine, get, sample};
use crate::sources::Camera;

fn source(id: &str, camera: &Receiver, keys: &str) -> String {
    format!("  - {{ id: {id}, uri: 'rtsp://{}/x'{keys} }}\n", camera.address)
}

#[test]
fn a_camera_is_tried_again_when_and_as_often_as_the_keys_say() {
    let bench = Bench::new();
    let cameras: [Receiver; 7] = std::array::from_fn(|_| Receiver::new(Answer::Status(503)));
    let [fixed, slow, few, capped, doubling, once, later_on] = &cameras;
    let recovery =
        |keys: &str| format!("recovery: {{ circuit_breaker_enabled: false, retry_delay: 0.3, {keys} }}\nsources:\n");
    let a = bench.start(&format!(
        "{}{}{}{}",
        recovery("max_retries: 100, exponential_backoff: false"),
        source("fixed", fixed, ""),
        source("slow", slow, ", retry_delay: 1.6"),
        source("few", few, ", max_retries: 1")
    ));
    let b =
        bench.start(&format!("{}{}", recovery("max_retries: 100, max_retry_delay: 0.6"), source("capped", capped, "")));
    let c = bench.start(&format!("{}{}", recovery("max_retries: 100"), source("doubling", doubling, "")));
    let d =
        bench.start(&format!("{}{}", recovery("max_retries: 1, exponential_backoff: false"), source("once", once, "")));
    let e = bench.start(&format!(
        "recovery: {{ exponential_backoff: false, retry_delay: 1.6 }}\nsources:\n{}",
        source("later", later_on, "")
    ));
    let (mut a, b, mut c, mut d) = (a, b, c, d);
    // A delay that doubles is drawn from all up to its bound, ten seconds in the end: a long one comes soon.
    let is_doubled = || doubling.gaps().iter().any(|gap| gap.as_secs_f64() >= 1.5);
    let enough = || is_doubled() && capped.hits().len() > 5 && later_on.hits().len() >= 2;
    poll(&mut c, || enough().then_some(()));

    // An attempt itself takes some time, and a busy machine makes one or another late, never all.
    let later = |camera: &Receiver| {
        camera.gaps().get(3..).unwrap_or_default().iter().min().map_or(f64::MAX, Duration::as_secs_f64)
    };
    assert!(later(capped) < 1.5, "{:?}", capped.gaps());
    assert!(fixed.hits().len() > doubling.hits().len() && later(fixed) < 1.2, "{:?}", fixed.gaps());
    // Without the key it is 0.3 s, or half a second. A quarter of a fixed delay may be taken away by chance.
    assert!(slow.longest(1) >= 1.2 && later_on.longest(1) >= 1.2, "{:?} {:?}", slow.gaps(), later_on.gaps());

    // Out of retries, a camera counts as failed and is tried at the longest delay only, ten seconds.
    let failed = |page: &str, id: &str| {
        get(page, "/metrics").1.contains(&format!("dsengine_source_state{{source=\"{id}\",state=\"failed\"}} 1\n"))
    };
    let (page_a, page_d) = (a.page(), d.page());
    assert!(failed(&page_a, "few") && !failed(&page_a, "fixed") && failed(&page_d, "once"));
    for camera in [few, once] {
        // One retry after 0.3 s, and then one whole long delay: of the two gaps the longer is of it.
        poll(&mut d, || (camera.hits().len() >= 3).then_some(()));
        let gaps = camera.gaps();
        assert!(gaps[0].as_secs_f64() < 7.0 && gaps[1].as_secs_f64() >= 7.0, "{gaps:?}");
    }
    for run in [a, b, c, d, e] {
        stop(run);
    }
}

#[test]
fn a_silent_camera_is_given_up_after_the_time_that_is_set() {
    let bench = Bench::new();
    let (hasty, patient) = (Receiver::new(Answer::Silence), Receiver::new(Answer::Silence));
    let mut run = bench.start(&format!(
        "recovery: {{ retry_delay: 0.1, exponential_backoff: false, source_timeout_seconds: 0.5 }}\nsources:\n{}{}",
        source("hasty", &hasty, ""),
        source("patient", &patient, ", timeout: 3")
    ));
    poll(&mut run, || (patient.hits().len() >= 2).then_some(()));
    let longest = hasty.longest_gaps().into_iter().max();
    assert!(longest >= Some(Duration::from_millis(500)) && hasty.hits().len() > 2, "{:?}", hasty.gaps());
    assert!(patient.longest_gaps()[0] >= Duration::from_millis(2500), "{:?}", patient.gaps());
    stop(run);
}

/// A camera of a few lines with a login behind which it serves no further viewer. It counts what it is asked for.
struct Full {
    address: String,
    /// Requests with a user, and descriptions that were asked for without one.
    logins: Arc<AtomicUsize>,
    strangers: Arc<AtomicUsize>,
    /// Whether it is starting, and answers nobody.
    is_starting: Arc<AtomicBool>,
}

impl Full {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let full = Self { address, logins: Arc::default(), strangers: Arc::default(), is_starting: Arc::default() };
        let (logins, strangers) = (Arc::clone(&full.logins), Arc::clone(&full.strangers));
        let is_starting = Arc::clone(&full.is_starting);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (logins, strangers) = (Arc::clone(&logins), Arc::clone(&strangers));
                let is_starting = Arc::clone(&is_starting);
                std::thread::spawn(move || serve(stream, &logins, &strangers, &is_starting));
            }
        });
        full
    }

    fn source(&self, id: &str, keys: &str) -> String {
        format!("  - {{ id: {id}, uri: 'rtsp://u:p@{}/x'{keys} }}\n", self.address)
    }

    fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    fn strangers(&self) -> usize {
        self.strangers.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, logins: &AtomicUsize, strangers: &AtomicUsize, is_starting: &AtomicBool) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let Some(first) = head.first() else { return };
        let sequence = head.iter().find(|line| line.starts_with("CSeq")).cloned().unwrap_or_default();
        let has_login = head.iter().any(|line| line.starts_with("Authorization"));
        let status = match (first.starts_with("DESCRIBE"), has_login) {
            _ if is_starting.load(Ordering::SeqCst) => "500 Starting",
            (false, _) => "200 OK",
            (true, true) => "453 Not Enough Bandwidth",
            (true, false) => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"",
        };
        // A full attempt asks for a description without its user first.
        let counts = if has_login { logins } else { strangers };
        counts.fetch_add(usize::from(first.starts_with("DESCRIBE")), Ordering::SeqCst);
        if writer.write_all(format!("RTSP/1.0 {status}\r\n{sequence}\r\n\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn while_the_breaker_is_open_the_account_is_left_alone() {
    let bench = Bench::new();
    let [spared, sooner, brief, off] = std::array::from_fn(|_| Full::start());
    let recovery = |keys: &str| {
        let delays = "max_retries: 100, retry_delay: 0.1, max_retry_delay: 0.3, exponential_backoff: false";
        format!("recovery: {{ {delays}, {keys} }}\nsources:\n")
    };
    let breaker = |threshold: u32, timeout: u32| {
        recovery(&format!("circuit_breaker_threshold: {threshold}, circuit_breaker_timeout: {timeout}"))
    };
    let mut a = bench.start(&(breaker(4, 600) + &spared.source("spared", "")));
    let b = bench.start(&(breaker(2, 600) + &sooner.source("sooner", "")));
    let c = bench.start(&(breaker(4, 1) + &brief.source("brief", "")));
    let d = bench.start(&(recovery("circuit_breaker_enabled: false") + &off.source("off", "")));
    // It is asked without its user meanwhile: once more than it is tried with it by every full attempt.
    let is_probed = |camera: &Full| camera.strangers() >= camera.logins() + 6;
    let enough = || is_probed(&spared) && is_probed(&sooner) && off.logins() >= 12 && brief.logins() >= 8;
    poll(&mut a, || enough().then_some(()));
    // So many failures open it, and the first answer of the camera after that is worth an attempt.
    assert_eq!((spared.logins(), sooner.logins()), (5, 3));
    assert!(off.strangers() <= off.logins() + 1, "without a breaker there is no probe");
    let page = a.page();
    assert!(get(&page, "/metrics").1.contains("dsengine_source_breaker_open{source=\"spared\"} 1\n"));
    assert!(get(&page, "/api/v1/status").1.contains("\"breaker\":\"open\""));
    // A camera that was away, and is there again, is worth an attempt, too.
    spared.is_starting.store(true, Ordering::SeqCst);
    let asked = spared.strangers();
    poll(&mut a, || (spared.strangers() >= asked + 2).then_some(()));
    spared.is_starting.store(false, Ordering::SeqCst);
    poll(&mut a, || (spared.logins() == 6).then_some(()));
    for run in [a, b, c, d] {
        stop(run);
    }
}

#[test]
fn retries_made_before_the_start_count() {
    let bench = Bench::new();
    let (none, made) = (Receiver::new(Answer::Status(503)), Receiver::new(Answer::Status(503)));
    let keys = "max_retries: 3, retry_delay: 0.1, max_retry_delay: 3, exponential_backoff: false";
    let mut run = bench.start(&format!(
        "recovery: {{ {keys} }}\nsources:\n{}{}",
        source("none", &none, ""),
        source("made", &made, ", retry_count: 3")
    ));
    poll(&mut run, || (none.hits().len() >= 4 && made.hits().len() >= 2).then_some(()));
    // Out of retries with the first failure, it is tried after the longest delay, less a quarter by chance.
    assert!(made.gaps()[0].as_secs_f64() >= 2.25, "{:?}", made.gaps());
    assert!(none.gaps()[..3].iter().any(|gap| gap.as_secs_f64() < 2.0), "{:?}", none.gaps());
    stop(run);
}

#[test]
fn a_failed_source_stays_down_where_the_key_says_so() {
    let bench = Bench::new();
    let (down, tried) = (Receiver::new(Answer::Status(503)), Receiver::new(Answer::Status(503)));
    let config = |auto: bool, source: String| {
        let keys = "max_retries: 1, retry_delay: 0.1, max_retry_delay: 0.2, exponential_backoff: false";
        format!("monitoring: {{ auto_recovery: {auto} }}\nrecovery: {{ {keys} }}\nsources:\n{source}")
    };
    let mut a = bench.start(&config(false, source("down", &down, "")));
    let b = bench.start(&config(true, source("tried", &tried, "")));
    poll(&mut a, || (tried.hits().len() >= 8 && down.hits().len() >= 2).then_some(()));
    assert_eq!(down.hits().len(), 2, "the attempt and its one retry");
    let page = a.page();
    let health = get(&page, "/health").1;
    assert!(health.contains("source down is failed and stays down until it is edited, or by `dsengine"), "{health}");
    assert!(health.contains("\"stays_down\":true"), "{health}");
    let told = Dsengine::new(["sources", "restart", "down", "--at", &page]).cwd(bench.dir.path()).run();
    told.expect(0);
    poll(&mut a, || (down.hits().len() >= 3).then_some(()));
    for run in [a, b] {
        stop(run);
    }
}

#[test]
fn damaged_frames_are_a_reason_to_build_the_pipeline_anew() {
    const TEST: &str = "effects::recovery::damaged_frames_are_a_reason";
    // Who comes later than its one key frame gets frames that cannot be decoded in full.
    let Some(camera) = Camera::start(TEST, 0, &["--key-frames", "100000"]) else { return };
    let bench = Bench::new();
    let uri = format!("uri: 'rtsp://127.0.0.1:{}/cam'", camera.port);
    let mut first = bench.start(&format!("sources: [{{ id: first, {uri} }}]\n"));
    let pages = first.page();
    let of = |page: &str, name: &str| sample(&get(page, "/metrics").1, name).unwrap_or(0.0);
    poll(&mut first, || (of(&pages, "dsengine_frames_total{source=\"first\"}") > 0.0).then_some(()));
    let later = |id: &str, threshold: u32| {
        let recovery = format!("recovery: {{ pipeline_restart_threshold: {threshold} }}");
        bench.start(&format!("{recovery}\nsources: [{{ id: {id}, {uri} }}]\n"))
    };
    let (mut few, mut many) = (later("few", 5), later("many", 1_000));
    let (few_page, many_page) = (few.page(), many.page());
    let damaged = |page: &str, id: &str| {
        of(page, &format!("dsengine_frames_dropped_total{{reason=\"corrupt\",source=\"{id}\"}}"))
    };
    poll(&mut many, || (damaged(&many_page, "many") >= 60.0).then_some(()));
    poll(&mut few, || (damaged(&few_page, "few") >= 60.0).then_some(()));
    let rebuilt = |page: &str, id: &str| of(page, &format!("dsengine_source_reconnects_total{{source=\"{id}\"}}"));
    assert_eq!(rebuilt(&few_page, "few"), 1.0, "and not again within a minute");
    assert_eq!(rebuilt(&many_page, "many"), 0.0);
    let status = get(&few_page, "/api/v1/status").1;
    assert!(status.contains("damaged frames within ten seconds: its pipeline is built anew"), "{status}");
    for run in [first, few, many] {
        stop(run);
    }
}
