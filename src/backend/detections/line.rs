//! Reads lines of the trace format (`backend::trace`); each line is one frame.
//!
//! A camera may leave out what it does not have: `source`, `seq`, `pts_ns`, `captured_unix_ns`, `width` and `height`,
//! and of a detection `class_id` (0), `confidence` (1) and `track_id`. A header, as a recorded trace has it, is passed
//! over, and so are keys that are not among these.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::frame::{self, Labels, Object, Refusal, Stating};
use super::times::Stated;
use crate::backend::trace::FORMAT;

/// Most bytes of a line.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// A text that is borrowed from the line where it has no escapes.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    source: Option<Text<'a>>,
    seq: Option<u64>,
    pts_ns: Option<u64>,
    captured_unix_ns: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    #[serde(borrow)]
    detections: Option<Vec<Seen<'a>>>,
    /// Of a header.
    format: Option<u32>,
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    label: Text<'a>,
    class_id: Option<u32>,
    confidence: Option<f32>,
    bbox: [f32; 4],
    track_id: Option<u64>,
}

/// What a line is.
pub(super) enum Read {
    Frame(Stating),
    /// A frame of another sensor.
    Other,
    /// A header or nothing.
    Nothing,
}

/// Reads a line; `sensor` is that whose frames are taken.
pub(super) fn read(line: &[u8], sensor: Option<&str>, labels: &mut Labels) -> Result<Read, Refusal> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(Read::Nothing);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(Refusal::TooLarge(format!("a line has at most {LINE_BYTES_MAX} bytes, not {}", line.len())));
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let detections = match (line.detections, line.format) {
        (Some(detections), _) => detections,
        (None, Some(format)) if format <= FORMAT => return Ok(Read::Nothing),
        (None, Some(format)) => {
            return Err(Refusal::Malformed(format!("trace format {format}: this engine reads up to {FORMAT}")));
        }
        (None, None) => return Err(Refusal::Malformed("missing field `detections`".to_owned())),
    };
    let is_other = |sensor: &str| line.source.as_ref().is_some_and(|source| source.0 != sensor);
    if sensor.is_some_and(is_other) {
        return Ok(Read::Other);
    }
    frame::count(detections.len())?;
    let check = |seen: Seen<'_>| {
        let Seen { label, class_id, confidence, bbox, track_id } = seen;
        Object { label: &label.0, class_id: class_id.unwrap_or(0), confidence, bbox, track_id }.check(labels)
    };
    Ok(Read::Frame(Stating {
        seq: line.seq.map(frame::seq).transpose()?,
        stated: Stated { pts_ns: line.pts_ns, unix_ns: line.captured_unix_ns },
        size: line.width.zip(line.height).map(|(width, height)| frame::size(width, height)).transpose()?,
        detections: detections.into_iter().map(check).collect::<Result<_, _>>()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::trace::Record;
    use crate::types::Frame;

    fn stating(line: &str) -> Result<Stating, Refusal> {
        match read(line.as_bytes(), None, &mut Labels::default())? {
            Read::Frame(frame) => Ok(frame),
            _ => Err(Refusal::Malformed("nothing".into())),
        }
    }

    fn with(detection: &str) -> Result<Stating, Refusal> {
        stating(&format!("{{\"detections\":[{detection}]}}"))
    }

    #[test]
    fn a_line_of_a_trace_is_read_as_it_was_written() {
        let seen = crate::types::BBox { x: 0.1, y: 0.2, width: 0.3, height: 0.4 };
        let mut detection = crate::types::Detection::new("person", 3, 0.5, seen);
        detection.track_id = Some(7);
        let frame =
            Frame { pts_ns: 5, width: 640, height: 360, detections: vec![detection], ..Frame::empty("door", 2) };
        let record = Record { captured_unix_ns: Some(9), ..Record::from(&frame) };
        let read = stating(&serde_json::to_string(&record).unwrap()).unwrap();
        let stated = Stated { pts_ns: Some(5), unix_ns: Some(9) };
        let expected = Stating { seq: Some(2), stated, size: Some((640, 360)), detections: frame.detections };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_a_camera_does_not_have_it_leaves_out() {
        let read = with("{\"label\":\"c\\u0061r\",\"bbox\":[0.9,-0.1,0.2,0.2],\"more\":{}}").unwrap();
        let seen = &read.detections[0];
        assert_eq!((&*seen.label, seen.class_id, seen.confidence, seen.track_id), ("car", 0, 1.0, None));
        assert!((seen.bbox.right() - 1.0).abs() < 1e-6 && seen.bbox.y == 0.0, "cut at the picture's edges");
        assert_eq!((read.seq, read.size, read.stated), (None, None, Stated::default()));
    }

    #[test]
    fn a_line_that_lies_is_refused_with_the_reason() {
        let object = |rest: &str| with(&format!("{{\"label\":\"a\",{rest}}}")).unwrap_err().reason();
        for rest in [
            "\"bbox\":[0,0,0,0.1]",
            "\"bbox\":[0,0,-0.1,0.1]",
            "\"bbox\":[1.5,0,0.1,0.1]",
            "\"bbox\":[0,0,1e30,0.1]",
            "\"bbox\":[0,0,1e39,0.1]",
            "\"bbox\":[0,0,1,1],\"confidence\":1.1",
            "\"bbox\":[0,0,1,1],\"confidence\":-1",
        ] {
            assert_eq!(object(rest), "out_of_range", "{rest}");
        }
        for rest in ["\"bbox\":[0,0,1]", "\"bbox\":[0,0,1,NaN]", "\"bbox\":[0,0,1,null]", "\"bbox\":[0,0,1,1e999]"] {
            assert_eq!(object(rest), "malformed", "{rest}");
        }
        let label = "a".repeat(101);
        for line in [
            &*format!("{{\"detections\":[{{\"label\":\"{label}\",\"bbox\":[0,0,1,1]}}]}}"),
            "{\"detections\":[{\"label\":\"\",\"bbox\":[0,0,1,1]}]}",
            "{\"detections\":[],\"seq\":9007199254740993}",
            "{\"detections\":[],\"width\":0,\"height\":1}",
        ] {
            assert_eq!(stating(line).unwrap_err().reason(), "out_of_range", "{line}");
        }
        let many = vec!["{\"label\":\"a\",\"bbox\":[0,0,1,1]}"; 1001].join(",");
        assert_eq!(with(&many).unwrap_err().reason(), "too_large");
        let long = format!("{{\"detections\":[],\"more\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(stating(&long).unwrap_err().reason(), "too_large");
        for line in ["{", "[]", "1", "{}", "{\"detections\":null}", "{\"format\":2}", "{\"detections\":[],\"seq\":-1}"]
        {
            assert_eq!(stating(line).unwrap_err().reason(), "malformed", "{line}");
        }
    }

    #[test]
    fn a_label_that_steers_the_terminal_is_one_line() {
        let read = with("{\"label\":\"a\\n\\u001b[2Jb\",\"bbox\":[0,0,1,1]}").unwrap();
        assert!(!read.detections[0].label.contains(char::is_control), "{}", read.detections[0].label);
    }
}
