//! Boxes drawn into a copy of a picture, for `record --annotated`.

use crate::types::{Detection, Picture, PixelFormat, Planes};

/// Line width in pixels; even, so that chroma follows.
const LINE: u32 = 2;

/// A copy of the picture, as packed I420, with every detection's box drawn in a colour of its class.
/// An RGB picture, and one that cannot be read, is returned as it is.
pub fn boxes(picture: &Picture, detections: &[Detection]) -> Picture {
    let packed = picture.planes().ok().and_then(|planes| packed_i420(&planes));
    let Some(mut planes) = packed else { return picture.clone() };
    for detection in detections {
        let Some(bbox) = detection.bbox.clamped() else { continue };
        let (w, h) = (picture.width as f32, picture.height as f32);
        let pixel = |share: f32, whole: f32| ((share * whole) as u32).min(whole as u32 - 1) & !1;
        let area = [pixel(bbox.x, w), pixel(bbox.y, h), pixel(bbox.right(), w), pixel(bbox.bottom(), h)];
        outline(&mut planes, picture.width, picture.height, area, color(detection.class_id));
    }
    Picture::from_i420(picture.width, picture.height, picture.colorimetry, planes).unwrap_or_else(|| picture.clone())
}

/// Y, U, V of a class: bright, and apart for neighbouring classes.
fn color(class_id: u32) -> [u8; 3] {
    const COLORS: [[u8; 3]; 6] =
        [[149, 43, 21], [81, 90, 240], [210, 16, 146], [170, 166, 16], [106, 202, 222], [235, 128, 128]];
    COLORS[class_id as usize % COLORS.len()]
}

/// The picture's samples in three tightly packed planes; `None` for RGB.
fn packed_i420(picture: &Planes<'_>) -> Option<[Vec<u8>; 3]> {
    let rows = |plane: usize| {
        let (bytes, rows) = picture.plane_size(plane);
        let (data, stride) = (picture.plane(plane), picture.stride(plane));
        (0..rows).map(move |row| &data[row * stride..row * stride + bytes])
    };
    match picture.format {
        PixelFormat::Rgb => None,
        PixelFormat::I420 => Some([0, 1, 2].map(|plane| rows(plane).flatten().copied().collect())),
        PixelFormat::Nv12 => {
            let chroma =
                |offset: usize| rows(1).flat_map(move |row| row[offset..].iter().step_by(2)).copied().collect();
            Some([rows(0).flatten().copied().collect(), chroma(0), chroma(1)])
        }
    }
}

fn outline(planes: &mut [Vec<u8>; 3], width: u32, height: u32, area: [u32; 4], color: [u8; 3]) {
    let [left, top, right, bottom] = area;
    let on_edge = |x: u32, y: u32| x < left + LINE || x + LINE > right || y < top + LINE || y + LINE > bottom;
    let chroma_width = width.div_ceil(2);
    for y in top..bottom.min(height) {
        for x in left..right.min(width) {
            if on_edge(x, y) {
                planes[0][(y * width + x) as usize] = color[0];
                let at = (y / 2 * chroma_width + x / 2) as usize;
                planes[1][at] = color[1];
                planes[2][at] = color[2];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BBox, Colorimetry, Matrix, Range};

    #[test]
    fn a_box_is_drawn_on_its_edges_and_leaves_its_inside_alone() {
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        let planes = [vec![16; 33 * 17], vec![128; 17 * 9], vec![128; 17 * 9]];
        let picture = Picture::from_i420(33, 17, colorimetry, planes).unwrap();
        let bbox = BBox { x: 0.25, y: 0.25, width: 0.5, height: 0.5 };
        let drawn = boxes(&picture, &[Detection::new("person", 0, 0.9, bbox)]);
        let at = |x: usize, y: usize| drawn.planes().unwrap().plane(0)[y * 33 + x];
        assert_eq!(at(8, 4), 149, "the corner");
        assert_eq!((at(16, 8), at(0, 0)), (16, 16), "inside and outside");
    }
}
