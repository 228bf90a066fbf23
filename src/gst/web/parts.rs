//! Splits `multipart/x-mixed-replace` into its pictures. Pure.

/// Bytes of one picture.
const PICTURE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of the lines before a picture.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The end of a line of a head.
const LINE: &[u8] = b"\n";

/// Collects the bytes of parts until they are pictures.
#[derive(Debug)]
pub(super) struct Parts {
    /// The line between two parts, with its dashes; taken from the first line that begins with them if none is stated.
    boundary: Option<Vec<u8>>,
    bytes: Vec<u8>,
    /// How much of `bytes` was searched in vain.
    searched: usize,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Before a boundary.
    Between,
    /// In the lines before a picture.
    Head,
    /// In a picture of so many bytes, or of those up to the next boundary.
    Body { length: Option<usize>, is_picture: bool },
}

impl Parts {
    /// Parts of a stream with this content type.
    pub(super) fn of(content_type: &str) -> Self {
        let value = content_type.split(';').find_map(|field| {
            let (name, value) = field.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        });
        // Some cameras write the dashes into the parameter, too.
        let word = value.map(|value| value.trim_start_matches('-')).filter(|word| !word.is_empty());
        let boundary = word.map(|word| [b"--", word.as_bytes()].concat());
        Self { boundary, bytes: Vec::new(), searched: 0, state: State::Between }
    }

    /// Takes the next bytes, and returns the pictures that they complete.
    ///
    /// # Errors
    /// Why it is no such stream.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
        self.bytes.extend_from_slice(bytes);
        let mut pictures = Vec::new();
        while self.step(&mut pictures)? {}
        Ok(pictures)
    }

    /// One step; returns whether another may follow.
    fn step(&mut self, pictures: &mut Vec<Vec<u8>>) -> Result<bool, &'static str> {
        match self.state {
            State::Between => self.between(),
            State::Head => self.head(),
            State::Body { length, is_picture } => Ok(match self.body(length)? {
                Some(body) => {
                    if is_picture && !body.is_empty() {
                        pictures.push(body);
                    }
                    true
                }
                None => false,
            }),
        }
    }

    /// Passes over everything up to the end of a boundary's line.
    fn between(&mut self) -> Result<bool, &'static str> {
        let dashes = self.boundary.as_deref().unwrap_or(b"--");
        let line = find(&self.bytes, dashes).and_then(|at| {
            let length = find(&self.bytes[at..], LINE)?;
            Some((at, at + length))
        });
        let Some((at, end)) = line else {
            return if self.bytes.len() > HEAD_BYTES_MAX { Err("no boundary stands in it") } else { Ok(false) };
        };
        if self.boundary.is_none() {
            self.boundary = Some(trimmed(&self.bytes[at..end]).to_vec());
        }
        self.bytes.drain(..=end);
        self.state = State::Head;
        Ok(true)
    }

    /// Reads the lines before a picture, up to the empty one.
    fn head(&mut self) -> Result<bool, &'static str> {
        let mut from = 0;
        let (mut length, mut is_picture) = (None, true);
        while let Some(end) = find(&self.bytes[from..], LINE) {
            let line = trimmed(&self.bytes[from..from + end]);
            from += end + 1;
            if line.is_empty() {
                self.bytes.drain(..from);
                self.state = State::Body { length, is_picture };
                return Ok(true);
            }
            let text = String::from_utf8_lossy(line).to_ascii_lowercase();
            let Some((name, value)) = text.split_once(':') else { continue };
            match name.trim() {
                "content-length" => length = value.trim().parse().ok(),
                "content-type" => is_picture = value.trim().starts_with("image/"),
                _ => {}
            }
        }
        if self.bytes.len() > HEAD_BYTES_MAX { Err("the head of a picture in it is too long") } else { Ok(false) }
    }

    /// The bytes of a picture, once all of them are there.
    fn body(&mut self, length: Option<usize>) -> Result<Option<Vec<u8>>, &'static str> {
        let end = match (length, &self.boundary) {
            (Some(length), _) if length > PICTURE_BYTES_MAX => return Err("a picture in it is too large"),
            (Some(length), _) => (self.bytes.len() >= length).then_some(length),
            (None, Some(boundary)) => {
                // A boundary may have begun in the bytes before.
                let from = self.searched.saturating_sub(boundary.len());
                find(&self.bytes[from..], boundary).map(|at| from + at)
            }
            (None, None) => return Err("no boundary stands in it"),
        };
        let Some(end) = end else {
            self.searched = self.bytes.len();
            return if self.bytes.len() > PICTURE_BYTES_MAX { Err("a picture in it is too large") } else { Ok(None) };
        };
        self.searched = 0;
        self.state = State::Between;
        let rest = self.bytes.split_off(end);
        let mut body = std::mem::replace(&mut self.bytes, rest);
        if length.is_none() {
            body.truncate(
                body.strip_suffix(b"\r\n").or_else(|| body.strip_suffix(LINE)).map_or(body.len(), <[u8]>::len),
            );
        }
        Ok(Some(body))
    }
}

