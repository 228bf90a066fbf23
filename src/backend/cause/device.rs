//! Causes of a failure of this machine's own cameras.

use super::{Patience, TRIES};

/// Why a camera of this machine delivers no pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceCause {
    /// No device has this name.
    Missing,
    /// A file has this name, but is not a camera.
    NotACamera,
    /// This user may not open the device.
    Denied,
    /// Another program has the device.
    Busy,
    /// The device delivers no pictures as they are wanted; what is said of it.
    NoPictures(String),
}

impl DeviceCause {
    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::Busy => Patience::Outage,
            _ => Patience::Setting(TRIES),
        }
    }

    pub(super) fn describe(&self, peer: &str) -> (String, &'static str) {
        match self {
            Self::Missing => (
                format!("there is no camera at {peer}"),
                "plug it in, or write its number or device into the uri (`ls /dev/v4l/by-id` lists them)",
            ),
            Self::NotACamera => {
                (format!("{peer} is not a camera"), "write the number or the device of a camera as uri")
            }
            Self::Denied => (
                format!("this user may not open {peer}"),
                "add the user to the device's group, which is `video` as a rule",
            ),
            Self::Busy => (format!("another program has {peer}"), "close it there"),
            Self::NoPictures(what) => (
                format!("{peer} sends no pictures as they are wanted ({what})"),
                "compare parameters.width, height and framerate with what it offers (`v4l2-ctl --list-formats-ext`)",
            ),
        }
    }
}
