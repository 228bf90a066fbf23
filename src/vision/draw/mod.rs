//! Draws detections and zones into a copy of a picture, for `record --annotated`, `snapshot` and the pictures of
//! alerts.

mod canvas;
mod font;
mod place;

use canvas::{BLACK, Canvas, Colour, Rect, WHITE};
use place::place;

use crate::types::{Detection, Picture, Zone};

/// The colour of zones.
const ZONE: Colour = [210, 16, 146];
/// The colour of what raised an alert: red, with a white line in it.
const RAISED: Colour = [81, 90, 240];
/// Steps of the grid across the picture's width and height.
const GRID_STEPS: i64 = 10;

/// A copy of the picture, as packed I420, with the outline and name of every zone, and the box of every detection with
/// label, track and score, in a colour per class. An RGB picture, or one that cannot be read, is returned unchanged.
pub fn annotated(picture: &Picture, detections: &[Detection], zones: &[Zone]) -> Picture {
    alerted(picture, detections, &[], zones)
}

/// As [`annotated`], of an alert: what `raised` it is drawn over the others, thicker and in a colour of its own.
pub fn alerted(picture: &Picture, detections: &[Detection], raised: &[Detection], zones: &[Zone]) -> Picture {
    let Some(mut canvas) = Canvas::of(picture) else { return picture.clone() };
    let mut placed = draw_zones(&mut canvas, zones);
    let others = detections.iter().filter(|other| !raised.iter().any(|raised| is_same(other, raised)));
    let (mut others_labels, mut labels) = (Vec::new(), Vec::new());
    for detection in others {
        let Some(area) = area(&canvas, detection) else { continue };
        canvas.outline(area, 2 * canvas.scale, colour(detection.class_id));
        others_labels.push((area, label(detection), colour(detection.class_id)));
    }
    for detection in raised {
        let Some(area) = area(&canvas, detection) else { continue };
        let (line, inset) = (canvas.scale, 2 * canvas.scale);
        canvas.outline(area, 5 * line, RAISED);
        let Rect { x, y, width, height } = area;
        let inner = Rect { x: x + inset, y: y + inset, width: width - 2 * inset, height: height - 2 * inset };
        canvas.outline(inner, line, WHITE);
        labels.push((area, label(detection), RAISED));
    }
    // After all boxes, so that none crosses a label. What raised the alert has the best place.
    for (area, text, colour) in labels.into_iter().chain(others_labels) {
        put(&mut canvas, &area, &text, colour, &mut placed);
    }
    canvas.finish(picture).unwrap_or_else(|| picture.clone())
}

/// Where a detection is drawn; `None` outside of the picture.
fn area(canvas: &Canvas, detection: &Detection) -> Option<Rect> {
    let bbox = detection.bbox.clamped()?;
    // Even, to align with chroma samples.
    let (x, y) = (canvas.x(bbox.x) & !1, canvas.y(bbox.y) & !1);
    let (right, bottom) = (canvas.x(bbox.right()) & !1, canvas.y(bbox.bottom()) & !1);
    Some(Rect { x, y, width: right - x, height: bottom - y })
}

/// Whether both are of one object: the strategy that raised an alert may have changed its copy.
fn is_same(detection: &Detection, raised: &Detection) -> bool {
    match (detection.track_id, raised.track_id) {
        (Some(one), Some(other)) => one == other,
        _ => detection.class_id == raised.class_id && detection.bbox == raised.bbox,
    }
}

