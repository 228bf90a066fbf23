//! What every backend keeps to, whatever it plays; and the shapes of backends that are yet to come, as doubles.

mod doubles;
mod engine;

use std::sync::Arc;
use std::time::Duration;

use dsengine::backend::scene::SceneBackend;
use dsengine::backend::trace::{FORMAT, Header, TraceBackend, Writer};
use dsengine::backend::{
    Backend, Flow, Samples, Sink, SourceContext, SourceEvent, SourceState, Sources, check_backend,
};
use dsengine::config::{Input, RetryPlan, SourcePlan};
use dsengine::error::Error;
use dsengine::gst::GstBackend;
use dsengine::types::{Frame, SourceId};

use self::doubles::SharedPipeline;
use crate::recorder::Machine;

/// A source named `cam` that is tried again soon.
fn plan(input: Input) -> SourcePlan {
    let (first_frame, gap) = (Duration::from_secs(8), Duration::from_secs(3));
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(80));
    SourcePlan::new("cam", input, RetryPlan { max_retries: 3, base, cap, exponential: true, first_frame, gap })
}

fn kept(make: &dyn Fn() -> Box<dyn Backend>, samples: &Samples) {
    check_backend(make, samples).unwrap_or_else(|why| panic!("{why}"));
}

fn picture(frames: Option<u64>) -> SourcePlan {
    plan(Input::Test { pattern: "ball".into(), frames, width: 64, height: 48, fps: 25.0 })
}

#[test]
fn gstreamer_keeps_to_the_seam() {
    let samples = Samples {
        finite: Some(picture(Some(40))),
        endless: Some(picture(None)),
        broken: Some(plan(Input::File("/no/such/file.mp4".into()))),
    };
    kept(&|| Box::new(GstBackend::new(Machine::start()).unwrap()), &samples);
}

#[test]
fn scenes_keep_to_the_seam_on_their_own_threads_and_on_a_shared_one() {
    for pixels in [true, false] {
        let scene = |live| plan(Input::Scene { name: "empty".into(), pixels, seed: None, live });
        let samples = Samples { finite: Some(scene(false)), endless: Some(scene(true)), broken: None };
        kept(&|| Box::new(SceneBackend::new(Machine::start())), &samples);
    }
}

#[test]
fn traces_keep_to_the_seam() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.trace");
    let header =
        Header { format: FORMAT, dsengine: "0".into(), config_hash: "0".into(), start_unix_ns: 0, timezone: None };
    let mut writer = Writer::new(std::fs::File::create(&path).unwrap(), &header).unwrap();
    for seq in 0..60 {
        writer.write(&Frame { pts_ns: seq * 40_000_000, ..Frame::empty("gate", seq) }).unwrap();
    }
    drop(writer.finish().unwrap());
    let samples = Samples { finite: Some(plan(Input::Trace(path))), ..Samples::default() };
    kept(&|| Box::new(TraceBackend::default()), &samples);
}

#[test]
fn a_shared_pipeline_keeps_to_the_seam() {
    let samples = Samples { endless: Some(picture(None)), ..Samples::default() };
    kept(&|| Box::new(SharedPipeline::new(Machine::start()).0), &samples);
}

/// A backend of sources that each give thirty frames, with one thing wrong.
struct Wrong {
    sources: Sources,
    what: &'static str,
}

impl Backend for Wrong {
    fn add_source(&mut self, plan: &SourcePlan, sink: Arc<dyn Sink>) -> Result<(), Error> {
        let (what, past) = (self.what, Arc::clone(&sink));
        self.sources.start(plan, sink, "wrong", move |SourceContext { outlet, stop, .. }| {
            if what != "no state" {
                outlet.enter(SourceState::Running);
            }
            for seq in 0..30 {
                let seq = if what == "order" { 30 - seq } else { seq };
                if stop.requested() || outlet.frame(Frame::empty(outlet.id().clone(), seq)) == Flow::Stop {
                    return outlet.stop();
                }
            }
            outlet.end();
            if what == "twice" {
                past.event(outlet.id(), SourceEvent::Ended);
            }
        })
    }

    fn change_source(&mut self, plan: &SourcePlan) -> Result<(), Error> {
        // Taken, and never looked at.
        self.sources.change(plan)
    }

    fn remove_source(&mut self, source: &SourceId, deadline: Duration) {
        self.sources.remove(source, deadline);
    }

    fn stop(&mut self, deadline: Duration) {
        self.sources.stop(None, deadline);
    }
}

#[test]
fn a_backend_that_does_not_keep_to_the_seam_is_told_so() {
    for (what, says) in [
        ("no state", "a state other than `running`"),
        ("order", "frame 29 comes after frame 30"),
        ("twice", "its last word"),
        ("change", "`every` was 3 and frames [3, 4, 5"),
    ] {
        let make = || -> Box<dyn Backend> { Box::new(Wrong { sources: Sources::default(), what }) };
        let samples = Samples { finite: Some(picture(None)), ..Samples::default() };
        let why = check_backend(&make, &samples).expect_err(what);
        assert!(why.contains(says), "{what}: {why}");
    }
}
