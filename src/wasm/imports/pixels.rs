//! The picture of the current frame. `vision` does the work on pixels.

use wasmtime::component::Resource;

use super::Image;
use crate::types::Picture;
use crate::vision::pixels as vision;
use crate::wasm::bindings::dsengine::plugin::pixels::{Crop, Format, Host, HostImage};
use crate::wasm::bindings::dsengine::plugin::types::Bbox;
use crate::wasm::convert::from_bbox;
use crate::wasm::store_data::StoreData;

impl StoreData {
    fn picture(&self, image: &Resource<Image>) -> wasmtime::Result<&Picture> {
        let Image(call) = self.table.get(image)?;
        match &self.call.picture {
            Some(picture) if *call == self.call.number => Ok(picture),
            _ => Err(wasmtime::format_err!("an image is good until the call that got it returns, and this is another")),
        }
    }
}

impl Host for StoreData {
    fn current(&mut self) -> wasmtime::Result<Option<Resource<Image>>> {
        if self.call.picture.is_none() {
            return Ok(None);
        }
        Ok(Some(self.table.push(Image(self.call.number))?))
    }
}

impl HostImage for StoreData {
    fn size(&mut self, image: Resource<Image>) -> wasmtime::Result<(u32, u32)> {
        self.picture(&image).map(|picture| (picture.width, picture.height))
    }

    fn mean(&mut self, image: Resource<Image>, area: Option<Bbox>) -> wasmtime::Result<(f32, f32, f32)> {
        // The area does not intersect the picture: black.
        let [r, g, b] = vision::mean(self.picture(&image)?, area.map(from_bbox)).unwrap_or_default();
        Ok((r, g, b))
    }

    fn crop(
        &mut self,
        image: Resource<Image>,
        area: Bbox,
        format: Format,
        max_side: u32,
    ) -> wasmtime::Result<Option<Crop>> {
        let wanted = match format {
            Format::Rgb => vision::Format::Rgb,
            Format::Gray => vision::Format::Gray,
        };
        let crop = vision::crop(self.picture(&image)?, from_bbox(area), wanted, max_side);
        Ok(crop.map(|vision::Crop { format: _, width, height, stride, data }| Crop {
            format,
            width,
            height,
            stride,
            data,
        }))
    }

    fn encode(
        &mut self,
        image: Resource<Image>,
        area: Option<Bbox>,
        max_side: u32,
        quality: u8,
    ) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(vision::jpeg(self.picture(&image)?, area.map(from_bbox), max_side, quality.clamp(1, 100)))
    }

    fn drop(&mut self, image: Resource<Image>) -> wasmtime::Result<()> {
        self.table.delete(image)?;
        Ok(())
    }
}
