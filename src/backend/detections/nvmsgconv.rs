//! Reads messages of DeepStream's `nvmsgconv` with the minimal schema (payload type 1).
//!
//! After NVIDIA, "DeepStream Plugin Guide", Gst-nvmsgconv: `{"version", "id", "@timestamp", "sensorId", "objects"}`. An
//! object is a text with the fields tracking id, left, top, right and bottom (pixels of the source's picture) and type,
//! separated by `|`; after a field `#` follow attributes, whose number depends on the type, and a confidence at the
//! end. An object without a tracking id has -1, or the highest 64-bit number; one without a confidence has none or a
//! negative one. `id` is the frame's number, written as a number or as a text. The attributes are passed over. A
//! message may have line breaks, and several messages may follow each other.

use std::borrow::Cow;

use serde::Deserialize;

use super::frame::{self, Labels, Object, Refusal, Stating};
use super::line::{Read, Text};
use super::times::Stated;
use crate::types::since_epoch;

/// Most bytes of a body: of one message or of several.
const BODY_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
pub(super) struct Minimal<'a> {
    #[serde(borrow)]
    id: Option<Id<'a>>,
    #[serde(borrow, rename = "@timestamp")]
    timestamp: Option<Text<'a>>,
    #[serde(borrow, rename = "sensorId")]
    sensor_id: Option<Text<'a>>,
    #[serde(borrow)]
    objects: Vec<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id<'a> {
    Number(u64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

/// Reads the messages of a body, one after the other. After one that is not JSON nothing can be read.
pub(super) fn messages(body: &[u8]) -> impl Iterator<Item = Result<Minimal<'_>, Refusal>> {
    let too_large = (body.len() > BODY_BYTES_MAX).then(|| {
        Refusal::TooLarge(format!("messages have at most {BODY_BYTES_MAX} bytes together, not {}", body.len()))
    });
    let body = if too_large.is_some() { &[] } else { body };
    let read = serde_json::Deserializer::from_slice(body).into_iter();
    let mut is_over = false;
    let read = read.map_while(move |message: serde_json::Result<Minimal<'_>>| {
        (!std::mem::replace(&mut is_over, message.is_err())).then_some(message)
    });
    too_large.into_iter().map(Err).chain(read.map(|message| message.map_err(|e| Refusal::Malformed(e.to_string()))))
}

/// The frame of a message; the picture has `size`, and `sensor` is that whose frames are taken.
pub(super) fn read(
    message: &Minimal<'_>,
    size: (u32, u32),
    sensor: Option<&str>,
    labels: &mut Labels,
) -> Result<Read, Refusal> {
    let Minimal { id, timestamp, sensor_id, objects } = message;
    let is_other = |sensor: &str| sensor_id.as_ref().is_some_and(|id| id.0 != sensor);
    if sensor.is_some_and(is_other) {
        return Ok(Read::Other);
    }
    frame::count(objects.len())?;
    let seq = match id {
        Some(Id::Number(number)) => Some(*number),
        // The id is not a number: the frames keep their order of arrival.
        Some(Id::Text(text)) => text.parse().ok(),
        None => None,
    };
    let time = timestamp.as_ref().and_then(|text| since_epoch(&text.0));
    let unix_ns = time.and_then(|time| u64::try_from(time.as_nanos()).ok());
    Ok(Read::Frame(Stating {
        seq: seq.map(frame::seq).transpose()?,
        stated: Stated { pts_ns: None, unix_ns },
        size: Some(size),
        detections: objects.iter().map(|text| object(&text.0, size, labels)).collect::<Result<_, _>>()?,
    }))
}

