//! Pictures on a disk: how they are waited for, bounded, kept and removed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::alert::DigestAlert;
use crate::types::{Colorimetry, Matrix, Picture, PixelFormat, Pixels, Range, TestClock, Unreadable};

const DAY_NS: u64 = 86_400_000_000_000;

fn plan() -> PicturesPlan {
    let keep = Duration::from_secs(30 * 86_400);
    PicturesPlan { enabled: true, keep, bytes_max: 1_000_000, quality: 80, max_width: 64, clean: true }
}

/// Pictures in `folder`, at a time of the wall clock.
fn open(folder: &Path, plan: &PicturesPlan, unix_ns: u64) -> (Pictures, Thread, Arc<Metrics>) {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::at(unix_ns));
    let metrics = Metrics::new(clock.clone());
    let pictures = Pictures::default();
    let thread = pictures.open(folder.to_owned(), plan, &metrics, &clock).unwrap();
    (pictures, thread, metrics)
}

fn shot(value: u8) -> Shot {
    let picture = Picture::from_rgb(128, 64, vec![value; 128 * 64 * 3]).unwrap();
    Shot::Frame { picture, at_ns: 0, detections: Vec::new(), raised: Vec::new(), zones: Arc::new([]) }
}

fn id(day: u64, n: u8) -> AlertId {
    AlertId::new(day * DAY_NS, [n; 10])
}

fn count(metrics: &Metrics, outcome: &str) -> u64 {
    let series = format!("dsengine_alert_pictures_total{{outcome=\"{outcome}\"}} ");
    let page = metrics.render();
    page.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for day in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        for file in fs::read_dir(&day).unwrap() {
            names.push(file.unwrap().path().strip_prefix(folder).unwrap().display().to_string());
        }
    }
    names.sort();
    names
}

#[test]
fn a_picture_is_there_for_whoever_asks_while_it_is_encoded() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, thread, metrics) = open(dir.path(), &plan(), 0);
    assert!(pictures.keep(&id(1, 7), &"yard".into(), shot(200)));
    let (source, jpeg) = pictures.find(&id(1, 7), Which::Annotated).unwrap();
    assert_eq!(source.as_str(), "yard");
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && pictures.find(&id(1, 7), Which::Clean).is_some());
    assert!(pictures.find(&id(1, 8), Which::Annotated).is_none(), "of another alert there is none");
    assert_eq!(count(&metrics, "kept"), 1);
    drop(thread);
    let name = format!("1970-01-02/{}", id(1, 7));
    assert_eq!(files(dir.path()), [format!("{name}.clean.jpg"), format!("{name}.jpg")]);
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("1970-01-02"), mode(&format!("{name}.jpg"))), (0o700, 0o600));
}

#[test]
fn an_alert_without_a_picture_asks_no_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, _thread, _) = open(dir.path(), &plan(), 0);
    let alert = Alert { id: id(1, 7), picture: false, ..Alert::sample("m") };
    assert!(pictures.keep(&alert.id, &"yard".into(), shot(1)));
    assert!(pictures.of(&alert, Which::Annotated).is_none());
    assert!(pictures.of(&Alert { picture: true, ..alert }, Which::Annotated).is_some());
}

/// Pixels that are read once the test says so.
struct Gated(crossbeam_channel::Receiver<()>);

impl Pixels for Gated {
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
        let _ = self.0.recv();
        Err(Unreadable("the test is over"))
    }
}

