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
        let error = error.hint("name the configuration that ran: --config FILE, and --state DIR if it had one");
        return failed(&args.client.missing().unwrap_or(error));
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
    let loaded = args.client.configuration().map_err(|error| failed(&error))?;
    let names: Vec<&str> = loaded.plan.handlers.iter().map(|handler| &*handler.name).collect();
    if names.contains(&to.as_str()) {
        return Ok(());
    }
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
    let (handler, to) = (args.handler.as_deref(), args.to.as_deref());
    Ok(kept.iter().rev().flat_map(|kept| of_alert(kept, handler, to)).collect())
}

/// The deliveries of one alert that failed: by `handler` only, if it is named; `to` gets them instead.
fn of_alert(kept: &Kept, handler: Option<&str>, to: Option<&str>) -> Vec<Letter> {
    let to = to.filter(|to| handler != Some(*to));
    let is_at = |to: &str, outcomes: &[&str]| {
        kept.handlers.iter().any(|at| *at.handler == *to && outcomes.contains(&at.outcome.as_str()))
    };
    // One that gave it away itself may get it back.
    if to.is_some_and(|to| is_at(to, &["delivered", "pending"])) {
        return Vec::new();
    }
    let failed =
        kept.handlers.iter().filter(|at| !["delivered", "pending", "given_away"].contains(&at.outcome.as_str()));
    let wanted = failed.filter(|at| handler.is_none_or(|name| *name == *at.handler));
    let letter =
        |handler: &Arc<str>| Letter { id: kept.alert.id.to_string(), handler: handler.clone(), to: to.map(Arc::from) };
    wanted.map(|at| letter(&at.handler)).collect()
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

#[cfg(test)]
mod tests {
    use dsengine::alert::Case;
    use dsengine::sqlite::Delivered;
    use dsengine::types::Alert;

    use super::*;

    #[test]
    fn an_alert_that_was_given_away_can_be_given_back() {
        let alert: Alert = serde_json::from_value(json!({
            "id": "0123456789abcdef0123456789abcdef", "source": "gate", "rule": "r", "level": "high", "key": "",
            "message": "m", "time": "2026-01-31T14:30:00.000Z", "seq": 1, "pts_ns": 1,
            "suppressed": 0, "detections": [],
        }))
        .unwrap();
        let at = |(handler, outcome): (&str, &str)| Delivered {
            handler: handler.into(),
            outcome: outcome.into(),
            attempts: Vec::new(),
        };
        let letters = |handlers: &[(&str, &str)], to: Option<&str>| {
            let handlers = handlers.iter().copied().map(at).collect();
            let kept = Kept { case: Case::of(&alert), alert: alert.clone(), handlers };
            let letters = of_alert(&kept, Some("new"), to);
            letters.iter().map(|letter| letter.receiver().to_owned()).collect::<Vec<_>>()
        };
        for (outcome, expected) in
            [("given_away", &["old"][..]), ("expired", &["old"]), ("delivered", &[]), ("pending", &[])]
        {
            assert_eq!(letters(&[("old", outcome), ("new", "handler_removed")], Some("old")), expected, "{outcome}");
        }
        assert_eq!(letters(&[("new", "given_up")], Some("new")), ["new"]);
        assert_eq!(letters(&[("new", "given_away"), ("old", "expired")], None), [""; 0]);
    }
}
