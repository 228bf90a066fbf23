//! A real model on a real clip: against Python's detections, and against the ground truth.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use dsengine::infer::{Model, Runtime};
use dsengine::types::{BBox, Colorimetry, Detection, Matrix, Picture, Range};

use super::{onnxruntime, rten, testdata, yolox};

const WIDTH: usize = 480;
const HEIGHT: usize = 360;
const EVERY: usize = 5;

/// Every fifth frame of the clip as the decoder made it, by frame number.
fn frames(root: &Path, test: &str) -> Option<&'static [(usize, Picture)]> {
    static FRAMES: OnceLock<Option<Vec<(usize, Picture)>>> = OnceLock::new();
    let frames = FRAMES.get_or_init(|| decode(&root.join("clips/vtest-480x360.mp4")));
    if frames.is_none() {
        println!("SKIP {test}: gst-launch-1.0 with an H.264 decoder is not there");
    }
    frames.as_deref()
}

fn decode(clip: &Path) -> Option<Vec<(usize, Picture)>> {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("frames.i420");
    let ran = Command::new("gst-launch-1.0")
        .args(["-q", "filesrc", &format!("location={}", clip.display()), "!", "qtdemux", "!", "h264parse", "!"])
        .args(["avdec_h264", "max-threads=1", "!", "video/x-raw,format=I420", "!"])
        .args(["filesink", &format!("location={}", raw.display())])
        .status();
    if !ran.is_ok_and(|status| status.success()) {
        return None;
    }
    let bytes = std::fs::read(&raw).unwrap();
    let (luma, chroma) = (WIDTH * HEIGHT, WIDTH * HEIGHT / 4);
    let frames = bytes.chunks_exact(luma + 2 * chroma).enumerate().step_by(EVERY);
    // The clip's caps say so.
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let picture = |frame: &[u8]| {
        let (y, rest) = frame.split_at(luma);
        let (u, v) = rest.split_at(chroma);
        let planes = [y, u, v].map(<[u8]>::to_vec);
        Picture::from_i420(WIDTH as u32, HEIGHT as u32, colorimetry, planes).unwrap()
    };
    let frames: Vec<_> = frames.map(|(number, frame)| (number, picture(frame))).collect();
    assert_eq!(frames.len(), 159, "795 frames, every fifth");
    Some(frames)
}

/// A box on either side of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) bbox: BBox,
    pub(crate) score: f32,
    pub(crate) class: u32,
}

impl From<&Detection> for Seen {
    fn from(d: &Detection) -> Self {
        Self { bbox: d.bbox, score: d.confidence, class: d.class_id }
    }
}

fn detect(model: &Model, frames: &[(usize, Picture)]) -> BTreeMap<usize, Vec<Seen>> {
    let mut worker = model.worker().unwrap();
    let mut seen = |picture| worker.detect(&[picture]).unwrap()[0].iter().map(Seen::from).collect();
    frames.iter().map(|(number, picture)| (*number, seen(picture))).collect()
}

