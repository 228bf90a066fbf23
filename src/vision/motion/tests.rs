//! Tests of the background model.

use super::*;
use crate::types::{BBox, Colorimetry, Matrix, PixelFormat, Range};

const FRAME_NS: u64 = 40_000_000;
const SIZE: (u32, u32) = (640, 360);

fn update<'a>(background: &'a mut Background, picture: &Picture, pts_ns: u64) -> &'a [Blob] {
    background.update(&picture.planes().unwrap(), pts_ns)
}

/// A noisy grey picture with a bright square, a fifth of the height, at `at`.
fn picture(rng: &mut fastrand::Rng, base: u8, at: Option<(f32, f32)>, format: PixelFormat) -> Picture {
    let (w, h) = (SIZE.0 as usize, SIZE.1 as usize);
    let mut luma: Vec<u8> =
        (0..w * h).map(|i| base.saturating_add((i % w / 8) as u8 / 2).saturating_add(rng.u8(0..9))).collect();
    if let Some((x, y)) = at {
        let (x, y, side) = ((x * w as f32) as usize, (y * h as f32) as usize, h / 5);
        for row in y..(y + side).min(h) {
            luma[row * w + x..row * w + (x + side).min(w)].fill(base + 90);
        }
    }
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    match format {
        PixelFormat::Rgb => Picture::from_rgb(SIZE.0, SIZE.1, luma.iter().flat_map(|v| [*v; 3]).collect()).unwrap(),
        _ => {
            let chroma = vec![128; w / 2 * h / 2];
            Picture::from_i420(SIZE.0, SIZE.1, colorimetry, [luma, chroma.clone(), chroma]).unwrap()
        }
    }
}

fn warm(rng: &mut fastrand::Rng, format: PixelFormat) -> Background {
    let mut background = Background::new(MotionSettings::default());
    for n in 0..40 {
        assert!(update(&mut background, &picture(rng, 60, None, format), n * FRAME_NS).is_empty(), "frame {n}");
    }
    assert!(background.is_warm());
    background
}

#[test]
fn a_moving_square_is_found_where_it_is() {
    for format in [PixelFormat::I420, PixelFormat::Rgb] {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut background = warm(&mut rng, format);
        for n in 0..30u64 {
            let at = (0.05 + n as f32 * 0.02, 0.3);
            let blobs = update(&mut background, &picture(&mut rng, 60, Some(at), format), (40 + n) * FRAME_NS);
            let truth = BBox { x: at.0, y: at.1, width: 0.2 * 360.0 / 640.0, height: 0.2 };
            assert_eq!(blobs.len(), 1, "frame {n}: {blobs:?}");
            assert!(blobs[0].bbox.iou(&truth) > 0.85, "frame {n}: {:?} for {truth:?}", blobs[0].bbox);
            assert!(blobs[0].contrast > 0.9, "{}", blobs[0].contrast);
        }
    }
}

#[test]
fn two_squares_are_two_blobs_and_a_picture_wide_one_touches_the_edges() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut background = warm(&mut rng, PixelFormat::I420);
    let mut luma: Vec<u8> = (0..640 * 360).map(|i| 64 + (i % 640 / 8) as u8 / 2).collect();
    for y in 0..72 {
        luma[y * 640..y * 640 + 640].fill(200);
    }
    for y in 200..260 {
        luma[y * 640 + 300..y * 640 + 360].fill(200);
    }
    let chroma = vec![128; 320 * 180];
    let colorimetry = Colorimetry { matrix: Matrix::Bt709, range: Range::Limited };
    let both = Picture::from_i420(640, 360, colorimetry, [luma, chroma.clone(), chroma]).unwrap();
    let blobs = update(&mut background, &both, 40 * FRAME_NS);
    assert_eq!(blobs.len(), 2, "{blobs:?}");
    assert!(blobs[0].bbox.width > 0.98 && blobs[0].bbox.y < 0.01, "largest first: {:?}", blobs[0]);
}