fn object(text: &str, size: (u32, u32), labels: &mut Labels) -> Result<crate::types::Detection, Refusal> {
    let malformed = || Refusal::Malformed("an object is `id|left|top|right|bottom|type`, and attributes".to_owned());
    let (placed, attributes) = text.split_once("|#|").map_or((text, None), |(placed, rest)| (placed, Some(rest)));
    let mut fields = placed.split('|');
    let mut field = || fields.next().ok_or_else(malformed);
    let id = field()?.trim();
    let mut edge = |side: u32| -> Result<f32, Refusal> {
        let pixels: f32 = field()?.trim().parse().map_err(|_| malformed())?;
        Ok(pixels / side as f32)
    };
    let (left, top, right, bottom) = (edge(size.0)?, edge(size.1)?, edge(size.0)?, edge(size.1)?);
    let label = field()?.trim();
    let score = attributes.and_then(|rest| rest.rsplit('|').next()?.trim().parse::<f32>().ok());
    let confidence = score.filter(|score| (0.0..=1.0).contains(score));
    let track_id = id.parse().ok().filter(|id| *id != u64::MAX);
    Object { label, class_id: 0, confidence, bbox: [left, top, right - left, bottom - top], track_id }.check(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (1920, 1080);

    fn all(body: &str, sensor: Option<&str>) -> Vec<Result<Stating, &'static str>> {
        let labels = &mut Labels::default();
        let frame = |message: Result<Minimal<'_>, Refusal>| match read(&message?, SIZE, sensor, labels)? {
            Read::Frame(frame) => Ok(Some(frame)),
            _ => Ok(None),
        };
        let read = messages(body.as_bytes()).map(frame);
        read.filter_map(|frame: Result<_, Refusal>| frame.map_err(|why| why.reason()).transpose()).collect()
    }

    fn with(object: &str) -> Result<Stating, &'static str> {
        all(&format!("{{\"objects\":[\"{object}\"]}}"), None).remove(0)
    }

    /// In the form of the documentation, with line breaks as the plugin writes them.
    const MESSAGE: &str = "{\n  \"version\" : \"4.0\",\n  \"id\" : \"1440\",\n  \"@timestamp\" : \
                           \"2018-04-11T04:59:59.828Z\",\n  \"sensorId\" : \"sensor-0\",\n  \"objects\" : [\n    \
                           \"957|960|540|1152|756|Vehicle|#|sedan|Bugatti|M|blue|CA 444|California|0.8\",\n    \
                           \"-1|0|478.37|96.0|507.717|Person|#|male|30|black|none|formal|-0.1\",\n    \
                           \"18446744073709551615|0|0|19.2|10.8|bag\"\n  ]\n}\n";

    #[test]
    fn a_message_of_the_documented_form_is_read() {
        let frame = all(MESSAGE, Some("sensor-0")).remove(0).unwrap();
        assert_eq!((frame.seq, frame.size), (Some(1440), Some(SIZE)));
        assert_eq!(frame.stated, Stated { pts_ns: None, unix_ns: Some(1_523_422_799_828_000_000) });
        let [car, person, bag] = &frame.detections[..] else { panic!("{:?}", frame.detections) };
        assert_eq!((&*car.label, car.confidence, car.track_id), ("Vehicle", 0.8, Some(957)));
        assert_eq!([car.bbox.x, car.bbox.y], [0.5, 0.5]);
        assert!((car.bbox.width - 0.1).abs() < 1e-6 && (car.bbox.height - 0.2).abs() < 1e-6, "{:?}", car.bbox);
        assert_eq!((&*person.label, person.confidence, person.track_id), ("Person", 1.0, None));
        assert_eq!((&*bag.label, bag.confidence, bag.track_id), ("bag", 1.0, None));
    }

    #[test]
    fn messages_follow_each_other_and_those_of_other_sensors_are_passed_over() {
        let two = format!("{MESSAGE}{}", MESSAGE.replace("sensor-0", "sensor-1").replace("1440", "1441"));
        let seqs = |sensor| all(&two, sensor).into_iter().map(|frame| frame.unwrap().seq).collect::<Vec<_>>();
        assert_eq!(seqs(None), [Some(1440), Some(1441)]);
        assert_eq!(seqs(Some("sensor-1")), [Some(1441)]);
        assert!(seqs(Some("other")).is_empty());
        let numbered = MESSAGE.replace("\"1440\"", "7");
        assert_eq!(all(&numbered, None).remove(0).unwrap().seq, Some(7));
        let named = MESSAGE.replace("1440", "frame-id");
        assert_eq!(all(&named, None).remove(0).unwrap().seq, None);
    }

    #[test]
    fn a_message_that_lies_is_refused_with_the_reason() {
        for object in ["", "1|2|3|4", "1|2|3|4|x|Person", "1|a|b|c|d|e|#|0.5", "1|0|0|19.2|nope|bag"] {
            assert_eq!(with(object).unwrap_err(), "malformed", "{object}");
        }
        for object in ["1|0|0|NaN|10|bag", "1|0|0|inf|10|bag", "1|10|0|0|10|bag", "1|9000|0|9100|10|bag", "1|0|0|9|9|"]
        {
            assert_eq!(with(object).unwrap_err(), "out_of_range", "{object}");
        }
        let cut = &MESSAGE[..MESSAGE.len() - 20];
        let read = all(&format!("{MESSAGE}{cut}"), None);
        assert!(matches!(&read[..], [Ok(_), Err("malformed")]), "{read:?}");
        let many = format!("{{\"objects\":[{}]}}", vec!["\"1|0|0|9|9|a\""; 1001].join(","));
        assert_eq!(all(&many, None).remove(0).unwrap_err(), "too_large");
        let long = format!("{{\"objects\":[],\"x\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
        assert_eq!(all(&long, None).remove(0).unwrap_err(), "too_large");
    }
}
