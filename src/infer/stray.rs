//! Recognises files of another type in place of a model or a label file.

use std::io::Read;
use std::path::Path;

/// Bytes read.
const LOOK: u64 = 512;

/// What the file is instead of a model or a list of labels, and the remedy; `None` if it is not recognised.
pub(super) fn is(path: &Path) -> Option<(&'static str, &'static str)> {
    let mut head = Vec::new();
    crate::text::open(path).ok()?.take(LOOK).read_to_end(&mut head).ok()?;
    of(&head)
}

fn of(head: &[u8]) -> Option<(&'static str, &'static str)> {
    if head.is_empty() {
        return Some(("it is empty", "was it downloaded to its end?"));
    }
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{FEFF}').trim_start().to_ascii_lowercase();
    if text.starts_with("version https://git-lfs") {
        return Some(("it is a pointer of Git LFS and not the file itself", "fetch the file: `git lfs pull`"));
    }
    if ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| text.starts_with(tag)) {
        return Some(("it is a web page (of a login, perhaps)", "download it again, signed in, by its direct address"));
    }
    if text.starts_with("<?xml") {
        return Some((
            "it is XML",
            "an answer of a store that refused it, or OpenVINO's half of a model: an .onnx is read",
        ));
    }
    if text.starts_with("{\"error") || text.starts_with("{\"message") {
        return Some(("it is an error that a server answered", "download it again"));
    }
    if head.starts_with(b"PK\x03\x04") {
        return Some((
            "it is a ZIP archive, as PyTorch saves its models",
            "export it: `yolo export model=… format=onnx`",
        ));
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Some(("it is compressed (gzip)", "unpack it first"));
    }
    if head.get(4..8) == Some(b"TFL3") {
        return Some(("it is a TensorFlow Lite model", "export it as .onnx"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_types_are_recognised_by_their_first_bytes() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "Git LFS"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"\xEF\xBB\xBF<HTML>", "web page"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"{\"error\":\"not found\"}", "error that a server"),
            (b"PK\x03\x04....", "ZIP"),
            (b"\x1f\x8b\x08", "gzip"),
        ];
        for (head, what) in cases {
            assert!(of(head).is_some_and(|(said, _)| said.contains(what)), "{what}");
        }
        for fine in [&b"person\ncar\n"[..], b"\x08\x07\x12\x07pytorch", b"0: person\n"] {
            assert_eq!(of(fine), None);
        }
    }
}
