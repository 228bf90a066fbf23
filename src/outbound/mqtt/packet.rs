//! The packets that a publisher sends and receives, of MQTT 5 and 3.1.1, and those of a subscription without
//! acknowledgements. Pure: bytes in, bytes out.
//!
//! After OASIS "MQTT Version 5.0" and "MQTT Version 3.1.1", chapters 2 and 3.

/// Most bytes of a packet after its first byte and its length: the protocol's bound.
const BODY_BYTES_MAX: usize = 268_435_455;
/// Most bytes of a received packet, beside a message: acknowledgements are smaller.
const RECEIVED_BYTES_MAX: usize = 64 * 1024;
/// The first byte's upper half of a message.
const PUBLISH: u8 = 3;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1: an acknowledgement does not say whether the message was refused.
    Three,
    /// 5.
    Five,
}

/// The first packet of a connection. Its session ends with it.
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    /// The user and the password.
    pub(crate) user: Option<(&'a str, &'a str)>,
    /// What the broker publishes, retained, if the connection breaks: topic and payload.
    pub(crate) will: Option<(&'a str, &'a str)>,
    pub(crate) will_qos: u8,
    pub(crate) keep_alive_s: u16,
}

/// A message to publish.
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Its number; not sent for QoS 0.
    pub(crate) id: u16,
}

/// The stage that an acknowledgement confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBACK: a message of QoS 1 has arrived.
    Taken,
    /// PUBREC: a message of QoS 2 has arrived.
    Received,
    /// PUBCOMP: it is passed on once.
    Complete,
}

/// A received packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// The answer to [`Connect`].
    Connected { reason: u8, limits: Limits },
    /// The answer to a message.
    Acknowledged { stage: Stage, id: u16, reason: u8 },
    /// The answer to a subscription: the highest of its reasons, one per topic. From 0x80 on, it is an error.
    Subscribed { id: u16, reason: u8 },
    /// A message of a subscription.
    Message(Incoming),
    /// A message that is too long to be read.
    TooLong,
    /// The answer to a ping.
    Pong,
    /// The broker ends the connection.
    Disconnect { reason: u8 },
    /// Anything else.
    Other,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Whether the broker kept it from before the subscription.
    pub(crate) is_kept: bool,
}

/// What the broker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most bytes of a packet.
    pub(crate) packet_bytes: usize,
    /// The highest QoS.
    pub(crate) qos: u8,
    /// Its own keep-alive time in seconds, if it sets one.
    pub(crate) keep_alive_s: Option<u16>,
}

impl Limits {
    pub(crate) const NONE: Self = Self { packet_bytes: BODY_BYTES_MAX, qos: 2, keep_alive_s: None };
}

/// A received packet breaks the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The bytes of a [`Connect`].
pub(crate) fn connect(packet: &Connect<'_>, version: Version) -> Vec<u8> {
    let (level, is_five) = match version {
        Version::Three => (4, false),
        Version::Five => (5, true),
    };
    let password = packet.user.map(|(_, password)| password).filter(|password| !password.is_empty());
    let clean_session = 0b0000_0010;
    let retained_will = 0b0010_0100 | (packet.will_qos << 3);
    let flags = clean_session
        | if packet.will.is_some() { retained_will } else { 0 }
        | if packet.user.is_some() { 0b1000_0000 } else { 0 }
        | if password.is_some() { 0b0100_0000 } else { 0 };
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.extend([level, flags]);
    body.extend(packet.keep_alive_s.to_be_bytes());
    // No properties.
    body.extend(is_five.then_some(0));
    text(&mut body, packet.client_id);
    if let Some((topic, payload)) = packet.will {
        body.extend(is_five.then_some(0));
        text(&mut body, topic);
        text(&mut body, payload);
    }
    packet.user.iter().for_each(|(name, _)| text(&mut body, name));
    password.iter().for_each(|password| text(&mut body, password));
    framed(0x10, &[&body]).unwrap_or_default()
}

