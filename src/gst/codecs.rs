//! Video codecs: the decoder that GStreamer would use for each here, and the Debian package that provides one.

use gstreamer as gst;
use gstreamer::prelude::*;

/// A video codec.
#[derive(Debug)]
pub(crate) struct Codec {
    /// Its name for people.
    pub(crate) name: &'static str,
    /// The caps of its streams, as a parser leaves them.
    caps: &'static str,
    /// The Debian package with a decoder.
    pub(crate) package: &'static str,
}

/// Every codec that cameras and clips commonly have.
pub(crate) const CODECS: &[Codec] = &[
    Codec { name: "H.264", caps: "video/x-h264,stream-format=byte-stream,alignment=au", package: LIBAV },
    Codec { name: "H.265", caps: "video/x-h265,stream-format=byte-stream,alignment=au", package: LIBAV },
    Codec { name: "VP8", caps: "video/x-vp8", package: GOOD },
    Codec { name: "VP9", caps: "video/x-vp9,alignment=frame", package: GOOD },
    Codec { name: "AV1", caps: "video/x-av1,stream-format=obu-stream,alignment=tu", package: BAD },
    Codec { name: "MJPEG", caps: "image/jpeg", package: GOOD },
    Codec { name: "MPEG-4", caps: "video/mpeg,mpegversion=4,systemstream=false", package: LIBAV },
    Codec { name: "MPEG-2", caps: "video/mpeg,mpegversion=2,systemstream=false", package: LIBAV },
];

const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const LIBAV: &str = "gstreamer1.0-libav";

impl Codec {
    /// The element that would decode it: of those installed, the one with the highest rank; `None` if there is none.
    pub(crate) fn decoder(&self) -> Option<String> {
        let kinds = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
        let caps = self.caps.parse::<gst::Caps>().ok()?;
        let mut factories: Vec<_> = gst::ElementFactory::factories_with_type(kinds, gst::Rank::MARGINAL)
            .into_iter()
            .filter(|factory| factory.can_sink_any_caps(&caps))
            .collect();
        // Decoders of equal rank are tried in the order of their names, as decodebin does.
        factories.sort_by(|a, b| b.rank().cmp(&a.rank()).then_with(|| a.name().cmp(&b.name())));
        factories.first().map(|factory| factory.name().to_string())
    }
}

/// The codec of a stream with these caps, where it is in the table, in whatever form the stream is.
pub(crate) fn of_caps(caps: &gst::CapsRef) -> Option<&'static Codec> {
    let mut bare = caps.to_owned();
    for structure in bare.make_mut().iter_mut() {
        structure.remove_fields(["stream-format", "alignment"]);
    }
    CODECS.iter().find(|codec| codec.caps.parse::<gst::Caps>().is_ok_and(|own| own.can_intersect(&bare)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_has_a_decoder_here_and_is_found_by_its_caps() {
        gst::init().unwrap();
        for codec in CODECS {
            let caps = codec.caps.parse::<gst::Caps>().unwrap();
            assert_eq!(of_caps(&caps).map(|found| found.name), Some(codec.name));
        }
        let avc = "video/x-h264,stream-format=avc,width=640".parse::<gst::Caps>().unwrap();
        assert_eq!(of_caps(&avc).map(|found| found.name), Some("H.264"), "in whatever form");
        let theora = "video/x-theora".parse::<gst::Caps>().unwrap();
        assert!(of_caps(&theora).is_none());
        assert!(CODECS[0].decoder().is_some(), "no decoder of H.264 is installed");
    }
}
