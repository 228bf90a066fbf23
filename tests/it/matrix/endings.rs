//! An engine that is told to end while a camera is in the middle of something.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::rig::{Engine, LIMIT};
use crate::harness::{ClosedPort, bar};
use crate::sources::Camera;

/// What the configuration gives it.
const END_S: u64 = 2;

/// Interrupts the engine; asserts that it is gone in time.
#[track_caller]
fn ends(mut engine: Engine, when: &str) {
    let told = Instant::now();
    engine.run.signal("INT");
    let limit = bar(Duration::from_secs(END_S));
    let ended = engine.run.end(limit);
    let took = told.elapsed();
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{when}: {}", engine.run.seen.join("\n"));
    println!("matrix: interrupted while it {when}: gone after {took:.2?}");
}

fn engine(port: u16) -> Engine {
    let sources = format!("  - {{ id: cam, uri: 'rtsp://127.0.0.1:{port}/cam' }}\n");
    Engine::start(&sources, &format!("graceful_shutdown_timeout: {END_S}"))
}

#[test]
fn an_engine_ends_in_time_while_a_camera_connects_tears_down_or_is_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let connecting = engine(silent.local_addr().unwrap().port());
    let (_held, _) = silent.accept().unwrap();
    ends(connecting, "connects");

    let closed = ClosedPort::take();
    let waiting = engine(closed.port);
    assert!(waiting.events.wait(0, LIMIT, |told| told.is_loss()).is_some(), "it waits to try again");
    ends(waiting, "waits to try again");

    let Some(camera) = Camera::start("matrix::endings", 0, &["--fps", "10"]) else { return };
    let playing = engine(camera.port);
    assert!(playing.events.wait(0, LIMIT, |told| told.is_frame()).is_some(), "it plays");
    camera.signal(Signal::STOP);
    ends(playing, "asks a frozen camera to end");
    camera.signal(Signal::CONT);

    let frozen = engine(camera.port);
    assert!(frozen.events.wait(0, LIMIT, |told| told.is_frame()).is_some(), "it plays");
    camera.signal(Signal::STOP);
    // The failed attempt is being closed, or its successor connects to a server that does not answer.
    assert!(frozen.events.wait(0, LIMIT, |told| told.is_loss()).is_some(), "the silence is noticed");
    ends(frozen, "closes a session that was lost");
    camera.signal(Signal::CONT);
}
