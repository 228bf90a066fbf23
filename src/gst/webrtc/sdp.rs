//! Session descriptions of peers: checked before GStreamer sees them, and reduced to one video codec. Pure.

/// Longest description.
pub(crate) const SDP_BYTES_MAX: usize = 64 * 1024;
/// Most lines of a description.
const LINES_MAX: usize = 2_000;
/// Longest line.
const LINE_BYTES_MAX: usize = 4_096;
/// Most media.
const MEDIA_MAX: usize = 8;
/// Most ICE candidates: each is an address to which packets are sent.
const CANDIDATES_MAX: usize = 64;
/// Most payload types of the video.
const PAYLOADS_MAX: usize = 64;

/// A video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    Vp8,
}

/// One payload type of the video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) number: u8,
    pub(super) codec: Codec,
    /// The parameters of its `a=fmtp` line; empty without one.
    pub(super) fmtp: String,
}

/// A description that was checked.
#[derive(Debug)]
pub(super) struct Description<'t> {
    /// The lines before the first medium.
    session: Vec<&'t str>,
    media: Vec<Vec<&'t str>>,
    /// Which medium is the video.
    pub(super) video: usize,
    /// Its usable payload types, in the peer's order of preference.
    pub(super) payloads: Vec<Payload>,
}

impl<'t> Description<'t> {
    /// Checks a description.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(text: &'t str) -> Result<Self, String> {
        if text.len() > SDP_BYTES_MAX {
            return Err(format!("the description is longer than {SDP_BYTES_MAX} bytes"));
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        if lines.first() != Some(&"v=0") {
            return Err("it is not a session description: it does not begin with v=0".into());
        }
        if lines.len() > LINES_MAX || lines.iter().any(|line| line.len() > LINE_BYTES_MAX) {
            return Err(format!("it has more than {LINES_MAX} lines, or one of more than {LINE_BYTES_MAX} bytes"));
        }
        if let Some(at) = lines.iter().position(|line| !is_line(line)) {
            return Err(format!("line {} is not of the form TYPE=VALUE", at + 1));
        }
        if lines.iter().filter(|line| line.starts_with("a=candidate:")).count() > CANDIDATES_MAX {
            return Err(format!("it has more than {CANDIDATES_MAX} ICE candidates"));
        }
        let first = lines.iter().position(|line| line.starts_with("m=")).ok_or("it offers no media")?;
        let mut media: Vec<Vec<&str>> = Vec::new();
        for line in &lines[first..] {
            match media.last_mut() {
                Some(medium) if !line.starts_with("m=") => medium.push(line),
                _ => media.push(vec![line]),
            }
        }
        if media.len() > MEDIA_MAX {
            return Err(format!("it has more than {MEDIA_MAX} media"));
        }
        if media.iter().any(|medium| !medium[0].starts_with("m=video ") && !medium[0].starts_with("m=audio ")) {
            return Err("it offers something other than video and audio: leave data channels out".into());
        }
        let is_video = |medium: &Vec<&str>| medium[0].starts_with("m=video ");
        let (Some(video), 1) = (media.iter().position(is_video), media.iter().filter(|m| is_video(m)).count()) else {
            return Err("it does not offer exactly one video".into());
        };
        let session = lines[..first].to_vec();
        for needed in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"] {
            if !session.iter().chain(&media[video]).any(|line| line.starts_with(needed)) {
                return Err(format!("its video has no line {needed}"));
            }
        }
        Ok(Self { session, media, video, payloads: Vec::new() })
    }

    /// Checks an offer.
    ///
    /// # Errors
    /// What is wrong with it, or that its video has no usable codec.
    pub(super) fn read(text: &'t str) -> Result<Self, String> {
        let checked = Self::check(text)?;
        Ok(Self { payloads: payloads(&checked.media[checked.video])?, ..checked })
    }

    /// The description with only this payload type of the video and its retransmissions. Other media are inactive.
    pub(super) fn only(&self, payload: &Payload, profile: Profile) -> String {
        let mut out = String::new();
        let mut put = |line: &str| {
            out.push_str(line);
            out.push_str("\r\n");
        };
        self.session.iter().for_each(|line| put(line));
        for (at, medium) in self.media.iter().enumerate() {
            if at == self.video {
                reduced(medium, payload, profile).iter().for_each(|line| put(line));
                continue;
            }
            let is_direction = |line: &&&str| !DIRECTIONS.contains(line);
            medium.iter().filter(is_direction).for_each(|line| put(line));
            put("a=inactive");
        }
        out
    }
}

