//! Every way in which files are saved becomes one change with the right content.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsengine::types::Clock;
use dsengine::watch::Watcher;
use tempfile::TempDir;

/// Longest wait for a change that must come.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Wall(Instant);

impl Wall {
    #[allow(clippy::disallowed_methods, reason = "the tests' one real clock")]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Wall {
    fn monotonic_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
    #[allow(clippy::disallowed_methods, reason = "the tests' one real clock")]
    fn unix_ns(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    }
}

struct Saved {
    folder: TempDir,
    path: PathBuf,
    watcher: Watcher,
}

impl Saved {
    /// A watched file with content `v0`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rule.lua");
        fs::write(&path, "v0").unwrap();
        let watcher = Watcher::start(Wall::new()).unwrap();
        watcher.add(&path, b"v0");
        let saved = Self { folder, path, watcher };
        // The first change proves that the watch stands.
        fs::write(&saved.path, "ready").unwrap();
        saved.expect("ready");
        saved
    }

    fn expect(&self, content: &str) {
        let changed = self.watcher.changes().recv_timeout(LIMIT).expect("a change within the limit");
        assert_eq!((changed.path.as_path(), str(&changed.bytes)), (self.path.as_path(), content));
    }

    /// Everything until the content is `last`, which must be the end.
    fn expect_ending_on(&self, last: &str) -> usize {
        let mut seen = 0;
        loop {
            let changed = self.watcher.changes().recv_timeout(LIMIT).expect("the last content within the limit");
            seen += 1;
            if str(&changed.bytes) == last {
                return seen;
            }
        }
    }

    fn nothing_more(&self) {
        // One more save through the same path: were anything else under way, it would come first.
        fs::write(&self.path, "marker").unwrap();
        self.expect("marker");
    }
}

fn str(bytes: &Option<Arc<[u8]>>) -> &str {
    std::str::from_utf8(bytes.as_ref().expect("it is there")).unwrap()
}

fn rename_over(path: &Path, content: &str) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, content).unwrap();
    fs::rename(&temporary, path).unwrap();
}

#[test]
fn truncate_and_write_is_one_change() {
    let saved = Saved::new();
    fs::write(&saved.path, "v1").unwrap();
    saved.expect("v1");
    saved.nothing_more();
}

/// Writes three pieces with pauses well beyond the quiet time after a close and far below that of an open file, with
/// `meanwhile` in each pause. Tells whether the pauses were what they should be: a machine that stalls for longer makes
/// half a file look finished.
fn write_slowly(path: &Path, watcher: &Watcher, meanwhile: impl Fn(usize)) -> bool {
    let clock = Wall::new();
    let mut file = File::create(path).unwrap();
    for (i, piece) in ["one ", "two ", "three"].into_iter().enumerate() {
        let start = clock.monotonic_ns();
        file.write_all(piece.as_bytes()).unwrap();
        meanwhile(i);
        let early = watcher.changes().recv_timeout(Duration::from_millis(60)).ok().filter(|c| c.path == path);
        if clock.monotonic_ns() - start > 250_000_000 {
            return false;
        }
        assert_eq!(early, None, "half a file is no change");
    }
    true
}

#[test]
fn a_slow_writer_is_waited_for_until_it_closes() {
    let written = (0..10).any(|_| {
        let saved = Saved::new();
        let in_time = write_slowly(&saved.path, &saved.watcher, |_| ());
        if in_time {
            saved.expect("one two three");
            saved.nothing_more();
        }
        in_time
    });
    assert!(written, "this machine stalls all the time");
}

#[test]
fn a_neighbour_that_is_saved_does_not_hurry_a_slow_writer() {
    let written = (0..10).any(|_| {
        let saved = Saved::new();
        let other = saved.folder.path().join("other.lua");
        fs::write(&other, "o").unwrap();
        saved.watcher.add(&other, b"o");
        let in_time = write_slowly(&saved.path, &saved.watcher, |i| fs::write(&other, ["o1", "o2", "o3"][i]).unwrap());
        if in_time {
            let mut changes = std::iter::from_fn(|| saved.watcher.changes().recv_timeout(LIMIT).ok());
            assert!(changes.any(|c| c.path == saved.path && str(&c.bytes) == "one two three"));
        }
        in_time
    });
    assert!(written, "this machine stalls all the time");
}

/// Longer than any settling.
const SILENCE: Duration = Duration::from_millis(1500);

#[test]
fn a_file_that_is_open_for_writing_is_not_read_however_long_its_writer_is_silent() {
    let saved = Saved::new();
    let mut file = File::create(&saved.path).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(saved.watcher.changes().recv_timeout(SILENCE).ok(), None);
    file.write_all(b" and half").unwrap();
    // An event that says nothing of its writer.
    fs::set_permissions(&saved.path, fs::metadata(&saved.path).unwrap().permissions()).unwrap();
    assert_eq!(saved.watcher.changes().recv_timeout(SILENCE).ok(), None);
    drop(file);
    saved.expect("half and half");
    saved.nothing_more();
}

