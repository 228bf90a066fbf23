//! Outgoing requests: TLS trust, proxies, and error descriptions.
//!
//! One policy for webhooks, brokers, guests, mail and cameras: [`tls`] for all but mail and cameras, [`authorities`]
//! for mail, [`accept`] for cameras, [`pinned`] for a certificate that is named; [`Connector`] uses the environment's
//! proxies, [`Dialer`] goes straight, and `mqtt` uses it; [`Reader`] reads streams and files. Errors are described in
//! our own words, with a remedy. Nothing here reads a clock or logs; addresses are shown without paths and users.

mod dial;
mod failure;
mod login;
pub(crate) mod mqtt;
mod pin;
mod proxy;
mod reader;
mod redirect;
mod trouble;
mod trust;

pub use dial::{Dialer, Io};
pub use failure::{of_broker, of_connection, of_mail_connection, of_name, of_status};
pub use login::{As, Asked, Challenge};
pub use pin::pinned;
pub use proxy::{Connector, Opening, Proxies, Stream};
pub use reader::{Access, Part, Reader};
pub use redirect::{Onward, onward, patience};
pub use trouble::Trouble;
pub use trust::{Authorities, Objection, Shown, accept, authorities, tls};