/// Where `part` begins in `bytes`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A line without its end.
fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURES: [&[u8]; 3] = [b"\xff\xd8one--\r\n\r\n\xff\xd9", b"\xff\xd8two\xff\xd9", b"\xff\xd8three\n\xff\xd9"];

    /// The stream with these lines, its pictures with their length or without.
    fn stream(line: &str, with_length: bool) -> Vec<u8> {
        let mut out = b"\r\n".to_vec();
        for picture in PICTURES {
            out.extend_from_slice(format!("{line}\r\nContent-Type: image/jpeg\r\n").as_bytes());
            if with_length {
                out.extend_from_slice(format!("Content-length:{}\r\n", picture.len()).as_bytes());
            }
            out.extend_from_slice(&[b"\r\n", picture, b"\r\n"].concat());
        }
        out.extend_from_slice(format!("{line}--\r\n").as_bytes());
        out
    }

    #[test]
    fn pictures_are_whole_however_the_bytes_come_and_the_boundary_is_written() {
        for (content_type, line) in [
            ("multipart/x-mixed-replace; boundary=frame", "--frame"),
            ("multipart/x-mixed-replace;boundary=\"frame\"", "--frame"),
            ("multipart/x-mixed-replace;BOUNDARY=--frame", "--frame"),
            ("multipart/x-mixed-replace;boundary=--frame", "----frame"),
            ("application/octet-stream", "--ffmpeg"),
        ] {
            for with_length in [true, false] {
                let bytes = stream(line, with_length);
                for size in [1, 2, 7, 64, bytes.len()] {
                    let mut parts = Parts::of(content_type);
                    let pictures: Vec<Vec<u8>> =
                        bytes.chunks(size).flat_map(|chunk| parts.take(chunk).unwrap()).collect();
                    let found: Vec<&[u8]> =
                        pictures.iter().map(|picture| picture.strip_suffix(b"\r\n--").unwrap_or(picture)).collect();
                    assert_eq!(found, PICTURES, "{content_type} {line} {with_length} {size}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_stream_of_pictures_is_bounded() {
        let zeros = vec![0; HEAD_BYTES_MAX];
        let refused = |content_type: &str, bytes: &[u8]| {
            let mut parts = Parts::of(content_type);
            (0..PICTURE_BYTES_MAX / HEAD_BYTES_MAX + 2).find_map(|n| {
                let chunk = if n == 0 { bytes } else { &zeros };
                parts.take(chunk).err()
            })
        };
        let multipart = "multipart/x-mixed-replace; boundary=b";
        assert_eq!(refused(multipart, b""), Some("no boundary stands in it"));
        assert_eq!(refused("text/plain", b"--"), Some("no boundary stands in it"));
        assert_eq!(refused(multipart, b"--b\r\nX: "), Some("the head of a picture in it is too long"));
        assert_eq!(refused(multipart, b"--b\r\n\r\n"), Some("a picture in it is too large"));
        let large = format!("--b\r\nContent-Length: {}\r\n\r\n", PICTURE_BYTES_MAX + 1);
        assert_eq!(refused(multipart, large.as_bytes()), Some("a picture in it is too large"));
        let mut parts = Parts::of(multipart);
        let other =
            b"--b\r\nContent-Type: text/plain\r\n\r\nwords\r\n--b\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--b\r\n";
        assert_eq!(parts.take(other).unwrap(), [b"x".to_vec()], "text is passed over");
    }
}
