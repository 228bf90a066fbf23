//! DeepStream's C interface. The only file of this module that may use `unsafe`.

#![allow(unsafe_code, reason = "calling a C function of a library that is opened at run time")]

use std::ffi::OsStr;

/// `nvds_version` of `libnvds_utils.so`: major and minor version; `None` if the library cannot be opened.
pub(super) fn nvds_version(library: impl AsRef<OsStr>) -> Option<(u32, u32)> {
    // SAFETY: opening runs the library's initialisers, and closing its finalisers. It is NVIDIA's own, named by an
    // installation path or found by the system's loader, and made to be opened at run time.
    let library = unsafe { libloading::Library::new(library.as_ref()) }.ok()?;
    // SAFETY: the type matches the symbol's declaration in NVIDIA's header in every version since 5.0: void
    // nvds_version(unsigned int *major, unsigned int *minor).
    let symbol = unsafe { library.get::<unsafe extern "C" fn(*mut u32, *mut u32)>(b"nvds_version\0") }.ok()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to live, aligned, writable u32s, and the library is open during the call.
    unsafe { symbol(&mut major, &mut minor) };
    (major > 0).then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::nvds_version;

    #[test]
    fn a_library_that_is_not_there_is_no_version() {
        assert_eq!(nvds_version("libnvds_utils-not-here.so"), None);
    }

    #[test]
    fn a_library_without_the_symbol_is_no_version() {
        assert_eq!(nvds_version("libc.so.6"), None);
    }
}
