//! What the engine keeps for this plugin on this source: it survives reload, trap and limit hits.

use crate::Error;
pub use crate::bindings::strategy::dsengine::plugin::state::{Refusal, delete, get, keys, set};

/// A whole number: eight bytes, the lowest first. 0 where there is none.
pub fn get_u64(key: &str) -> u64 {
    get(key).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Sets a whole number.
pub fn set_u64(key: &str, value: u64) -> Result<(), Error> {
    Ok(set(key, &value.to_le_bytes(), None)?)
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full(bytes) => Self::new("state", format!("the state is full: {bytes} bytes")),
            Refusal::Key => Self::new("state", "the key is empty or too long"),
        }
    }
}
