//! What the outbox promises over restarts, with a journal of JSON lines whose disk fails on demand.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use dsengine::alert::check::check_journal;
use dsengine::alert::{
    BoxFuture, By, CaseStep, Delivery, DeliveryError, Entry, Gate, Handler, Journal, JournalError, NoJournal, Pending,
    Retry, Settlement, Totals, UNWRITTEN_MAX,
};
use dsengine::config::AlertPlan;
use dsengine::telemetry::{AlertOutcome, Metrics};
use dsengine::types::{Alert, AlertId, BBox, Clock, Detection, Frame, Level, Raised};
use tokio::runtime::Runtime;

use crate::watch::Wall;

/// Longest wait for what must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A journal of JSON lines. What it writes is on the disk before it says so; a torn end is cut off.
pub(crate) struct JsonLines {
    file: File,
    faults: Arc<Faults>,
}

/// What goes wrong with its disk.
#[derive(Default)]
pub(crate) struct Faults {
    /// So many writes fail, after half of their bytes.
    pub(crate) failing: AtomicUsize,
    /// Every write fails.
    pub(crate) broken: AtomicBool,
    /// The next write panics.
    panics: AtomicBool,
    /// Writes wait.
    held: Mutex<bool>,
    released: Condvar,
    pub(crate) writes: AtomicUsize,
}

impl Faults {
    pub(crate) fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub(crate) fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }

    fn fails(&self) -> bool {
        let once = self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        once || self.broken.load(Ordering::Relaxed)
    }
}

impl JsonLines {
    pub(crate) fn open(path: &Path, faults: Arc<Faults>) -> Result<Self, JournalError> {
        let options = OpenOptions::new().read(true).append(true).create(true).open(path);
        Ok(Self { file: options.map_err(failed)?, faults })
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let before = self.file.metadata()?.len();
        if self.faults.fails() {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            self.file.set_len(before)?;
            return Err(std::io::Error::other("the disk is full at http://u:C4n4ry@h/"));
        }
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }
}

fn failed(error: impl ToString) -> JournalError {
    JournalError(error.to_string())
}

impl Journal for JsonLines {
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut text)).map_err(failed)?;
        let (open, whole) = Fold::of(&text);
        self.file.set_len(whole).map_err(failed)?;
        Ok(open.pending())
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        self.faults.writes.fetch_add(1, Ordering::Relaxed);
        assert!(!self.faults.panics.swap(false, Ordering::Relaxed), "scripted panic");
        drop(self.faults.released.wait_while(self.faults.held.lock().unwrap(), |held| *held).unwrap());
        let mut bytes = Vec::new();
        for entry in batch {
            serde_json::to_writer(&mut bytes, entry).map_err(failed)?;
            bytes.push(b'\n');
        }
        self.append(&bytes).map_err(failed)
    }
}

/// What entries leave open.
#[derive(Default)]
struct Fold {
    open: BTreeMap<usize, Pending>,
    numbers: BTreeMap<AlertId, usize>,
    next: usize,
}

impl Fold {
    /// What the lines of a journal leave open, and the length of the whole ones.
    fn of(text: &[u8]) -> (Self, u64) {
        let (mut open, mut whole) = (Self::default(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else { break };
            if !line.ends_with(b"\n") {
                break;
            }
            whole += line.len() as u64;
            open.take(&entry);
        }
        (open, whole)
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Accepted { alert, handlers, at_ms }
                if !handlers.is_empty() && !self.numbers.contains_key(&alert.id) =>
            {
                let (alert, handlers, worst) = (alert.clone(), handlers.clone(), Settlement::Delivered);
                let pending = Pending { alert: alert.clone(), handlers, worst, accepted_ms: *at_ms };
                self.open.insert(self.next, pending);
                self.numbers.insert(alert.id.clone(), self.next);
                self.next += 1;
            }
            Entry::Accepted { .. } => {}
            Entry::Settled { id, handler, how } => {
                let Some(number) = self.numbers.get(id) else { return };
                let pending = self.open.get_mut(number).unwrap();
                pending.handlers.retain(|name| name != handler);
                pending.worst = pending.worst.max(*how);
                if pending.handlers.is_empty() {
                    self.open.remove(number);
                    self.numbers.remove(id);
                }
            }
            Entry::Reopened { .. } | Entry::Attempted { .. } | Entry::Decided(_) | Entry::Saved(_) => {}
        }
    }

