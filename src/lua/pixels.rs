//! The host functions for `pixels`: bounded reductions of the frame's picture.

use mlua::{Lua, Table};

use super::host::Host;
use crate::types::{BBox, Picture};
use crate::vision::pixels::{self, Crop, Format};

/// Default for the longer side of a crop.
const SIDE: f64 = 256.0;
/// Default JPEG quality.
const QUALITY: f64 = 80.0;

/// A box from our Luau code; all `None` means the whole picture.
type Corners = (Option<f32>, Option<f32>, Option<f32>, Option<f32>);

/// JPEG options, and the box.
type Encode = (Option<f64>, Option<f64>, Option<f32>, Option<f32>, Option<f32>, Option<f32>);

fn part((x, y, width, height): Corners) -> Option<BBox> {
    Some(BBox { x: x?, y: y?, width: width?, height: height? })
}

impl Host {
    /// Adds the functions that `frame.luau` calls. Without a grant the call state never has a picture.
    pub(super) fn put_pixels(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let host = self.clone();
        table.raw_set(
            "picture_size",
            lua.create_function(move |_, ()| {
                let picture = host.picture();
                Ok((picture.as_ref().map(|p| p.width), picture.as_ref().map(|p| p.height)))
            })?,
        )?;
        let host = self.clone();
        table.raw_set(
            "picture_mean",
            lua.create_function(move |_, corners: Corners| {
                let mean = host.picture().and_then(|picture| pixels::mean(&picture, part(corners)));
                Ok((mean.map(|m| m[0]), mean.map(|m| m[1]), mean.map(|m| m[2])))
            })?,
        )?;
        let host = self.clone();
        table.raw_set(
            "picture_crop",
            lua.create_function(
                move |lua, (gray, side, x, y, width, height): (bool, Option<f64>, f32, f32, f32, f32)| {
                    let format = if gray { Format::Gray } else { Format::Rgb };
                    // Casting saturates, and `crop` has its own bound.
                    let side = side.unwrap_or(SIDE) as u32;
                    let bbox = BBox { x, y, width, height };
                    let crop = host.picture().and_then(|picture| pixels::crop(&picture, bbox, format, side));
                    let Some(Crop { width, height, stride, data, .. }) = crop else {
                        return Ok((None, None, None, None));
                    };
                    Ok((Some(lua.create_buffer(data)?), Some(width), Some(height), Some(stride)))
                },
            )?,
        )?;
        let host = self.clone();
        table.raw_set(
            "picture_jpeg",
            lua.create_function(move |lua, (side, quality, x, y, width, height): Encode| {
                let (side, quality) = (side.unwrap_or(SIDE) as u32, quality.unwrap_or(QUALITY) as u8);
                let part = part((x, y, width, height));
                let jpeg = host.picture().and_then(|picture| pixels::jpeg(&picture, part, side, quality));
                jpeg.map(|jpeg| lua.create_string(jpeg)).transpose()
            })?,
        )
    }

    /// The frame's picture; copies a pointer, so that the call state is unlocked while the picture is read.
    fn picture(&self) -> Option<Picture> {
        self.call_state.lock().picture.clone()
    }
}
