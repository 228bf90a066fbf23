//! A camera of this machine, through Video4Linux.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::feed::make;
use crate::backend::{Cause, DeviceCause, Failure};
use crate::config::Webcam;

/// The forms in which cameras send pictures that are decoded here.
const FORMS: &[&str] = &["video/x-raw", "image/jpeg", "video/x-h264"];

/// The elements that read a camera: its source, and the filter for its size and rate.
pub(super) fn source(webcam: &Webcam) -> Result<(gst::Element, gst::Element), String> {
    let source = make("v4l2src")?;
    source.set_property("device", webcam.device.to_str().ok_or("its path is not UTF-8")?);
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps(webcam)?);
    Ok((source, filter))
}

/// The forms that are taken, in the size and rate that are set.
fn caps(webcam: &Webcam) -> Result<gst::Caps, String> {
    let number = |value: u32| i32::try_from(value).map_err(|_| "its picture is too large".to_owned());
    let (width, height) = (webcam.width.map(number).transpose()?, webcam.height.map(number).transpose()?);
    let rate = |fps| gst::Fraction::approximate_f64(fps).ok_or("its frame rate is not a number");
    let fps = webcam.fps.map(rate).transpose()?;
    let mut caps = gst::Caps::new_empty();
    for form in FORMS {
        let structure = gst::Structure::builder(*form)
            .field_if_some("width", width)
            .field_if_some("height", height)
            .field_if_some("framerate", fps)
            .build();
        caps.make_mut().append_structure(structure);
    }
    Ok(caps)
}

/// The failure of a camera whose pipeline has the error `what`: its device is looked at, since GStreamer's words do not
/// tell the cases apart.
pub(super) fn failed(webcam: &Webcam, what: String) -> Failure {
    let device = webcam.device.display().to_string();
    Failure::of(&Cause::Device(cause(webcam, what)), &device)
}

fn cause(webcam: &Webcam, what: String) -> DeviceCause {
    let opened = std::fs::metadata(&webcam.device).and_then(|found| match found.file_type().is_char_device() {
        true => OpenOptions::new().read(true).write(true).open(&webcam.device).map(Some),
        false => Ok(None::<File>),
    });
    match opened {
        Ok(None) => DeviceCause::NotACamera,
        Ok(Some(_)) => DeviceCause::NoPictures(what),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => DeviceCause::Missing,
            ErrorKind::PermissionDenied => DeviceCause::Denied,
            ErrorKind::ResourceBusy => DeviceCause::Busy,
            // The node is there, and nothing answers behind it.
            _ if error.raw_os_error() == Some(libc::ENODEV) || error.raw_os_error() == Some(libc::ENXIO) => {
                DeviceCause::Missing
            }
            _ => DeviceCause::NoPictures(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Patience;

    fn webcam(device: &str) -> Webcam {
        Webcam { device: device.into(), width: Some(640), height: None, fps: Some(15.0) }
    }

    #[test]
    fn a_camera_is_asked_for_the_size_and_rate_that_are_set() {
        gst::init().unwrap();
        let text = caps(&webcam("/dev/video0")).unwrap().to_string();
        assert_eq!(text.matches("width=(int)640, framerate=(fraction)15/1").count(), FORMS.len(), "{text}");
        let free = Webcam { width: None, fps: None, ..webcam("/dev/video0") };
        assert_eq!(caps(&free).unwrap().to_string(), "video/x-raw; image/jpeg; video/x-h264");
    }

    #[test]
    fn a_device_that_is_none_is_told_from_one_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("video0");
        std::fs::write(&file, "x").unwrap();
        let of = |device: &str| failed(&webcam(device), "words".to_owned());
        let missing = of("/dev/video-none");
        assert!(missing.reason.contains("there is no camera at /dev/video-none"), "{}", missing.reason);
        assert_eq!(missing.patience, Patience::Setting(3));
        assert!(of(file.to_str().unwrap()).reason.contains("is not a camera"), "a file");
        assert!(of("/dev/null").reason.contains("words"), "a device of another kind");
    }
}