#[test]
fn pictures_beyond_what_may_wait_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, thread, metrics) = open(dir.path(), &plan(), 0);
    let (release, gate) = bounded(0);
    let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Full };
    let stuck = Picture::new(PixelFormat::Rgb, 2, 2, colorimetry, [6, 0, 0], Arc::new(Gated(gate))).unwrap();
    let stuck =
        Shot::Frame { picture: stuck, at_ns: 0, detections: Vec::new(), raised: Vec::new(), zones: Arc::new([]) };
    assert!(pictures.keep(&id(1, 0), &"yard".into(), stuck));
    for n in 1..PICTURES_MAX as u8 {
        assert!(pictures.keep(&id(1, n), &"yard".into(), shot(n)), "{n}");
    }
    assert!(pictures.keep(&id(1, 1), &"yard".into(), shot(1)), "the same one waits already");
    assert!(!pictures.keep(&id(1, 99), &"yard".into(), shot(9)));
    assert_eq!(count(&metrics, "dropped"), 1);
    drop(release);
    drop(thread);
    assert_eq!((count(&metrics, "kept"), count(&metrics, "failed")), (PICTURES_MAX as u64 - 1, 1), "each is settled");
    assert!(pictures.find(&id(1, 3), Which::Annotated).is_some());
}

#[test]
fn the_oldest_are_removed_by_bytes_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let now_ns = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
    let day = now_ns / DAY_NS;
    let (pictures, thread, _) = open(dir.path(), &plan(), now_ns);
    for n in 0..4 {
        assert!(pictures.keep(&id(day - 3 + u64::from(n), n), &"yard".into(), shot(n)));
        assert!(pictures.find(&id(day - 3 + u64::from(n), n), Which::Clean).is_some());
    }
    drop(thread);
    assert_eq!(files(dir.path()).len(), 8);
    // A file that a former process was about to write.
    let old = dir.path().join(&files(dir.path())[7]);
    fs::write(old.with_extension("part"), "x").unwrap();
    let then = UNIX_EPOCH + Duration::from_nanos(now_ns - 40 * DAY_NS);
    fs::File::options().write(true).open(&old).unwrap().set_modified(then).unwrap();
    let each = fs::metadata(dir.path().join(&files(dir.path())[0])).unwrap().len();
    let (_, thread, metrics) = open(dir.path(), &PicturesPlan { bytes_max: 4 * each, ..plan() }, now_ns);
    drop(thread);
    let left = files(dir.path());
    // One was too old. Three fit into nine tenths, and the newest of those captured stay.
    assert!(!old.exists() && left.len() == 3, "{left:?}");
    assert_eq!(count(&metrics, "removed"), 5);
    assert!(
        left.iter().all(|name| name.contains(&id(day, 3).to_string()) || name.contains(&id(day - 1, 2).to_string()))
    );
}

#[test]
fn a_rules_own_picture_is_kept_as_it_is_and_what_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, thread, metrics) = open(dir.path(), &plan(), 0);
    let own = crate::vision::jpeg::encode(&Picture::from_rgb(8, 8, vec![3; 192]).unwrap(), 8, 50).unwrap();
    assert!(pictures.keep(&id(1, 1), &"yard".into(), Shot::Encoded(own.as_slice().into())));
    assert!(pictures.keep(&id(1, 2), &"yard".into(), Shot::Encoded(b"GIF89a"[..].into())));
    drop(thread);
    let (_, jpeg) = pictures.find(&id(1, 1), Which::Annotated).unwrap();
    assert!(jpeg.ends_with(&own[20..]));
    assert!(pictures.find(&id(1, 1), Which::Clean).is_none() && pictures.find(&id(1, 2), Which::Annotated).is_none());
    assert_eq!((count(&metrics, "kept"), count(&metrics, "failed")), (1, 1));
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_pictures_only() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("pictures");
    fs::write(&blocked, "a file").unwrap();
    let (pictures, thread, metrics) = open(&blocked, &plan(), 0);
    assert!(pictures.keep(&id(1, 1), &"yard".into(), shot(1)));
    drop(thread);
    assert!(pictures.find(&id(1, 1), Which::Annotated).is_none());
    assert_eq!(count(&metrics, "failed"), 1);
}

