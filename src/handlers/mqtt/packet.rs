//! The packets that a publisher sends and receives, of MQTT 5 and 3.1.1. Pure: bytes in, bytes out.
//!
//! After OASIS "MQTT Version 5.0" and "MQTT Version 3.1.1", chapters 2 and 3.

/// Most bytes of a packet after its first byte and its length: the protocol's bound.
const BODY_BYTES_MAX: usize = 268_435_455;
/// Most bytes of a received packet: a publisher receives acknowledgements only.
const RECEIVED_BYTES_MAX: usize = 64 * 1024;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1.1: an acknowledgement does not say whether the message was refused.
    Three,
    /// 5.
    Five,
}

/// The first packet of a connection. Its session ends with it.
pub(super) struct Connect<'a> {
    pub(super) client_id: &'a str,
    /// The user and the password.
    pub(super) user: Option<(&'a str, &'a str)>,
    /// What the broker publishes, retained, if the connection breaks: topic and payload.
    pub(super) will: (&'a str, &'a str),
    pub(super) will_qos: u8,
    pub(super) keep_alive_s: u16,
}

/// A message to publish.
pub(super) struct Publish<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Its number; not sent for QoS 0.
    pub(super) id: u16,
}

/// The stage that an acknowledgement confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// PUBACK: a message of QoS 1 has arrived.
    Taken,
    /// PUBREC: a message of QoS 2 has arrived.
    Received,
    /// PUBCOMP: it is passed on once.
    Complete,
}

/// A received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// The answer to [`Connect`].
    Connected { reason: u8, limits: Limits },
    /// The answer to a message.
    Acknowledged { stage: Stage, id: u16, reason: u8 },
    /// The answer to a ping.
    Pong,
    /// The broker ends the connection.
    Disconnect { reason: u8 },
    /// Anything else.
    Other,
}

/// What the broker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Most bytes of a packet.
    pub(super) packet_bytes: usize,
    /// The highest QoS.
    pub(super) qos: u8,
    /// Its own keep-alive time in seconds, if it sets one.
    pub(super) keep_alive_s: Option<u16>,
}

impl Limits {
    pub(super) const NONE: Self = Self { packet_bytes: BODY_BYTES_MAX, qos: 2, keep_alive_s: None };
}

/// A received packet breaks the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The bytes of a [`Connect`].
pub(super) fn connect(packet: &Connect<'_>, version: Version) -> Vec<u8> {
    let (level, is_five) = match version {
        Version::Three => (4, false),
        Version::Five => (5, true),
    };
    let password = packet.user.map(|(_, password)| password).filter(|password| !password.is_empty());
    let clean_session_and_retained_will = 0b0010_0110 | (packet.will_qos << 3);
    let flags = clean_session_and_retained_will
        | if packet.user.is_some() { 0b1000_0000 } else { 0 }
        | if password.is_some() { 0b0100_0000 } else { 0 };
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.extend([level, flags]);
    body.extend(packet.keep_alive_s.to_be_bytes());
    // No properties.
    body.extend(is_five.then_some(0));
    text(&mut body, packet.client_id);
    body.extend(is_five.then_some(0));
    text(&mut body, packet.will.0);
    text(&mut body, packet.will.1);
    packet.user.iter().for_each(|(name, _)| text(&mut body, name));
    password.iter().for_each(|password| text(&mut body, password));
    framed(0x10, &[&body]).unwrap_or_default()
}

/// The bytes of a message; `None` if it is too long for the protocol.
pub(super) fn publish(packet: &Publish<'_>, version: Version) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    text(&mut head, packet.topic);
    if packet.qos > 0 {
        head.extend(packet.id.to_be_bytes());
    }
    if version == Version::Five {
        head.push(0);
    }
    framed(0x30 | (packet.qos << 1) | u8::from(packet.retain), &[&head, packet.payload])
}

/// The bytes that release a message of QoS 2.
pub(super) fn release(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x62, 2, high, low]
}

/// The bytes of a ping.
pub(super) const PING: [u8; 2] = [0xC0, 0];

fn framed(first: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    if length > BODY_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(length + 5);
    out.push(first);
    let mut rest = length;
    loop {
        let digit = (rest % 128) as u8;
        rest /= 128;
        out.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Some(out)
}

/// Appends a text with its length. The configuration bounds every text; a longer one would be cut.
fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

/// The first packet of `bytes` with its length, `None` if it is not complete yet.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Received, usize)>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, rest)) = varint(rest)? else { return Ok(None) };
    if length > RECEIVED_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((packet(first >> 4, body)?, bytes.len() - rest.len() + length)))
}

