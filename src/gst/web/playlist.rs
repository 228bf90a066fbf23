//! Reads HLS playlists (RFC 8216). Pure.

use std::time::Duration;

use crate::outbound::Part;

/// Segments read from one playlist.
const SEGMENTS_MAX: usize = 50_000;
/// The longest duration of a segment that is believed.
const SECONDS_MAX: f64 = 3_600.0;

/// A playlist.
#[derive(Debug, PartialEq)]
pub(super) enum Playlist {
    /// Names other playlists: the same pictures in several sizes.
    Variants(Vec<Variant>),
    /// Names the segments.
    Media(Media),
}

/// One size of the pictures.
#[derive(Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) uri: String,
    /// Bits per second.
    bandwidth: u64,
    /// Whether it states that it has sound only.
    is_sound: bool,
}

/// Segments in the order of their time.
#[derive(Debug, PartialEq)]
pub(super) struct Media {
    /// The longest duration of a segment.
    pub(super) target: Duration,
    /// The number of the first segment.
    pub(super) first: u64,
    /// Whether no segment will be added.
    pub(super) has_end: bool,
    pub(super) segments: Vec<Segment>,
}

/// Some seconds of pictures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) uri: String,
    pub(super) duration: Duration,
    /// The bytes of the address that are the segment; `None` for all.
    pub(super) part: Option<Part>,
    /// What has to be read before it, if it is not read yet.
    pub(super) header: Option<Header>,
    /// Whether it does not continue the one before it.
    pub(super) is_new: bool,
}

/// What a decoder needs before a segment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) uri: String,
    pub(super) part: Option<Part>,
}

impl Playlist {
    /// Reads a playlist.
    ///
    /// # Errors
    /// Why it cannot be played.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next().is_none_or(|first| first.trim_start_matches('\u{feff}') != "#EXTM3U") {
            return Err("it does not begin with #EXTM3U");
        }
        if text.lines().any(|line| line.trim().starts_with("#EXT-X-STREAM-INF:")) {
            return Ok(Self::Variants(variants(lines)));
        }
        media(lines).map(Self::Media)
    }
}

/// The variant with the best pictures.
pub(super) fn best(variants: &[Variant]) -> Option<&Variant> {
    variants.iter().filter(|variant| !variant.is_sound).max_by_key(|variant| variant.bandwidth)
}

impl Media {
    /// The index at which a live stream is begun: three target durations before its end.
    pub(super) fn live_edge(&self) -> usize {
        let mut left = self.target * 3;
        let begins = self.segments.iter().rposition(|segment| {
            left = left.saturating_sub(segment.duration);
            left.is_zero()
        });
        begins.unwrap_or(0)
    }
}

fn variants<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<Variant> {
    let mut out = Vec::new();
    let mut described = None;
    for line in lines {
        match (line.strip_prefix("#EXT-X-STREAM-INF:"), &described) {
            (Some(text), _) => described = Some(text),
            (None, Some(text)) if !line.starts_with('#') && out.len() < SEGMENTS_MAX => {
                let bandwidth = attribute(text, "BANDWIDTH").and_then(|value| value.parse().ok()).unwrap_or(0);
                let is_sound = attribute(text, "RESOLUTION").is_none()
                    && attribute(text, "CODECS")
                        .is_some_and(|all| all.split(',').all(|one| one.trim().starts_with("mp4a")));
                out.push(Variant { uri: line.to_owned(), bandwidth, is_sound });
                described = None;
            }
            _ => {}
        }
    }
    out
}

fn media<'t>(lines: impl Iterator<Item = &'t str>) -> Result<Media, &'static str> {
    let mut media = Media { target: Duration::from_secs(1), first: 0, has_end: false, segments: Vec::new() };
    let (mut duration, mut length, mut header, mut is_new) = (None, None, None, false);
    // The end of the last byte range, for one that continues it.
    let mut end = 0;
    for line in lines {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-TARGETDURATION" => media.target = seconds(value).ok_or("its target duration is no number")?,
            "#EXT-X-MEDIA-SEQUENCE" => media.first = value.trim().parse().map_err(|_| "its sequence is no number")?,
            "#EXT-X-ENDLIST" => media.has_end = true,
            "#EXT-X-DISCONTINUITY" => is_new = true,
            "#EXTINF" => duration = seconds(value.split(',').next().unwrap_or_default()),
            "#EXT-X-BYTERANGE" => length = Some(range(value, end).ok_or("a byte range cannot be read")?),
            "#EXT-X-KEY" if attribute(value, "METHOD").is_some_and(|method| method != "NONE") => {
                return Err("it is encrypted, and there is no key for it");
            }
            "#EXT-X-MAP" => {
                let uri = attribute(value, "URI").ok_or("the header of its segments has no address")?.to_owned();
                let part =
                    attribute(value, "BYTERANGE").map(|text| range(text, 0).ok_or("a byte range cannot be read"));
                header = Some(Header { uri, part: part.transpose()? });
            }
            _ if line.starts_with('#') => {}
            _ => {
                let part: Option<Part> = length.take();
                end = part.and_then(|part| part.to).map_or(0, |to| to.saturating_add(1));
                let duration = duration.take().unwrap_or(media.target);
                let (uri, header) = (line.to_owned(), header.clone());
                media.segments.push(Segment { uri, duration, part, header, is_new: std::mem::take(&mut is_new) });
                if media.segments.len() > SEGMENTS_MAX {
                    return Err("it names too many segments");
                }
            }
        }
    }
    Ok(media)
}

