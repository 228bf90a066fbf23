//! From a decoded GStreamer sample to a [`Picture`], without copying.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::turn::Turn;
use crate::types::{Colorimetry, Matrix, Picture, PixelFormat, Pixels, Range};

/// Lines above which a stream that says nothing about its colours is high definition (GStreamer's own guess).
const SD_LINES_MAX: u32 = 576;

/// A decoder's buffer, mapped for reading for as long as somebody holds the picture.
struct Mapped(gst_video::VideoFrame<gst_video::video_frame::Readable>);

impl Pixels for Mapped {
    fn plane(&self, index: usize) -> &[u8] {
        u32::try_from(index).ok().and_then(|i| self.0.plane_data(i).ok()).unwrap_or_default()
    }
}

/// Size, layout and frame rate that a sample's own caps state. Read anew for every sample: they may change.
pub(super) fn info(sample: &gst::Sample) -> Option<gst_video::VideoInfo> {
    gst_video::VideoInfo::from_caps(sample.caps()?).ok()
}

/// The sample's picture, upright; or why there is none.
pub(super) fn picture(sample: &gst::Sample, info: &gst_video::VideoInfo, turn: Turn) -> Result<Picture, &'static str> {
    let format = match info.format() {
        gst_video::VideoFormat::I420 => PixelFormat::I420,
        gst_video::VideoFormat::Nv12 => PixelFormat::Nv12,
        _ => return Err("its pixel format is neither I420 nor NV12"),
    };
    let buffer = sample.buffer_owned().ok_or("it has no buffer")?;
    let frame = gst_video::VideoFrame::from_buffer_readable(buffer, info).map_err(|_| "its buffer cannot be mapped")?;
    let mut strides = [0; 3];
    // The mapped frame's strides, not the caps': decoders pad their rows.
    for (ours, theirs) in strides.iter_mut().zip(frame.plane_stride()) {
        *ours = usize::try_from(*theirs).map_err(|_| "its rows run backwards")?;
    }
    let (width, height) = (frame.width(), frame.height());
    Picture::new(format, width, height, colorimetry(info), strides, Arc::new(Mapped(frame)))
        .and_then(|picture| turn.apply(picture))
        .ok_or("its planes are shorter than its size")
}

/// What the caps say of the colours, or what GStreamer would guess from the height.
fn colorimetry(info: &gst_video::VideoInfo) -> Colorimetry {
    let stated = info.colorimetry();
    let matrix = match stated.matrix() {
        gst_video::VideoColorMatrix::Bt709 => Matrix::Bt709,
        gst_video::VideoColorMatrix::Bt601 | gst_video::VideoColorMatrix::Fcc => Matrix::Bt601,
        gst_video::VideoColorMatrix::Bt2020 => Matrix::Bt2020,
        _ if info.height() > SD_LINES_MAX => Matrix::Bt709,
        _ => Matrix::Bt601,
    };
    let range = match stated.range() {
        gst_video::VideoColorRange::Range0_255 => Range::Full,
        _ => Range::Limited,
    };
    Colorimetry { matrix, range }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(width: u32, height: u32, stated: Option<&str>) -> Colorimetry {
        gst::init().unwrap();
        let mut caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", width as i32)
            .field("height", height as i32)
            .field("framerate", gst::Fraction::new(25, 1));
        if let Some(stated) = stated {
            caps = caps.field("colorimetry", stated);
        }
        colorimetry(&gst_video::VideoInfo::from_caps(&caps.build()).unwrap())
    }

    #[test]
    fn the_caps_colorimetry_wins_and_the_height_is_the_guess() {
        assert_eq!(color(640, 480, None), Colorimetry { matrix: Matrix::Bt601, range: Range::Limited });
        assert_eq!(color(1920, 1080, None), Colorimetry { matrix: Matrix::Bt709, range: Range::Limited });
        assert_eq!(color(640, 480, Some("bt709")).matrix, Matrix::Bt709);
        assert_eq!(color(640, 480, Some("bt2020")).matrix, Matrix::Bt2020);
        assert_eq!(color(640, 480, Some("1:4:0:0")), Colorimetry { matrix: Matrix::Bt601, range: Range::Full });
    }
}
