//! Commands that a handler sends to the engine, usually from a receiver's response (a user pressed "acknowledge").

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::Value as Json;
use tokio::sync::watch;

use super::{Outbox, Pictures};
use crate::telemetry::Metrics;
use crate::types::{AlertId, SourceId};

/// Maximum queued commands over all handlers.
pub const COMMANDS_MAX: usize = 256;
/// Maximum bytes of a [`Command::Custom`], name and value together.
pub const COMMAND_BYTES_MAX: usize = 64 << 10;

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A user has acknowledged an alert.
    Ack {
        /// The alert.
        alert: AlertId,
    },
    /// A source is to be enabled or disabled.
    Source {
        /// The source.
        id: SourceId,
        /// Whether it is to run.
        enabled: bool,
    },
    /// This profile of the configuration is to apply; `None` for none.
    Profile(Option<String>),
    /// Anything else: a name and its value.
    Custom(String, Json),
}

/// What handlers may switch, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    /// Every configured source, and whether it is enabled.
    pub sources: Vec<(SourceId, bool)>,
    /// Every profile of the configuration.
    pub profiles: Vec<String>,
    /// The one that applies.
    pub profile: Option<String>,
}

/// What can be switched; `None` while nobody carries out commands.
pub type ShownSwitches = Option<Arc<Switches>>;

/// A command with the handler that sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Commanded {
    /// The handler.
    pub handler: Arc<str>,
    /// The command.
    pub command: Command,
}

/// Why a command was refused. Each refusal is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The queue is full: try again later.
    #[error("{COMMANDS_MAX} commands wait already")]
    Full,
    /// The value is too large.
    #[error("a command holds {COMMAND_BYTES_MAX} bytes at most")]
    TooLarge,
    /// The handler was removed or replaced, or the engine has stopped.
    #[error("the handler is not in use any more")]
    Closed,
}

/// A handler's sender of commands; see [`super::Handler::attach`]. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Commands {
    handler: Arc<str>,
    sender: Sender<Commanded>,
    switches: watch::Receiver<ShownSwitches>,
    pub(super) outbox: Weak<Outbox>,
    open: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    pictures: Pictures,
}

impl Commands {
    /// The pictures of the alerts that the handler gets.
    pub fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    /// Sends a command to the engine.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn send(&self, command: Command) -> Result<(), CommandRefused> {
        let sent = self.try_send(command);
        self.metrics.command(match sent {
            Ok(()) => "taken",
            Err(CommandRefused::Full) => "queue_full",
            Err(CommandRefused::TooLarge) => "too_large",
            Err(CommandRefused::Closed) => "closed",
        });
        sent
    }

    fn try_send(&self, command: Command) -> Result<(), CommandRefused> {
        if !self.open.load(Ordering::Acquire) {
            return Err(CommandRefused::Closed);
        }
        if let Command::Custom(name, value) = &command
            && name.len() + value.to_string().len() > COMMAND_BYTES_MAX
        {
            return Err(CommandRefused::TooLarge);
        }
        let commanded = Commanded { handler: self.handler.clone(), command };
        self.sender.try_send(commanded).map_err(|error| match error {
            TrySendError::Full(_) => CommandRefused::Full,
            TrySendError::Disconnected(_) => CommandRefused::Closed,
        })
    }

    /// The handler's name.
    pub(super) fn handler(&self) -> &str {
        &self.handler
    }

    /// What can be switched. It is shown again after every command that is carried out or refused.
    pub fn switches(&self) -> watch::Receiver<ShownSwitches> {
        self.switches.clone()
    }

    /// Refuses all further commands.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").field("handler", &self.handler).finish_non_exhaustive()
    }
}

/// Both ends of the queue of commands.
pub(super) struct CommandQueue {
    sender: Sender<Commanded>,
    receiver: Receiver<Commanded>,
    switches: watch::Sender<ShownSwitches>,
    outbox: Weak<Outbox>,
    metrics: Arc<Metrics>,
    pictures: Pictures,
}

impl CommandQueue {
    pub(super) fn new(metrics: Arc<Metrics>, pictures: Pictures) -> Self {
        let (sender, receiver) = bounded(COMMANDS_MAX);
        Self { sender, receiver, switches: watch::Sender::new(None), outbox: Weak::new(), metrics, pictures }
    }

    /// Lets handlers see what waits for them there.
    pub(super) fn with_outbox(self, outbox: &Arc<Outbox>) -> Self {
        Self { outbox: Arc::downgrade(outbox), ..self }
    }

    pub(super) fn receiver(&self) -> Receiver<Commanded> {
        self.receiver.clone()
    }

    /// Shows handlers what they may switch.
    pub(super) fn show(&self, switches: Switches) {
        self.switches.send_replace(Some(Arc::new(switches)));
    }

    /// A sender for a handler.
    pub(super) fn of(&self, handler: &Arc<str>) -> Commands {
        let (handler, sender, switches) = (handler.clone(), self.sender.clone(), self.switches.subscribe());
        let (outbox, open) = (self.outbox.clone(), Arc::new(AtomicBool::new(true)));
        let (metrics, pictures) = (self.metrics.clone(), self.pictures.clone());
        Commands { handler, sender, switches, outbox, open, metrics, pictures }
    }
}