/// Whether the H.264 profile stays in a description: with it, `webrtcbin` refuses a stream of any other profile, which
/// players show all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    Kept,
    Open,
}

const DIRECTIONS: &[&str] = &["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];

/// Replaces the parameters of a payload type in an answer.
pub(super) fn with_fmtp(answer: &str, payload: &Payload) -> String {
    let prefix = format!("a=fmtp:{} ", payload.number);
    let mut out = String::with_capacity(answer.len());
    for line in answer.lines() {
        match line.starts_with(&prefix) && !payload.fmtp.is_empty() {
            true => out.push_str(&format!("{prefix}{}", payload.fmtp)),
            false => out.push_str(line),
        }
        out.push_str("\r\n");
    }
    out
}

/// Whether a line has the form `x=…` without control characters.
fn is_line(line: &str) -> bool {
    let mut chars = line.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.next() == Some('=')
        && !line.chars().any(char::is_control)
}

/// The usable payload types, by the order of the `m=` line.
fn payloads(video: &[&str]) -> Result<Vec<Payload>, String> {
    let numbers = listed(video[0]);
    if numbers.len() > PAYLOADS_MAX {
        return Err(format!("its video has more than {PAYLOADS_MAX} payload types"));
    }
    let found: Vec<Payload> = numbers
        .into_iter()
        .filter_map(|number| {
            let codec = match attribute(video, "rtpmap", number)?.to_ascii_uppercase().as_str() {
                "H264/90000" => Codec::H264,
                "VP8/90000" => Codec::Vp8,
                _ => return None,
            };
            let fmtp = attribute(video, "fmtp", number).unwrap_or_default().to_owned();
            // Without packetization-mode=1, pictures must fit one packet per slice.
            let usable = codec != Codec::H264 || parameter(&fmtp, "packetization-mode") == Some("1");
            usable.then_some(Payload { number, codec, fmtp })
        })
        .collect();
    match found.is_empty() {
        true => Err("its video is neither VP8 nor H.264 with packetization-mode=1".into()),
        false => Ok(found),
    }
}

/// The payload types of an `m=` line; others than numbers are left out.
fn listed(media: &str) -> Vec<u8> {
    media.split(' ').skip(3).filter_map(|number| number.parse().ok()).filter(|number| *number < 128).collect()
}

/// The value of `a=NAME:NUMBER VALUE`.
fn attribute<'t>(lines: &[&'t str], name: &str, number: u8) -> Option<&'t str> {
    let prefix = format!("a={name}:{number} ");
    lines.iter().find_map(|line| line.strip_prefix(&prefix))
}

/// A parameter of an `a=fmtp` line.
pub(super) fn parameter<'t>(fmtp: &'t str, name: &str) -> Option<&'t str> {
    fmtp.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A video with one payload type and its retransmissions, without layers.
