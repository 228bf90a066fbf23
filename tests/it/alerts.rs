//! From a draft to its receivers: policy, outbox, delivery and every handler, with real files and real HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use dsengine::alert::check;
use dsengine::alert::{BoxFuture, Delivery, DeliveryError, Gate, Handler, NoJournal, Order, Retry};
use dsengine::config::{AlertPlan, FileFormat, HandlerKind, HandlerPlan, PicturesPlan, WebhookPlan};
use dsengine::error::Code;
use dsengine::handlers;
use dsengine::telemetry::{AlertOutcome, Metrics};
use dsengine::types::{Alert, Clock, Frame, Picture, Raised};
use tokio::runtime::Runtime;

use crate::harness::soak;
use crate::journal::plan;
use crate::watch::Wall;

/// Longest wait for what must happen.
const LIMIT: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn draft(rule: &str, key: impl ToString) -> Raised {
    let message = format!("{rule} \"quoted\" ünïcode");
    Raised {
        rule: rule.into(),
        level: None,
        key: key.to_string(),
        message,
        detections: vec![],
        tags: vec![],
        picture: None,
        expires_seconds: None,
    }
}

fn frame(clock: &dyn Clock, source: &str, seq: u64) -> Frame {
    Frame {
        pts_ns: seq * 33_333_333,
        captured_unix_ns: clock.unix_ns(),
        arrived_ns: clock.monotonic_ns(),
        width: 640,
        height: 360,
        ..Frame::empty(source, seq)
    }
}

/// Deliverers without a journal.
fn start(
    runtime: &Runtime,
    plan: &AlertPlan,
    handlers: &[Arc<dyn Handler>],
    metrics: &Arc<Metrics>,
    clock: Arc<dyn Clock>,
) -> Delivery {
    let nobody = Arc::new(|_: &Arc<Alert>| {});
    Delivery::start(runtime.handle(), Box::new(NoJournal), handlers, plan, metrics, &clock, nobody).unwrap()
}

/// An accepted alert.
pub(crate) fn alert(key: &str) -> Arc<Alert> {
    let clock = Wall::new();
    let metrics = Metrics::new(clock.clone());
    let runtime = runtime();
    let delivery = start(&runtime, &plan(), &[], &metrics, clock.clone());
    let mut gate = Gate::new(&plan(), &"gate".into(), delivery.outbox(), &metrics);
    gate.raise(&draft("loitering", key), &frame(&*clock, "gate", 7)).expect("accepted")
}

/// An accepted alert of this source whose picture is kept in `folder`, and what keeps it.
pub(crate) fn pictured(folder: &std::path::Path, source: &str) -> (Arc<Alert>, Delivery, Runtime) {
    let clock = Wall::new();
    let metrics = Metrics::new(clock.clone());
    let runtime = runtime();
    let delivery = start(&runtime, &plan(), &[], &metrics, clock.clone());
    let keep = Duration::from_secs(86_400);
    let pictures = PicturesPlan { enabled: true, keep, bytes_max: 1_000_000, quality: 80, max_width: 640, clean: true };
    delivery.keep_pictures(folder.to_owned(), &pictures).unwrap();
    let mut gate = Gate::new(&plan(), &source.into(), delivery.outbox(), &metrics);
    let picture = Picture::from_rgb(16, 8, vec![200; 384]);
    let alert = gate.raise(&draft("seen", "1"), &Frame { picture, ..frame(&*clock, source, 7) }).expect("accepted");
    assert!(alert.picture);
    drop(gate);
    (alert, delivery, runtime)
}

/// Fails where a handler does not keep to the rules of its seam.
pub(crate) fn check_handler(make: impl Fn() -> Arc<dyn Handler>) {
    check::check_handler(make).unwrap_or_else(|broken| panic!("{broken}"));
}

/// A delivery whose outcome the test decides.
struct Scripted<F>(&'static str, F);

impl<F: Fn(&Alert) -> Outcome + Send + Sync> Handler for Scripted<F> {
    fn name(&self) -> &str {
        self.0
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let failed = |retry| Err(DeliveryError { message: "scripted".into(), retry });
            match self.1(alert) {
                Outcome::Ok => Ok(()),
                Outcome::Never => failed(Retry::Never),
                Outcome::Later => failed(Retry::Later),
                Outcome::Hang => std::future::pending().await,
                Outcome::Panic => panic!("scripted panic"),
            }
        })
    }
}

