//! What a feed leaves behind.

use super::*;

struct Still;

impl crate::types::Clock for Still {
    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn unix_ns(&self) -> u64 {
        0
    }
}

/// Names of the elements that outlive a feed that failed or was dropped midway.
fn left_behind(input: &Input, pulls: usize) -> Vec<String> {
    gst::init().unwrap();
    let attempts = Attempts::new(Arc::new(Still), Arc::default());
    let mut feed = Feed::start(input, if input.is_live() { Pacing::Live } else { Pacing::Fast }, &attempts).unwrap();
    for _ in 0..pulls {
        assert!(feed.next(Duration::from_secs(10)).is_some());
    }
    while pulls == 0 && feed.failure().is_none() {
        feed.next(Duration::from_millis(10));
    }
    let mut elements: Vec<gst::Element> = Vec::new();
    let _ = feed.pipeline.iterate_recurse().foreach(|element| elements.push(element));
    elements.push(feed.pipeline.clone().upcast());
    let weak: Vec<_> = elements.iter().map(|e| (e.name().to_string(), e.downgrade())).collect();
    drop(elements);
    drop(feed);
    weak.into_iter().filter(|(_, weak)| weak.upgrade().is_some()).map(|(name, _)| name).collect()
}

#[test]
fn a_dropped_feed_leaves_nothing_behind() {
    let refused = Input::Rtsp(Box::new(crate::config::Camera::read("rtsp://127.0.0.1:9/nobody").unwrap()));
    assert_eq!(left_behind(&refused, 0), Vec::<String>::new());
    let playing = Input::Test { pattern: "ball".into(), frames: Some(50), width: 64, height: 48, fps: 25.0 };
    assert_eq!(left_behind(&playing, 3), Vec::<String>::new());
}

#[test]
fn a_cameras_jitter_buffer_and_receive_buffer_are_the_ones_that_are_set() {
    gst::init().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (parameters, latency_ms, buffer_bytes) in
        [("{}", 200_u32, 1_048_576), ("{latency: 750, buffer_size: 4096}", 750, 4_194_304)]
    {
        let path = dir.path().join("c.yaml");
        let text = format!("sources: [{{id: cam, uri: 'rtsp://127.0.0.1:9/s', parameters: {parameters}}}]\n");
        std::fs::write(&path, text).unwrap();
        let request = crate::config::Request { config: Some(path), ..Default::default() };
        let input = crate::config::load(&request).unwrap().plan.sources.remove(0).input;
        let attempts = Attempts::new(Arc::new(Still), Arc::default());
        let feed = Feed::start(&input, Pacing::Live, &attempts).unwrap();
        let mut found = None;
        let _ = feed.pipeline.iterate_recurse().foreach(|element| {
            if element.factory().is_some_and(|factory| factory.name() == "rtspsrc") {
                found = Some((element.property::<u32>("latency"), element.property::<i32>("udp-buffer-size")));
            }
        });
        assert_eq!(found, Some((latency_ms, buffer_bytes)), "{parameters}");
    }
}