pub(crate) fn reference(root: &Path) -> BTreeMap<usize, Vec<Seen>> {
    let text = std::fs::read_to_string(root.join("reference/vtest-480x360.yolox_nano_416.python-ort.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["frame"].is_u64())
        .map(|line| {
            let boxes = line["dets"].as_array().unwrap().iter().map(|d| {
                let n = |i: usize| d[i].as_f64().unwrap() as f32;
                let (w, h) = (WIDTH as f32, HEIGHT as f32);
                let bbox = BBox::from_corners(n(0) / w, n(1) / h, n(2) / w, n(3) / h);
                Seen { bbox, score: n(4), class: n(5) as u32 }
            });
            (line["frame"].as_u64().unwrap() as usize, boxes.collect())
        })
        .collect()
}

/// Share of the boxes scored 0.3 or more, of both sides, that have a partner of the same class on the other side, one
/// to one, within `iou` and `score`. The partner may score down to 0.25: the threshold cuts noise in two.
pub(crate) fn agreement(a: &BTreeMap<usize, Vec<Seen>>, b: &BTreeMap<usize, Vec<Seen>>, iou: f32, score: f32) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let (mut matched, mut total) = (0, 0);
    for (frame, ours) in a {
        for (from, to) in [(ours, &b[frame]), (&b[frame], ours)] {
            let mut free = vec![true; to.len()];
            for seen in from.iter().filter(|s| s.score >= 0.3) {
                total += 1;
                let near = |(i, o): &(usize, &Seen)| {
                    free[*i]
                        && o.class == seen.class
                        && (o.score - seen.score).abs() <= score
                        && o.bbox.iou(&seen.bbox) >= iou
                };
                let best = to
                    .iter()
                    .enumerate()
                    .filter(near)
                    .max_by(|(_, x), (_, y)| x.bbox.iou(&seen.bbox).total_cmp(&y.bbox.iou(&seen.bbox)));
                if let Some((i, _)) = best {
                    free[i] = false;
                    matched += 1;
                }
            }
        }
    }
    assert!(total > 3000, "{total} boxes compared");
    f64::from(matched) / f64::from(total)
}

/// Precision and recall of persons against the ground truth at IoU 0.5, one to one, all rows counted.
pub(crate) fn against_truth(root: &Path, seen: &BTreeMap<usize, Vec<Seen>>) -> (f64, f64) {
    let text = std::fs::read_to_string(root.join("groundtruth/PETS09-S2L1/gt.txt")).unwrap();
    let mut truth: BTreeMap<usize, Vec<BBox>> = BTreeMap::new();
    for line in text.lines() {
        let n: Vec<f32> = line.split(',').map(|v| v.trim().parse().unwrap()).collect();
        let (x, y) = (0.625 / WIDTH as f32, 0.625 / HEIGHT as f32);
        let bbox = BBox { x: n[2] * x, y: n[3] * y, width: n[4] * x, height: n[5] * y };
        truth.entry(n[0] as usize - 1).or_default().push(bbox);
    }
    let (mut hits, mut found, mut there) = (0, 0, 0);
    for (frame, seen) in seen {
        let rows = truth.get(frame).map_or(&[][..], Vec::as_slice);
        let mut free = vec![true; rows.len()];
        there += rows.len();
        for person in seen.iter().filter(|s| s.class == 0) {
            found += 1;
            let best = (0..rows.len())
                .filter(|i| free[*i] && rows[*i].iou(&person.bbox) > 0.5)
                .max_by(|i, j| rows[*i].iou(&person.bbox).total_cmp(&rows[*j].iou(&person.bbox)));
            if let Some(i) = best {
                free[i] = false;
                hits += 1;
            }
        }
    }
    (f64::from(hits) / f64::from(found), f64::from(hits) / there as f64)
}

pub(crate) fn above(seen: &BTreeMap<usize, Vec<Seen>>, score: f32) -> BTreeMap<usize, Vec<Seen>> {
    seen.iter().map(|(f, s)| (*f, s.iter().filter(|s| s.score >= score).copied().collect())).collect()
}

#[test]
fn yolox_agrees_with_the_python_reference_and_with_the_truth() {
    const TEST: &str = "yolox_agrees_with_the_python_reference_and_with_the_truth";
    let Some(root) = testdata(TEST) else { return };
    let Some(frames) = frames(&root, TEST) else { return };
    let Some(runtime) = onnxruntime(TEST) else { return };
    let figures = |runtime: &Runtime| {
        let model = Model::load(&yolox(&root, 0.25), runtime).unwrap();
        let seen = detect(&model, frames);
        let share = agreement(&seen, &reference(&root), 0.90, 0.05);
        let near = agreement(&seen, &reference(&root), 0.95, 0.02);
        let (precision, recall) = against_truth(&root, &above(&seen, 0.4));
        println!(
            "{}: agreement {share:.4} within 0.90/0.05, {near:.4} within 0.95/0.02; precision {precision:.4}, recall {recall:.4}",
            runtime.name()
        );
        [share, precision, recall]
    };
    let ort = figures(&runtime);
    assert!(ort[0] >= 0.97, "agreement with the Python reference: {}", ort[0]);
    assert!(ort[1] >= 0.77 && ort[2] >= 0.88, "precision {} recall {}", ort[1], ort[2]);
    for (ours, theirs) in ort.iter().zip(figures(&rten())) {
        assert!((ours - theirs).abs() <= 0.005, "rten {theirs}, ONNX Runtime {ours}");
    }
}

/// The same pictures as the reference saw them: RGB by the integer arithmetic of swscale's SIMD path (BT.709 limited,
/// nearest chroma, every product cut off), bit for bit.
fn as_the_reference_saw(picture: &Picture) -> Picture {
    let picture = picture.planes().unwrap();
    let product = |value: i32, factor: i32| (value * factor) >> 16;
    let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            let sample =
                |plane: usize, x: usize, y: usize| i32::from(picture.plane(plane)[y * picture.stride(plane) + x]);
            let y = product(sample(0, column, row) * 8 - 128, 9539);
            let [u, v] = [1, 2].map(|plane| sample(plane, column / 2, row / 2) * 8 - 1024);
            let mixed = [y + product(v, 14686), y + product(u, -1747) + product(v, -4366), y + product(u, 17305)];
            rgb.extend(mixed.map(|value| value.clamp(0, 255) as u8));
        }
    }
    Picture::from_rgb(WIDTH as u32, HEIGHT as u32, rgb).unwrap()
}

#[test]
fn fed_the_reference_s_own_rgb_it_sees_the_same() {
    const TEST: &str = "fed_the_reference_s_own_rgb_it_sees_the_same";
    let Some(root) = testdata(TEST) else { return };
    let Some(frames) = frames(&root, TEST) else { return };
    let Some(runtime) = onnxruntime(TEST) else { return };
    let frames: Vec<_> = frames.iter().map(|(number, picture)| (*number, as_the_reference_saw(picture))).collect();
    let model = Model::load(&yolox(&root, 0.25), &runtime).unwrap();
    let share = agreement(&detect(&model, &frames), &reference(&root), 0.95, 0.02);
    println!("{TEST}: {share:.4} within 0.95/0.02");
    assert!(share >= 0.99, "{share}");
}