enum Outcome {
    Ok,
    Never,
    Later,
    Hang,
    Panic,
}

/// Gate, outbox, deliverers and metrics of one source, as an engine puts them together.
struct Path_ {
    runtime: Runtime,
    clock: Arc<Wall>,
    metrics: Arc<Metrics>,
    gate: Gate,
    delivery: Delivery,
}

impl Path_ {
    fn new(plan: &AlertPlan, handlers: &[Arc<dyn Handler>]) -> Self {
        let runtime = runtime();
        let clock = Wall::new();
        let metrics = Metrics::new(clock.clone());
        let delivery = start(&runtime, plan, handlers, &metrics, clock.clone());
        let gate = Gate::new(plan, &"gate".into(), delivery.outbox(), &metrics);
        Self { runtime, clock, metrics, gate, delivery }
    }

    fn raise(&mut self, rule: &str, key: impl ToString, seq: u64) -> Option<Arc<Alert>> {
        let frame = frame(&*self.clock, "gate", seq);
        self.gate.raise(&draft(rule, key), &frame)
    }

    fn drain(&self) -> usize {
        self.runtime.block_on(self.delivery.drain(LIMIT))
    }

    /// Alerts that wait for a handler.
    fn pending(&self, handler: &str) -> usize {
        self.delivery.outbox().standing(handler).unwrap().pending()
    }

    /// [raised, accepted, suppressed, refused, delivered, failed]
    fn counts(&self) -> [u64; 6] {
        let source = self.metrics.source(&"gate".into());
        let [first @ .., dead, expired, dropped, _recovered, _digested] =
            AlertOutcome::ALL.map(|outcome| source.alerts(outcome));
        let [raised, accepted, suppressed, refused, delivered] = first;
        [raised, accepted, suppressed, refused, delivered, dead + expired + dropped]
    }
}

fn file_plan(path: &Path, max_bytes: u64, backups: u32) -> HandlerPlan {
    let kind = HandlerKind::File { path: path.into(), max_bytes, backups, format: FileFormat::Json, every: None };
    HandlerPlan::new("file", kind)
}

fn build(plan: &HandlerPlan) -> Arc<dyn Handler> {
    let clock: Arc<dyn Clock> = Wall::new();
    handlers::build(plan, &clock).unwrap()
}

fn records(folder: &Path) -> Vec<Alert> {
    fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).expect("a whole record")).collect::<Vec<Alert>>()
        })
        .collect()
}

#[test]
fn every_accepted_alert_is_in_the_file_once_through_any_number_of_rotations() {
    let folder = tempfile::tempdir().unwrap();
    let (count, bytes) = if soak() { (100_000, 25_000) } else { (3_000, 5_000) };
    let handler = build(&file_plan(&folder.path().join("alerts.jsonl"), bytes, 10_000));
    let mut path = Path_::new(&plan(), &[handler]);
    let mut sent: Vec<Arc<Alert>> = Vec::new();
    for i in 0..count {
        sent.push(path.raise("r", i, i).expect("accepted"));
        // The queue is bounded.
        if i % 5_000 == 4_999 {
            assert_eq!(path.drain(), 0);
        }
    }
    assert_eq!(path.drain(), 0);
    assert!(fs::read_dir(folder.path()).unwrap().count() > 100, "it rotated");
    let mut found = records(folder.path());
    found.sort_by_key(|a| a.seq);
    assert_eq!(found.len(), sent.len());
    assert!(found.iter().zip(&sent).all(|(found, sent)| *found == **sent), "each as it was accepted");
    assert_eq!(path.counts(), [count, count, 0, 0, count, 0]);
}