#[test]
fn a_writer_that_ended_without_an_event_is_not_waited_for_without_end() {
    let saved = Saved::new();
    let next = saved.folder.path().join("next");
    fs::write(&next, "linked").unwrap();
    fs::remove_file(&saved.path).unwrap();
    // A link is made without being opened: no close will come.
    fs::hard_link(&next, &saved.path).unwrap();
    saved.expect("linked");
    saved.nothing_more();
}

#[test]
fn what_is_put_into_a_watched_folder_and_taken_out_is_a_change_once_it_is_written() {
    let saved = Saved::new();
    let plugins = saved.folder.path().join("plugins.d");
    fs::create_dir(&plugins).unwrap();
    saved.watcher.add(&plugins, b"");
    let next = |limit| saved.watcher.changes().recv_timeout(limit).ok().filter(|change| change.path == plugins);
    let list = || str(&next(LIMIT).expect("a change of the folder").bytes).to_owned();
    let mut file = File::create(plugins.join("rule.lua")).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(next(SILENCE), None, "a file that is still written");
    drop(file);
    assert!(list().contains("rule.lua"));
    fs::write(plugins.join("rule.lua"), "other").unwrap();
    assert!(list().contains("rule.lua"), "a file that is saved again");
    fs::create_dir(plugins.join("count")).unwrap();
    rename_over(&plugins.join("count/plugin.toml"), "x");
    assert!(list().contains("count/plugin.toml"));
    fs::remove_file(plugins.join("rule.lua")).unwrap();
    assert!(!list().contains("rule.lua"));
    fs::write(plugins.join(".rule.lua.swp"), "editors").unwrap();
    saved.nothing_more();
}

#[test]
fn a_link_that_is_turned_to_another_name_is_a_change() {
    let saved = Saved::new();
    let (one, two) = (saved.folder.path().join("one.lua"), saved.folder.path().join("two.lua"));
    fs::write(&one, "one").unwrap();
    fs::write(&two, "two").unwrap();
    fs::remove_file(&saved.path).unwrap();
    symlink("one.lua", &saved.path).unwrap();
    saved.expect("one");
    // The file behind the link is still open.
    let mut file = File::create(&one).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(saved.watcher.changes().recv_timeout(SILENCE).ok(), None);
    drop(file);
    saved.expect("half");
    fs::remove_file(&saved.path).unwrap();
    symlink("two.lua", &saved.path).unwrap();
    saved.expect("two");
}

#[test]
fn an_atomic_rename_is_one_change() {
    let saved = Saved::new();
    rename_over(&saved.path, "v1");
    saved.expect("v1");
    rename_over(&saved.path, "v2");
    saved.expect("v2");
    saved.nothing_more();
}

#[test]
fn an_editor_with_backup_and_swap_files_is_one_change() {
    let saved = Saved::new();
    // As vim does it: swap file beside, old file away, new file, swap file gone.
    let swap = saved.folder.path().join(".rule.lua.swp");
    fs::write(&swap, "swap").unwrap();
    let backup = saved.folder.path().join("rule.lua~");
    fs::rename(&saved.path, &backup).unwrap();
    fs::write(&saved.path, "v1").unwrap();
    fs::remove_file(&backup).unwrap();
    fs::remove_file(&swap).unwrap();
    saved.expect("v1");
    saved.nothing_more();
}

#[test]
fn writing_in_place_without_truncating_is_a_change() {
    let saved = Saved::new();
    let mut file = OpenOptions::new().write(true).open(&saved.path).unwrap();
    file.seek(std::io::SeekFrom::Start(0)).unwrap();
    file.write_all(b"READY").unwrap();
    drop(file);
    saved.expect("READY");
    saved.nothing_more();
}

#[test]
fn a_file_that_is_gone_is_said_once_and_its_coming_back_is_a_change_whatever_stands_in_it() {
    let saved = Saved::new();
    fs::remove_file(&saved.path).unwrap();
    let gone = saved.watcher.changes().recv_timeout(LIMIT).unwrap();
    assert_eq!((gone.path.as_path(), gone.bytes), (saved.path.as_path(), None));
    fs::write(&saved.path, "ready").unwrap();
    saved.expect("ready");
    // Away for the moment of a save, it is not gone.
    let away = saved.folder.path().join("away");
    fs::rename(&saved.path, &away).unwrap();
    fs::rename(&away, &saved.path).unwrap();
    saved.nothing_more();
}

