//! The real program on a disk that loses power, fails, does not answer, is full or read-only: `tests/doubles/disk`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Dsengine, get, root, sample, skip, soak, until, write};
use crate::outbox::{Away, LIMIT, LIVE, dsengine, folder, listed, logged, pending};
use crate::webhooks::Peer;

/// What the double ends a process with.
const POWER_LOST: Option<i32> = Some(137);
/// Operations and fsyncs that a start takes at most; the faults meant for a run come later.
const START_OPERATIONS: u32 = 100;
const START_FSYNCS: u32 = 15;

/// The preloaded double, built once; `None`, said loudly, where there is no C compiler.
fn double(test: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (part, library) = (folder.join(format!("disk-{}.part", std::process::id())), folder.join("disk.so"));
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"]).arg(&part);
        cc.arg(root().join("tests/doubles/disk/disk.c")).args(["-ldl", "-lpthread"]);
        assert!(cc.status().ok()?.success(), "the double is not compiled");
        std::fs::rename(&part, &library).unwrap();
        Some(library)
    });
    if built.is_none() {
        skip(test, "there is no cc");
    }
    built.as_deref()
}

/// A configuration whose state is on such a disk, and a receiver that is away most of the time.
struct Site {
    dir: tempfile::TempDir,
    receiver: Away,
    double: &'static Path,
}

impl Site {
    fn new(test: &str) -> Option<Self> {
        let double = double(test)?;
        let receiver = Away::new();
        let dir = folder(LIVE, "durability: sync", &receiver.url());
        Some(Self { dir, receiver, double })
    }

    /// The same with a page.
    fn with_page(test: &str) -> Option<Self> {
        let site = Self::new(test)?;
        let config = std::fs::read_to_string(site.path().join("c.yaml")).unwrap();
        write(site.path(), "c.yaml", &config.replace("{ enabled: false }", "{ prometheus: { port: 0 } }"));
        Some(site)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A run with these faults of its disk.
    fn run(&self, faults: &[(&str, String)]) -> Dsengine {
        let state = self.path().canonicalize().unwrap().join("state");
        let run = dsengine(self.path(), &["run"]).env("LD_PRELOAD", self.double.to_str().unwrap());
        let run = run.env("DISK_SHIM_DIR", state.to_str().unwrap());
        faults.iter().fold(run, |run, (name, value)| run.env(&format!("DISK_SHIM_{name}"), value))
    }

    /// A run until power is lost.
    #[track_caller]
    fn run_until_power_is_lost(&self, faults: &[(&str, String)]) {
        let mut run = self.run(faults).start();
        let status = run.end(LIMIT).and_then(|status| status.code());
        assert_eq!(status, POWER_LOST, "{faults:?}\n{}", run.seen.join("\n"));
    }

    /// A file whose existence the double looks at.
    fn sign(&self, name: &str) -> PathBuf {
        self.path().canonicalize().unwrap().join(name)
    }

    /// Databases that were set aside because they were damaged.
    fn set_aside(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.to_string_lossy().contains(".damaged-")).collect()
    }
}

#[test]
fn whatever_is_accepted_arrives_however_often_power_is_lost() {
    let Some(site) = Site::new("disk::power") else { return };
    let losses: u32 = if soak() { 500 } else { 20 };
    let mut random = fastrand::Rng::with_seed(8);
    for seed in 0..losses {
        // At any moment, that of a start too.
        let operation = random.u32(1..300);
        site.run_until_power_is_lost(&[("SEED", seed.to_string()), ("CRASH_AFTER", operation.to_string())]);
    }
    let accepted = site.receiver.takes_all(site.path());
    assert!(accepted > losses as usize, "{accepted} alerts over {losses} losses");
    assert_eq!(site.set_aside(), [] as [PathBuf; 0], "power loss damages no database");
}

/// The double loses what is not synced: with a disk that only says that it synced, alerts are lost.
#[test]
fn a_disk_that_lies_about_fsync_loses_alerts() {
    let loses = |seed: u32| {
        let site = Site::new("disk::lies")?;
        let operation = 3 * START_OPERATIONS;
        site.run_until_power_is_lost(&[
            ("SEED", seed.to_string()),
            ("CRASH_AFTER", operation.to_string()),
            ("FSYNC_LIES", "1".into()),
        ]);
        let accepted = logged(site.path());
        assert!(!accepted.is_empty());
        let list = listed(site.path(), &["--pending"]);
        let kept: BTreeSet<String> = if list.status.success() { pending(site.path()) } else { BTreeSet::new() };
        Some(site.receiver.missing(&accepted).into_iter().any(|id| !kept.contains(id)))
    };
    let losses: Option<Vec<bool>> = (0..6).map(loses).collect();
    assert!(losses.is_none_or(|losses| losses.contains(&true)), "the double loses nothing");
}