#[test]
fn order_is_kept_and_retries_do_not_double_or_lose() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, calls) = (seen.clone(), AtomicUsize::new(0));
    let flaky = Scripted("flaky", move |alert: &Alert| {
        if calls.fetch_add(1, Ordering::Relaxed) % 3 != 2 {
            return Outcome::Later;
        }
        log.lock().unwrap().push(alert.seq);
        Outcome::Ok
    });
    let mut path = Path_::new(&plan(), &[Arc::new(flaky)]);
    (0..100).for_each(|i| drop(path.raise("r", i, i)));
    assert_eq!(path.drain(), 0);
    assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
    let page = path.metrics.render();
    assert!(page.contains("dsengine_alert_deliveries_total{handler=\"flaky\",outcome=\"retried\"} 200"), "{page}");
    assert!(page.contains("dsengine_alert_deliveries_total{handler=\"flaky\",outcome=\"delivered\"} 100"));
    assert!(page.contains("dsengine_alerts_total{outcome=\"delivered\",rule=\"r\",source=\"gate\"} 100"));
}

#[test]
fn refusals_panics_and_trouble_that_counts_are_tried_as_often_as_configured() {
    for outcome in
        [0, 1, 2].map(|kind| move || [Outcome::Never, Outcome::Later, Outcome::Panic].into_iter().nth(kind).unwrap())
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let handler = Scripted("bad", move |_: &Alert| {
            counted.fetch_add(1, Ordering::Relaxed);
            outcome()
        });
        let mut path = Path_::new(&plan(), &[Arc::new(handler)]);
        path.raise("r", 1, 1);
        assert_eq!(path.drain(), 0);
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        assert_eq!(path.counts(), [1, 1, 0, 0, 0, 1]);
    }
}

/// Takes longer than others think, on a thread that cannot be stopped.
struct Slow(Option<Duration>, Arc<AtomicUsize>);

impl Handler for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn timeout(&self) -> Option<Duration> {
        self.0
    }

    fn deliver<'a>(&'a self, _: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let count = self.1.clone();
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || {
                std::thread::park_timeout(Duration::from_millis(300));
                count.fetch_add(1, Ordering::Relaxed);
            });
            work.await.map_err(|error| DeliveryError { message: error.to_string(), retry: Retry::Later })
        })
    }
}

#[test]
fn a_delivery_is_dropped_after_its_own_time_and_one_that_goes_on_regardless_is_waited_for() {
    for (timeout, delivered) in [(None, true), (Some(LIMIT), true), (Some(Duration::from_millis(20)), false)] {
        let count = Arc::new(AtomicUsize::new(0));
        let mut path = Path_::new(&plan(), &[Arc::new(Slow(timeout, count.clone()))]);
        path.raise("r", 1, 1);
        assert_eq!(path.drain(), 0);
        assert_eq!(path.counts(), [1, 1, 0, 0, u64::from(delivered), u64::from(!delivered)], "{timeout:?}");
        assert!(!delivered || count.load(Ordering::Relaxed) == 1, "delivered once");
        let trouble = path.delivery.standings()[0].trouble(path.clock.monotonic_ns());
        let error = trouble.map(|trouble| trouble.error);
        assert_eq!(error.as_deref(), (!delivered).then_some("no answer within 0.02 s"));
    }
}

#[test]
fn a_hanging_handler_holds_up_neither_the_lane_nor_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = build(&file_plan(&folder.path().join("alerts.jsonl"), 1 << 20, 1));
    let hanging: Arc<dyn Handler> = Arc::new(Scripted("hanging", |_: &Alert| Outcome::Hang));
    let mut path = Path_::new(&AlertPlan { outbox_max: 50, ..plan() }, &[hanging, file]);
    // Many more than the hanging one's queue holds.
    for i in 0..500 {
        path.raise("r", i, i).expect("accepted, since the file has room");
        while path.pending("file") >= 50 {
            std::thread::yield_now();
        }
    }
    let until = Instant::now() + LIMIT;
    while path.pending("file") > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    let left = path.runtime.block_on(path.delivery.drain(Duration::from_millis(200)));
    assert_eq!((left, path.pending("hanging"), path.pending("file")), (50, 50, 0));
    assert_eq!(records(folder.path()).len(), 500);
    // 450 lost their place in the hanging one's queue; the newest are pending with it.
    assert_eq!(path.counts(), [500, 500, 0, 0, 0, 450]);
}

