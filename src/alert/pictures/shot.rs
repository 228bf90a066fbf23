//! What a picture of an alert is made of.

use std::sync::Arc;

use super::files::LARGEST;
use crate::config::PicturesPlan;
use crate::types::{Detection, Picture, Zone};
use crate::vision::{draw, jpeg};

/// What a picture of an alert is made of.
pub(in crate::alert) enum Shot {
    /// The frame that raised it, with its detections and its source's zones.
    Frame {
        /// Its pixels.
        picture: Picture,
        /// When it was captured: Unix time, nanoseconds.
        at_ns: u64,
        /// What is drawn as boxes.
        detections: Vec<Detection>,
        /// What raised the alert, and is drawn so.
        raised: Vec<Detection>,
        /// What is drawn as outlines.
        zones: Arc<[Zone]>,
    },
    /// A JPEG that a rule made.
    Encoded(Arc<[u8]>),
}

impl Shot {
    /// The memory that it holds until it is encoded.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Frame { picture, detections, raised, .. } => {
                let planes =
                    (0..picture.plane_count()).map(|index| picture.stride(index) * picture.plane_size(index).1);
                planes.sum::<usize>() + (detections.len() + raised.len()) * size_of::<Detection>()
            }
            Self::Encoded(jpeg) => jpeg.len(),
        }
    }

    /// The picture with boxes, and the one without if it is wanted. `None` if it cannot be encoded.
    pub(super) fn encode(&self, plan: &PicturesPlan) -> Option<[Option<Vec<u8>>; 2]> {
        match self {
            Self::Frame { picture, detections, raised, zones, .. } => {
                let encode = |picture: &Picture| jpeg::encode(picture, plan.max_width, plan.quality);
                let clean = if plan.clean { Some(encode(picture)?) } else { None };
                Some([Some(encode(&draw::alerted(picture, detections, raised, zones))?), clean])
            }
            Self::Encoded(jpeg) => {
                let is_jpeg = jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() < LARGEST;
                is_jpeg.then(|| [Some(jpeg.to_vec()), None])
            }
        }
    }
}