fn packet(kind: u8, body: &[u8]) -> Result<Received, Malformed> {
    let acknowledged = |stage| {
        let id = u16::from_be_bytes([*body.first().ok_or(Malformed)?, *body.get(1).ok_or(Malformed)?]);
        Ok(Received::Acknowledged { stage, id, reason: body.get(2).copied().unwrap_or(0) })
    };
    match kind {
        2 => {
            let code = *body.get(1).ok_or(Malformed)?;
            let limits = body.get(2..).map_or(Ok(Limits::NONE), limits)?;
            Ok(Received::Connected { reason: modern(code), limits })
        }
        4 => acknowledged(Stage::Taken),
        5 => acknowledged(Stage::Received),
        7 => acknowledged(Stage::Complete),
        13 => Ok(Received::Pong),
        14 => Ok(Received::Disconnect { reason: body.first().copied().unwrap_or(0) }),
        _ => Ok(Received::Other),
    }
}

/// The reason of version 5 for a return code of 3.1.1, whose codes are below 6.
fn modern(code: u8) -> u8 {
    match code {
        1 => 0x84,
        2 => 0x85,
        3 => 0x88,
        4 => 0x86,
        5 => 0x87,
        other => other,
    }
}

/// A number of one to four bytes and what follows it; `None` if it is not complete yet.
fn varint(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, &bytes[index + 1..])));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed) }
}

/// The limits among the properties of the answer to [`Connect`].
fn limits(bytes: &[u8]) -> Result<Limits, Malformed> {
    let mut limits = Limits::NONE;
    let Some((length, rest)) = varint(bytes)? else { return Ok(limits) };
    let mut rest = rest.get(..length).ok_or(Malformed)?;
    while let Some((&name, value)) = rest.split_first() {
        let text = |from: usize| Ok(2 + usize::from(number(value.get(from..).unwrap_or_default(), 2)? as u16));
        let size = match name {
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x21 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => text(0)?,
            0x26 => text(0)? + text(text(0)?)?,
            _ => return Err(Malformed),
        };
        match name {
            0x13 => limits.keep_alive_s = Some(number(value, 2)? as u16),
            0x24 => limits.qos = number(value, 1)? as u8,
            0x27 => limits.packet_bytes = number(value, 4)? as usize,
            _ => {}
        }
        rest = value.get(size..).ok_or(Malformed)?;
    }
    Ok(limits)
}

/// The number in the first `size` bytes.
fn number(bytes: &[u8], size: usize) -> Result<u32, Malformed> {
    let bytes = bytes.get(..size).ok_or(Malformed)?;
    Ok(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Connect<'static> = Connect {
        client_id: "c",
        user: Some(("u", "p")),
        will: ("t/available", "offline"),
        will_qos: 1,
        keep_alive_s: 60,
    };

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
            (b"\x90\x03\x00\x01\x00", Received::Other),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Ok(None), "{bytes:?} up to {end}");
            }
            let more = [bytes, b"\xd0"].concat();
            assert_eq!(read(&more), Ok(Some((wanted, bytes.len()))));
        }
        for malformed in [&b"\x40\x01\x00"[..], b"\x20\x01\x00", b"\x40\xff\xff\xff\xff", b"\x40\x81\x80\x04"] {
            assert_eq!(read(malformed), Err(Malformed), "{malformed:?}");
        }
    }

    #[test]
    fn the_brokers_limits_are_read_among_its_properties() {
        // Assigned name, user property, receive maximum, retained messages, and the three that count.
        let properties =
            b"\x12\x00\x01c\x26\x00\x01k\x00\x02vv\x21\x00\x14\x13\x00\x0a\x24\x01\x25\x00\x27\x00\x00\x10\x00";
        let length = properties.len() as u8;
        let bytes = [&[0x20, length + 3, 0, 0, length], &properties[..]].concat();
        let limits = Limits { packet_bytes: 4096, qos: 1, keep_alive_s: Some(10) };
        assert_eq!(read(&bytes), Ok(Some((Received::Connected { reason: 0, limits }, bytes.len()))));
        for damaged in
            [&b"\x20\x05\x00\x00\x02\xff\x00"[..], b"\x20\x05\x00\x00\x02\x27\x00", b"\x20\x04\x00\x00\x09\x24"]
        {
            assert_eq!(read(damaged), Err(Malformed), "{damaged:?}");
        }
    }
}
