//! The video codecs: the name of each, its media type, the package with a decoder, and a key frame to try a decoder
//! with. This is the only table of codecs.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::backend::Cause;

/// A video codec.
pub(super) struct Codec {
    /// Its name, with which GStreamer's descriptions of decoders begin, too.
    pub(super) name: &'static str,
    /// GStreamer's media type of its streams.
    pub(super) media: &'static str,
    /// How the package with a decoder is installed on Debian and Ubuntu.
    pub(super) install: &'static str,
    /// Decoders that may be there, for display.
    pub(super) decoders: &'static [&'static str],
    /// The caps of `key_frame`.
    pub(super) caps: &'static str,
    /// One black picture of 192 x 192, in hexadecimal; empty where our own encoder makes it (MJPEG).
    pub(super) key_frame: &'static str,
}

/// Every codec that a source may have.
pub(super) const CODECS: &[Codec] = &[
    Codec {
        name: "H.264",
        media: "video/x-h264",
        install: "apt-get install gstreamer1.0-libav",
        decoders: &["avdec_h264", "openh264dec", "vah264dec", "nvh264dec"],
        caps: "video/x-h264, stream-format=byte-stream, alignment=au",
        key_frame: "000000016742c00b8c8d41832403c2211a800000000168ce3c800000000165b80004000017ffffe1e8a0002073e4e4e4\
                    e4e4e4e4e4e4e4eaebaebaebaebaebaebabaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaeba\
                    ebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaebaea4aebaebaebaeb\
                    aebaf0",
    },
    Codec {
        name: "H.265",
        media: "video/x-h265",
        install: "apt-get install gstreamer1.0-libav",
        decoders: &["avdec_h265", "libde265dec", "vah265dec", "nvh265dec"],
        caps: "video/x-h265, stream-format=byte-stream, alignment=au",
        key_frame: "0000000140010c01ffff01600000030090000003000003003f9598090000000142010101600000030090000003000003\
                    003fa0182030596566924cafff000100016a0c0c0c080000030008000003000840000000014401c172b4624000000128\
                    01af06b65a3264358933ff8984de1634db48caeab4c2d60e6ae0141b1ff49bf000000300000301970000030294000003\
                    0004a4",
    },
    Codec {
        name: "VP8",
        media: "video/x-vp8",
        install: "apt-get install gstreamer1.0-plugins-good",
        decoders: &["vp8dec", "avdec_vp8", "vavp8dec", "nvvp8dec"],
        caps: "video/x-vp8, width=192, height=192, framerate=1/1",
        key_frame: "d009009d012ac000c000004708858588998488020200061604f70681649f6bdb9b27387b27387b27387b27387b27387b\
                    27387b27387b27387b27387b27387b27387b27387b27387b27387b27387b27387b27387b27386400feffab5080",
    },
    Codec {
        name: "VP9",
        media: "video/x-vp9",
        install: "apt-get install gstreamer1.0-plugins-good",
        decoders: &["vp9dec", "avdec_vp9", "vavp9dec", "nvvp9dec"],
        caps: "video/x-vp9, width=192, height=192, framerate=1/1",
        key_frame: "82498342200bf00bf60038241c1842000030600000673fffff59af113bb8abb42880",
    },
    Codec {
        name: "AV1",
        media: "video/x-av1",
        install: "apt-get install gstreamer1.0-plugins-bad",
        decoders: &["av1dec", "dav1ddec", "vaav1dec", "nvav1dec"],
        caps: "video/x-av1, stream-format=obu-stream, alignment=tu, width=192, height=192, framerate=1/1",
        key_frame: "12000a0b00000003bdfdff07ffe60132131080800100000064e4f82f4cbfffffe6c6cc80",
    },
    Codec {
        name: "MJPEG",
        media: "image/jpeg",
        install: "apt-get install gstreamer1.0-plugins-good",
        decoders: &["jpegdec", "avdec_mjpeg", "vajpegdec", "nvjpegdec"],
        caps: "image/jpeg, width=192, height=192, framerate=1/1",
        key_frame: "",
    },
];

/// The codec of a stream with these caps.
pub(super) fn of_caps(caps: &gst::CapsRef) -> Option<&'static Codec> {
    let media = caps.structure(0)?.name();
    CODECS.iter().find(|codec| codec.media == media.as_str())
}

/// The codec that GStreamer's description of a decoder is about: `H.265 (Main Profile) decoder`.
fn described(decoder: &str) -> Option<&'static Codec> {
    let decoder = decoder.trim_start_matches("Motion ");
    CODECS.iter().find(|codec| decoder.starts_with(codec.name.trim_start_matches('M')))
}

/// The cause where GStreamer lacks the decoder that it describes.
pub(super) fn no_decoder(decoder: &str) -> Cause {
    Cause::NoDecoder(decoder.to_owned(), described(decoder).map(|codec| codec.install))
}

/// Whether a decoder's work is done by hardware, by its own description.
pub(super) fn is_hardware(factory: &gst::ElementFactory) -> bool {
    factory.metadata("klass").unwrap_or_default().split('/').any(|part| part == "Hardware")
}

/// The video decoder inside `bin` that has decoded a picture, with its codec; `None` for a stream that needs none.
pub(super) fn in_use(bin: &gst::Bin) -> Option<(gst::ElementFactory, Option<&'static str>)> {
    let pictures = gst::ElementFactoryType::MEDIA_VIDEO | gst::ElementFactoryType::MEDIA_IMAGE;
    let decoders = gst::ElementFactoryType::DECODER | pictures;
    let mut iterator = bin.iterate_recurse();
    // The search ends where an element is added meanwhile. Its callers have a decoded picture, so none is.
    while let Ok(Some(element)) = iterator.next() {
        let Some(factory) = element.factory().filter(|factory| factory.has_type(decoders)) else { continue };
        let caps = element.static_pad("sink").and_then(|pad| pad.current_caps());
        return Some((factory, caps.and_then(|caps| of_caps(&caps)).map(|codec| codec.name)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_is_missing_comes_with_its_package() {
        for (described, package) in [
            ("H.264 (High Profile) decoder", Some("libav")),
            ("H.265 decoder", Some("libav")),
            ("VP9 decoder", Some("good")),
            ("AV1 decoder", Some("bad")),
            ("Motion JPEG decoder", Some("good")),
            ("JPEG decoder", Some("good")),
            ("Indeo 4 decoder", None),
        ] {
            let Cause::NoDecoder(name, install) = no_decoder(described) else { panic!("{described}") };
            assert_eq!(name, described);
            assert_eq!(install.and_then(|install| install.rsplit(['-', ' ']).next()), package, "{described}");
        }
    }
}
