//! Viewers.

use std::path::Path;

use std::time::{Duration, Instant};

use gstreamer::prelude::*;

use super::peer::{Peer, is_there};
use super::{Engine, silent_offer, threads};
use crate::harness::{bar, request, until, write};
use crate::sources::Camera;

/// Writes an H.264 clip of six seconds, `bframes` of them in a row between two others.
fn clip(dir: &Path, name: &str, bframes: u32) -> bool {
    gstreamer::init().unwrap();
    let path = dir.join(name).display().to_string();
    let line = format!(
        "videotestsrc num-buffers=150 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
         x264enc bframes={bframes} b-adapt=false key-int-max=50 speed-preset=veryfast bitrate=500 ! h264parse ! \
         mp4mux ! filesink location={path}"
    );
    let Ok(pipeline) = gstreamer::parse::launch(&line) else { return false };
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    let ends = [gstreamer::MessageType::Eos, gstreamer::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gstreamer::ClockTime::from_seconds(60), &ends);
    pipeline.set_state(gstreamer::State::Null).unwrap();
    end.is_some_and(|message| message.type_() == gstreamer::MessageType::Eos)
}

/// An engine that plays a clip again and again at its own pace.
fn looping(bframes: u32, more: &str, rest: &str) -> Engine {
    let dir = tempfile::tempdir().unwrap();
    assert!(clip(dir.path(), "clip.mp4", bframes), "x264enc is not installed");
    let source = format!("{{id: yard, uri: clip.mp4, realtime: true, parameters: {{loop: true}}{more}}}");
    write(dir.path(), "config.yaml", &format!("sources: [{source}]\n{rest}\n"));
    Engine::of(dir, &[])
}

/// An offer of a viewer that never connects.
fn view() -> String {
    silent_offer()
        .replace("a=sendonly", "a=recvonly")
        .replace("SAVPF 96", "SAVPF 102")
        .replace("a=rtpmap:96 VP8/90000", "a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1")
        .replace("a=rtcp-fb:96", "a=rtcp-fb:102")
}

#[test]
fn a_cameras_own_stream_reaches_viewers_from_its_last_key_frame_and_costs_nothing_when_they_are_gone() {
    if !is_there() {
        return;
    }
    let engine = looping(0, "", "");
    let pid = engine.running.pid();
    engine.frames("yard", 10);
    let before = threads(pid);
    let whep = engine.url("/whep/yard");
    let mut peers = [(); 2].map(|()| Peer::start(&["play", &whep]));
    for peer in &peers {
        let answered = peer.answered();
        assert_eq!(answered["status"], 201, "{answered}");
        let first = peer.wait(|line| line["is"] == "frame");
        assert_eq!((&first["width"], &first["height"]), (&320.into(), &240.into()));
        peer.wait(|line| line["is"] == "frame" && line["n"].as_u64() >= Some(40));
    }
    assert_eq!(engine.status("yard")["state"], "running");
    peers[0].tell("bye");
    assert_eq!(peers[0].wait(|line| line["is"] == "deleted")["status"], 200);
    peers[1].wait(|line| line["is"] == "frame" && line["n"].as_u64() >= Some(60));
    let [_, other] = peers;
    // A viewer that stalls: its packets go nowhere, and its reports stop.
    other.signal("STOP");
    let begun = Instant::now();
    engine.frames("yard", 50);
    assert!(begun.elapsed() <= bar(Duration::from_secs(3)), "the source waits: {:?}", begun.elapsed());
    until("the threads of viewers have ended", || threads(pid) <= before);
}

#[test]
fn an_rtsp_cameras_stream_is_shown_at_once_although_its_key_frames_are_rare() {
    if !is_there() {
        return;
    }
    // Ten seconds between two key frames.
    let test = "an_rtsp_cameras_stream_is_shown_at_once_although_its_key_frames_are_rare";
    let Some(camera) = Camera::start(test, 0, &["--key-frames", "250"]) else { return };
    let engine = Engine::start(&format!("- {{id: cam, uri: 'rtsp://127.0.0.1:{}/cam'}}", camera.port), "");
    engine.frames("cam", 50);
    let viewer = Peer::start(&["play", &engine.url("/whep/cam")]);
    viewer.wait(|line| line["is"] == "state" && line["state"] == "connected");
    let connected = Instant::now();
    // What was there before comes at once, and then the stream at its own pace.
    viewer.wait(|line| line["is"] == "frame" && line["n"].as_u64() >= Some(50));
    assert!(connected.elapsed() <= bar(Duration::from_secs(2)), "shown after {:?}", connected.elapsed());
}

