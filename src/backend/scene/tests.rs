//! What a scene promises.

use super::*;

fn y_at(picture: &Picture, x: usize, y: usize) -> u8 {
    picture.plane(0)[y * picture.stride(0) + x]
}
#[test]
fn truth_without_colours_is_the_truth_of_the_picture() {
    let scene = Scene::load("street").unwrap();
    for i in [0, 77, 150, 299] {
        let (picture, truth) = scene.frame(i);
        assert_eq!(truth, scene.truth(i));
        assert!(y_at(&picture, 3, 3) >= 16);
    }
}
