//! What every MQTT client here shares, whether it publishes or subscribes: the packets (`packet`) and one connection to
//! a broker (`session`). A client puts what goes wrong (`Broken`) into words of its own.

pub(crate) mod packet;
mod session;

pub(crate) use session::{Broken, Hello, NotOpened, Session};