    fn pending(self) -> Vec<Pending> {
        self.open.into_values().collect()
    }
}

/// A handler that does as it is told and keeps what it got.
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) got: Mutex<Vec<u64>>,
    pub(crate) answer: Mutex<Answer>,
}

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Ok,
    Later,
    Never,
    Hang,
}

impl Told {
    pub(crate) fn new(name: &'static str, answer: Answer) -> Arc<Self> {
        Arc::new(Self { name, got: Mutex::default(), answer: Mutex::new(answer) })
    }

    pub(crate) fn got(&self) -> Vec<u64> {
        self.got.lock().unwrap().clone()
    }

    pub(crate) fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

impl Handler for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let answer = *self.answer.lock().unwrap();
            let failed = |retry| Err(DeliveryError { message: "told so".into(), retry });
            match answer {
                Answer::Ok => {
                    self.got.lock().unwrap().push(alert.seq);
                    Ok(())
                }
                Answer::Later => failed(Retry::Later),
                Answer::Never => failed(Retry::Never),
                Answer::Hang => std::future::pending().await,
            }
        })
    }
}

pub(crate) fn plan() -> AlertPlan {
    AlertPlan {
        enabled: true,
        throttle: Duration::from_secs(60),
        burst_threshold: 0,
        burst_window: Duration::from_secs(10),
        max_per_minute: 0,
        max_critical_per_minute: 0,
        repeat: Duration::ZERO,
        min_confidence: 0.5,
        default_level: Level::Medium,
        attempts: 3,
        retry_delay: Duration::from_millis(1),
        max_retry_delay: Duration::from_secs(60),
        max_age: Duration::ZERO,
        when_full: Default::default(),
        outbox_max: 10_000,
        quiet_hours: Vec::new(),
        rules: Default::default(),
        source_max_per_minute: None,
    }
}

/// The machine's time, and as much more as a test says.
struct Ahead {
    wall: Arc<Wall>,
    ahead_ns: AtomicU64,
}

impl Clock for Ahead {
    fn monotonic_ns(&self) -> u64 {
        self.wall.monotonic_ns() + self.ahead_ns.load(Ordering::Relaxed)
    }

    fn unix_ns(&self) -> u64 {
        self.wall.unix_ns()
    }
}

/// One process's alert path: deliverers, a gate, what was shown.
pub(crate) struct Process {
    pub(crate) runtime: Runtime,
    clock: Arc<Ahead>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) delivery: Delivery,
    pub(crate) gate: Gate,
    pub(crate) shown: Arc<Mutex<Vec<(u64, std::thread::ThreadId)>>>,
}

impl Process {
    pub(crate) fn start(journal: Box<dyn Journal>, handlers: Vec<Arc<dyn Handler>>, plan: &AlertPlan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Arc::new(Ahead { wall: Wall::new(), ahead_ns: AtomicU64::new(0) });
        let metrics = Metrics::new(clock.clone());
        let shown: Arc<Mutex<Vec<_>>> = Arc::default();
        let seen = shown.clone();
        let on_accepted = Arc::new(move |alert: &Arc<Alert>| {
            seen.lock().unwrap().push((alert.seq, std::thread::current().id()));
        });
        let as_clock: Arc<dyn Clock> = clock.clone();
        let delivery =
            Delivery::start(runtime.handle(), journal, &handlers, plan, &metrics, &as_clock, on_accepted).unwrap();
        delivery.settle_absent();
        let gate = delivery.gate(plan, &"gate".into());
        Self { runtime, clock, metrics, delivery, gate, shown }
    }

