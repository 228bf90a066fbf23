//! The source that a picture shows, in an application segment of the JPEG: so a picture says by itself who may see it.

/// The marker of the segment (APP9), which nothing else in these files uses.
const MARKER: u8 = 0xe9;
/// The segment's beginning.
const NAME: &[u8] = b"dsengine\0";
/// The marker of the JFIF segment (APP0), which stays the first.
const JFIF: u8 = 0xe0;
/// Maximum bytes of a source's name in a segment.
const SOURCE_BYTES_MAX: usize = 1_000;

/// The picture with its source, behind the JFIF segment. Of several labels the first counts, which is this one.
pub(super) fn with_source(jpeg: &[u8], source: &str) -> Vec<u8> {
    let source = &source.as_bytes()[..source.floor_char_boundary(SOURCE_BYTES_MAX)];
    // The start of the picture, and what follows the JFIF segment.
    let (head, rest) = match segments(jpeg).next() {
        Some((JFIF, contents)) => jpeg.split_at(6 + contents.len()),
        _ => jpeg.split_at(jpeg.len().min(2)),
    };
    let length = (2 + NAME.len() + source.len()) as u16;
    let mut out = Vec::with_capacity(jpeg.len() + usize::from(length) + 2);
    out.extend_from_slice(head);
    out.extend_from_slice(&[0xff, MARKER]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(NAME);
    out.extend_from_slice(source);
    out.extend_from_slice(rest);
    out
}

/// The source of a picture: of the first label, which is the one that was added last.
pub(super) fn source(jpeg: &[u8]) -> Option<String> {
    let label = segments(jpeg).find(|(marker, contents)| *marker == MARKER && contents.starts_with(NAME))?;
    String::from_utf8(label.1[NAME.len()..].to_vec()).ok()
}

/// The segments before the picture's data: marker and contents.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8]).unwrap_or_default();
    std::iter::from_fn(move || {
        let [0xff, marker @ 0xe0..=0xef, high, low, ..] = *rest else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let contents = rest.get(4..2 + length)?;
        rest = &rest[2 + length..];
        Some((marker, contents))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Picture;
    use crate::vision::jpeg;

    #[test]
    fn a_picture_names_its_source_and_keeps_its_data() {
        let plain = jpeg::encode(&Picture::from_rgb(16, 8, vec![90; 384]).unwrap(), 16, 80).unwrap();
        assert_eq!(source(&plain), None);
        let labelled = with_source(&plain, "Hof Süd");
        assert_eq!(source(&labelled).as_deref(), Some("Hof Süd"));
        assert_eq!(&labelled[..20], &plain[..20], "the JFIF segment is still the first");
        assert!(labelled.ends_with(&plain[20..]));
        assert_eq!(source(&with_source(&labelled, "yard")).as_deref(), Some("yard"), "the last one counts");
    }

    #[test]
    fn what_is_no_picture_names_no_source() {
        for bytes in [&b""[..], b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xe9\x00\x40dsengine\0", b"GIF89a"] {
            assert_eq!(source(bytes), None, "{bytes:?}");
        }
        assert_eq!(source(&with_source(b"\xff\xd8", "a")).as_deref(), Some("a"));
    }
}
