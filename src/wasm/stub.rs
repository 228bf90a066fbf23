//! Stands where the host will be until it is merged.
#![allow(missing_docs, clippy::unused_self, reason = "goes with the merge")]
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Code, Error};
use crate::guest::http::Wire;
use crate::guest::{Home, Limits};
use crate::strategy::{OnFailure, Strategy};

pub struct Host;
pub struct Program;

impl Host {
    pub fn start(_: Option<PathBuf>) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self))
    }
    pub fn compile(&self, _: &[u8], _: &Limits, _: &str) -> Result<Program, Error> {
        Err(Error::new(Code::Plugin, "components are not run yet"))
    }
}

impl Program {
    pub fn strategy(&self, _: Home, _: OnFailure) -> Result<crate::strategy::Guarded<crate::lua::LuaGuest>, Error> {
        Err(Error::new(Code::Plugin, "components are not run yet"))
    }
    pub fn handler(
        &self,
        _: Home,
        _: Arc<dyn Wire>,
        _: tokio::runtime::Handle,
    ) -> Result<crate::handlers::Console, Error> {
        Err(Error::new(Code::Plugin, "components are not run yet"))
    }
}
const _: fn(&dyn Strategy) = |_| {};
