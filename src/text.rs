//! Text files as people and other systems write them: every text file is read through this module.
//!
//! A byte order mark is not part of the text, UTF-16 (from some editors and PowerShell) is accepted as well as UTF-8,
//! and a script's first line may be for the shell. Line ends are kept: all line readers accept both.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Bytes that are not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no UTF-8 text")]
pub struct NotText {
    /// The first invalid line, from 1.
    pub line: usize,
}

/// Decodes the bytes of a file.
///
/// # Errors
/// [`NotText`], with the first invalid line.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        NotText { line: before.iter().filter(|byte| **byte == b'\n').count() + 1 }
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'static, str>, NotText> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    for read in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match read {
            Ok(read) => text.push(read),
            Err(_) => return Err(NotText { line: text.matches('\n').count() + 1 }),
        }
    }
    match odd {
        [] => Ok(Cow::Owned(text)),
        _ => Err(NotText { line: text.matches('\n').count() + 1 }),
    }
}

/// Removes a byte order mark from decoded text.
pub fn bare(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

/// A script's text, as Lua itself reads it: a first line that begins with `#` is for the shell. It becomes an empty
/// line, so that line numbers stay the same.
pub fn script(text: &str) -> &str {
    let text = bare(text);
    match text.starts_with('#') {
        true => text.find('\n').map_or("", |end| &text[end..]),
        false => text,
    }
}

/// Opens a regular file. A named pipe or a device is refused: opening or reading one may last forever.
///
/// # Errors
/// As [`File::open`], and for what is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let what = match std::fs::metadata(path)? {
        found if found.is_file() => return File::open(path),
        found if found.is_dir() => "it is a folder",
        _ => "it is no regular file",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Reads a regular file.
///
/// # Errors
/// As [`open`], and where reading fails.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a text file, which must be a regular file.
///
/// # Errors
/// As [`bytes`], and for bytes that are not text.
pub fn read(path: &Path) -> io::Result<String> {
    let bytes = bytes(path)?;
    let text = decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_not_part_of_a_text() {
        let utf16 = |mark: &[u8], unit: fn(u16) -> [u8; 2]| {
            mark.iter().copied().chain("a: 😀\r\n".encode_utf16().flat_map(unit)).collect::<Vec<u8>>()
        };
        for bytes in [
            "a: 😀\r\n".as_bytes().to_vec(),
            "\u{FEFF}a: 😀\r\n".as_bytes().to_vec(),
            utf16(&[0xFF, 0xFE], u16::to_le_bytes),
            utf16(&[0xFE, 0xFF], u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap(), "a: 😀\r\n");
        }
        assert_eq!(decode(b"\xEF\xBB\xBF").unwrap(), "");
        assert_eq!(bare("\u{FEFF}x"), "x");
    }

    #[test]
    fn invalid_bytes_are_reported_with_their_line() {
        assert_eq!(decode(b"a\nb\xFF\n"), Err(NotText { line: 2 }));
        assert_eq!(decode(b"\xFF\xFEa\0\n\0x"), Err(NotText { line: 2 }));
        assert_eq!(decode(b"\xFF\xFE\x00\xD8a\0"), Err(NotText { line: 1 }));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, why) in
            [(&*pipe, "no regular file"), (Path::new("/dev/zero"), "no regular file"), (dir.path(), "a folder")]
        {
            assert!(read(path).unwrap_err().to_string().contains(why), "{}", path.display());
        }
    }

    #[test]
    fn a_shebang_line_becomes_an_empty_one() {
        assert_eq!(script("#!/usr/bin/env lua\nx = 1\n"), "\nx = 1\n");
        assert_eq!(script("\u{FEFF}#!/usr/bin/lua\r\nx = 1"), "\nx = 1");
        assert_eq!(script("#"), "");
        assert_eq!(script("local n = #list\n#"), "local n = #list\n#");
    }
}