    pub(crate) fn raise(&mut self, seq: u64) -> Option<Arc<Alert>> {
        let frame = frame("gate", seq);
        self.gate.raise(&draft(seq), &frame)
    }

    pub(crate) fn drain(&self) -> usize {
        self.runtime.block_on(self.delivery.drain(LIMIT))
    }

    pub(crate) fn shown(&self) -> Vec<u64> {
        self.shown.lock().unwrap().iter().map(|(seq, _)| *seq).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.delivery.outbox().totals()
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.delivery.outbox().trouble(self.clock.monotonic_ns()).map(|trouble| trouble.error)
    }

    /// A line of the metrics page.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let page = self.metrics.render();
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Each alert is in one place: by the totals, by the source's series, and by the queues.
    pub(crate) fn assert_balance(&self) {
        // Read at two moments: until nothing happens in between.
        until("the totals and the queues say the same", || {
            self.totals().pending() == self.delivery.outbox().open() as u64
        });
        let totals = self.totals();
        assert!(totals.delivered + totals.failed() <= totals.accepted + totals.recovered, "{totals:?}");
        let source = self.metrics.source(&"gate".into());
        let of = |outcome| source.alerts(outcome);
        let settled = [
            AlertOutcome::Delivered,
            AlertOutcome::DeadLettered,
            AlertOutcome::Expired,
            AlertOutcome::Dropped,
            AlertOutcome::Suppressed,
            AlertOutcome::Digested,
            AlertOutcome::Refused,
        ];
        let pending = (of(AlertOutcome::Raised) + of(AlertOutcome::Recovered)) - settled.map(of).iter().sum::<u64>();
        assert_eq!(pending, totals.pending(), "the only source has them all");
    }
}

pub(crate) fn draft(key: u64) -> Raised {
    let (rule, key, message) = ("r".into(), key.to_string(), "m".into());
    Raised { rule, key, message, ..Raised::default() }
}

pub(crate) fn frame(source: &str, seq: u64) -> Frame {
    Frame {
        pts_ns: seq * 33_333_333,
        captured_unix_ns: 1_700_000_000_000_000_000 + seq * 33_333_333,
        ..Frame::empty(source, seq)
    }
}

/// Waits until it is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

struct Disk {
    path: PathBuf,
    faults: Arc<Faults>,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("alerts.journal"), faults: Arc::default(), _folder: folder }
    }

    fn open(&self) -> Result<JsonLines, JournalError> {
        JsonLines::open(&self.path, self.faults.clone())
    }

    fn journal(&self) -> Box<dyn Journal> {
        Box::new(self.open().unwrap())
    }

    /// What is pending while a process writes.
    fn written(&self) -> Vec<u64> {
        let text = std::fs::read(&self.path).unwrap();
        Fold::of(&text).0.pending().iter().map(|pending| pending.alert.seq).collect()
    }

    fn pending(&self) -> Vec<u64> {
        self.journal().recover().unwrap().iter().map(|pending| pending.alert.seq).collect()
    }
}

#[test]
fn a_journal_of_json_lines_keeps_to_the_rules_of_the_seam() {
    check_journal(|| {
        let disk = Disk::new();
        move || disk.open()
    })
    .unwrap();
}

/// A journal that does one thing wrong.
struct Wrong {
    lines: JsonLines,
    how: &'static str,
    kept: Vec<Entry>,
}

impl Journal for Wrong {
    fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
        let mut found = self.lines.recover()?;
        match self.how {
            "order" => found.reverse(),
            "failed" => found.iter_mut().for_each(|pending| pending.worst = Settlement::Delivered),
            "handlers" => found.iter_mut().for_each(|pending| pending.handlers.sort()),
            _ => {}
        }
        Ok(found)
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        match self.how {
            "late" => {
                let before = std::mem::replace(&mut self.kept, batch.to_vec());
                self.lines.write(&before)
            }
            "settled" => {
                let accepted = batch.iter().filter(|entry| matches!(entry, Entry::Accepted { .. })).cloned();
                self.lines.write(&accepted.collect::<Vec<_>>())
            }
            "half" => self.lines.write(&batch[..batch.len().div_ceil(2)]),
            _ => self.lines.write(batch),
        }
    }
}

