//! Zones and tracks of the current frame.

use crate::types::Zone;
use crate::wasm::bindings::dsengine::plugin::types::{Bbox, Point};
use crate::wasm::bindings::dsengine::plugin::{tracks, zones};
use crate::wasm::convert::{from_bbox, to_bbox};
use crate::wasm::store_data::StoreData;

impl StoreData {
    pub(super) fn zone(&self, name: &str) -> Option<&Zone> {
        let found = self.call.zones.iter().find(|zone| zone.name == name);
        if let Some(trial) = self.context.trial.as_ref().filter(|_| found.is_none()) {
            let names: Vec<&str> = self.call.zones.iter().map(|zone| zone.name.as_str()).collect();
            trial.lacks_zone(name, if names.is_empty() { "none".to_owned() } else { names.join(", ") }.as_str());
        }
        found
    }
}

impl zones::Host for StoreData {
    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.call.zones.iter().map(|zone| zone.name.clone()).collect())
    }

    fn contains(&mut self, zone: String, box_: Bbox) -> wasmtime::Result<Option<bool>> {
        Ok(self.zone(&zone).map(|zone| zone.polygon.contains(from_bbox(box_).bottom_center())))
    }

    fn polygon(&mut self, zone: String) -> wasmtime::Result<Option<Vec<Point>>> {
        let corners = |zone: &Zone| zone.polygon.points().iter().map(|p| Point { x: p.x, y: p.y }).collect();
        Ok(self.zone(&zone).map(corners))
    }
}

impl tracks::Host for StoreData {
    fn get(&mut self, id: u64) -> wasmtime::Result<Option<tracks::Track>> {
        let track = self.call.tracks.as_ref().and_then(|tracks| tracks.get(id));
        Ok(track.map(|t| tracks::Track {
            id: t.id,
            label: t.label.to_string(),
            bbox: to_bbox(t.bbox),
            first_ns: t.first_ns,
            last_ns: t.last_ns,
        }))
    }

    fn dwell_ns(&mut self, id: u64, zone: String) -> wasmtime::Result<Option<u64>> {
        Ok(self.call.tracks.as_ref().and_then(|tracks| tracks.get(id)).and_then(|track| track.dwell_ns(&zone)))
    }
}
