//! Outgoing requests: TLS trust, proxies, and error descriptions.
//!
//! One policy for webhooks, brokers, guests, mail and cameras: [`tls`] for all but mail and cameras, [`authorities`]
//! for mail, [`accept`] for cameras; [`Connector`] uses the environment's proxies, [`Dialer`] goes straight, and `mqtt`
//! uses it. Errors are described in our own words, with a remedy. Nothing here reads a clock or logs; addresses are
//! shown without paths and users.

mod dial;
mod failure;
pub(crate) mod mqtt;
mod proxy;
mod redirect;
mod trust;

pub use dial::{Dialer, Io};
pub use failure::{of_broker, of_connection, of_mail_connection, of_name, of_status};
pub use proxy::{Connector, Opening, Proxies, Stream};
pub use redirect::{Onward, onward, patience};
pub use trust::{Authorities, Objection, Shown, accept, authorities, tls};
