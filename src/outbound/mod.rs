//! How requests leave this machine: whose certificates are trusted, by which proxy, and what it means when one fails.
//!
//! One policy for webhooks, guests and cameras: [`tls`] is the first two's, [`accept`] the same for cameras; [`Connector`] goes by the environment's proxies. What went
//! wrong is said in our own words, with what to do. Nothing here reads a clock or logs; addresses are shown without paths
//! and users.

mod failure;
mod proxy;
mod redirect;
mod trust;

pub use failure::{of_connection, of_status};
pub use proxy::{Connector, Opening, Proxies, Stream};
pub use redirect::{Onward, onward, patience};
pub use trust::{Objection, Shown, accept, tls};