#[test]
fn black_and_static_pictures_give_nothing() {
    let black = Picture::from_rgb(640, 360, vec![0; 640 * 360 * 3]).unwrap();
    let mut background = Background::new(MotionSettings::default());
    for n in 0..200 {
        assert!(update(&mut background, &black, n * FRAME_NS).is_empty(), "frame {n}");
    }
    let mut rng = fastrand::Rng::with_seed(1);
    let mut background = warm(&mut rng, PixelFormat::I420);
    for n in 40..300 {
        let blobs = update(&mut background, &picture(&mut rng, 60, None, PixelFormat::I420), n * FRAME_NS);
        assert!(blobs.is_empty(), "noise at frame {n}");
    }
}

#[test]
fn a_light_switched_on_is_learned_and_not_reported() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut background = warm(&mut rng, PixelFormat::I420);
    for n in 40..120 {
        let blobs = update(&mut background, &picture(&mut rng, 120, None, PixelFormat::I420), n * FRAME_NS);
        assert!(blobs.is_empty(), "frame {n}: {blobs:?}");
    }
    assert!(background.is_warm(), "and watches again");
    let seen = update(&mut background, &picture(&mut rng, 120, Some((0.5, 0.5)), PixelFormat::I420), 120 * FRAME_NS);
    assert_eq!(seen.len(), 1);
}

#[test]
fn what_stands_still_is_taken_into_the_background_late_and_leaves_no_ghost_before() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut background = warm(&mut rng, PixelFormat::I420);
    let (mut n, mut found) = (40, Vec::new());
    let mut show = |at: Option<(f32, f32)>, frames: u64, background: &mut Background| {
        found.clear();
        for _ in 0..frames {
            n += 1;
            found.push(update(background, &picture(&mut rng, 60, at, PixelFormat::I420), n * FRAME_NS).len());
        }
        found.clone()
    };
    let stands = show(Some((0.4, 0.4)), 20 * 25, &mut background);
    assert!(stands.iter().all(|count| *count == 1), "seen for all of 20 s");
    let gone = show(None, 50, &mut background);
    assert!(gone.iter().all(|count| *count == 0), "and no ghost afterwards");
    let parks = show(Some((0.4, 0.4)), 35 * 25, &mut background);
    assert_eq!((parks[28 * 25], parks[34 * 25]), (1, 0), "part of the scene after 30 s");
}

#[test]
fn a_camera_that_darkens_for_a_bright_object_shows_that_object_alone() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut background = warm(&mut rng, PixelFormat::I420);
    for n in 0..20u64 {
        let dark = 60 - n as u8;
        let at = (0.3 + n as f32 * 0.01, 0.3);
        let blobs = update(&mut background, &picture(&mut rng, dark, Some(at), PixelFormat::I420), (40 + n) * FRAME_NS);
        assert_eq!(blobs.len(), 1, "frame {n}: {blobs:?}");
    }
}

#[test]
fn odd_and_tiny_pictures_do_no_harm() {
    for (width, height) in [(1, 1), (2, 2), (7, 3), (321, 241), (1000, 2), (2, 1000)] {
        let mut background = Background::new(MotionSettings::default());
        for n in 0..60 {
            let value = if n < 40 { 10 } else { (n % 2) as u8 * 200 };
            let rgb = vec![value; (width * height * 3) as usize];
            update(&mut background, &Picture::from_rgb(width, height, rgb).unwrap(), n * FRAME_NS);
        }
    }
}

#[test]
fn a_source_of_three_frames_a_minute_is_learned_and_one_that_was_away_is_learned_anew() {
    const SLOW_NS: u64 = 20_000_000_000;
    let mut rng = fastrand::Rng::with_seed(9);
    let mut background = Background::new(MotionSettings::default());
    for n in 0..12 {
        assert!(update(&mut background, &picture(&mut rng, 60, None, PixelFormat::I420), n * SLOW_NS).is_empty());
    }
    assert!(background.is_warm());
    let moved = picture(&mut rng, 60, Some((0.3, 0.3)), PixelFormat::I420);
    assert_eq!(update(&mut background, &moved, 12 * SLOW_NS).len(), 1);
    update(&mut background, &picture(&mut rng, 60, None, PixelFormat::I420), 16 * SLOW_NS);
    assert!(!background.is_warm());
}
