//! Packets, byte by byte.

use super::{read as read_up_to, *};

/// Most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4096;

const HELLO: Connect<'static> = Connect {
    client_id: "c",
    user: Some(("u", "p")),
    will: Some(("t/available", "offline")),
    will_qos: 1,
    keep_alive_s: 60,
};

fn read(bytes: &[u8], version: Version) -> Result<Option<(Received, usize)>, Malformed> {
    read_up_to(bytes, version, MESSAGE_BYTES_MAX)
}

#[test]
fn packets_are_written_as_the_protocol_says() {
    let three = connect(&HELLO, Version::Three);
    let will = b"\x00\x0bt/available\x00\x07offline";
    let expected = [b"\x10\x29\x00\x04MQTT\x04\xee\x00\x3c\x00\x01c", &will[..], b"\x00\x01u\x00\x01p"].concat();
    assert_eq!(three, expected);
    let five = connect(&Connect { user: None, will_qos: 0, ..HELLO }, Version::Five);
    let expected = [b"\x10\x25\x00\x04MQTT\x05\x26\x00\x3c\x00\x00\x01c\x00", &will[..]].concat();
    assert_eq!(five, expected);
    let user_only = connect(&Connect { user: Some(("u", "")), ..HELLO }, Version::Three);
    assert_eq!(user_only[9], 0xAE, "a user without a password");
    let message = Publish { topic: "a/b", payload: b"xy", qos: 1, retain: true, id: 258 };
    assert_eq!(publish(&message, Version::Three).unwrap(), b"\x33\x09\x00\x03a/b\x01\x02xy");
    assert_eq!(publish(&message, Version::Five).unwrap(), b"\x33\x0a\x00\x03a/b\x01\x02\x00xy");
    let sent = Publish { qos: 0, retain: false, ..message };
    assert_eq!(publish(&sent, Version::Three).unwrap(), b"\x30\x07\x00\x03a/bxy");
    let long = Publish { payload: &vec![b'x'; 16_384], ..sent };
    assert_eq!(publish(&long, Version::Three).unwrap()[..4], [0x30, 0x85, 0x80, 0x01]);
    assert_eq!(release(258), [0x62, 2, 1, 2]);
}

#[test]
fn packets_are_read_once_they_are_complete() {
    let acknowledged = |stage, reason| Received::Acknowledged { stage, id: 258, reason };
    let connected = |reason| Received::Connected { reason, limits: Limits::NONE };
    for (bytes, wanted) in [
        (&b"\x20\x02\x00\x00"[..], connected(0)),
        (b"\x20\x02\x00\x04", connected(0x86)),
        (b"\x20\x02\x00\x05", connected(0x87)),
        (b"\x20\x03\x00\x87\x00", connected(0x87)),
        (b"\x40\x02\x01\x02", acknowledged(Stage::Taken, 0)),
        (b"\x40\x03\x01\x02\x10", acknowledged(Stage::Taken, 0x10)),
        (b"\x40\x04\x01\x02\x87\x00", acknowledged(Stage::Taken, 0x87)),
        (b"\x50\x02\x01\x02", acknowledged(Stage::Received, 0)),
        (b"\x70\x02\x01\x02", acknowledged(Stage::Complete, 0)),
        (b"\xd0\x00", Received::Pong),
        (b"\xe0\x00", Received::Disconnect { reason: 0 }),
        (b"\xe0\x02\x8e\x00", Received::Disconnect { reason: 0x8E }),
        (b"\x90\x03\x01\x02\x00", Received::Subscribed { id: 258, reason: 0 }),
        (b"\x90\x04\x01\x02\x80\x00", Received::Subscribed { id: 258, reason: 0x80 }),
        (b"\xf0\x01\x00", Received::Other),
    ] {
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], Version::Three), Ok(None), "{bytes:?} up to {end}");
        }
        let more = [bytes, b"\xd0"].concat();
        assert_eq!(read(&more, Version::Three), Ok(Some((wanted.clone(), bytes.len()))));
    }
    for malformed in [&b"\x40\x01\x00"[..], b"\x20\x01\x00", b"\x40\xff\xff\xff\xff", b"\x40\x81\x80\x04"] {
        assert_eq!(read(malformed, Version::Three), Err(Malformed), "{malformed:?}");
    }
}

#[test]
fn a_subscription_is_written_and_its_messages_are_read() {
    let topics = ["a/+".to_owned(), "b".to_owned()];
    let three = b"\x82\x0c\x01\x02\x00\x03a/+\x00\x00\x01b\x00";
    assert_eq!(subscribe(258, &topics, Version::Three), three);
    let five = b"\x82\x0d\x01\x02\x00\x00\x03a/+\x24\x00\x01b\x24";
    assert_eq!(subscribe(258, &topics, Version::Five), five);
    let message = |payload: &[u8], is_kept| {
        Received::Message(Incoming { topic: "a/b".into(), payload: payload.to_vec(), is_kept })
    };
    for (bytes, version, wanted) in [
        (&b"\x30\x07\x00\x03a/bON"[..], Version::Three, message(b"ON", false)),
        (b"\x31\x07\x00\x03a/bON", Version::Three, message(b"ON", true)),
        (b"\x30\x05\x00\x03a/b", Version::Three, message(b"", false)),
        (b"\x33\x09\x00\x03a/b\x00\x07ON", Version::Three, message(b"ON", true)),
        (b"\x30\x08\x00\x03a/b\x00ON", Version::Five, message(b"ON", false)),
        (b"\x30\x0a\x00\x03a/b\x02\x01\x01ON", Version::Five, message(b"ON", false)),
        (b"\x90\x05\x01\x02\x00\x00\x87", Version::Five, Received::Subscribed { id: 258, reason: 0x87 }),
    ] {
        assert_eq!(read(bytes, version), Ok(Some((wanted, bytes.len()))), "{bytes:?}");
    }
    let cut = [&b"\x30\x03\x00\x03a"[..], b"\x32\x05\x00\x03a/b", b"\x30\x03\x00\x01\xff", b"\x90\x02\x01\x02"];
    for malformed in cut {
        assert_eq!(read(malformed, Version::Three), Err(Malformed), "{malformed:?}");
    }
    // One that is too long is skipped: only its head has arrived.
    assert_eq!(read(b"\x30\xff\xff\xff\x7f\x00", Version::Five), Ok(Some((Received::TooLong, 268_435_460))));
}

#[test]
fn the_brokers_limits_are_read_among_its_properties() {
    // Assigned name, user property, receive maximum, retained messages, and the three that count.
    let properties =
        b"\x12\x00\x01c\x26\x00\x01k\x00\x02vv\x21\x00\x14\x13\x00\x0a\x24\x01\x25\x00\x27\x00\x00\x10\x00";
    let length = properties.len() as u8;
    let bytes = [&[0x20, length + 3, 0, 0, length], &properties[..]].concat();
    let limits = Limits { packet_bytes: 4096, qos: 1, keep_alive_s: Some(10) };
    assert_eq!(read(&bytes, Version::Five), Ok(Some((Received::Connected { reason: 0, limits }, bytes.len()))));
    for damaged in [&b"\x20\x05\x00\x00\x02\xff\x00"[..], b"\x20\x05\x00\x00\x02\x27\x00", b"\x20\x04\x00\x00\x09\x24"]
    {
        assert_eq!(read(damaged, Version::Five), Err(Malformed), "{damaged:?}");
    }
}
