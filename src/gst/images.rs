//! A folder of pictures, or numbered ones, played as one clip.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::observed::Observed;
use crate::config::{Images, Numbered};

/// Bytes of one picture file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Pictures of one source.
const FILES_MAX: usize = 10_000_000;

/// The kinds of pictures, by the endings of their files, and their caps.
const KINDS: &[(&[&str], &str)] = &[(&["jpg", "jpeg"], "image/jpeg"), (&["png"], "image/png")];

/// The files of a source, in the order in which they are played.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    paths: Vec<PathBuf>,
    /// The caps that all of them have.
    caps: &'static str,
}

/// An element that plays the pictures, each when it is wanted.
///
/// # Errors
/// Why nothing can be played.
pub(super) fn source(images: &Images, observed: &Arc<Observed>) -> Result<gst::Element, String> {
    let Files { paths, caps } = files(images)?;
    let fps = gst::Fraction::approximate_f64(images.fps).ok_or("its frame rate is not a number")?;
    let caps = gst::Caps::builder(caps).field("framerate", fps).build();
    let period = gst::ClockTime::from_nseconds((1e9 / images.fps) as u64);
    let mut next = 0_u64;
    let mut paths = paths.into_iter();
    let observed = Arc::clone(observed);
    let callbacks = gst_app::AppSrcCallbacks::builder()
        .need_data(move |appsrc, _| {
            // Both fail only where the pipeline is shutting down.
            let _ = match paths.next().map(|path| (bytes(&path), path)) {
                None => appsrc.end_of_stream(),
                Some((Ok(bytes), _)) => {
                    observed.offered.fetch_add(1, Ordering::AcqRel);
                    appsrc.push_buffer(timed(bytes, next, period))
                }
                Some((Err(why), path)) => {
                    let what = format!("{}: {why}", path.display());
                    appsrc.post_error_message(gst::error_msg!(gst::ResourceError::Read, ["{what}"]));
                    appsrc.end_of_stream()
                }
            };
            next += 1;
        })
        .build();
    let appsrc = gst_app::AppSrc::builder().callbacks(callbacks).caps(&caps).format(gst::Format::Time).max_bytes(1);
    Ok(appsrc.block(false).build().upcast())
}

fn timed(bytes: Vec<u8>, number: u64, period: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(period * number);
        buffer.set_duration(period);
    }
    buffer
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// Finds the pictures: by their numbers, or in the order of their names.
fn files(images: &Images) -> Result<Files, String> {
    let (folder, numbered) = (&images.folder, images.numbered.as_ref());
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut found: Vec<(u64, String)> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let number = match numbered {
            Some(numbered) => numbered.number_of(&name),
            None => kind(&name).map(|_| 0),
        };
        let is_file = || fs::metadata(entry.path()).is_ok_and(|entry| entry.is_file());
        if let Some(number) = number.filter(|_| !name.starts_with('.') && is_file()) {
            found.push((number, name));
        }
        if found.len() > FILES_MAX {
            return Err(format!("there are more than {FILES_MAX} pictures in {}", folder.display()));
        }
    }
    found.sort_unstable();
    let Some((_, first)) = found.first() else {
        let what = numbered.map_or_else(|| ".jpg or .png".to_owned(), Numbered::to_string);
        return Err(format!("there is no picture {what} in {}", folder.display()));
    };
    let caps = kind(first).ok_or("pictures are .jpg or .png files")?;
    if let Some((_, other)) = found.iter().find(|(_, name)| kind(name) != Some(caps)) {
        return Err(format!(
            "there are JPEG and PNG pictures in {} ({first}, {other}): one kind can be played",
            folder.display()
        ));
    }
    Ok(Files { paths: found.iter().map(|(_, name)| folder.join(name)).collect(), caps })
}

/// The caps of a picture, by the ending of its file.
fn kind(name: &str) -> Option<&'static str> {
    let ending = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    KINDS.iter().find(|(endings, _)| endings.contains(&&*ending)).map(|(_, caps)| *caps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_played_in_the_order_of_their_numbers_or_names() {
        let dir = tempfile::tempdir().unwrap();
        let of = |numbered: Option<&str>| {
            let numbered = numbered.map(|pattern| Numbered::read(pattern).unwrap());
            files(&Images { folder: dir.path().into(), numbered, fps: 10.0 })
        };
        let names = |files: Result<Files, String>| -> Vec<String> {
            let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            files.unwrap().paths.into_iter().map(name).collect()
        };
        assert!(of(None).unwrap_err().contains("there is no picture .jpg or .png in"));
        for name in ["b10.JPG", "b9.jpg", "a.jpeg", ".hidden.jpg", "notes.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("c.jpg")).unwrap();
        assert_eq!(names(of(None)), ["a.jpeg", "b10.JPG", "b9.jpg"]);
        assert_eq!(names(of(Some("b%d.jpg"))), ["b9.jpg"]);
        for number in [2, 10, 100_000] {
            fs::write(dir.path().join(format!("f{number:05}.png")), "x").unwrap();
        }
        assert_eq!(names(of(Some("f%05d.png"))), ["f00002.png", "f00010.png", "f100000.png"]);
        assert!(of(Some("g%05d.png")).unwrap_err().contains("there is no picture g%05d.png in"));
        assert!(of(None).unwrap_err().contains("JPEG and PNG"));
    }
}