#[test]
fn a_file_that_was_never_there_is_a_change_when_it_comes() {
    let saved = Saved::new();
    let later = saved.folder.path().join("lib/later.lua");
    saved.watcher.add(&later, b"");
    saved.nothing_more();
    fs::create_dir(later.parent().unwrap()).unwrap();
    fs::write(&later, "here").unwrap();
    let changed = saved.watcher.changes().recv_timeout(LIMIT).unwrap();
    assert_eq!((changed.path.as_path(), str(&changed.bytes)), (later.as_path(), "here"));
}

#[test]
fn saving_the_same_content_again_is_no_change() {
    let saved = Saved::new();
    fs::write(&saved.path, "ready").unwrap();
    saved.nothing_more();
}

#[test]
fn a_burst_of_saves_ends_on_its_last_content() {
    let saved = Saved::new();
    for round in 0..5 {
        for i in 0..200 {
            let content = format!("{round} {i}");
            if i % 2 == 0 { fs::write(&saved.path, &content).unwrap() } else { rename_over(&saved.path, &content) }
        }
        let seen = saved.expect_ending_on(&format!("{round} 199"));
        assert!(seen < 100, "a burst is not {seen} changes");
    }
    saved.nothing_more();
}

#[test]
fn a_busy_neighbour_does_not_put_a_change_off() {
    let saved = Saved::new();
    let mut log = File::create(saved.folder.path().join("other.log")).unwrap();
    fs::write(&saved.path, "v1").unwrap();
    let mut waited = 0;
    let changed = loop {
        // The neighbour writes every few milliseconds, without end.
        log.write_all(b"line\n").unwrap();
        match saved.watcher.changes().recv_timeout(Duration::from_millis(5)) {
            Ok(changed) => break changed,
            Err(_) if waited < 1_000 => waited += 1,
            Err(_) => panic!("put off for five seconds"),
        }
    };
    assert_eq!(str(&changed.bytes), "v1");
}

#[test]
fn a_symlink_flip_is_a_change() {
    // As configuration mounts do it: rule.lua -> ..data/rule.lua, ..data -> ..1, flipped to ..2.
    let folder = tempfile::tempdir().unwrap();
    for (version, content) in [("..1", "v1"), ("..2", "v2"), ("..3", "v3")] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("rule.lua"), content).unwrap();
    }
    let flip = |to: &str| {
        symlink(to, folder.path().join("..tmp")).unwrap();
        fs::rename(folder.path().join("..tmp"), folder.path().join("..data")).unwrap();
    };
    flip("..1");
    let path = folder.path().join("rule.lua");
    symlink("..data/rule.lua", &path).unwrap();
    let watcher = Watcher::start(Wall::new()).unwrap();
    watcher.add(&path, b"v1");
    for (version, content) in [("..2", "v2"), ("..3", "v3")] {
        flip(version);
        let changed = watcher.changes().recv_timeout(LIMIT).unwrap();
        assert_eq!((changed.path.as_path(), str(&changed.bytes)), (path.as_path(), content));
    }
    // And a write through to the file behind both links.
    fs::write(folder.path().join("..3/rule.lua"), "v4").unwrap();
    assert_eq!(str(&watcher.changes().recv_timeout(LIMIT).unwrap().bytes), "v4");
}

#[test]
fn a_symlinked_folder_that_is_flipped_is_a_change() {
    let root = tempfile::tempdir().unwrap();
    for (release, content) in [("r1", "v1"), ("r2", "v2")] {
        fs::create_dir(root.path().join(release)).unwrap();
        fs::write(root.path().join(release).join("rule.lua"), content).unwrap();
    }
    symlink("r1", root.path().join("current")).unwrap();
    let path = root.path().join("current/rule.lua");
    let watcher = Watcher::start(Wall::new()).unwrap();
    watcher.add(&path, b"v1");
    symlink("r2", root.path().join("next")).unwrap();
    fs::rename(root.path().join("next"), root.path().join("current")).unwrap();
    assert_eq!(str(&watcher.changes().recv_timeout(LIMIT).unwrap().bytes), "v2");
}

#[test]
fn what_changed_between_loading_and_watching_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rule.lua");
    fs::write(&path, "newer").unwrap();
    let watcher = Watcher::start(Wall::new()).unwrap();
    watcher.add(&path, b"as loaded");
    assert_eq!(str(&watcher.changes().recv_timeout(LIMIT).unwrap().bytes), "newer");
}

#[test]
fn a_file_that_nobody_watches_any_more_is_silent_and_dropping_stops_at_once() {
    let saved = Saved::new();
    saved.watcher.remove(&saved.path);
    let other = saved.folder.path().join("other.lua");
    fs::write(&other, "o0").unwrap();
    saved.watcher.add(&other, b"o0");
    fs::write(&saved.path, "unseen").unwrap();
    fs::write(&other, "o1").unwrap();
    assert_eq!(saved.watcher.changes().recv_timeout(LIMIT).unwrap().path, other);
    let changes = saved.watcher.changes().clone();
    drop(saved.watcher);
    assert!(changes.try_recv().is_err());
}