/// A copy of the picture with a grid in tenths of its width and height, labelled in shares, and the outline and name of
/// every zone, to read zone coordinates from. An RGB picture is returned unchanged.
pub fn grid(picture: &Picture, zones: &[Zone]) -> Picture {
    let Some(mut canvas) = Canvas::of(picture) else { return picture.clone() };
    let (width, height, line) = (canvas.width, canvas.height, canvas.scale);
    let share = |n: i64| format!("{}.{}", n / GRID_STEPS, n % GRID_STEPS);
    for n in 1..GRID_STEPS {
        let (x, y) = (width * n / GRID_STEPS, height * n / GRID_STEPS);
        canvas.fill(Rect { x, y: 0, width: line, height }, WHITE);
        canvas.fill(Rect { x: 0, y, width, height: line }, WHITE);
    }
    draw_zones(&mut canvas, zones);
    for n in 1..GRID_STEPS {
        let text = share(n);
        let (wide, high) = canvas.text_size(&text);
        let (x, y) = (width * n / GRID_STEPS - wide / 2, height * n / GRID_STEPS - high / 2);
        // At both ends, because a zone may cover one.
        for at in [(x, 0), (x, height - high), (0, y), (width - wide, y)] {
            canvas.text(at, &text, WHITE, BLACK);
        }
    }
    canvas.finish(picture).unwrap_or_else(|| picture.clone())
}

/// Draws the zones; returns the rectangles of their names.
fn draw_zones(canvas: &mut Canvas, zones: &[Zone]) -> Vec<Rect> {
    let mut placed = Vec::new();
    for zone in zones {
        let corners = zone.polygon.points().iter().map(|point| (canvas.x(point.x), canvas.y(point.y)));
        let corners: Vec<(i64, i64)> = corners.collect();
        let ends = corners.iter().skip(1).chain(corners.first());
        for (from, to) in corners.iter().zip(ends) {
            canvas.line(*from, *to, 2 * canvas.scale, ZONE);
        }
        // Below its topmost corner, so that it is inside the zone.
        if let Some(top) = corners.iter().min_by_key(|(x, y)| (*y, *x)) {
            let named = Rect { x: top.0, y: top.1 + canvas.text_size("").1, width: 0, height: 0 };
            put(canvas, &named, &zone.name, ZONE, &mut placed);
        }
    }
    placed
}

/// Draws a label next to `named`, and adds its rectangle to `placed`.
fn put(canvas: &mut Canvas, named: &Rect, text: &str, ground: Colour, placed: &mut Vec<Rect>) {
    let rect = place(canvas.text_size(text), named, (canvas.width, canvas.height), placed);
    // Dark letters on a bright background, and vice versa.
    let ink = if ground[0] > 110 { BLACK } else { WHITE };
    canvas.text((rect.x, rect.y), text, ink, ground);
    placed.push(rect);
}

/// Label, track and score.
fn label(detection: &Detection) -> String {
    let track = detection.track_id.map(|id| format!(" #{id}")).unwrap_or_default();
    format!("{}{track} {:.2}", detection.label, detection.confidence)
}

