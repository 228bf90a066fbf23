//! Scripts and components while they run: their versions, how a new one is tried and takes over, how it goes back.
//!
//! `guests` makes versions out of files and instances out of versions. `reload` takes new contents of a file, `swap` puts
//! a version on every lane or on none, `rehearse` tries it on remembered frames, `trial` on `generated` ones, `running` is what is known of each.

mod generated;
mod guests;
mod handler;
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
pub(in crate::engine) use reload::Versions;
pub(in crate::engine) use running::{Contained, GuestHandler, GuestStrategy, Origin, module};
pub(in crate::engine) use swap::{Books, LaneChanges, Lanes, Ready};
pub(in crate::engine) use trial::{Facts, try_out};