#[test]
fn the_picture_of_an_alert_that_is_not_sent_is_not_encoded_and_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, thread, metrics) = open(dir.path(), &plan(), 0);
    let reserve = || pictures.reserve(&id(1, 1), &"yard".into(), shot(1)).unwrap();
    (0..3 * PICTURES_MAX).for_each(|_| drop(reserve()));
    assert!(pictures.find(&id(1, 1), Which::Annotated).is_none());
    let first = reserve();
    // The same alert again, while its picture has room already.
    reserve().hand_over();
    drop(first);
    assert!(pictures.find(&id(1, 1), Which::Annotated).is_none());
    reserve().hand_over();
    assert!(pictures.find(&id(1, 1), Which::Annotated).is_some());
    drop(thread);
    assert_eq!((count(&metrics, "kept"), count(&metrics, "dropped")), (1, 0));
}

/// A digest whose best alert this is.
fn digest(best: &AlertId, n: u8) -> DigestAlert {
    let alert = Arc::new(Alert { id: id(2, n), ..Alert::sample("m") });
    DigestAlert { alert, picture_of: Some(best.clone()) }
}

#[test]
fn a_digest_gets_the_picture_of_its_best_alert_whether_it_is_written_or_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, thread, metrics) = open(dir.path(), &plan(), 0);
    assert!(pictures.keep(&id(1, 1), &"yard".into(), shot(1)));
    assert!(pictures.find(&id(1, 1), Which::Clean).is_some());
    let written = pictures.digest(digest(&id(1, 1), 9));
    assert!(pictures.keep(&id(1, 2), &"yard".into(), shot(2)));
    let waits = pictures.digest(digest(&id(1, 2), 8));
    let of_digests = pictures.digest(digest(&waits.id, 7));
    assert!([&written, &waits, &of_digests].iter().all(|digest| digest.picture));
    let (source, _) = pictures.find(&written.id, Which::Annotated).unwrap();
    assert_eq!(source.as_str(), "yard");
    assert!(pictures.of(&of_digests, Which::Clean).is_some());
    drop(thread);
    let names = [7, 9].map(|n| ["clean.jpg", "jpg"].map(|kind| format!("1970-01-03/{}.{kind}", id(2, n))));
    assert_eq!(files(dir.path()), names.concat(), "the others have none");
    assert_eq!((count(&metrics, "kept"), count(&metrics, "failed")), (2, 0));
}

#[test]
fn a_digest_says_that_it_has_no_picture_where_that_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, thread, metrics) = open(dir.path(), &plan(), 0);
    assert!(pictures.keep(&id(1, 1), &"yard".into(), Shot::Encoded(b"GIF89a"[..].into())));
    assert!(pictures.find(&id(1, 1), Which::Annotated).is_none(), "it failed");
    assert!(!pictures.digest(digest(&id(1, 1), 9)).picture);
    let no_room = DigestAlert { picture_of: None, ..digest(&id(1, 2), 9) };
    assert!(!pictures.digest(no_room).picture);
    assert!(!Pictures::default().digest(digest(&id(1, 2), 9)).picture, "none are kept");
    // A held alert that is not the best, decided on before its picture is handed over, and one after it is written.
    let reserved = pictures.reserve(&id(1, 3), &"yard".into(), shot(3)).unwrap();
    pictures.release(&id(1, 3));
    assert!(!pictures.digest(digest(&id(1, 3), 9)).picture);
    reserved.hand_over();
    assert!(pictures.find(&id(1, 3), Which::Annotated).is_none());
    assert_eq!(count(&metrics, "kept"), 0, "it is not encoded");
    assert!(pictures.keep(&id(1, 4), &"yard".into(), shot(4)) && pictures.find(&id(1, 4), Which::Clean).is_some());
    pictures.release(&id(1, 4));
    drop(thread);
    assert!(files(dir.path()).is_empty());
    assert_eq!((count(&metrics, "kept"), count(&metrics, "removed"), count(&metrics, "dropped")), (1, 2, 0));
}
