//! Network cameras: their addresses, how they are asked, what is said of those that do not answer, and how patiently.

use std::sync::Arc;
use std::time::Duration;

use dsengine::backend::{Backend, SourceEvent};
use dsengine::config::Camera as Address;
use dsengine::config::{Input, RetryPlan, SourcePlan};
use dsengine::gst::GstBackend;

use crate::recorder::{Machine, Recorder, Story};
use crate::sources::Camera;

const MINUTE: Duration = Duration::from_secs(60);

/// A camera that is tried again soon.
fn plan(id: &str, uri: &str) -> SourcePlan {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(80));
    SourcePlan {
        id: id.into(),
        input: Input::Rtsp(Box::new(Address::read(uri).unwrap())),
        fps: None,
        every: 1,
        zones: Arc::new([]),
        confidence: None,
        retry: RetryPlan {
            max_retries: 100,
            base,
            cap,
            exponential: true,
            first_frame: Duration::from_secs(20),
            gap: Duration::from_secs(20),
        },
        realtime: false,
        repeat: false,
    }
}

/// A backend on the machine's own time, and what its sources tell.
fn backend() -> (GstBackend, Arc<Recorder>, Arc<Machine>) {
    let clock = Machine::start();
    let sink = Recorder::new(&clock);
    (GstBackend::new(clock.clone()).unwrap(), sink, clock)
}

/// Why attempts failed, in order.
fn reasons(story: &Story) -> Vec<&str> {
    let reason = |event: &'_ (u64, SourceEvent)| matches!(event.1, SourceEvent::Fault { .. });
    story
        .events
        .iter()
        .filter(|event| reason(event))
        .map(|(_, event)| if let SourceEvent::Fault { reason, .. } = event { reason.as_str() } else { "" })
        .collect()
}

#[test]
fn every_password_lets_in_as_it_is_and_encoded_and_so_does_none() {
    const TEST: &str = "cameras::every_password_lets_in";
    let (mut backend, sink, _) = backend();
    for (n, (user, password, ways)) in [
        ("admin", "p@ss", &["admin:p@ss", "admin:p%40ss"][..]),
        ("admin", "100%sure", &["admin:100%sure", "admin:100%25sure"]),
        ("admin", "p@ss:w/rd#1?", &["admin:p@ss:w/rd#1?", "admin:p%40ss%3Aw%2Frd%231%3F"]),
        ("ad min", "pa ss", &["ad min:pa ss", "ad%20min:pa%20ss"]),
        ("a@b.example", "", &["a@b.example", "a%40b.example", "a%40b.example:"]),
    ]
    .into_iter()
    .enumerate()
    {
        let args = ["--user", user, "--password", password, "--path", "/live@1/s"];
        let Some(camera) = Camera::start(TEST, 0, &args) else { return };
        for (m, way) in ways.iter().enumerate() {
            let id = format!("cam-{n}-{m}");
            let plan = plan(&id, &format!("rtsp://{way}@127.0.0.1:{}/live@1/s", camera.port));
            backend.add_source(&plan, sink.clone()).unwrap();
            let story = sink.wait(&id, MINUTE, |s| !s.frames.is_empty() || !reasons(s).is_empty());
            assert_eq!(reasons(&story), [""; 0], "{way}");
            backend.remove_source(&id.as_str().into(), Duration::from_secs(3));
        }
    }
}