/// A duration in seconds.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    (0.0..=SECONDS_MAX).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// `length[@from]`; without a start it continues at `end`.
fn range(text: &str, end: u64) -> Option<Part> {
    let (length, from) = text.trim().split_once('@').map_or((text.trim(), None), |(length, from)| (length, Some(from)));
    let length: u64 = length.parse().ok().filter(|length| *length > 0)?;
    let from = from.map_or(Some(end), |from| from.parse().ok())?;
    Some(Part { from, to: Some(from.checked_add(length - 1)?) })
}

/// The value of an attribute in `NAME=value,NAME="value"`.
fn attribute<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(inner) => inner.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if key.trim_start_matches([',', ' ']).trim() == name {
            return Some(value);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media_of(text: &str) -> Media {
        match Playlist::read(text) {
            Ok(Playlist::Media(media)) => media,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn segments_have_their_numbers_durations_and_parts() {
        let media = media_of(
            "\u{feff}#EXTM3U\r\n#EXT-X-VERSION:7\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-MEDIA-SEQUENCE:17\r\n\
             #EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"100@0\"\r\n#EXTINF:3.5,title, more\r\n\
             #EXT-X-BYTERANGE:10@100\r\na.mp4\r\n\
             #EXTINF:4\r\n#EXT-X-BYTERANGE:20\r\na.mp4\r\n#EXT-X-DISCONTINUITY\r\n#EXTINF:1.0,\r\nsub/b.mp4?x=1\r\n\
             #EXT-X-ENDLIST\r\n",
        );
        assert_eq!((media.target, media.first, media.has_end), (Duration::from_secs(4), 17, true));
        let parts: Vec<_> = media.segments.iter().map(|s| s.part.map(|part| (part.from, part.to))).collect();
        assert_eq!(parts, [Some((100, Some(109))), Some((110, Some(129))), None]);
        let header = Header { uri: "init.mp4".into(), part: Some(Part { from: 0, to: Some(99) }) };
        assert!(media.segments.iter().all(|segment| segment.header.as_ref() == Some(&header)));
        assert_eq!(media.segments[0].duration, Duration::from_millis(3_500));
        assert_eq!(media.segments.iter().map(|s| s.is_new).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn a_live_stream_begins_three_target_durations_before_its_end() {
        let list = |count: usize| {
            media_of(&format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{}", "#EXTINF:4,\na.ts\n".repeat(count)))
        };
        assert_eq!([0, 1, 3, 4, 10].map(|count| list(count).live_edge()), [0, 0, 0, 1, 7]);
    }

    #[test]
    fn the_best_pictures_are_chosen_and_sound_is_not() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000,CODECS=\"mp4a.40.2\"\nsound.m3u8\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.42c00d,mp4a.40.2\",RESOLUTION=160x120\nlow.m3u8\n\
                    #EXT-X-STREAM-INF:CODECS=\"avc1,a\",BANDWIDTH=5000\n# words\nhigh.m3u8\n";
        let Ok(Playlist::Variants(variants)) = Playlist::read(text) else { panic!("a list of variants") };
        assert_eq!(variants.len(), 3);
        assert_eq!(best(&variants).map(|best| &*best.uri), Some("high.m3u8"));
        assert!(best(&[]).is_none());
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_the_reason() {
        for (text, said) in [
            ("", "#EXTM3U"),
            ("<html>", "#EXTM3U"),
            ("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:1,\na.ts\n", "encrypted"),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:many\n", "target"),
            ("#EXTM3U\n#EXT-X-BYTERANGE:0@5\n", "byte range"),
            ("#EXTM3U\n#EXT-X-BYTERANGE:5@18446744073709551615\n", "byte range"),
            ("#EXTM3U\n#EXT-X-MAP:BYTERANGE=\"5@0\"\n", "header"),
        ] {
            let refused = Playlist::read(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        assert!(media_of("#EXTM3U\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:1,\na.ts\n").segments.len() == 1);
        let many = "#EXTM3U\n".to_owned() + &"a.ts\n".repeat(SEGMENTS_MAX + 1);
        assert!(Playlist::read(&many).unwrap_err().contains("too many"));
        assert_eq!(media_of("#EXTM3U\n#EXTINF:1e30,\na.ts\n").segments[0].duration, Duration::from_secs(1));
    }
}