#[test]
fn raised_is_delivered_plus_failed_plus_pending_plus_suppressed_plus_refused() {
    for seed in 0..10 {
        fastrand::seed(seed);
        let moody = Scripted("moody", |alert: &Alert| match alert.seq % 4 {
            0 => Outcome::Never,
            1 if alert.key.len() == 1 => Outcome::Panic,
            _ => Outcome::Ok,
        });
        let plan = AlertPlan { outbox_max: fastrand::usize(1..40), attempts: 1, ..plan() };
        let mut path = Path_::new(&plan, &[Arc::new(moody), Arc::new(Scripted("good", |_: &Alert| Outcome::Ok))]);
        let raised = 2_000;
        for i in 0..raised {
            path.raise(["r", "s", "t"][fastrand::usize(..3)], fastrand::u32(..400), i);
        }
        let [r, accepted, suppressed, refused, ..] = path.counts();
        assert_eq!((r, r), (raised, accepted + suppressed + refused));
        assert_eq!(path.drain(), 0);
        let [.., delivered, failed] = path.counts();
        assert_eq!(accepted, delivered + failed, "seed {seed}");
        assert!(suppressed > 0 && delivered > 0 && failed > 0);
    }
}

#[test]
fn what_limits_hold_back_is_in_the_balance_and_a_digest_is_raised_itself() {
    let plan = AlertPlan { burst_threshold: 2, burst_window: Duration::from_secs(1), max_per_minute: 5, ..plan() };
    for seed in 0..10 {
        fastrand::seed(seed);
        let mut path = Path_::new(&plan, &[Arc::new(Scripted("good", |_: &Alert| Outcome::Ok))]);
        path.gate = Gate::new(&plan, &"gate".into(), path.delivery.outbox(), &path.metrics).joined(Order::Frame);
        for i in 0..2_000 {
            path.raise(["r", "s"][fastrand::usize(..2)], fastrand::u32(..400), i);
        }
        let Path_ { runtime, metrics, gate, delivery, .. } = path;
        // The end of the source sends what is held back.
        drop(gate);
        assert_eq!(runtime.block_on(delivery.drain(LIMIT)), 0);
        let source = metrics.source(&"gate".into());
        let count = |outcomes: &[AlertOutcome]| outcomes.iter().map(|outcome| source.alerts(*outcome)).sum::<u64>();
        let raised = count(&[AlertOutcome::Raised]);
        let settled = [
            AlertOutcome::Delivered,
            AlertOutcome::DeadLettered,
            AlertOutcome::Expired,
            AlertOutcome::Dropped,
            AlertOutcome::Suppressed,
            AlertOutcome::Refused,
        ];
        let digested = count(&[AlertOutcome::Digested]);
        assert_eq!(raised, count(&settled) + digested, "seed {seed}");
        assert!(raised > 2_000 && digested > 100, "seed {seed}: {raised} raised, {digested} digested");
        assert_eq!(delivery.outbox().totals().pending(), 0);
    }
}

#[test]
fn from_capture_to_the_file_takes_milliseconds() {
    // The best of three: what is slow by itself is slow in each.
    let round = || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alerts.jsonl");
        let mut path = Path_::new(&plan(), &[build(&file_plan(&file, 1 << 30, 1))]);
        for i in 0..500 {
            path.raise("r", i, i);
            // One at a time, as alerts come.
            assert_eq!(path.drain(), 0);
        }
        let page = path.metrics.render();
        let within = |le: &str| -> u64 {
            let prefix = format!("dsengine_alert_latency_seconds_bucket{{handler=\"file\",le=\"{le}\"}} ");
            page.lines().find_map(|l| l.strip_prefix(&prefix)).expect(le).parse().unwrap()
        };
        println!("alert latency: {} of 500 within 1 ms, {} within 25 ms", within("0.001"), within("0.025"));
        within("0.025")
    };
    assert!((0..3).any(|_| round() >= 495), "in none of three rounds were 495 of 500 alerts written within 25 ms");
}

#[test]
fn a_log_file_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let clock: Arc<dyn Clock> = Wall::new();
    for path in [blocked.join("alerts.jsonl"), folder.path().to_owned(), "/dev/full".into()] {
        let error = handlers::build(&file_plan(&path, 1_000, 1), &clock).err().expect("an error at the start");
        assert_eq!(error.code(), Code::Handler);
        assert!(error.message().contains(&*path.to_string_lossy()), "{error}");
    }
}

/// A real HTTP server that answers as it is told and keeps what it got.
pub(crate) struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(HeaderMap, serde_json::Value)>>>,
    _runtime: Runtime,
}

