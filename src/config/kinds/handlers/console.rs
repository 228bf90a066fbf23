//! `console`: lines on standard output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::build::Site;
use crate::config::plan::HandlerKind;
use crate::config::schema::Handler;

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Console {}

impl Type for Console {
    const WORD: &'static str = "console";

    fn plan(self, _: &Handler, _: &str, _: &mut Site<'_>) -> Option<HandlerKind> {
        Some(HandlerKind::Console)
    }
}
