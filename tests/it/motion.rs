//! The motion strategy on real clips: cars are found, an empty room is empty.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::path::{Path, PathBuf};

use dsengine::strategy::{Motion, Strategy, View};
use dsengine::track::Tracks;
use dsengine::types::{BBox, Colorimetry, Detection, Frame, Matrix, Picture, Range};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

/// The clip, or `None` with a loud skip.
fn clip(test: &str, name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DSENGINE_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let path = root.join("clips").join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("SKIP {test}: {} is not there (set DSENGINE_TESTDATA)", path.display());
    None
}

/// Hands each decoded frame to `on_frame`: index, picture, presentation time.
fn decode(path: &Path, mut on_frame: impl FnMut(u64, Picture, u64)) {
    gst::init().unwrap();
    let text = format!(
        "filesrc location={} ! qtdemux name=d d.video_0 ! h264parse ! avdec_h264 max-threads=1 ! videoconvert ! \
         video/x-raw,format=I420 ! appsink name=sink sync=false max-buffers=4",
        path.display()
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut index = 0;
    while let Ok(sample) = sink.pull_sample() {
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let buffer = sample.buffer().unwrap();
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).unwrap();
        let planes = [0, 1, 2].map(|p| {
            let (w, h) = (frame.comp_width(p) as usize, frame.comp_height(p) as usize);
            let stride = frame.comp_stride(p) as usize;
            let data = frame.plane_data(p).unwrap();
            (0..h).flat_map(|y| &data[y * stride..y * stride + w]).copied().collect::<Vec<u8>>()
        });
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        let picture = Picture::from_i420(info.width(), info.height(), colorimetry, planes).unwrap();
        on_frame(index, picture, buffer.pts().unwrap().nseconds());
        index += 1;
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

/// What the strategy finds on each frame of the clip.
fn watch(path: &Path) -> Vec<Vec<Detection>> {
    let mut motion = Motion::new("motion", &serde_json::Value::Null).unwrap();
    let tracks = Tracks::default();
    let mut found = Vec::new();
    decode(path, |seq, picture, pts_ns| {
        let frame = Frame {
            pts_ns,
            width: picture.width,
            height: picture.height,
            picture: Some(picture),
            ..Frame::empty("clip", seq)
        };
        let verdict = motion.judge(&View { frame: &frame, tracks: &tracks, zones: &[] }).unwrap();
        assert!(verdict.alerts.is_empty() && verdict.keep.is_none());
        found.push(verdict.added);
    });
    found
}

fn area(detections: &[Detection]) -> f32 {
    detections.iter().map(|d| d.bbox.area()).fold(0.0, f32::max)
}

#[test]
fn cars_are_found() {
    let Some(path) = clip("motion::cars_are_found", "car-detection.mp4") else { return };
    let found = watch(&path);
    assert_eq!(found.len(), 377);
    let some = found.iter().filter(|f| !f.is_empty()).count();
    let boxes: usize = found.iter().map(Vec::len).sum();
    println!("car-detection: something in {some} of {} frames, {boxes} boxes", found.len());
    assert!(some >= 140, "{some}");
    // Seen by eye: one white car drives through in these frames, two cars meet in those.
    assert!(found[62..104].iter().all(|f| f.len() == 1), "one car");
    assert!(found[205..222].iter().all(|f| f.len() == 2), "two cars");
    assert!(found.iter().flatten().all(|d| &*d.label == "motion" && (0.5..=1.0).contains(&d.confidence)));
    let whole = BBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
    assert!(found.iter().flatten().all(|d| d.bbox.clamped().is_some() && d.bbox.area() < 0.6 * whole.area()));
}

#[test]
fn a_room_is_empty_until_someone_comes() {
    let Some(path) = clip("motion::a_room_is_empty", "one-by-one-person-detection.mp4") else { return };
    let found = watch(&path);
    assert_eq!(found.len(), 1394);
    // Seen by eye: the room is empty at the start and between the six visits; gaps shorter than half a second are
    // someone standing still in a doorway.
    let (mut at, mut pauses, mut visits) = (0, 0, 0);
    for run in found.chunk_by(|a, b| a.is_empty() == b.is_empty()) {
        let largest = run.iter().map(|f| area(f)).fold(0.0, f32::max);
        println!("frames {at}..{}: largest box {largest:.3}", at + run.len());
        pauses += usize::from(run[0].is_empty() && run.len() >= 20);
        visits += usize::from(largest > 0.2);
        at += run.len();
    }
    assert_eq!((pauses, visits), (7, 6));
    assert!(found[..55].iter().all(Vec::is_empty), "nobody is there yet");
}