#[test]
fn the_check_finds_a_journal_that_does_one_thing_wrong() {
    for how in ["order", "failed", "handlers", "late", "settled", "half"] {
        let checked = check_journal(|| {
            let disk = Disk::new();
            move || Ok(Wrong { lines: disk.open()?, how, kept: vec![] })
        });
        let broken = checked.expect_err(how);
        assert!(broken.contains("recovers"), "{how}: {broken}");
    }
}

#[test]
fn without_a_journal_an_alert_is_accepted_at_once_on_the_thread_that_raised_it() {
    let told = Told::new("x", Answer::Ok);
    let mut process = Process::start(Box::new(NoJournal), vec![told.clone()], &plan());
    process.raise(1).expect("accepted");
    assert_eq!(*process.shown.lock().unwrap(), [(1, std::thread::current().id())]);
    assert_eq!(process.totals().accepted, 1);
    assert_eq!(process.drain(), 0);
    assert_eq!(told.got(), [1]);
    process.assert_balance();
}

#[test]
fn an_alert_is_accepted_shown_and_delivered_once_it_is_on_the_disk() {
    let (disk, told) = (Disk::new(), Told::new("x", Answer::Ok));
    let mut process = Process::start(disk.journal(), vec![told.clone()], &plan());
    disk.faults.hold();
    (0..10).for_each(|seq| assert!(process.raise(seq).is_some()));
    until("the journal writes", || disk.faults.writes.load(Ordering::Relaxed) == 1);
    assert_eq!((process.totals().accepted, process.totals().pending()), (0, 10));
    assert!(process.shown().is_empty() && told.got().is_empty() && disk.pending().is_empty());
    process.assert_balance();
    disk.faults.release();
    assert_eq!(process.drain(), 0);
    assert_eq!((process.shown(), told.got()), ((0..10).collect(), (0..10).collect()));
    assert_eq!((process.totals().accepted, process.totals().delivered, disk.pending()), (10, 10, vec![]));
    // One batch for the first, one for the nine that gathered meanwhile; settlements gather as well.
    assert!(disk.faults.writes.load(Ordering::Relaxed) < 20);
    process.assert_balance();
}

#[test]
fn a_journal_that_fails_is_tried_again_and_nothing_is_lost_or_doubled() {
    let (disk, told) = (Disk::new(), Told::new("x", Answer::Ok));
    let mut process = Process::start(disk.journal(), vec![told.clone()], &plan());
    disk.faults.broken.store(true, Ordering::Relaxed);
    (0..50).for_each(|seq| assert!(process.raise(seq).is_some()));
    until("the failure shows", || process.trouble().is_some());
    let error = process.trouble().unwrap();
    assert!(error.contains("the disk is full") && !error.contains("C4n4ry"), "{error}");
    assert!(process.shown().is_empty() && told.got().is_empty());
    assert_eq!(process.runtime.block_on(process.delivery.drain(Duration::from_millis(50))), 50);
    disk.faults.broken.store(false, Ordering::Relaxed);
    disk.faults.failing.store(2, Ordering::Relaxed);
    assert_eq!(process.drain(), 0);
    assert_eq!((process.trouble(), told.got()), (None, (0..50).collect()));
    disk.faults.panics.store(true, Ordering::Relaxed);
    process.raise(50);
    assert_eq!(process.drain(), 0);
    assert_eq!((told.got().len(), disk.pending()), (51, vec![]));
    process.assert_balance();
}