#[test]
fn a_publishers_stream_is_watched_and_one_of_another_codec_is_refused() {
    if !is_there() {
        return;
    }
    let engine = Engine::start("- {id: yard, type: webrtc, uri: 'whip:'}\n- {id: bars, uri: test}", "");
    let refused = |source: &str, said: &str| {
        let answer = engine.offer(&format!("/whep/{source}"), "application/sdp", None, &view());
        assert!(answer.status == 409 && answer.body.contains(said), "{source}: {} {}", answer.status, answer.body);
    };
    refused("yard", "no encoded picture");
    refused("bars", "not encoded");
    let mut publisher = Peer::start(&["publish", &engine.url("/whip/yard"), "--codec", "H264"]);
    engine.frames("yard", 10);
    let viewer = Peer::start(&["play", &engine.url("/whep/yard")]);
    let seen = viewer.wait(|line| line["is"] == "frame" && line["n"].as_u64() >= Some(20));
    let row = seen["row"].as_str().unwrap();
    let luma: Vec<u8> =
        (0..row.len() / 2).map(|at| u8::from_str_radix(&row[2 * at..2 * at + 2], 16).unwrap()).collect();
    let bright = luma.iter().filter(|value| **value > 160).count();
    assert!((1..=4).contains(&bright), "a bright bar on a dark ground: {luma:?}");
    publisher.tell("bye");
    publisher.wait(|line| line["is"] == "deleted");
    engine.wait("yard", "waiting");
    let _other = Peer::start(&["publish", &engine.url("/whip/yard"), "--codec", "VP8"]);
    engine.frames("yard", 10);
    refused("yard", "its stream is VP8");
}

#[test]
fn a_stream_that_must_not_leave_as_it_is_is_refused_with_the_reason() {
    if !is_there() {
        return;
    }
    let reordered = looping(2, "", "");
    reordered.frames("yard", 10);
    let answer = reordered.offer("/whep/yard", "application/sdp", None, &view());
    assert!(answer.status == 409 && answer.body.contains("B-frames"), "{} {}", answer.status, answer.body);
    drop(reordered);
    let masked = looping(0, ", blackout: [[[0, 0], [0.5, 0], [0.5, 0.5]]]", "");
    masked.frames("yard", 10);
    let answer = masked.offer("/whep/yard", "application/sdp", None, &view());
    assert!(answer.status == 409 && answer.body.contains("blacked out"), "{} {}", answer.status, answer.body);
    let patch =
        |areas: &str| request("PATCH", &masked.address, "/api/v1/sources/yard", &format!("{{\"blackout\":{areas}}}"));
    assert_eq!(patch("[]").0, 200);
    masked.frames("yard", 60);
    let viewer = Peer::start(&["play", &masked.url("/whep/yard")]);
    viewer.wait(|line| line["is"] == "frame" && line["n"].as_u64() >= Some(10));
    let before = threads(masked.running.pid());
    assert_eq!(patch("[[[0,0],[0.5,0],[0.5,0.5]]]").0, 200);
    until("the viewer's session is over", || threads(masked.running.pid()) < before);
    let answer = masked.offer("/whep/yard", "application/sdp", None, &view());
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[test]
fn viewers_are_bounded_and_those_that_never_connect_are_given_up() {
    if !is_there() {
        return;
    }
    let engine = looping(0, "", "");
    engine.frames("yard", 10);
    let pid = engine.running.pid();
    let before = threads(pid);
    for n in 0..12 {
        let answer = engine.offer("/whep/yard", "application/sdp", None, &view());
        let expected = if n < 8 { 201 } else { 409 };
        assert_eq!(answer.status, expected, "{n}: {}", answer.body);
    }
    until("the threads of half-open sessions have ended", || threads(pid) <= before);
    let answer = engine.offer("/whep/yard", "application/sdp", None, &silent_offer());
    assert!(answer.status == 400 && answer.body.contains("takes no H.264"), "{} {}", answer.status, answer.body);
}
