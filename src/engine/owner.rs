//! The thread that owns a running engine: all changes run here, one after the other.
//!
//! Callers send a closure through a bounded queue and wait for its result. The frame path never waits for this thread.

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

/// Capacity of the owner's queue; further callers block.
const ASKED_MAX: usize = 64;

/// How often an idle owner checks for ended probations.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// A closure for the owner to run.
pub(super) type Command = Box<dyn FnOnce(&mut Owner) + Send>;

/// See the module.
pub(super) struct Owner {
    pub(super) parts: Arc<Parts>,
    pub(super) shared: Arc<Shared>,
    /// The running plan.
    pub(super) plan: Arc<Plan>,
    pub(super) units: BTreeMap<SourceId, Arc<SourceUnit>>,
    pub(super) models: Models,
    pub(super) versions: Versions,
    pub(super) boards: Boards,
}

/// The status board of each strategy, by name.
#[derive(Default, Clone)]
pub(super) struct Boards(BTreeMap<String, Arc<StrategyBoard>>);

impl Boards {
    /// The boards for a plan: those of strategies that stay are kept, others are dropped.
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

    /// The board of a strategy; an unpublished one if the plan has no such strategy.
    pub(super) fn of(&self, name: &str) -> Arc<StrategyBoard> {
        self.0.get(name).cloned().unwrap_or_else(|| StrategyBoard::new(name, "unknown"))
    }
}

/// The `kind` shown in the status.
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
    /// Publishes what runs.
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

/// The sending end of the owner's queue.
pub(super) struct OwnerQueue {
    pub(super) queue: Sender<Command>,
    /// Disconnected when the owner ends. Closures still queued then are not run.
    pub(super) ended: Receiver<()>,
}

/// The owner's end of the queue.
pub(super) struct Commands {
    queue: Receiver<Command>,
    _alive: Sender<()>,
}

/// Creates the queue before the owner starts.
pub(super) fn queue() -> (OwnerQueue, Commands) {
    let ((asked, queue), (alive, ended)) = (bounded(ASKED_MAX), bounded(0));
    (OwnerQueue { queue: asked, ended }, Commands { queue, _alive: alive })
}

impl OwnerQueue {
    /// Runs a closure on the owner thread and waits for its result; `None` if the owner has ended.
    pub(super) fn ask<T: Send + 'static>(&self, what: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Option<T> {
        let (answer, wait) = bounded(1);
        let command: Command = Box::new(move |owner| {
            // The caller may have stopped waiting.
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
    /// Starts to run queued closures.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(mut owner: Owner, commands: Commands) -> Result<Self, Error> {
        let run = move |stop: Stop| {
            // Moved in whole, so that it is dropped when this thread ends.
            let commands = commands;
            while !stop.requested() {
                select! {
                    recv(stop.signal()) -> _ => return,
                    recv(commands.queue) -> command => match command {
                        Ok(command) if !stop.requested() => command(&mut owner),
                        _ => return,
                    },
                    // Drops a version whose successor has passed its probation, even without a request.
                    default(SETTLE_EVERY) => owner.versions.settle(),
                }
            }
        };
        let thread = Thread::start("owner", run);
        thread.map(Self).map_err(|e| Error::new(Code::Io, format!("cannot start thread owner: {e}")))
    }

    /// Stops the thread after its current closure; returns whether it ended within `limit`. Otherwise it is detached.
    pub(super) fn stop(&mut self, limit: Duration) -> bool {
        self.0.join(limit)
    }
}