#[test]
fn alerts_do_not_wait_for_a_disk_that_fails_for_long_and_are_on_it_once_it_works() {
    let (disk, told, later) = (Disk::new(), Told::new("x", Answer::Ok), Told::new("y", Answer::Hang));
    let mut process = Process::start(disk.journal(), vec![told.clone(), later], &plan());
    disk.faults.broken.store(true, Ordering::Relaxed);
    (0..50).for_each(|seq| assert!(process.raise(seq).is_some()));
    until("the failure shows", || process.trouble().is_some());
    assert!(told.got().is_empty(), "they wait for a moment");
    process.clock.ahead_ns.store(11_000_000_000, Ordering::Relaxed);
    until("they are delivered", || told.got().len() == 50);
    (50..60).for_each(|seq| assert!(process.raise(seq).is_some()));
    until("so are later ones", || told.got().len() == 60);
    let trouble = process.trouble().unwrap();
    assert!(trouble.contains("the disk is full") && trouble.contains("not kept over a restart"), "{trouble}");
    assert_eq!((disk.written(), process.shown()), (vec![], (0..60).collect()));
    process.assert_balance();
    disk.faults.broken.store(false, Ordering::Relaxed);
    until("the disk has what one handler has not", || disk.written().len() == 60);
    until("the journal works", || process.trouble().is_none());
    // An alert waits for the disk again.
    disk.faults.broken.store(true, Ordering::Relaxed);
    process.raise(60);
    until("the failure shows", || process.trouble().is_some());
    assert_eq!(told.got().len(), 60);
    disk.faults.broken.store(false, Ordering::Relaxed);
    until("it is delivered", || told.got().len() == 61);
    assert_eq!(disk.written(), (0..=60).collect::<Vec<_>>());
}

#[test]
fn what_is_owed_to_a_disk_that_fails_is_not_said_to_be_written() {
    let (disk, told) = (Disk::new(), Told::new("x", Answer::Ok));
    let mut process = Process::start(disk.journal(), vec![told.clone()], &plan());
    disk.faults.broken.store(true, Ordering::Relaxed);
    let alert = process.raise(0).expect("taken");
    until("the failure shows", || process.trouble().is_some());
    process.clock.ahead_ns.store(11_000_000_000, Ordering::Relaxed);
    until("it is delivered", || told.got().len() == 1 && process.shown() == [0]);
    let outbox = process.delivery.outbox();
    outbox.change_case(&alert.id, CaseStep::Acknowledge, By::new("ops", 1, None)).unwrap();
    let is_written = || process.runtime.block_on(outbox.case_written(&alert.id, LIMIT));
    let began = Instant::now();
    assert!(!is_written() && began.elapsed() < LIMIT, "it is owed, and nobody waits for that");
    disk.faults.broken.store(false, Ordering::Relaxed);
    until("the disk has it", is_written);
}

#[test]
fn decisions_that_nobody_waits_for_are_written_together() {
    let disk = Disk::new();
    let mut process = Process::start(disk.journal(), vec![Told::new("x", Answer::Ok)], &plan());
    let writes = || disk.faults.writes.load(Ordering::Relaxed);
    let weak = Detection::new("person", 0, 0.3, BBox { x: 0.1, y: 0.1, width: 0.2, height: 0.2 });
    let began = Instant::now();
    for batch in 1..=3 {
        let before = writes();
        // Too weak: a decision, and no alert.
        for key in 0..10 {
            let raised = Raised { detections: vec![weak.clone()], ..draft(100 * batch + key) };
            assert!(process.gate.raise(&raised, &frame("gate", batch)).is_none());
        }
        until("they are written", || writes() > before);
    }
    assert!(began.elapsed() >= Duration::from_millis(500), "each batch waits 200 ms for more");
    // An alert does not wait, and what gathered is written with it.
    process.raise(7);
    assert_eq!(process.drain(), 0);
}

#[test]
fn what_waits_for_a_broken_journal_is_bounded_and_what_is_refused_is_counted() {
    let (disk, told) = (Disk::new(), Told::new("x", Answer::Ok));
    let mut process = Process::start(disk.journal(), vec![told.clone()], &plan());
    disk.faults.hold();
    let taken = (0..UNWRITTEN_MAX as u64 + 100).filter(|seq| process.raise(*seq).is_some()).count();
    assert_eq!((taken, process.totals().refused), (UNWRITTEN_MAX, 100));
    assert_eq!(process.metric("dsengine_alert_undelivered_total{reason=\"journal_full\"}"), Some(100.0));
    process.assert_balance();
    disk.faults.release();
    assert_eq!(process.drain(), 0);
    assert_eq!(told.got().len(), UNWRITTEN_MAX);
    // The policy has not counted the refused ones as sent.
    assert!(process.raise(UNWRITTEN_MAX as u64 + 50).is_some());
    process.assert_balance();
}

