//! The profiles of the configuration: a part of the file of its own for each, of which one applies.

use serde::Serialize;
use utoipa::ToSchema;

use super::Control;
use crate::config::ProfileChoice;

/// The profiles of a running engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProfileBody {
    /// The one that applies.
    pub profile: Option<String>,
    /// Every profile of the file, in its order.
    pub profiles: Vec<String>,
    /// The flag or variable that set it at the start, so that it cannot be switched.
    pub fixed_by: Option<String>,
}

impl Control {
    /// The profiles, and the one that applies. An edit switches to another.
    pub fn profiles(&self) -> ProfileBody {
        let ProfileChoice { names, selected, fixed_by } = self.current.load().loaded.profiles.clone();
        ProfileBody { profile: selected, profiles: names, fixed_by }
    }
}
