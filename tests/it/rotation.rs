//! The file handler's promise: every alert is in a file once, whatever moves the files, and a day is the zone's.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dsengine::alert::Handler;
use dsengine::config::{FileFormat, HandlerKind, HandlerPlan};
use dsengine::handlers;
use dsengine::types::{Alert, AlertId, Clock, Period, TimeZone};

use crate::alerts::alert;

/// A clock that stands.
#[derive(Default)]
struct Still(AtomicU64);

impl Clock for Still {
    fn monotonic_ns(&self) -> u64 {
        0
    }
    fn unix_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn handler(path: &Path, max_bytes: u64, every: Option<Period>, clock: &Arc<Still>) -> Arc<dyn Handler> {
    let clock: Arc<dyn Clock> = clock.clone();
    let kind = HandlerKind::File { path: path.into(), max_bytes, backups: 1_000, format: FileFormat::Json, every };
    handlers::build(&HandlerPlan::new("file", kind), &clock).unwrap()
}

/// In memory where there is such a folder: each rotation waits for the disk.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The sequence numbers of all records in a folder, in order, and the number of files.
fn records(folder: &Path) -> (Vec<u64>, usize) {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut all = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{} ends in half a record", file.display());
        all.extend(text.lines().map(|line| serde_json::from_str::<Alert>(line).expect("a whole record").seq));
    }
    all.sort_unstable();
    (all, files.len())
}

#[test]
fn a_hundred_thousand_alerts_through_a_thousand_rotations_are_in_the_files_once_each() {
    const COUNT: u64 = 100_000;
    let one = (*alert("7")).clone();
    let alert = |seq: u64| Alert { id: AlertId::new(seq, [0; 10]), seq: 1_000_000 + seq, ..one.clone() };
    // A hundred to a file, and the newline of each.
    let bytes = 100 * (serde_json::to_vec(&alert(0)).unwrap().len() as u64 + 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for is_moved in [false, true] {
        let (folder, over) = (folder(), AtomicBool::new(false));
        let path = folder.path().join("alerts.jsonl");
        let file = handler(&path, bytes, None, &Arc::default());
        let moves = std::thread::scope(|scope| {
            // What logrotate does without `copytruncate`.
            let mover = scope.spawn(|| {
                let mut moves = 0;
                while is_moved && !over.load(Ordering::Relaxed) {
                    let is_there = fs::metadata(&path).is_ok_and(|found| found.len() > bytes / 2);
                    let to = folder.path().join(format!("moved-{moves}"));
                    moves += usize::from(is_there && fs::rename(&path, to).is_ok());
                    std::thread::yield_now();
                }
                moves
            });
            for seq in 0..COUNT {
                runtime.block_on(file.deliver(&alert(seq))).unwrap();
            }
            over.store(true, Ordering::Relaxed);
            mover.join().unwrap()
        });
        let (all, files) = records(folder.path());
        assert!(all.iter().copied().eq(1_000_000..1_000_000 + COUNT), "{} records, {moves} moves", all.len());
        assert!(if is_moved { moves > 0 } else { files == 1_000 }, "{files} files, {moves} moves");
    }
}

#[test]
fn a_daily_file_rotates_at_midnight_of_its_zone() {
    let (folder, clock) = (folder(), Arc::<Still>::default());
    let path = folder.path().join("alerts.jsonl");
    // 2026-03-28, 22:59 UTC: in Vienna it is 23:59.
    let second = 1_000_000_000;
    let minute = 1_774_738_740 * second;
    clock.0.store(minute, Ordering::Relaxed);
    let day = Some(Period::Day(TimeZone::of("Europe/Vienna").unwrap()));
    let file = handler(&path, 1_000_000, day, &clock);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let deliver = |at_s: u64| {
        clock.0.store(minute + at_s * second, Ordering::Relaxed);
        runtime.block_on(file.deliver(&alert("7"))).unwrap();
        fs::read_to_string(&path).unwrap().lines().count()
    };
    let lines = [deliver(0), deliver(59), deliver(60), deliver(3_660), deliver(86_400 - 3_600)];
    assert_eq!(lines, [1, 2, 1, 2, 3], "one o'clock UTC is no midnight there, and a day with 23 hours goes on");
    assert_eq!(deliver(86_400 - 3_540), 1, "the next midnight comes an hour earlier in UTC");
}