fn reduced(video: &[&str], payload: &Payload, profile: Profile) -> Vec<String> {
    let is_retransmission = |number: &u8| {
        let map = attribute(video, "rtpmap", *number).unwrap_or_default();
        let of = attribute(video, "fmtp", *number).and_then(|fmtp| parameter(fmtp, "apt"));
        map.eq_ignore_ascii_case("rtx/90000") && of == Some(payload.number.to_string().as_str())
    };
    let retransmission = listed(video[0]).into_iter().find(is_retransmission);
    let kept: Vec<u8> = std::iter::once(payload.number).chain(retransmission).collect();
    let numbers: Vec<String> = kept.iter().map(u8::to_string).collect();
    let mut head: Vec<&str> = video[0].split(' ').take(3).collect();
    head.extend(numbers.iter().map(String::as_str));
    let mut out = vec![head.join(" ")];
    for line in &video[1..] {
        let of_payload = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|prefix| line.strip_prefix(prefix));
        let number = of_payload.map(|rest| rest.split(' ').next().unwrap_or_default());
        let other = number.is_some_and(|number| number != "*" && !numbers.iter().any(|kept| kept == number));
        if other || ["a=rid:", "a=simulcast:"].iter().any(|layers| line.starts_with(layers)) {
            continue;
        }
        let fmtp = format!("a=fmtp:{} ", payload.number);
        if profile == Profile::Open && line.starts_with(&fmtp) {
            let open: Vec<&str> =
                payload.fmtp.split(';').map(str::trim).filter(|pair| !pair.starts_with("profile-level-id")).collect();
            out.push(format!("{fmtp}{}", open.join(";")));
            continue;
        }
        out.push((*line).to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n";
    const KEYS: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA\r\n";

    fn offer() -> String {
        format!(
            "{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 45 96 97 106 107 108\r\n{KEYS}a=mid:1\r\na=sendonly\r\n\
             a=rtpmap:45 AV1/90000\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\n\
             a=fmtp:97 apt=96\r\na=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\n\
             a=fmtp:106 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:107 rtx/90000\r\n\
             a=fmtp:107 apt=106\r\na=rtpmap:108 H264/90000\r\na=fmtp:108 packetization-mode=0\r\na=rid:h send\r\n"
        )
    }

    #[test]
    fn the_usable_codecs_are_found_in_the_peers_order() {
        let text = offer();
        let read = Description::read(&text).unwrap();
        let found: Vec<_> = read.payloads.iter().map(|payload| (payload.number, payload.codec)).collect();
        assert_eq!((read.video, found), (1, vec![(96, Codec::Vp8), (106, Codec::H264)]));
    }

    #[test]
    fn one_codec_and_its_retransmissions_are_kept_and_other_media_are_inactive() {
        let text = offer();
        let read = Description::read(&text).unwrap();
        let out = read.only(&read.payloads[1], Profile::Open);
        assert!(out.contains("m=video 9 UDP/TLS/RTP/SAVPF 106 107\r\n"), "{out}");
        assert!(out.contains("a=fmtp:106 packetization-mode=1\r\n") && out.contains("a=fmtp:107 apt=106"), "{out}");
        for gone in ["VP8", "AV1", "apt=96", "a=rid", "a=rtpmap:108", "42e01f"] {
            assert!(!out.contains(gone), "{gone}: {out}");
        }
        let audio = out.split("m=video").next().unwrap();
        assert!(audio.ends_with("a=inactive\r\n") && !audio.contains("a=sendonly"), "{out}");
        let answer = with_fmtp("v=0\r\na=fmtp:106 packetization-mode=1;profile-level-id=64001f\r\n", &read.payloads[1]);
        assert_eq!(answer, "v=0\r\na=fmtp:106 packetization-mode=1;profile-level-id=42e01f\r\n");
    }

    #[test]
    fn absurd_descriptions_are_refused_with_the_reason() {
        let long = "x".repeat(SDP_BYTES_MAX + 1);
        let lines = format!("{}{}", offer(), "a=x\r\n".repeat(LINES_MAX));
        let many = format!("{}{}", offer(), "m=audio 9 RTP/AVP 0\r\n".repeat(MEDIA_MAX));
        let two = format!("{}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", offer());
        let candidates = format!("{}{}", offer(), "a=candidate:1 1 UDP 1 10.0.0.1 9 typ host\r\n".repeat(65));
        for (text, said) in [
            ("", "v=0"),
            ("{\"sdp\": 1}", "v=0"),
            (long.as_str(), "longer than"),
            (lines.as_str(), "lines"),
            (many.as_str(), "media"),
            (two.as_str(), "exactly one video"),
            (candidates.as_str(), "candidates"),
            (HEAD, "no media"),
            ("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", "data channels"),
            ("v=0\r\nm=video 9 X 96\r\na=rtpmap:96 VP8/90000\r\n", "a=ice-ufrag:"),
            ("v=0\r\nno line\r\n", "line 2"),
            ("v=0\r\na=a\u{7}\r\n", "line 2"),
        ] {
            let why = Description::read(text).unwrap_err();
            assert!(why.contains(said), "{said}: {why}");
        }
        let none = offer().replace("VP8", "VP9").replace("H264", "H265");
        assert!(Description::read(&none).unwrap_err().contains("neither VP8 nor H.264"));
    }
}