impl Receiver {
    fn new(answers: &'static [u16]) -> Self {
        let runtime = runtime();
        let got: Arc<Mutex<Vec<_>>> = Arc::default();
        let log = got.clone();
        let hook = move |headers: HeaderMap, body: Bytes| async move {
            let mut log = log.lock().unwrap();
            let status = answers[log.len().min(answers.len() - 1)];
            log.push((headers, serde_json::from_slice(&body).unwrap()));
            (StatusCode::from_u16(status).unwrap(), "answer")
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/hook?token=C4n4ry", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/hook", axum::routing::post(hook));
        runtime.spawn(async { axum::serve(listener, router).await });
        Self { url, got, _runtime: runtime }
    }

    pub(crate) fn handler(&self) -> Arc<dyn Handler> {
        webhook(&self.url, Duration::from_secs(5))
    }
}

/// A receiver that answers everything with this.
pub(crate) fn refusing(status: u16) -> Receiver {
    Receiver::new(match status {
        404 => &[404],
        _ => &[503],
    })
}

fn webhook(url: &str, timeout: Duration) -> Arc<dyn Handler> {
    let headers = BTreeMap::from([("X-Site".to_owned(), "north".to_owned())]);
    let plan = WebhookPlan { timeout, headers, ..WebhookPlan::to(url) };
    build(&HandlerPlan::new("hook", HandlerKind::Webhook(Box::new(plan))))
}

#[test]
fn a_webhook_posts_the_alert_with_a_constant_id_until_it_is_taken() {
    let receiver = Receiver::new(&[503, 429, 204]);
    let mut path = Path_::new(&plan(), &[receiver.handler()]);
    let alert = path.raise("r", 1, 1).unwrap();
    assert_eq!(path.drain(), 0);
    let got = receiver.got.lock().unwrap();
    assert_eq!(got.len(), 3);
    for (headers, body) in got.iter() {
        assert_eq!(headers["webhook-id"], alert.id.as_str());
        assert_eq!(headers["idempotency-key"], alert.id.as_str());
        let now = path.clock.unix_ns() / 1_000_000_000;
        let stamp: u64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        assert!(now - stamp < 60);
        assert_eq!(
            (&headers["content-type"], &headers["x-site"]),
            (&"application/json".parse().unwrap(), &"north".parse().unwrap())
        );
        assert_eq!(*body, serde_json::to_value(&*alert).unwrap());
    }
    assert_eq!(path.counts(), [1, 1, 0, 0, 1, 0]);
}

#[test]
fn statuses_say_whether_trying_again_can_help_and_errors_hold_no_secret() {
    let runtime = runtime();
    for (status, retry) in [
        (200, None),
        (299, None),
        (400, Some(Retry::Never)),
        (401, Some(Retry::Login)),
        (403, Some(Retry::Login)),
        (404, Some(Retry::Never)),
        (410, Some(Retry::Never)),
        (408, Some(Retry::Later)),
        (425, Some(Retry::Later)),
        (429, Some(Retry::Later)),
        (500, Some(Retry::Later)),
        (503, Some(Retry::Later)),
    ] {
        let receiver = Receiver::new(Box::leak(Box::new([status])));
        let result = runtime.block_on(receiver.handler().deliver(&alert("1")));
        assert_eq!(result.as_ref().err().map(|e| e.retry), retry, "{status}");
        if let Err(error) = result {
            assert!(error.message.contains(&status.to_string()) && !error.message.contains("C4n4ry"), "{error}");
        }
    }
    // Where the user stands is where it is to be looked at.
    let receiver = Receiver::new(&[401]);
    let plan = WebhookPlan { user: Some(("desk".into(), "C4n4ry".into())), ..WebhookPlan::to(&receiver.url) };
    let kind = HandlerKind::Webhook(Box::new(plan));
    let handler = build(&HandlerPlan::new("hook", kind));
    let error = runtime.block_on(handler.deliver(&alert("1"))).unwrap_err();
    assert!(error.message.ends_with("check config.auth") && !error.message.contains("C4n4ry"), "{error}");
    // Nobody there; somebody who accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for url in [format!("http://user:C4n4ry@127.0.0.1:{port}/x?key=C4n4ry"), "http://127.0.0.1:1/?token=C4n4ry".into()]
    {
        let error = runtime.block_on(webhook(&url, Duration::from_millis(500)).deliver(&alert("1"))).unwrap_err();
        assert_eq!(error.retry, Retry::Later);
        assert!(!error.message.contains("C4n4ry"), "{error}");
    }
}

