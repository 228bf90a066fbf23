//! `sources[].blackout`: areas that nobody may see. A doubtful outline is refused, where a zone's is warned about.

use super::Site;
use crate::config::schema::Outline;
use crate::types::{Blackout, Point, Polygon};

pub(super) fn build(outlines: &[Outline], path: &str, site: &mut Site<'_>) -> Blackout {
    let mut areas = Vec::new();
    for (index, outline) in outlines.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let points = outline.0.iter().map(|corner| Point { x: corner.0[0] as f32, y: corner.0[1] as f32 }).collect();
        match Polygon::new(points) {
            None => site.wrong(&at, format!("`{at}` is no area"), "expected at least three points"),
            Some(area) if !area.has_area() => site.wrong(
                &at,
                format!("`{at}` encloses no area"),
                "its corners are one point or lie on one line: name those of the area between them",
            ),
            Some(area) if area.crosses_itself() => site.wrong(
                &at,
                format!("the outline `{at}` crosses itself: parts of it would be seen"),
                "list its corners in the order in which one walks round it",
            ),
            Some(area) => areas.push(area),
        }
    }
    Blackout::new(areas)
}
