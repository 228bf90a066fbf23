//! PNG encoding: eight bits of red, green and blue, uncompressed, so that it needs no crate.

use dsengine::types::{BBox, Picture};
use dsengine::vision::pixels::{self, Format};

/// Maximum length of a stored block in a zlib stream.
const BLOCK_MAX: usize = 65_535;
/// Longer sides are scaled down.
const SIDE_MAX: u32 = pixels::SIDE_MAX;

/// The picture as PNG; `None` if it cannot be read.
pub(crate) fn encode(picture: &Picture) -> Option<Vec<u8>> {
    let whole = BBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
    let crop = pixels::crop(picture, whole, Format::Rgb, SIDE_MAX)?;
    let mut rows = Vec::with_capacity(crop.data.len() + crop.height as usize);
    for row in crop.data.chunks(crop.stride as usize) {
        // Each row starts with its filter type: none.
        rows.push(0);
        rows.extend_from_slice(&row[..crop.width as usize * 3]);
    }
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [crop.width.to_be_bytes(), crop.height.to_be_bytes()].concat();
    chunk(&mut out, b"IHDR", &[&size[..], &[8, 2, 0, 0, 0]].concat());
    chunk(&mut out, b"IDAT", &zlib(&rows));
    chunk(&mut out, b"IEND", &[]);
    Some(out)
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc(&[&name[..], data].concat()).to_be_bytes());
}

/// The data in stored blocks.
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(BLOCK_MAX).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler(data).to_be_bytes());
    out
}

fn crc(data: &[u8]) -> u32 {
    let table: Vec<u32> =
        (0..256_u32).map(|n| (0..8).fold(n, |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })).collect();
    !data.iter().fold(!0, |crc, byte| table[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8))
}

fn adler(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_the_standards_and_a_picture_has_its_chunks() {
        assert_eq!((crc(b"123456789"), adler(b"Wikipedia")), (0xCBF4_3926, 0x11E6_0398));
        let png = encode(&Picture::from_rgb(300, 200, vec![7; 180_000]).unwrap()).unwrap();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!((&png[12..16], &png[16..24]), (&b"IHDR"[..], &[0, 0, 1, 44, 0, 0, 0, 200][..]));
        // Three stored blocks, the last one marked as final.
        let data = 8 + 25 + 8 + 2;
        assert_eq!((png[data], png[data + 65_540], png[data + 2 * 65_540]), (0, 0, 1));
        assert_eq!(&png[png.len() - 8..png.len() - 4], b"IEND");
    }
}