#[test]
fn a_receiver_that_refuses_the_login_is_asked_three_times_and_the_other_handlers_go_on() {
    for status in [&[401][..], &[403]] {
        let (refusing, taking) = (Receiver::new(status), Receiver::new(&[204]));
        let mut path = Path_::new(&plan(), &[refusing.handler(), Arc::new(Scripted("good", |_: &Alert| Outcome::Ok))]);
        (0..6).for_each(|i| drop(path.raise("r", i, i).expect("accepted")));
        let standing = path.delivery.outbox().standing("hook").unwrap();
        let until = Instant::now() + LIMIT;
        while (standing.given_up() < 3 || path.pending("good") > 0) && Instant::now() < until {
            std::thread::yield_now();
        }
        let left = path.runtime.block_on(path.delivery.drain(Duration::from_millis(200)));
        assert_eq!((left, path.pending("hook"), path.pending("good")), (3, 3, 0));
        assert_eq!(refusing.got.lock().unwrap().len(), 3);
        let trouble = standing.trouble(path.clock.monotonic_ns()).unwrap();
        assert!(trouble.lasts && trouble.error.contains("one alert every 300 s is tried"), "{}", trouble.error);
        // Its settings change: what waits is delivered.
        path.delivery.replace(taking.handler()).unwrap();
        assert_eq!(path.drain(), 0);
        assert_eq!((refusing.got.lock().unwrap().len(), taking.got.lock().unwrap().len()), (3, 3));
    }
}

#[test]
fn an_address_or_header_that_is_none_is_an_error_at_the_start_without_secrets() {
    let clock: Arc<dyn Clock> = Wall::new();
    let header = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    for (url, headers) in [
        ("ftp://a:C4n4ry@h/x", BTreeMap::new()),
        ("not an address", BTreeMap::new()),
        ("/path", BTreeMap::new()),
        ("http://h/", header("bad name", "x")),
        ("http://h/", header("x-token", "C4n4ry\n")),
    ] {
        let kind = HandlerKind::Webhook(Box::new(WebhookPlan { headers, ..WebhookPlan::to(url) }));
        let error = handlers::build(&HandlerPlan::new("hook", kind), &clock).err().expect("an error");
        assert_eq!(error.code(), Code::Handler);
        assert!(!error.to_string().contains("C4n4ry"), "{error}");
    }
}

#[test]
fn every_handler_keeps_to_the_rules_of_the_seam() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.jsonl");
    check_handler(|| build(&file_plan(&path, 1 << 20, 3)));
    let receiver = Receiver::new(&[200]);
    check_handler(|| receiver.handler());
    // The console's turn comes in a child, so that its lines do not mix with the tests' own.
    let output = console_child("check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let alerts = lines.lines().filter(|l| l.contains("MEDIUM   gate loitering: ")).count();
    assert!(alerts >= 4, "{lines}");
    assert!(!lines.contains('\x1b'), "no colour off a terminal");
}

#[test]
fn a_closed_standard_output_is_a_failed_delivery_and_no_crash() {
    let mut child = console_child("closed").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The test runner's own lines come first, and do not like a closed output.
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("gate loitering") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child printed no alert");
    }
    drop(lines);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains("gave up: Never"), "{said}");
}

/// This test binary again, doing only [`console_in_a_child`].
fn console_child(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "alerts::console_in_a_child", "--nocapture"]).env("DSENGINE_TEST_CONSOLE", what);
    command
}

#[test]
fn console_in_a_child() {
    let console = || build(&HandlerPlan::new("console", HandlerKind::Console));
    match std::env::var("DSENGINE_TEST_CONSOLE").as_deref() {
        Ok("check") => check_handler(console),
        Ok("closed") => {
            // Until the parent has closed its end.
            let runtime = runtime();
            let error = loop {
                if let Err(error) = runtime.block_on(console().deliver(&alert("1"))) {
                    break error;
                }
            };
            eprintln!("gave up: {:?}", error.retry);
        }
        // Not in the child: the two tests above run this one.
        _ => {}
    }
}
