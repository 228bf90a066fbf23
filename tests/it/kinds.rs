//! Kinds of sources: pictures in files, cameras of this machine, chains of elements; and every codec that is decoded
//! here.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dsengine::backend::{Backend, SourceEvent};
use dsengine::config::SourcePlan;
use dsengine::gst::GstBackend;
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::config::plan_of;
use crate::harness::{Dsengine, skip};
use crate::recorder::{Machine, Recorder, Story};

const MINUTE: Duration = Duration::from_secs(60);

/// A source as it stands in a configuration.
fn source(uri: &str, keys: &str) -> SourcePlan {
    let uri = uri.replace('\'', "''");
    let text = format!("sources: [{{ id: cam, uri: '{uri}', timeout: 20, {keys} }}]\n");
    let mut source = plan_of(&text).unwrap_or_else(|error| panic!("{error}")).sources.remove(0);
    (source.retry.base, source.retry.cap) = (Duration::from_millis(20), Duration::from_millis(80));
    source
}

/// What a source tells until `enough`.
fn story(source: &SourcePlan, enough: impl Fn(&Story) -> bool) -> Story {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    let mut backend = GstBackend::new(clock).unwrap();
    backend.add_source(source, sink.clone()).unwrap();
    sink.wait("cam", MINUTE, enough)
}

/// Writes pictures of 64×48 into a folder by GStreamer.
fn draw(dir: &Path, count: u32, encoder: &str, names: &str) {
    gst::init().unwrap();
    let shown = dir.display();
    let chain = format!(
        "videotestsrc num-buffers={count} ! video/x-raw,width=64,height=48 ! {encoder} ! \
         multifilesink location={shown}/{names}"
    );
    let pipeline = gst::parse::launch(&chain).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let over = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &over).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

#[test]
fn a_folder_of_pictures_and_numbered_ones_are_played_whole_at_their_rate() {
    for (encoder, names) in [("jpegenc", "f%05d.jpg"), ("pngenc", "f%05d.png")] {
        let dir = tempfile::tempdir().unwrap();
        draw(dir.path(), 12, encoder, names);
        std::fs::write(dir.path().join("notes.txt"), "no picture").unwrap();
        let folder = dir.path().display().to_string();
        for uri in [folder.clone(), format!("{folder}/"), format!("{folder}/{names}"), format!("file://{folder}")] {
            let story = story(&source(&uri, ""), Story::over);
            assert_eq!((story.frames.len(), story.broken()), (12, None), "{uri}");
            assert_eq!(story.sizes(), [((64, 48), 12)], "{uri}");
        }
        let paced = source(&folder, "realtime: true, parameters: { framerate: 10 }");
        let story = story(&paced, Story::over);
        let (first, last) = (story.frames[0].1, story.frames[11].1);
        assert!(
            story.frames.len() == 12 && last - first > 900_000_000,
            "eleven tenths of a second: {} ns",
            last - first
        );
    }
}

#[test]
fn pictures_that_cannot_be_read_are_counted_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let broken = |uri: &str| story(&source(uri, ""), Story::over).broken().map(str::to_owned).unwrap_or_default();
    assert!(broken(&folder).contains("there is no picture .jpg or .png in"), "{}", broken(&folder));
    let numbered = format!("{folder}/%05d.jpg");
    assert!(broken(&numbered).contains("there is no picture %05d.jpg in"), "{}", broken(&numbered));
    draw(dir.path(), 10, "jpegenc", "%05d.jpg");
    std::fs::write(dir.path().join("00004.jpg"), b"no picture at all").unwrap();
    let story = story(&source(&folder, ""), Story::over);
    assert_eq!((story.frames.len(), story.dropped("corrupt"), story.broken()), (9, 1, None));
    draw(dir.path(), 1, "pngenc", "%05d.png");
    assert!(broken(&folder).contains("JPEG and PNG"), "{}", broken(&folder));
    let error = plan_of("sources: [{ uri: clip.mp4, parameters: { framerate: 5 } }]").unwrap_err();
    assert!(error.contains("a clip has a frame rate of its own"), "{error}");
}

