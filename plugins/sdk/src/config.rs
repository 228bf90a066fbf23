//! The plugin's own block of the configuration, with the types it is wanted in.

use std::str::FromStr;

use crate::Error;
pub use crate::bindings::strategy::dsengine::plugin::config::{all, get};

/// A field that may be left out. A list or a map comes as JSON text.
pub fn read<T: FromStr>(key: &str) -> Result<Option<T>, Error> {
    let Some(text) = get(key).filter(|text| text != "null") else { return Ok(None) };
    let wrong = |_| Error::new("config", format!("config.{key} is '{text}', which does not fit"));
    text.parse().map(Some).map_err(wrong)
}

/// A field with a default.
pub fn or<T: FromStr>(key: &str, default: T) -> Result<T, Error> {
    Ok(read(key)?.unwrap_or(default))
}

/// A field that has to be there.
pub fn need<T: FromStr>(key: &str) -> Result<T, Error> {
    read(key)?.ok_or_else(|| Error::new("config", format!("config.{key} is missing")))
}
