//! RTSP on its connection: messages and interleaved packets, and the ports that SETUP agrees on.

/// A part of the stream of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A request or an answer, with its body.
    Message(Vec<u8>),
    /// An interleaved packet, with its four bytes of frame.
    Packet { channel: u8, bytes: Vec<u8> },
}

/// Cuts a stream of bytes into units.
#[derive(Default)]
pub(super) struct Framer {
    rest: Vec<u8>,
}

impl Framer {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Unit> {
        self.rest.extend_from_slice(bytes);
        std::iter::from_fn(|| self.next()).collect()
    }

    fn next(&mut self) -> Option<Unit> {
        if self.rest.first() == Some(&b'$') {
            let length = 4 + u16::from_be_bytes([*self.rest.get(2)?, *self.rest.get(3)?]) as usize;
            let bytes = self.take(length)?;
            return Some(Unit::Packet { channel: bytes[1], bytes });
        }
        let head = self.rest.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&self.rest[..head]).to_lowercase();
        let body = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        self.take(head + body).map(Unit::Message)
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        (self.rest.len() >= length).then(|| self.rest.drain(..length).collect())
    }
}

/// The pair of ports that a message names as `name=A-B`.
pub(super) fn ports(message: &[u8], name: &str) -> Option<(u16, u16)> {
    let text = String::from_utf8_lossy(message);
    let (_, rest) = text.split_once(&format!("{name}="))?;
    let (first, rest) = rest.split_once('-')?;
    let second: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((first.parse().ok()?, second.parse().ok()?))
}

/// The message with other ports under `name`.
pub(super) fn with_ports(message: &[u8], name: &str, (first, second): (u16, u16)) -> Vec<u8> {
    let Some((a, b)) = ports(message, name) else { return message.to_vec() };
    let text = String::from_utf8_lossy(message);
    text.replacen(&format!("{name}={a}-{b}"), &format!("{name}={first}-{second}"), 1).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_packets_are_told_apart_wherever_the_bytes_are_cut() {
        let stream = b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc$\x01\0\x02xyRTSP/1.0 200 OK\r\n\r\n";
        for size in 1..stream.len() {
            let mut framer = Framer::default();
            let units: Vec<Unit> = stream.chunks(size).flat_map(|chunk| framer.push(chunk)).collect();
            assert_eq!(units.len(), 3, "{size}");
            assert_eq!(units[1], Unit::Packet { channel: 1, bytes: b"$\x01\0\x02xy".to_vec() });
            assert!(matches!(&units[0], Unit::Message(bytes) if bytes.ends_with(b"abc")));
        }
    }

    #[test]
    fn ports_are_read_and_written() {
        let setup = b"SETUP rtsp://h/s RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port=10-11;x=1\r\n\r\n";
        assert_eq!(ports(setup, "client_port"), Some((10, 11)));
        assert_eq!(ports(setup, "server_port"), None);
        let other = with_ports(setup, "client_port", (50_000, 50_001));
        assert_eq!(ports(&other, "client_port"), Some((50_000, 50_001)));
        assert_eq!(other.len(), setup.len() + 6);
    }
}