/// Y, U, V for a class: bright, and distinct for neighbouring classes.
fn colour(class_id: u32) -> Colour {
    const COLOURS: [Colour; 6] =
        [[149, 43, 21], [81, 90, 240], [152, 50, 188], [170, 166, 16], [106, 202, 222], [235, 128, 128]];
    COLOURS[class_id as usize % COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BBox, Colorimetry, Matrix, Point, Polygon, Range};

    fn grey(width: u32, height: u32) -> Picture {
        let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
        let (luma, chroma) = ((width * height) as usize, (width.div_ceil(2) * height.div_ceil(2)) as usize);
        let planes = [vec![100; luma], vec![128; chroma], vec![128; chroma]];
        Picture::from_i420(width, height, colorimetry, planes).unwrap()
    }

    /// The luma at a point of a picture of this width.
    fn at(picture: &Picture, x: u32, y: u32) -> u8 {
        picture.planes().unwrap().plane(0)[(y * picture.width + x) as usize]
    }

    fn zone() -> Zone {
        let corner = |x, y| Point { x, y };
        let corners = vec![corner(0.5, 0.5), corner(0.9, 0.5), corner(0.9, 0.9), corner(0.5, 0.9)];
        Zone { name: "gate".into(), polygon: Polygon::new(corners).unwrap() }
    }

    #[test]
    fn a_box_is_drawn_on_its_edges_with_its_label_and_leaves_its_inside_alone() {
        let mut person = Detection::new("person", 0, 0.87, BBox { x: 0.25, y: 0.5, width: 0.5, height: 0.4 });
        person.track_id = Some(7);
        assert_eq!(label(&person), "person #7 0.87");
        let drawn = annotated(&grey(200, 100), &[person], &[]);
        assert_eq!((at(&drawn, 50, 50), at(&drawn, 51, 70), at(&drawn, 149, 70)), (149, 149, 149), "its edges");
        assert_eq!((at(&drawn, 100, 70), at(&drawn, 20, 20)), (100, 100), "inside and outside");
        // The label is above it: dark letters on the class's colour.
        let row: Vec<u8> = (50..130).map(|x| at(&drawn, x, 45)).collect();
        assert!(row.contains(&149) && row.contains(&16) && !row.contains(&100), "{row:?}");
        // Odd sizes and pictures without room for a label work, too.
        for (width, height) in [(33, 17), (2, 2), (1, 1)] {
            let tiny = annotated(
                &grey(width, height),
                &[Detection::new("car", 9, 1.0, BBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 })],
                &[zone()],
            );
            assert_eq!((tiny.width, tiny.height), (width, height));
        }
    }

    #[test]
    fn what_raised_an_alert_is_drawn_thicker_and_in_a_colour_of_its_own() {
        let person = |track_id: Option<u64>, x: f32| {
            let bbox = BBox { x, y: 0.2, width: 0.3, height: 0.7 };
            Detection { track_id, ..Detection::new("person", 0, 0.9, bbox) }
        };
        // Its track is the same, though the strategy has moved its box; without a track its place tells.
        let tracked = ([person(Some(1), 0.1), person(Some(2), 0.55)], person(Some(1), 0.1));
        let still = ([person(None, 0.1), person(None, 0.55)], person(None, 0.1));
        for (all, raised) in [tracked, still] {
            let drawn = alerted(&grey(400, 200), &all, &[raised], &[]);
            let left = |x: u32| [0, 1, 2, 3, 4, 5].map(|step| at(&drawn, x + step, 120));
            assert_eq!(left(40), [81, 81, 235, 81, 81, 100]);
            assert_eq!(left(220), [149, 149, 100, 100, 100, 100], "the other one");
        }
        // A strategy's own box, which the frame has not.
        let drawn = alerted(&grey(400, 200), &[], &[person(None, 0.1)], &[]);
        assert_eq!(at(&drawn, 40, 120), 81);
        // Boxes that are too small for a line in a line.
        let dot = Detection::new("dot", 0, 0.9, BBox { x: 0.5, y: 0.5, width: 0.01, height: 0.01 });
        assert_eq!(alerted(&grey(200, 100), &[], &[dot], &[]).width, 200);
    }

    #[test]
    fn zones_are_outlined_and_named() {
        let drawn = annotated(&grey(400, 200), &[], &[zone()]);
        assert_eq!((at(&drawn, 300, 100), at(&drawn, 200, 150), at(&drawn, 360, 150)), (210, 210, 210), "its edges");
        assert_eq!(at(&drawn, 300, 150), 100, "inside");
        let name: Vec<u8> = (200..230).map(|x| at(&drawn, x, 105)).collect();
        assert!(name.contains(&16), "dark letters of the name: {name:?}");
    }

    #[test]
    fn the_grid_stands_at_tenths_and_says_them() {
        let drawn = grid(&grey(400, 200), &[]);
        for n in 1..10 {
            assert_eq!((at(&drawn, 40 * n, 30), at(&drawn, 50, 20 * n)), (235, 235), "{n}");
        }
        assert_eq!(at(&drawn, 60, 30), 100, "between the lines");
        let ground: Vec<u8> = (31..50).map(|x| at(&drawn, x, 4)).collect();
        assert!(ground.contains(&16) && ground.contains(&235), "0.1 at the top: {ground:?}");
    }
}
