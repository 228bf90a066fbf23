//! The host functions for guests: the imported interfaces of `wit/`, one per file.
//!
//! Only `http` blocks; the limits bound each call, and the store bounds the data passed at once.

mod detections;
mod http;
mod log;
mod pixels;
mod shared;
mod state;
mod view;

use wasmtime::component::{HasSelf, Linker};

use super::bindings::dsengine::plugin;
use super::store_data::StoreData;

/// A guest's handle to a picture: valid during the call with this number.
#[allow(unreachable_pub, reason = "the generated code names it")]
pub struct Image(u64);

/// Adds all interfaces to the linker; a component's world and grants determine which it may import.
pub(super) fn link(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    let l = linker;
    plugin::types::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::log::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::metrics::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::config::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::time::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::state::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::shared_state::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::zones::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::detections::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::tracks::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::pixels::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    plugin::http::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    Ok(())
}

impl plugin::types::Host for StoreData {}