/// The page cache holds what a failed fsync did not write: it reads well, and the next fsync succeeds.
#[test]
fn what_a_failed_fsync_did_not_write_is_not_taken_for_written() {
    let Some(site) = Site::new("disk::fsync") else { return };
    let losses: u32 = if soak() { 200 } else { 8 };
    let mut random = fastrand::Rng::with_seed(3);
    for seed in 0..losses {
        let first = START_FSYNCS + random.u32(0..10);
        // One alone is mended by what follows it; the second is the one of the reopening.
        let last = first + seed % 4;
        let write = 5 * START_OPERATIONS + random.u32(0..20);
        let operation = 4 * START_OPERATIONS + random.u32(0..400);
        site.run_until_power_is_lost(&[
            ("SEED", seed.to_string()),
            ("CRASH_AFTER", operation.to_string()),
            ("FSYNC_FAIL", format!("{first}-{last}")),
            ("WRITE_FAIL", format!("{write}-{}", write + seed % 3)),
        ]);
    }
    let accepted = site.receiver.takes_all(site.path());
    assert!(accepted > losses as usize, "{accepted} alerts over {losses} losses");
    assert_eq!(site.set_aside(), [] as [PathBuf; 0], "a failed fsync damages no database");
}

#[test]
fn a_lane_never_waits_for_a_disk() {
    let Some(site) = Site::with_page("disk::slow") else { return };
    let held = site.sign("held");
    let faults = [("FSYNC_DELAY_MS", "500".to_owned()), ("FSYNC_WHILE", held.to_str().unwrap().to_owned())];
    let mut run = site.run(&faults).start();
    let page = run.page();
    let judged = || sample(&get(&page, "/metrics").1, "dsengine_frames_total{").unwrap_or(0.0);
    until("alerts flow, a disk's half second apart", || logged(site.path()).len() >= 20);
    std::fs::write(&held, "").unwrap();
    // One batch is in its fsync, and the alerts of its half second may still go out.
    let mut known = logged(site.path()).len();
    let mut from = judged();
    until("the disk does not answer, and sixty frames are judged", || {
        let now = logged(site.path()).len();
        if now > known {
            (known, from) = (now, judged());
        }
        judged() >= from + 60.0
    });
    assert_eq!(logged(site.path()).len(), known, "nothing is accepted before it is written");
    std::fs::remove_file(&held).unwrap();
    until("what waited arrives", || logged(site.path()).len() >= known + 60);
    run.signal("KILL");
    drop(run);
    site.receiver.takes_all(site.path());
}

/// A run whose disk cannot be written for a while, from `begins` on: it is said in /health, passes, and costs no alert.
#[track_caller]
fn trouble_passes(site: &Site, said: &str, fault: &[(&str, String)], begins: impl Fn(), passes: impl Fn()) {
    let before = logged(site.path()).len();
    let mut run = site.run(fault).start();
    let page = run.page();
    until("alerts are accepted", || before > 0 || !logged(site.path()).is_empty());
    begins();
    let health = || get(&page, "/health").1;
    until("it is said", || health().contains("the alert journal cannot be written") && health().contains(said));
    let known = logged(site.path()).len();
    passes();
    until("it has passed", || !health().contains("the alert journal") && logged(site.path()).len() > known + 30);
    run.signal("KILL");
    drop(run);
}

#[test]
fn a_full_disk_is_said_and_costs_no_alert_once_there_is_room() {
    let Some(site) = Site::with_page("disk::full") else { return };
    let freed = site.sign("freed");
    // In the middle of a run, and already at its start.
    for bytes in [400_000, 0] {
        let fault = [("FULL_AFTER_BYTES", bytes.to_string()), ("FREED", freed.to_str().unwrap().to_owned())];
        let begins = || assert!(!freed.exists());
        trouble_passes(&site, "full", &fault, begins, || std::fs::write(&freed, "").unwrap());
        std::fs::remove_file(&freed).unwrap();
    }
    site.receiver.takes_all(site.path());
    assert_eq!(site.set_aside(), [] as [PathBuf; 0], "a full disk damages no database");
}

#[test]
fn a_disk_that_turns_read_only_is_said_and_costs_no_alert_once_it_can_be_written() {
    let Some(site) = Site::with_page("disk::read_only") else { return };
    let sign = site.sign("read-only");
    let fault = [("READ_ONLY_WHILE", sign.to_str().unwrap().to_owned())];
    let (begins, passes) = (|| std::fs::write(&sign, "").unwrap(), || std::fs::remove_file(&sign).unwrap());
    trouble_passes(&site, "Read-only", &fault, begins, passes);
    site.receiver.takes_all(site.path());
    assert_eq!(site.set_aside(), [] as [PathBuf; 0], "a read-only disk damages no database");
}

#[test]
fn in_a_read_only_folder_alerts_are_kept_in_memory_and_that_is_said() {
    const MOUNT: &str = "mount -t tmpfs -o ro none state && exec \"$@\"";
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let dir = folder("trace:t.jsonl", "", &peer.url("/"));
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let can = Command::new("unshare").args(["-m", "sh", "-c", MOUNT, "sh", "true"]).current_dir(dir.path()).output();
    if !can.is_ok_and(|can| can.status.success()) {
        return skip("disk::mount", "no folder can be mounted here");
    }
    let run = dsengine(dir.path(), &["run"]).by("unshare", &["-m", "sh", "-c", MOUNT, "sh"]).run();
    assert_eq!(logged(dir.path()).len(), 40, "{}", run.stderr);
    assert!(
        run.stderr.contains("warning: alerts that are not delivered when this process ends are lost"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("Read-only file system"), "{}", run.stderr);
}
