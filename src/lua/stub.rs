//! Stands where handlers will be until they are merged.
use std::sync::Arc;

use super::Script;
use crate::error::{Code, Error};
use crate::guest::http::Wire;

/// A handler.
pub fn handler(_: Script, _: Arc<dyn Wire>, _: tokio::runtime::Handle) -> Result<crate::handlers::Console, Error> {
    Err(Error::new(Code::Plugin, "handlers in Lua are not run yet"))
}
