//! Further fields of the detections that the guest got in flat form, on demand.

use crate::wasm::bindings::dsengine::plugin::detections::Host;
use crate::wasm::bindings::dsengine::plugin::types::AttributeResult;
use crate::wasm::convert::attribute;
use crate::wasm::store_data::StoreData;

impl Host for StoreData {
    fn attributes(&mut self, index: u32) -> wasmtime::Result<Vec<AttributeResult>> {
        let Some(more) = self.call.more.get(index as usize) else {
            let count = self.call.more.len();
            return Err(wasmtime::format_err!("detections.attributes: no detection {index} of {count} (from 0)"));
        };
        Ok(more.attributes.iter().map(attribute).collect())
    }

    fn in_zone(&mut self, zone: String) -> wasmtime::Result<Option<Vec<u32>>> {
        let inside = |polygon: &crate::types::Polygon| {
            let more = self.call.more.iter().zip(0..);
            more.filter(|(more, _)| polygon.contains(more.bbox.bottom_center())).map(|(_, index)| index).collect()
        };
        Ok(self.zone(&zone).map(|zone| inside(&zone.polygon)))
    }
}
