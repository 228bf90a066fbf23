//! `recovery` and a source's own keys: when a camera that does not answer is tried again, as the camera sees it.

use std::time::Duration;

use super::{Answer, Bench, Receiver, poll, stop};
use crate::harness::get;

fn source(id: &str, camera: &Receiver, keys: &str) -> String {
    format!("  - {{ id: {id}, uri: 'rtsp://{}/x'{keys} }}\n", camera.address)
}

#[test]
fn a_camera_is_tried_again_when_and_as_often_as_the_keys_say() {
    let bench = Bench::new();
    let cameras: [Receiver; 7] = std::array::from_fn(|_| Receiver::new(Answer::Status(503)));
    let [fixed, slow, few, capped, doubling, once, later_on] = &cameras;
    let recovery = |keys: &str| format!("recovery: {{ retry_delay: 0.3, {keys} }}\nsources:\n");
    let a = bench.start(&format!(
        "{}{}{}{}",
        recovery("max_retries: 100, exponential_backoff: false"),
        source("fixed", fixed, ""),
        source("slow", slow, ", retry_delay: 1.6"),
        source("few", few, ", max_retries: 1")
    ));
    let b =
        bench.start(&format!("{}{}", recovery("max_retries: 100, max_retry_delay: 0.6"), source("capped", capped, "")));
    let c = bench.start(&format!("{}{}", recovery("max_retries: 100"), source("doubling", doubling, "")));
    let d =
        bench.start(&format!("{}{}", recovery("max_retries: 1, exponential_backoff: false"), source("once", once, "")));
    let e = bench.start(&format!("recovery: {{ retry_delay: 1.6 }}\nsources:\n{}", source("later", later_on, "")));
    let (mut a, b, mut c, mut d) = (a, b, c, d);
    let enough = || doubling.hits().len() >= 5 && capped.hits().len() > 5 && later_on.hits().len() >= 2;
    poll(&mut c, || enough().then_some(()));

    // A quarter of a delay may be taken away by chance; an attempt itself takes some time.
    // A busy machine makes one attempt or another late, never all: doubled from 0.3 s, the fourth gap and all after it
    // would be 1.8 s at least.
    let later = |camera: &Receiver| {
        camera.gaps().get(3..).unwrap_or_default().iter().min().map_or(f64::MAX, Duration::as_secs_f64)
    };
    assert!(doubling.longest(4) >= 0.75 * (0.3 + 0.6 + 1.2 + 2.4), "{:?}", doubling.gaps());
    assert!(later(capped) < 1.5 && capped.longest(5) >= 0.75 * (0.3 + 4.0 * 0.6), "{:?}", capped.gaps());
    assert!(fixed.hits().len() > capped.hits().len() && later(fixed) < 1.2, "{:?}", fixed.gaps());
    // Without the key it is 0.3 s, or half a second.
    assert!(slow.longest(1) >= 1.2 && later_on.longest(1) >= 1.2, "{:?} {:?}", slow.gaps(), later_on.gaps());

    // Out of retries, a camera counts as failed and is tried at the longest delay only, ten seconds.
    let failed = |page: &str, id: &str| {
        get(page, "/metrics").1.contains(&format!("dsengine_source_state{{source=\"{id}\",state=\"failed\"}} 1\n"))
    };
    let (page_a, page_d) = (a.page(), d.page());
    assert!(failed(&page_a, "few") && !failed(&page_a, "fixed") && failed(&page_d, "once"));
    for camera in [few, once] {
        // One retry after 0.3 s, and then one whole long delay: of the two gaps the longer is of it.
        poll(&mut d, || (camera.hits().len() >= 3).then_some(()));
        let gaps = camera.gaps();
        assert!(gaps[0].as_secs_f64() < 7.0 && gaps[1].as_secs_f64() >= 7.0, "{gaps:?}");
    }
    for run in [a, b, c, d, e] {
        stop(run);
    }
}

#[test]
fn a_silent_camera_is_given_up_after_the_time_that_is_set() {
    let bench = Bench::new();
    let (hasty, patient) = (Receiver::new(Answer::Silence), Receiver::new(Answer::Silence));
    let mut run = bench.start(&format!(
        "recovery: {{ retry_delay: 0.1, exponential_backoff: false, source_timeout_seconds: 0.5 }}\nsources:\n{}{}",
        source("hasty", &hasty, ""),
        source("patient", &patient, ", timeout: 3")
    ));
    poll(&mut run, || (patient.hits().len() >= 2).then_some(()));
    let longest = hasty.longest_gaps().into_iter().max();
    assert!(longest >= Some(Duration::from_millis(500)) && hasty.hits().len() > 2, "{:?}", hasty.gaps());
    assert!(patient.longest_gaps()[0] >= Duration::from_millis(2500), "{:?}", patient.gaps());
    stop(run);
}