#[test]
fn the_next_process_delivers_what_the_former_one_had_accepted() {
    let disk = Disk::new();
    {
        let (hung, refusing) = (Told::new("hung", Answer::Hang), Told::new("refusing", Answer::Never));
        let handlers: Vec<Arc<dyn Handler>> = vec![hung, refusing, Told::new("gone", Answer::Hang)];
        let mut process = Process::start(disk.journal(), handlers, &plan());
        (0..20).for_each(|seq| drop(process.raise(seq)));
        until("one has refused them all", || {
            let standing = process.delivery.outbox().standing("refusing").unwrap();
            standing.given_up() == 20 && process.delivery.outbox().unwritten() == 0
        });
        process.assert_balance();
    }
    assert_eq!(disk.pending(), (0..20).collect::<Vec<_>>());
    let (hung, late) = (Told::new("hung", Answer::Ok), Told::new("late", Answer::Ok));
    let mut process = Process::start(disk.journal(), vec![hung.clone(), late.clone()], &plan());
    assert_eq!(process.totals().recovered, 20);
    // The same recording once more: what waits is a duplicate, the rest is new.
    process.raise(100).expect("new");
    assert_eq!(process.drain(), 0);
    assert_eq!((hung.got(), late.got()), ((0..20).chain([100]).collect(), vec![100]), "in order, each to its own");
    let totals = process.totals();
    assert_eq!((totals.accepted, totals.delivered, totals.failed()), (1, 1, 20), "each by its worst handler");
    assert_eq!(process.metric("dsengine_alert_undelivered_total{reason=\"handler_removed\"}"), Some(20.0));
    assert_eq!(process.shown(), [100], "the others were shown by their own process");
    process.assert_balance();
    drop(process);
    assert!(disk.pending().is_empty());
}

#[test]
fn an_alert_that_waits_since_a_former_process_is_not_accepted_twice() {
    let disk = Disk::new();
    {
        let mut process = Process::start(disk.journal(), vec![Told::new("x", Answer::Hang)], &plan());
        process.raise(7).unwrap();
        until("written", || process.totals().accepted == 1);
    }
    let hung = Told::new("x", Answer::Hang);
    let mut process = Process::start(disk.journal(), vec![hung], &plan());
    assert!(process.raise(7).is_none(), "the same alert by its id");
    assert_eq!((process.totals().suppressed, process.totals().pending()), (1, 1));
    process.assert_balance();
}

