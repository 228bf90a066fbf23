//! The thread that owns a running engine: whatever changes it is done here, one thing after the other.
//!
//! Who asks hands over what to do and waits for the answer; the queue of those who wait is bounded. Nothing on a frame's
//! way waits for this thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::handle::{Shared, View};
use super::models::Models;
use super::parts::Parts;
use super::source::SourceUnit;
use super::versions::Versions;
use super::view::strategy::StrategyBoard;
use crate::config::{Plan, StrategyKind};
use crate::error::{Code, Error};
use crate::own::{Stop, Thread};
use crate::types::SourceId;

/// Most who wait for the owner; the next one waits for a place among them.
const ASKED_MAX: usize = 64;

/// How often the owner looks which probations are over while nobody asks anything.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// What the owner is asked to do.
pub(super) type Command = Box<dyn FnOnce(&mut Owner) + Send>;

/// See the module.
pub(super) struct Owner {
    pub(super) parts: Arc<Parts>,
    pub(super) shared: Arc<Shared>,
    /// What runs.
    pub(super) plan: Arc<Plan>,
    pub(super) units: BTreeMap<SourceId, Arc<SourceUnit>>,
    pub(super) models: Models,
    pub(super) versions: Versions,
    pub(super) boards: Boards,
}

/// What each strategy shows of itself, by name.
#[derive(Default, Clone)]
pub(super) struct Boards(BTreeMap<String, Arc<StrategyBoard>>);

impl Boards {
    /// Brings the boards in line with a plan: those of strategies that are gone go, those that stay go on.
    pub(super) fn for_plan(&self, plan: &Plan) -> Self {
        let is_guest = |kind: &str| matches!(kind, "lua" | "wasm");
        let board = |name: &str, kind: &'static str| match self.0.get(name) {
            Some(board) if board.kind() == kind || is_guest(board.kind()) && is_guest(kind) => Arc::clone(board),
            _ => StrategyBoard::new(name, kind),
        };
        let models = plan.models.iter().map(|model| (model.name.clone(), board(&model.name, "model")));
        let strategies = plan.strategies.iter().map(|s| (s.name.clone(), board(&s.name, kind(&s.kind))));
        Self(models.chain(strategies).collect())
    }

    /// The board of a strategy; one that nobody sees where the plan has none.
    pub(super) fn of(&self, name: &str) -> Arc<StrategyBoard> {
        self.0.get(name).cloned().unwrap_or_else(|| StrategyBoard::new(name, "unknown"))
    }
}

/// The `kind` that a status shows.
pub(super) fn kind(kind: &StrategyKind) -> &'static str {
    match kind {
        StrategyKind::Motion => "motion",
        StrategyKind::Lua(_) => "lua",
        StrategyKind::Wasm(_) => "wasm",
    }
}

impl Boards {
    /// The names that `other` does not have.
    pub(super) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter(|name| !other.0.contains_key(*name)).map(String::as_str)
    }
}

impl Owner {
    /// Shows what runs.
    pub(super) fn publish(&self) {
        let sources = self.plan.sources.iter().filter_map(|source| self.units.get(&source.id).cloned()).collect();
        let models = self.plan.models.iter().map(|model| self.boards.of(&model.name));
        let strategies = self.plan.strategies.iter().map(|strategy| self.boards.of(&strategy.name));
        let own = self.parts.own.iter().map(|own| Arc::clone(&own.board));
        self.parts.unended.set_present(self.plan.sources.len());
        self.shared.show(View {
            plan: Arc::clone(&self.plan),
            sources,
            strategies: models.chain(strategies).chain(own).collect(),
            models: self.models.values().cloned().collect(),
        });
    }
}

/// The owner's thread.
pub(super) struct OwnerThread(Thread);

/// The way to the owner.
pub(super) struct Asked {
    pub(super) queue: Sender<Command>,
    /// Ends with the owner. What is in the queue then is not answered, and stays in it.
    pub(super) ended: Receiver<()>,
}

/// The owner's end of it.
pub(super) struct Commands {
    queue: Receiver<Command>,
    _alive: Sender<()>,
}

/// The queue to an owner that does not run yet.
pub(super) fn queue() -> (Asked, Commands) {
    let ((asked, queue), (alive, ended)) = (bounded(ASKED_MAX), bounded(0));
    (Asked { queue: asked, ended }, Commands { queue, _alive: alive })
}

impl Asked {
    /// Lets the owner do something and waits for it; `None` where the owner has ended.
    pub(super) fn ask<T: Send + 'static>(&self, what: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Option<T> {
        let (answer, wait) = bounded(1);
        let command: Command = Box::new(move |owner| {
            // Nobody waits any more where the asker's thread has ended.
            let _ = answer.send(what(owner));
        });
        self.queue.send(command).ok()?;
        select! {
            recv(wait) -> answer => answer.ok(),
            recv(self.ended) -> _ => wait.try_recv().ok(),
        }
    }
}

impl OwnerThread {
    /// Lets the owner answer what it is asked.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(mut owner: Owner, commands: Commands) -> Result<Self, Error> {
        let run = move |stop: Stop| {
            // Whole, so that its end is that of this thread.
            let commands = commands;
            while !stop.requested() {
                select! {
                    recv(stop.signal()) -> _ => return,
                    recv(commands.queue) -> command => match command {
                        Ok(command) if !stop.requested() => command(&mut owner),
                        _ => return,
                    },
                    // A version whose successor has passed its probation goes, whether or not anybody asks.
                    default(SETTLE_EVERY) => owner.versions.settle(),
                }
            }
        };
        let thread = Thread::start("owner", run);
        thread.map(Self).map_err(|e| Error::new(Code::Io, format!("cannot start thread owner: {e}")))
    }

    /// Ends it after what it does now; returns whether it has ended within `limit`. One that has not is left behind.
    pub(super) fn stop(&mut self, limit: Duration) -> bool {
        self.0.join(limit)
    }
}
