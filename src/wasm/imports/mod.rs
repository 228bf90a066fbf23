//! What the host does for guests: the imported interfaces of `wit/`, each in its file.
//!
//! None waits but `http`; each is bounded by the limits, and what is handed over at once by the store.

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

/// A picture in a guest's hands: good for the call with this number.
#[allow(unreachable_pub, reason = "the generated code names it")]
pub struct Image(u64);

/// Puts all of it into the linker; what a component may import of it depends on its world and its grants.
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
