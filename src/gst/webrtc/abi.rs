//! GStreamer's session descriptions, by the C interface of its WebRTC library. The only file of this module that may
//! use `unsafe`.
//!
//! The library is opened at run time, so that a host without it starts.

#![allow(unsafe_code, reason = "calling C functions of a library that is opened at run time")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use gstreamer::glib;
use gstreamer::glib::translate::IntoGlib as _;

/// The library; it depends on the one with the functions for SDP, which are found through it.
const LIBRARY: &str = "libgstwebrtc-1.0.so.0";

/// `GST_WEBRTC_SDP_TYPE_…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer = 1,
    Answer = 3,
}

/// `GstWebRTCSessionDescription`, a public struct of two fields since 1.14.
#[repr(C)]
struct SessionDescription {
    kind: c_int,
    sdp: *mut c_void,
}

type NewFromText = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;
type AsText = unsafe extern "C" fn(*const c_void) -> *mut c_char;
type NewDescription = unsafe extern "C" fn(c_int, *mut c_void) -> *mut SessionDescription;
type DescriptionType = unsafe extern "C" fn() -> usize;

/// The opened library. Kept open: its types cannot be unregistered.
pub(super) struct Library {
    new_from_text: NewFromText,
    as_text: AsText,
    new_description: NewDescription,
    description_type: DescriptionType,
    _library: std::mem::ManuallyDrop<libloading::Library>,
}

impl Library {
    /// Opens it; `None` where it is not installed, or lacks a function.
    pub(super) fn open() -> Option<Self> {
        // SAFETY: opening runs the library's initialisers; it is GStreamer's own, found by the system's loader, and the
        // plugin with `webrtcbin` is linked to it.
        let library = unsafe { libloading::Library::new(LIBRARY) }.ok()?;
        // SAFETY: the types match the declarations in gstsdpmessage.h (since 1.16) and webrtc_fwd.h (since 1.14), and
        // the library is never closed.
        unsafe {
            Some(Self {
                new_from_text: *library.get::<NewFromText>(b"gst_sdp_message_new_from_text\0").ok()?,
                as_text: *library.get::<AsText>(b"gst_sdp_message_as_text\0").ok()?,
                new_description: *library.get::<NewDescription>(b"gst_webrtc_session_description_new\0").ok()?,
                description_type: *library.get::<DescriptionType>(b"gst_webrtc_session_description_get_type\0").ok()?,
                _library: std::mem::ManuallyDrop::new(library),
            })
        }
    }

    /// A description as a value for `webrtcbin`; `None` where the text is not SDP.
    pub(super) fn describe(&self, kind: Kind, text: &str) -> Option<glib::Value> {
        let text = CString::new(text).ok()?;
        let mut message = std::ptr::null_mut();
        // SAFETY: the text ends with NUL, and `message` is a live, writable pointer.
        if unsafe { (self.new_from_text)(text.as_ptr(), &mut message) } != 0 || message.is_null() {
            return None;
        }
        // SAFETY: `message` was just created; the description takes it over.
        let description = unsafe { (self.new_description)(kind as c_int, message) };
        // SAFETY: the function takes nothing and returns the registered boxed type, which is a valid GType.
        let of: glib::Type = unsafe { glib::translate::from_glib((self.description_type)()) };
        let mut value = glib::Value::from_type(of);
        // SAFETY: the value was initialised with the type of `description`, whose ownership it takes.
        unsafe {
            glib::gobject_ffi::g_value_take_boxed(
                glib::translate::ToGlibPtrMut::to_glib_none_mut(&mut value).0,
                description.cast(),
            );
        }
        Some(value)
    }

    /// The text of a description; `None` where the value is not one, or is empty.
    pub(super) fn text(&self, value: &glib::Value) -> Option<String> {
        // SAFETY: as above.
        let of: usize = unsafe { (self.description_type)() };
        if value.type_().into_glib() != of {
            return None;
        }
        // SAFETY: the value holds a boxed description or NULL, borrowed while `value` lives; `as_text` returns a new
        // text, which is freed after it was copied.
        unsafe {
            let boxed = glib::gobject_ffi::g_value_get_boxed(glib::translate::ToGlibPtr::to_glib_none(value).0);
            let description = boxed.cast::<SessionDescription>().as_ref()?;
            let text = (!description.sdp.is_null()).then(|| (self.as_text)(description.sdp))?;
            let copied = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            glib::ffi::g_free(text.cast());
            copied
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_and_written() {
        gstreamer::init().unwrap();
        let library = Library::open().unwrap();
        let text = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
        let value = library.describe(Kind::Offer, text).unwrap();
        assert_eq!(library.text(&value).unwrap(), text);
        assert_eq!(library.text(&value.clone()).unwrap(), text, "a copy is another description");
        assert_eq!(library.text(&glib::Value::from("v=0")), None);
        assert!(library.describe(Kind::Answer, "v=0\0").is_none());
    }
}
