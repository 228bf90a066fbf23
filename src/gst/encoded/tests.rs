//! What is kept, what a listener gets, and which streams cannot be passed on.

use super::*;

const SHORT: Duration = Duration::from_millis(1);

fn packet(bytes: &[u8], key: bool, format: &str) -> Packet {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::from_slice(bytes.to_vec());
    if !key {
        buffer.get_mut().unwrap().set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    Packet { buffer, caps: gst::Caps::builder("video/x-h264").field("stream-format", format).build() }
}

fn sized(size: usize, key: bool) -> Packet {
    packet(&vec![0; size], key, "avc")
}

fn encoded() -> Encoded {
    let encoded = Encoded::default();
    encoded.0.lock().codec = Some("video/x-h264".into());
    encoded
}

fn sizes(listener: &Listener) -> Vec<usize> {
    std::iter::from_fn(|| listener.next(SHORT)).map(|packet| packet.buffer.size()).collect()
}

#[test]
fn a_listener_begins_with_the_last_key_frame() {
    let encoded = encoded();
    for (size, key) in [(9, false), (1, true), (2, false), (3, true), (4, false)] {
        encoded.push(0, sized(size, key));
    }
    let listener = encoded.listen().unwrap();
    assert_eq!(listener.backlog, 2);
    encoded.push(0, sized(5, false));
    assert_eq!(sizes(&listener), [3, 4, 5]);
    drop(listener);
    encoded.push(0, sized(6, false));
    assert!(encoded.0.lock().listeners.is_empty());
}

#[test]
fn what_is_kept_and_queued_is_bounded_and_what_is_lost_is_counted() {
    let encoded = encoded();
    encoded.push(0, sized(1, true));
    let slow = encoded.listen().unwrap();
    encoded.push(0, sized(RING_BYTES_MAX, false));
    let kept = {
        let state = encoded.0.lock();
        (state.bytes, state.ring.len())
    };
    assert_eq!(kept, (0, 0), "the group is too long to keep");
    assert_eq!(encoded.listen().unwrap().backlog, 0);
    encoded.push(0, sized(QUEUE_BYTES_MAX, false));
    encoded.push(0, sized(2, false));
    assert_eq!((sizes(&slow), slow.dropped()), (vec![], 4), "it waits for a key frame");
    encoded.push(0, sized(3, true));
    assert_eq!((sizes(&slow), slow.dropped()), (vec![3], 4));
    for _ in 0..QUEUE_MAX + 1 {
        encoded.push(0, sized(1, false));
    }
    assert_eq!(slow.dropped(), 4 + QUEUE_MAX as u64 + 1);
}

#[test]
fn hidden_pictures_are_neither_kept_nor_passed_on() {
    let encoded = encoded();
    encoded.push(0, sized(1, true));
    let listener = encoded.listen().unwrap();
    assert_eq!(sizes(&listener), [1]);
    encoded.hide(true);
    encoded.push(0, sized(2, true));
    assert!(sizes(&listener).is_empty() && encoded.0.lock().ring.is_empty());
    assert_eq!(encoded.listen().err(), Some(Unfit::Hidden));
    encoded.hide(false);
    assert_eq!(encoded.listen().unwrap().backlog, 0, "what was kept before is forgotten");
}

#[test]
fn b_frames_and_other_codecs_are_noticed() {
    // A unit of type 9, then a slice of type 1: first_mb_in_slice 0 (`1`), slice_type 6 = B (`00111`).
    let slice = [0x01, 0b1001_1100, 0xff];
    let stream = [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1][..], &slice].concat();
    assert!(has_b_slice(&packet(&stream, false, "byte-stream")));
    let lengths = [&[0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 3][..], &slice].concat();
    assert!(has_b_slice(&packet(&lengths, false, "avc")));
    // slice_type 5 = P (`00110`), and 7 = I (`0001000`).
    for other in [[0x01, 0b1001_1000, 0xff], [0x05, 0b1000_1000, 0xff]] {
        assert!(!has_b_slice(&packet(&[&[0, 0, 1][..], &other].concat(), false, "byte-stream")));
    }
    for broken in [&[][..], &[0, 0, 1], &[0, 0, 1, 1], &[0, 0, 1, 1, 0, 0, 0, 0], &[255; 9]] {
        assert!(!has_b_slice(&packet(broken, false, "byte-stream")) && !has_b_slice(&packet(broken, false, "avc")));
    }
    let encoded = encoded();
    encoded.push(0, packet(&stream, true, "byte-stream"));
    assert_eq!(encoded.listen().err(), Some(Unfit::Reordered));
    encoded.0.lock().codec = Some("video/x-vp8".into());
    assert_eq!(encoded.fit().err(), Some(Unfit::Codec("video/x-vp8".into())));
}
