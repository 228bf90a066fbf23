//! `dsengine alerts retry`: sends dead letters again, through the running engine, else by the next run; by the handler
//! that did not deliver them, or by another one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::{Entry, Journal as _};
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::{History, HistoryQuery, Keep, Kept, SqliteJournal, StateLock};
use dsengine::types::{Clock as _, one_line};
use serde_json::json;

use super::client::Client;
use super::exit::{Exit, failed};

/// Which alert, and of which engine or configuration.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Its id, or the beginning or the end of it
    #[arg(value_name = "ID", required_unless_present = "all")]
    id: Option<String>,
    /// Every alert that a handler did not deliver
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// By this handler only
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// This handler gets them instead: one of that name is renamed or removed
    #[arg(long, value_name = "NAME", requires = "handler")]
    to: Option<String>,
    #[command(flatten)]
    client: Client,
}

/// A delivery that failed.
struct Letter {
    id: String,
    handler: Arc<str>,
    /// The handler that gets it instead.
    to: Option<Arc<str>>,
}

impl Letter {
    /// Whose alert it is from now on.
    fn receiver(&self) -> &str {
        self.to.as_deref().unwrap_or(&self.handler)
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let Some(database) = args.client.database() else {
        let error = Error::new(Code::Request, "no alerts are kept for this configuration");
        return failed(&error.hint("name the configuration that ran: --config FILE, and --state DIR if it had one"));
    };
    let letters = match letters(args, &database) {
        Ok(letters) => letters,
        Err(error) => return failed(&error),
    };
    if letters.is_empty() {
        println!("nothing to send again: every handler has delivered it, or is about to");
        return Exit::Fine;
    }
    // Whoever runs the configuration holds its lock.
    match StateLock::take(&database) {
        Ok(_lock) => {
            if let Err(exit) = exists(args) {
                return exit;
            }
            offline(&database, &letters).map_or_else(|error| failed(&error), |()| Exit::Fine)
        }
        Err(error) if !StateLock::is_held(&database) => failed(&error),
        Err(_) => {
            // One that is refused keeps no other back.
            let asked: Vec<Result<(), Exit>> = letters.iter().map(|letter| ask(&args.client, letter)).collect();
            asked.into_iter().find_map(Result::err).unwrap_or(Exit::Fine)
        }
    }
}

/// Whether the configuration has the handler that gets them, where no engine can say so.
fn exists(args: &Args) -> Result<(), Exit> {
    let Some(to) = &args.to else { return Ok(()) };
    let loaded = args.client.configuration()?;
    let mut names = loaded.plan.handlers.iter().map(|handler| &*handler.name);
    if names.any(|name| name == to.as_str()) {
        return Ok(());
    }
    let names: Vec<&str> = loaded.plan.handlers.iter().map(|handler| &*handler.name).collect();
    let error = Error::new(Code::Request, format!("there is no handler '{}'", one_line(to)));
    Err(failed(&error.hint(format!("handlers: {}", names.join(", ")))))
}

/// The deliveries that failed and are asked for, the oldest first.
fn letters(args: &Args, database: &Path) -> Result<Vec<Letter>, Error> {
    let history = History::new(database);
    let kept: Vec<Kept> = match &args.id {
        Some(id) => vec![history.find(id)?],
        None => history.list(usize::MAX, &HistoryQuery { undelivered: true, ..HistoryQuery::default() })?,
    };
    let of = |kept: &Kept| {
        let id = kept.alert.id.to_string();
        let is_open = |outcome: &str| !["delivered", "pending", "given_away"].contains(&outcome);
        let is_its = |outcome: &str| ["delivered", "pending"].contains(&outcome);
        let has = |to: &str| kept.handlers.iter().any(|at| *at.handler == *to && is_its(&at.outcome));
        if args.to.as_deref().is_some_and(has) {
            // It has it already.
            return Vec::new();
        }
        let to: Option<Arc<str>> = args.to.as_deref().filter(|to| args.handler.as_deref() != Some(*to)).map(Arc::from);
        let failed = kept.handlers.iter().filter(|at| is_open(&at.outcome));
        let wanted = failed.filter(|at| args.handler.as_deref().is_none_or(|name| *name == *at.handler));
        wanted.map(|at| Letter { id: id.clone(), handler: at.handler.clone(), to: to.clone() }).collect::<Vec<_>>()
    };
    Ok(kept.iter().rev().flat_map(of).collect())
}

/// Asks the running engine.
fn ask(client: &Client, letter: &Letter) -> Result<(), Exit> {
    let mut body = json!({ "handler": &*letter.handler });
    if let Some(to) = &letter.to {
        body["to"] = json!(&**to);
    }
    let of = format!(" of handler '{}'", one_line(&letter.handler));
    client.ask_of_kept(&letter.id, "retry", &of, &body)?;
    if !client.json {
        let again = if letter.to.is_some() { "" } else { " again" };
        println!("{} goes to {}{again}", letter.id, one_line(letter.receiver()));
    }
    Ok(())
}

/// Changes the database, which no engine uses.
fn offline(database: &Path, letters: &[Letter]) -> Result<(), Error> {
    let unsaved = |why: &dyn std::fmt::Display| Error::new(Code::Io, format!("it cannot be written: {why}"));
    let clock = SystemClock::new();
    let at_ms = clock.unix_ns() / 1_000_000;
    let entry = |letter: &Letter| {
        let id = serde_json::from_value(json!(letter.id)).map_err(|error| unsaved(&error))?;
        let from = letter.to.is_some().then(|| letter.handler.clone());
        Ok(Entry::Reopened { id, handler: letter.receiver().into(), from, at_ms })
    };
    let entries = letters.iter().map(entry).collect::<Result<Vec<Entry>, Error>>()?;
    // What is too old is forgotten by the next run.
    let keep = Keep { age: Duration::MAX, alerts: u64::MAX };
    let mut journal = SqliteJournal::open(database, keep, Arc::new(clock)).map_err(|error| unsaved(&error))?;
    journal.write(&entries).map_err(|error| unsaved(&error))?;
    for letter in letters {
        println!("{} goes to {} with the next run of this configuration", letter.id, one_line(letter.receiver()));
    }
    Ok(())
}