#[test]
fn a_start_that_fails_settles_nothing() {
    let disk = Disk::new();
    {
        let mut process = Process::start(disk.journal(), vec![Told::new("x", Answer::Hang)], &plan());
        process.raise(1).unwrap();
        until("written", || process.totals().accepted == 1);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock: Arc<dyn Clock> = Wall::new();
    let metrics = Metrics::new(clock.clone());
    let nobody = Arc::new(|_: &Arc<Alert>| {});
    let start = |handlers: &[Arc<dyn Handler>]| {
        Delivery::start(runtime.handle(), disk.journal(), handlers, &plan(), &metrics, &clock, nobody.clone())
    };
    let delivery = start(&[]).unwrap();
    delivery.add(Told::new("x", Answer::Hang)).unwrap();
    // Something else cannot be built: what was added is taken down again.
    delivery.remove("x", Duration::ZERO);
    drop(delivery);
    assert_eq!(disk.pending(), [1]);
    let twice = start(&[Told::new("x", Answer::Ok), Told::new("x", Answer::Ok)]).err().expect("two of one name");
    assert!(twice.to_string().contains("two handlers named x"), "{twice}");
    assert_eq!(disk.pending(), [1]);
}

#[test]
fn a_journal_that_cannot_be_read_is_an_error_at_the_start() {
    struct Unreadable;
    impl Journal for Unreadable {
        fn recover(&mut self) -> Result<Vec<Pending>, JournalError> {
            Err(JournalError("line 7 is torn".into()))
        }
        fn write(&mut self, _: &[Entry]) -> Result<(), JournalError> {
            Ok(())
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock: Arc<dyn Clock> = Wall::new();
    let metrics = Metrics::new(clock.clone());
    let nobody = Arc::new(|_: &Arc<Alert>| {});
    let started = Delivery::start(runtime.handle(), Box::new(Unreadable), &[], &plan(), &metrics, &clock, nobody).err();
    assert!(started.expect("an error").to_string().contains("line 7 is torn"));
}

#[test]
fn stopping_does_not_wait_for_a_disk_that_hangs_longer_than_it_may() {
    let (disk, told) = (Disk::new(), Told::new("x", Answer::Ok));
    let mut process = Process::start(disk.journal(), vec![told], &plan());
    disk.faults.hold();
    process.raise(1);
    let begun = Instant::now();
    process.delivery.stop(Duration::from_millis(100));
    assert!(begun.elapsed() < LIMIT / 2);
    disk.faults.release();
}

/// This test binary again, doing only [`accepts_until_it_is_killed`].
fn killed(path: &Path) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::accepts_until_it_is_killed", "--nocapture"])
        .env("DSENGINE_TEST_JOURNAL", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let parse = |line: &str| line.strip_prefix("accepted ").and_then(|seq| seq.parse::<u64>().ok());
    let most = fastrand::usize(1..60);
    let mut said = lines.by_ref().filter_map(|line| parse(&line.unwrap()));
    let mut accepted: Vec<u64> = said.by_ref().take(most).collect();
    assert_eq!(accepted.len(), most, "it goes on until it is killed");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said, and nobody had read yet.
    while let Some(Ok(line)) = lines.next() {
        accepted.extend(parse(&line));
    }
    accepted
}

#[test]
fn what_a_killed_process_had_accepted_is_recovered() {
    for round in 0..15 {
        fastrand::seed(round);
        let disk = Disk::new();
        let accepted = killed(&disk.path);
        let recovered = disk.journal().recover().unwrap();
        let hanging: Vec<u64> =
            recovered.iter().filter(|p| p.handlers.contains(&"hanging".into())).map(|p| p.alert.seq).collect();
        assert!(hanging.len() >= accepted.len(), "round {round}: {} of {}", hanging.len(), accepted.len());
        assert_eq!(hanging, (0..hanging.len() as u64).collect::<Vec<_>>(), "in order, none missing");
        assert_eq!(accepted, (0..accepted.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn accepts_until_it_is_killed() {
    let Some(path) = std::env::var_os("DSENGINE_TEST_JOURNAL") else {
        // Not in the child: the test above runs this one.
        assert!(std::env::args().count() > 0);
        return;
    };
    let journal = JsonLines::open(Path::new(&path), Arc::default()).unwrap();
    let handlers: [Arc<dyn Handler>; 2] = [Told::new("quick", Answer::Ok), Told::new("hanging", Answer::Hang)];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock: Arc<dyn Clock> = Wall::new();
    let metrics = Metrics::new(clock.clone());
    let say = Arc::new(|alert: &Arc<Alert>| println!("accepted {}", alert.seq));
    let delivery =
        Delivery::start(runtime.handle(), Box::new(journal), &handlers, &plan(), &metrics, &clock, say).unwrap();
    delivery.settle_absent();
    let mut gate = delivery.gate(&plan(), &"gate".into());
    // The test runner has begun a line. Nobody who is not killed goes on for ever.
    println!();
    let end = Instant::now() + LIMIT;
    for seq in (0..).take_while(|_| Instant::now() < end) {
        while Instant::now() < end && gate.raise(&draft(seq), &frame("gate", seq)).is_none() {
            // Its outbox is full: nothing more is to come, and somebody will kill it.
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}