/// The bytes of a message; `None` if it is too long for the protocol.
pub(crate) fn publish(packet: &Publish<'_>, version: Version) -> Option<Vec<u8>> {
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

/// The bytes of a subscription to topics, without acknowledgements. A broker of version 5 is asked for neither kept
/// messages nor this client's own.
pub(crate) fn subscribe(id: u16, topics: &[String], version: Version) -> Vec<u8> {
    let is_five = version == Version::Five;
    let no_kept_and_not_own = 0b0010_0100;
    let mut body = id.to_be_bytes().to_vec();
    body.extend(is_five.then_some(0));
    for topic in topics {
        text(&mut body, topic);
        body.push(if is_five { no_kept_and_not_own } else { 0 });
    }
    framed(0x82, &[&body]).unwrap_or_default()
}

/// The bytes that release a message of QoS 2.
pub(crate) fn release(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x62, 2, high, low]
}

/// The bytes of a ping.
pub(crate) const PING: [u8; 2] = [0xC0, 0];

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

/// The first packet of `bytes` with its length, `None` if it is not complete yet. A message with more than
/// `message_bytes_max` (topic, payload and what is between them) is too long, and need not be complete.
pub(crate) fn read(
    bytes: &[u8],
    version: Version,
    message_bytes_max: usize,
) -> Result<Option<(Received, usize)>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, rest)) = varint(rest)? else { return Ok(None) };
    let total = bytes.len() - rest.len() + length;
    let is_message = first >> 4 == PUBLISH;
    if is_message && length > message_bytes_max {
        return Ok(Some((Received::TooLong, total)));
    }
    if !is_message && length > RECEIVED_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((packet(first, body, version)?, total)))
}

fn packet(first: u8, body: &[u8], version: Version) -> Result<Received, Malformed> {
    let acknowledged = |stage| {
        let id = u16::from_be_bytes([*body.first().ok_or(Malformed)?, *body.get(1).ok_or(Malformed)?]);
        Ok(Received::Acknowledged { stage, id, reason: body.get(2).copied().unwrap_or(0) })
    };
    match first >> 4 {
        2 => {
            let code = *body.get(1).ok_or(Malformed)?;
            let limits = body.get(2..).map_or(Ok(Limits::NONE), limits)?;
            Ok(Received::Connected { reason: modern(code), limits })
        }
        PUBLISH => message(first, body, version).map(Received::Message),
        4 => acknowledged(Stage::Taken),
        5 => acknowledged(Stage::Received),
        7 => acknowledged(Stage::Complete),
        9 => {
            let id = number(body, 2)? as u16;
            let reasons = after_properties(&body[2..], version)?;
            Ok(Received::Subscribed { id, reason: reasons.iter().copied().max().ok_or(Malformed)? })
        }
        13 => Ok(Received::Pong),
        14 => Ok(Received::Disconnect { reason: body.first().copied().unwrap_or(0) }),
        _ => Ok(Received::Other),
    }
}

/// A message with its topic, number (not with QoS 0), properties and payload.
fn message(first: u8, body: &[u8], version: Version) -> Result<Incoming, Malformed> {
    let topic_end = 2 + number(body, 2)? as usize;
    let topic = body.get(2..topic_end).ok_or(Malformed)?;
    let topic = String::from_utf8(topic.to_vec()).map_err(|_| Malformed)?;
    let number_bytes = if first & 0b0110 == 0 { 0 } else { 2 };
    let rest = body.get(topic_end + number_bytes..).ok_or(Malformed)?;
    let payload = after_properties(rest, version)?.to_vec();
    Ok(Incoming { topic, payload, is_kept: first & 1 == 1 })
}

/// What follows the properties, which version 3.1.1 does not have.
fn after_properties(bytes: &[u8], version: Version) -> Result<&[u8], Malformed> {
    if version == Version::Three {
        return Ok(bytes);
    }
    let (length, rest) = varint(bytes)?.ok_or(Malformed)?;
    rest.get(length..).ok_or(Malformed)
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
mod tests;