#[test]
fn a_camera_that_is_not_there_is_said_so_and_asked_for_ever_more_rarely() {
    let plan = source("199", "type: webcam, parameters: { width: 640, height: 480, framerate: 15 }");
    let faults = |story: &Story| -> Vec<(String, Option<String>, Duration)> {
        let fault = |(_, event): &(u64, SourceEvent)| match event {
            SourceEvent::Fault { reason, remedy, retry_in, .. } => Some((reason.clone(), remedy.clone(), *retry_in)),
            _ => None,
        };
        story.events.iter().filter_map(fault).collect()
    };
    let told = faults(&story(&plan, |story| faults(story).len() >= 3));
    assert!(told.iter().all(|(reason, ..)| reason.contains("there is no camera at /dev/video199")), "{told:?}");
    let (_, remedy, retry_in) = &told[2];
    assert!(remedy.as_ref().is_some_and(|remedy| remedy.contains("plug it in")), "{told:?}");
    assert!(*retry_in >= Duration::from_secs(22), "{told:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("video0");
    std::fs::write(&file, "x").unwrap();
    let told = faults(&story(&source(&file.display().to_string(), "type: webcam"), |story| !faults(story).is_empty()));
    assert!(told[0].0.contains("video0 is not a camera"), "{told:?}");
    let error = plan_of("sources: [{ type: webcam, uri: front }]").unwrap_err();
    assert!(error.contains("a webcam is a number or the path of a device"), "{error}");
}

#[test]
fn a_chain_of_listed_elements_is_played_and_another_is_refused_by_name() {
    let chain = "gst: videotestsrc num-buffers=15 ! video/x-raw,width=64,height=48,framerate=30/1 ! videoflip";
    let ends = story(&source(chain, "parameters: { live: false }"), Story::over);
    assert_eq!((ends.frames.len(), ends.broken()), (15, None));
    let live = story(&source("videotestsrc is-live=true ! video/x-raw,width=32,height=32", "type: gstreamer"), |s| {
        s.frames.len() >= 5
    });
    assert_eq!(live.sizes()[0].0, (32, 32));
    for (chain, element) in [
        ("gst: filesrc location=/etc/passwd", "filesrc"),
        ("gst: videotestsrc ! filesink location=/tmp/x", "filesink"),
        ("gst: videotestsrc ! rtmp2sink location=rtmp://h/x", "rtmp2sink"),
    ] {
        let out = Dsengine::new(["run", "--source", chain, "--port", "0"]).run();
        assert!(out.code() != 0 && out.stderr.contains(&format!("`{element}`")), "{chain}: {}", out.stderr);
    }
    let out = Dsengine::new(["run", "--source", "gst: videotestsrc patern=ball", "--port", "0"]).run();
    assert!(out.code() != 0 && out.stderr.contains("patern"), "{}", out.stderr);
}

#[test]
fn packets_of_the_network_are_read_by_a_chain() {
    gst::init().unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sender = format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48 ! jpegenc ! rtpjpegpay ! \
         udpsink host=127.0.0.1 port={port}"
    );
    let sender = gst::parse::launch(&sender).unwrap();
    sender.set_state(gst::State::Playing).unwrap();
    let caps = "application/x-rtp, media=video, encoding-name=JPEG, clock-rate=90000, payload=26";
    let chain = format!("gst: udpsrc address=127.0.0.1 port={port} caps=\"{caps}\" ! rtpjitterbuffer ! rtpjpegdepay");
    let seen = story(&source(&chain, ""), |story| story.frames.len() >= 10);
    sender.set_state(gst::State::Null).unwrap();
    assert_eq!(seen.sizes()[0].0, (64, 48));
}

#[test]
fn every_codec_with_a_decoder_here_is_played_and_named_by_doctor() {
    const TEST: &str = "kinds::ffmpeg";
    let dir = tempfile::tempdir().unwrap();
    let doctor = Dsengine::new(["doctor", "--json"]).run().json();
    let decoder = |codec: &str| {
        let found =
            doctor.as_array().unwrap().iter().find(|finding| finding["name"] == format!("{codec} decoder")).unwrap();
        found["ok"].as_bool().unwrap().then(|| found["detail"].as_str().unwrap().to_owned())
    };
    for (codec, encoder) in [
        ("H.264", "libx264"),
        ("H.265", "libx265 -x265-params log-level=none"),
        ("VP8", "libvpx"),
        ("VP9", "libvpx-vp9"),
        ("AV1", "libaom-av1 -cpu-used 8"),
        ("MJPEG", "mjpeg -pix_fmt yuvj420p"),
    ] {
        let name = format!("{}.mkv", codec.replace('.', ""));
        let args =
            format!("-f lavfi -i testsrc=rate=10:size=160x120 -frames:v 10 -pix_fmt yuv420p -c:v {encoder} {name}");
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "error", "-y"]).args(args.split_ascii_whitespace());
        match command.current_dir(dir.path()).stdin(Stdio::null()).status() {
            Err(_) => return skip(TEST, "ffmpeg is not installed"),
            Ok(status) if !status.success() => {
                skip(TEST, &format!("ffmpeg has no encoder of {codec}"));
                continue;
            }
            Ok(_) => {}
        }
        let story = story(&source(&dir.path().join(&name).display().to_string(), ""), Story::over);
        match decoder(codec) {
            Some(decoder) => assert_eq!((story.frames.len(), story.broken()), (10, None), "{codec} by {decoder}"),
            None => assert!(story.broken().is_some_and(|why| why.contains("apt-get install")), "{codec}: {story:?}"),
        }
    }
}
