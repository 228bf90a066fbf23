//! Running scripts and components: their versions, how a new one is tried, takes over and is rolled back.
//!
//! `guests` creates versions from files and instances from versions. `reload` takes new contents of a file, `swap` puts
//! a version on every lane or on none, `rehearse` tries it on recorded frames, `trial` on `generated` ones, `running`
//! holds the state of each.

mod generated;
mod guests;
mod handler;
mod made_up;
mod module_text;
mod rehearse;
mod rejected;
mod reload;
mod running;
mod swap;
mod trial;

pub(in crate::engine) use guests::{Contents, read_module};
pub use guests::{Guests, Version};
pub(in crate::engine) use handler::Replaceable;
pub(in crate::engine) use rejected::Rejected;
pub(in crate::engine) use reload::{Versions, warn_of};
pub(in crate::engine) use running::{Contained, GuestHandler, GuestStrategy, Origin, module};
pub(in crate::engine) use swap::{LaneChanges, Lanes, PendingSwaps, Ready};
pub(in crate::engine) use trial::{Facts, try_out};
