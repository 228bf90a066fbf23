//! Built-in handlers: console, file, webhook, email, mqtt.
//!
//! Each validates its settings at startup, delivers one alert per call, and marks failures as retryable or not.
//! `alert::Delivery` handles retries, order and counting. To add one: a variant in `config::HandlerKind`, a file here,
//! an arm in [`build`], a row in the conformance test (`alert::check`).

mod attached;
mod console;
mod email;
mod file;
mod mqtt;
mod signature;
mod webhook;

pub use console::Console;
pub use email::Email;
pub use file::AlertFile;
pub use mqtt::Mqtt;
pub use webhook::Webhook;

use std::sync::Arc;

use crate::alert::Handler;
use crate::config::{HandlerKind, HandlerPlan};
use crate::error::Error;
use crate::types::Clock;

/// Builds the handler described by the plan. `clock` provides the timestamps of requests and mails.
///
/// # Errors
/// [`crate::error::Code::Handler`] when it cannot work: a file that cannot be written, an invalid address.
pub fn build(plan: &HandlerPlan, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Handler>, Error> {
    Ok(match &plan.kind {
        HandlerKind::Console => Arc::new(Console::new(plan.name.clone())),
        HandlerKind::Email(email) => Arc::new(Email::new(plan.name.clone(), (**email).clone(), clock.clone())?),
        HandlerKind::File { path, max_bytes, backups, format, every } => {
            let rotation = (*max_bytes, *backups, every.clone());
            Arc::new(AlertFile::open(plan.name.clone(), path, rotation, *format, clock.clone())?)
        }
        HandlerKind::Module(module) | HandlerKind::Shipped { module, .. } => {
            let what = format!("handler {}: {} is a module", plan.name, module.path.display());
            return Err(crate::error::Error::new(crate::error::Code::Handler, what));
        }
        HandlerKind::Mqtt(mqtt) => Arc::new(Mqtt::new(plan.name.clone(), mqtt)?),
        HandlerKind::Webhook(webhook) => Arc::new(Webhook::new(plan.name.clone(), webhook, clock.clone())?),
    })
}
