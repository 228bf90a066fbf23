//! Turns a decoded GStreamer sample into a [`Picture`] without copying it, and maps it only when the pixels are read.

use std::sync::{Arc, OnceLock};

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::turn::Turn;
use crate::types::{Colorimetry, Matrix, Picture, PixelFormat, Pixels, Range, Unreadable};

/// Lines above which a stream without colorimetry counts as high definition (GStreamer's own default).
const SD_LINES_MAX: u32 = 576;

/// A decoder's buffer. Mapped from the first read until the picture is dropped.
struct Mapped {
    buffer: gst::Buffer,
    info: gst_video::VideoInfo,
    strides: [usize; 3],
    frame: OnceLock<Option<gst_video::VideoFrame<gst_video::video_frame::Readable>>>,
}

impl Mapped {
    fn map(&self) -> Option<gst_video::VideoFrame<gst_video::video_frame::Readable>> {
        let frame = gst_video::VideoFrame::from_buffer_readable(self.buffer.clone(), &self.info).ok()?;
        let same = |(ours, theirs): (&usize, &i32)| usize::try_from(*theirs) == Ok(*ours);
        self.strides.iter().zip(frame.plane_stride()).all(same).then_some(frame)
    }
}

impl Pixels for Mapped {
    fn planes(&self) -> Result<[&[u8]; 3], Unreadable> {
        let frame = self.frame.get_or_init(|| self.map());
        let frame = frame.as_ref().ok_or(Unreadable("its buffer cannot be mapped"))?;
        Ok([0, 1, 2].map(|plane| frame.plane_data(plane).unwrap_or_default()))
    }
}

/// Size, layout and frame rate from a sample's own caps, which may change between samples.
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
    // The buffer's strides override those of the caps: decoders pad rows.
    let mut strides = [0; 3];
    let stated = match buffer.meta::<gst_video::VideoMeta>() {
        Some(meta) => copied(meta.stride()),
        None => copied(info.stride()),
    };
    for (ours, theirs) in strides.iter_mut().zip(stated) {
        *ours = usize::try_from(theirs).map_err(|_| "its rows run backwards")?;
    }
    let (width, height) = (info.width(), info.height());
    let pixels = Arc::new(Mapped { buffer, info: info.clone(), strides, frame: OnceLock::new() });
    Picture::new(format, width, height, colorimetry(info), strides, pixels)
        .and_then(|picture| turn.apply(picture))
        .ok_or("its rows are shorter than its width")
}

/// The first three strides; missing ones are 0.
fn copied(strides: &[i32]) -> [i32; 3] {
    [0, 1, 2].map(|plane| strides.get(plane).copied().unwrap_or_default())
}

/// The colorimetry from the caps; GStreamer's default for the height where they state none.
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
    fn a_sample_is_mapped_on_first_read() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 4, 2).build().unwrap();
        let buffer = gst::Buffer::from_slice(vec![7; info.size()]);
        let strides = [4, 4, 4];
        let mapped = Arc::new(Mapped { buffer: buffer.clone(), info: info.clone(), strides, frame: OnceLock::new() });
        let color = colorimetry(&info);
        let picture = Picture::new(PixelFormat::I420, 4, 2, color, strides, mapped.clone()).unwrap();
        let (other, turned) = (picture.clone(), Turn::from_tag("rotate-90").unwrap().apply(picture).unwrap());
        assert_eq!((turned.width, turned.height), (2, 4));
        assert!(mapped.frame.get().is_none(), "geometry needs no samples");
        assert_eq!(turned.planes().unwrap().plane(0), [7; 8]);
        assert!(mapped.frame.get().is_some());
        let (first, second) = (other.planes().unwrap().plane(0).as_ptr(), other.planes().unwrap().plane(0).as_ptr());
        assert_eq!(first, second, "it is mapped once");
        assert_eq!(first, buffer.map_readable().unwrap().as_ptr(), "and not copied");
    }

    #[test]
    fn a_buffer_that_is_too_short_is_an_error_on_read() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 4, 2).build().unwrap();
        let sample = gst::Sample::builder().buffer(&gst::Buffer::from_slice(vec![7; 3])).build();
        let picture = picture(&sample, &info, Turn::default()).unwrap();
        assert_eq!(picture.planes().unwrap_err(), Unreadable("its buffer cannot be mapped"));
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
