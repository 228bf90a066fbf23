//! When a live frame was captured: the camera's sender reports say it, and the latency is measured from it.

use std::time::{Duration, Instant};

use crate::harness::{Dsengine, Running, get, sample, write};
use crate::sources::Camera;

/// Longest until a camera has sent its first report, and frames after it.
const REPORTED: Duration = Duration::from_secs(60);

/// The mean latency of the frames since the last look, from capture to verdict; `None` for fewer than ten.
fn since(page: &str, id: &str, last: &mut (f64, f64)) -> Option<f64> {
    let metrics = get(page, "/metrics").1;
    let of = |what: &str| {
        sample(&metrics, &format!("dsengine_frame_latency_seconds_{what}{{source=\"{id}\",stage=\"capture\"}}"))
    };
    let (sum, count) = (of("sum")?, of("count")?);
    let (more, frames) = (sum - last.0, count - last.1);
    if frames < 10.0 {
        return None;
    }
    *last = (sum, count);
    Some(more / frames)
}

fn poll<T>(run: &mut Running, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + REPORTED;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(run.end(Duration::from_millis(50)).is_none(), "it ended: {}", run.seen.join("\n"));
        assert!(Instant::now() < until, "{what}: {}", run.seen.join("\n"));
    }
}

#[test]
fn the_latency_of_a_camera_is_measured_from_the_capture_that_it_reports() {
    const TEST: &str = "times::the_latency_of_a_camera_is_measured";
    let Some(late) = Camera::start(TEST, 0, &["--late-ms", "1500"]) else { return };
    let Some(prompt) = Camera::start(TEST, 0, &[]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let source =
        |id: &str, camera: &Camera| format!("  - {{ id: {id}, uri: 'rtsp://127.0.0.1:{}/cam' }}\n", camera.port);
    let config = format!(
        "monitoring: {{ prometheus: {{ port: 0 }} }}\nsources:\n{}{}",
        source("late", &late),
        source("prompt", &prompt)
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    // Until the first report, a frame counts as captured when it arrived.
    let mut last = (0.0, 0.0);
    let latency = poll(&mut run, "no report is used", || since(&page, "late", &mut last).filter(|mean| *mean > 1.4));
    assert!(latency < 4.0, "{latency}");
    let mut last = (0.0, 0.0);
    let prompt = poll(&mut run, "no frames", || since(&page, "prompt", &mut last));
    assert!(prompt < 1.0, "{prompt}");
    println!("times: from capture to verdict: {latency:.3} s of the late camera, {prompt:.3} s of the prompt one");
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
}
