//! Commands of handlers: each is an edit, or a step of an alert's case, in the audit as `KIND:NAME` of its handler.

use std::io;
use std::sync::Arc;

use crossbeam_channel::select;

use super::{Control, Edit, Outcome, Refusal, RefusalKind, Who};
use crate::alert::{By, CaseStep, Command, Commanded, Switches};
use crate::config::HandlerKind;
use crate::engine::{EngineApi as _, SystemClock};
use crate::own::Thread;
use crate::types::{AlertId, Clock as _, one_line};

impl Control {
    /// Carries out what handlers ask for, on a thread of its own: an edit may take as long as a model's start.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_commands(self: &Arc<Self>) -> io::Result<Thread> {
        let (control, commands) = (Arc::clone(self), self.handle.commands());
        Thread::start("commands", move |stop| {
            loop {
                select! {
                    recv(commands) -> command => match command {
                        Ok(command) if !stop.requested() => control.obey(command),
                        _ => return,
                    },
                    recv(stop.signal()) -> _ => return,
                }
            }
        })
    }

    /// Carries out one command. Then the handlers see again what can be switched, also after a refusal.
    fn obey(&self, Commanded { handler, command }: Commanded) {
        let edit = match command {
            Command::Source { id, enabled } => Edit::EnableSource { id: id.as_str().to_owned(), enabled },
            Command::Profile(name) => Edit::Profile(name),
            Command::Ack { alert } => return self.acknowledge(&handler, &alert),
            Command::Custom(name, _) => {
                tracing::debug!(%handler, name, "nothing carries out this command");
                return;
            }
        };
        let who = self.who(&handler);
        let save = self.file.is_some();
        let outcome = match self.apply(edit.clone(), save, &who) {
            // It takes effect even where it cannot be kept.
            Err(refusal) if save && refusal.kind == RefusalKind::NotSaved => self.apply(edit, false, &who),
            outcome => outcome,
        };
        if let Err(refusal) = outcome {
            tracing::warn!(%handler, "a command is refused: {}", refusal.first_line());
        }
        self.show_switches();
    }

    /// Acknowledges an alert in the name of a handler's receiver.
    fn acknowledge(&self, handler: &str, alert: &AlertId) {
        let Some(outbox) = self.handle.outbox() else { return };
        let who = self.who(handler);
        let by = By::new(&who.name, SystemClock::new().unix_ns() / 1_000_000, None);
        let outcome = match outbox.change_case(alert, CaseStep::Acknowledge, by) {
            Ok(cased) => Ok(Outcome { changes: vec![format!("it is {}", cased.case.state)], ..Outcome::default() }),
            Err(error) => Err(Refusal::new(RefusalKind::Conflict, error.to_string())),
        };
        if let Err(refusal) = &outcome {
            tracing::warn!(handler, "a command is refused: {}", refusal.first_line());
        }
        self.record(&who, format!("acknowledge alert {}", one_line(alert.as_str())), &outcome);
    }

    fn who(&self, handler: &str) -> Who {
        Who::new(format!("{}:{handler}", self.kind_of(handler)), "command")
    }

    /// Shows the handlers what they may switch, as it is now.
    pub(super) fn show_switches(&self) {
        let current = self.current.load();
        let sources = current.sources(Vec::new());
        let profiles = &current.loaded.profiles;
        self.handle.show_switches(Switches {
            sources: sources.iter().map(|source| (source.id.as_str().into(), source.enabled)).collect(),
            profiles: profiles.names.clone(),
            profile: profiles.selected.clone(),
        });
    }

    fn kind_of(&self, handler: &str) -> &'static str {
        let plan = self.handle.plan();
        let kind = plan.handlers.iter().find(|plan| &*plan.name == handler).map(|plan| &plan.kind);
        if matches!(kind, Some(HandlerKind::Mqtt(_))) { "mqtt" } else { "handler" }
    }
}
