//! Places labels: next to what they name, inside the picture, and without overlap if possible.

use super::canvas::Rect;

/// A rectangle for a label of `size` next to `named`, inside a picture of `bounds`, avoiding `placed`.
pub(super) fn place(size: (i64, i64), named: &Rect, bounds: (i64, i64), placed: &[Rect]) -> Rect {
    let (width, height) = size;
    let (left, right) = (named.x, named.x + named.width - width);
    let (above, below) = (named.y - height, named.y + named.height);
    let near = [(left, above), (right, above), (left, below), (right, below), (left, named.y), (left, below - height)];
    // Further up and down in steps of one label, for crowded spots.
    let further = (2..6).flat_map(|n| [(left, above - (n - 1) * height), (left, below + (n - 1) * height)]);
    let mut best: Option<(i64, Rect)> = None;
    for (x, y) in near.into_iter().chain(further) {
        let inside = |at: i64, size: i64, whole: i64| at.min(whole - size).max(0);
        let rect = Rect { x: inside(x, width, bounds.0), y: inside(y, height, bounds.1), width, height };
        let covered = placed.iter().map(|other| rect.overlap(other)).sum::<i64>();
        if covered == 0 {
            return rect;
        }
        if best.is_none_or(|(least, _)| covered < least) {
            best = Some((covered, rect));
        }
    }
    best.map_or(Rect { x: 0, y: 0, width, height }, |(_, rect)| rect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_the_picture_and_off_each_other() {
        let mut placed = Vec::new();
        for named in [
            Rect { x: 100, y: 100, width: 40, height: 80 },
            Rect { x: 104, y: 102, width: 40, height: 80 },
            Rect { x: 98, y: 101, width: 44, height: 78 },
            Rect { x: 300, y: 0, width: 20, height: 90 },
            Rect { x: -5, y: 150, width: 20, height: 90 },
        ] {
            let rect = place((60, 10), &named, (320, 240), &placed);
            assert!(rect.x >= 0 && rect.y >= 0 && rect.x + 60 <= 320 && rect.y + 10 <= 240, "{rect:?}");
            assert!(placed.iter().all(|other| rect.overlap(other) == 0), "{rect:?} in {placed:?}");
            placed.push(rect);
        }
        assert_eq!((placed[0].x, placed[0].y), (100, 90), "above its box where there is room");
    }

    #[test]
    fn where_there_is_no_room_the_least_is_covered() {
        let all = [Rect { x: 0, y: 0, width: 50, height: 18 }];
        let rect = place((50, 10), &Rect { x: 0, y: 0, width: 50, height: 20 }, (50, 20), &all);
        assert_eq!((rect.x, rect.y), (0, 10));
    }
}
