//! `dsengine alerts retry`: sends dead letters again, through the running engine, else by the next run; by the handler
//! that did not deliver them, or by another one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use dsengine::alert::Entry;
use dsengine::alert::again::{self, NOTHING_AGAIN, waits_at};
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::{History, HistoryQuery, Kept, StateLock};
use dsengine::types::{AlertId, Clock as _, count, one_line};
use hyper::Method;
use serde_json::json;

use super::client::{Client, segment};
use super::exit::{Exit, failed};
use super::offline::Offline;
use super::which::Run;

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
    id: AlertId,
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
    let database = match args.client.run().and_then(Run::alerts) {
        Ok(database) => database,
        Err(error) => return failed(&error),
    };
    let history = History::new(database);
    let found = kept(args, &history).and_then(|kept| Ok((letters(args, &kept), pending(args, &kept, &history)?, kept)));
    let (letters, pending, kept) = match found {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    if letters.is_empty() {
        return nothing(args, &kept, pending, database);
    }
    let exit = match Offline::take(database) {
        Ok(Some(database)) => {
            if let Err(exit) = exists(args) {
                return exit;
            }
            reopen(&database, &letters).map_or_else(|error| failed(&error), |()| Exit::Fine)
        }
        Ok(None) => ask(&args.client, &letters),
        Err(error) => failed(&error),
    };
    if let (Some(handler), Some(_), 1..) = (&args.handler, &args.to, pending) {
        eprintln!("note: {}", waits_at(handler, pending as u64));
    }
    exit
}

/// Says why there is nothing to send again.
fn nothing(args: &Args, kept: &[Kept], pending: usize, database: &Path) -> Exit {
    if let (Some(handler), 1..) = (&args.handler, pending) {
        println!("nothing to send again yet: {}", waits_at(handler, pending as u64));
        return Exit::Fine;
    }
    if let Some(handler) = &args.handler {
        match unknown(args, handler, kept, database) {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return failed(&error),
        }
    }
    println!("{NOTHING_AGAIN}");
    Exit::Fine
}

/// The refusal of a name that no handler has or had.
fn unknown(args: &Args, name: &str, kept: &[Kept], database: &Path) -> Result<Option<Error>, Error> {
    let all = History::new(database).list(usize::MAX, &HistoryQuery::default())?;
    let is_it = |kept: &Kept| kept.handlers.iter().any(|at| *at.handler == *name);
    let there = existing(&args.client, database);
    if all.iter().any(is_it) || there.iter().any(|there| there == name) {
        return Ok(None);
    }
    let failed = kept.iter().flat_map(|kept| &kept.handlers).filter(|at| at.is_undelivered());
    let failed: BTreeSet<String> = failed.map(|at| at.handler.to_string()).collect();
    let near = again::near(name, failed.iter().chain(&there).map(String::as_str));
    let error =
        Error::new(Code::Request, format!("there is no handler '{}', and no alert of it{near}", one_line(name)));
    Ok(Some(error.hint(format!(
        "handlers with undelivered alerts: {}; handlers: {}",
        again::listed(&failed.iter().map(String::as_str).collect::<Vec<_>>()),
        again::listed(&there.iter().map(String::as_str).collect::<Vec<_>>())
    ))))
}

/// The handlers of the running engine, else of the configuration.
fn existing(client: &Client, database: &Path) -> Vec<String> {
    if !StateLock::is_held(database) {
        let plan = client.configuration().map(|loaded| loaded.plan);
        return plan.map_or_else(|_| Vec::new(), |plan| plan.handlers.iter().map(|h| h.name.to_string()).collect());
    }
    let Ok((200..=299, status)) = client.answer(&Method::GET, "/api/v1/status", None) else { return Vec::new() };
    let names = status["handlers"].as_array().into_iter().flatten().filter_map(|handler| handler["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Whether the configuration has the handler that gets them, where no engine can say so.
fn exists(args: &Args) -> Result<(), Exit> {
    let Some(to) = &args.to else { return Ok(()) };
    let loaded = args.client.configuration().map_err(|error| failed(&error))?;
    let names: Vec<&str> = loaded.plan.handlers.iter().map(|handler| &*handler.name).collect();
    if names.contains(&to.as_str()) {
        return Ok(());
    }
    let (message, hint) = again::no_handler(to, &names);
    Err(failed(&Error::new(Code::Request, message).hint(hint)))
}

/// The alerts that are asked for, the newest first.
fn kept(args: &Args, history: &History) -> Result<Vec<Kept>, Error> {
    match &args.id {
        Some(id) => Ok(vec![history.find(id)?]),
        None => history.list(usize::MAX, &HistoryQuery { undelivered: true, ..HistoryQuery::default() }),
    }
}

/// How many of the alerts that are asked for the named handler is not done with.
fn pending(args: &Args, kept: &[Kept], history: &History) -> Result<usize, Error> {
    let Some(name) = &args.handler else { return Ok(0) };
    let waits = |kept: &&Kept| kept.handlers.iter().any(|at| *at.handler == **name && at.outcome == "pending");
    if args.id.is_some() {
        return Ok(kept.iter().filter(waits).count());
    }
    let all = history.list(usize::MAX, &HistoryQuery { pending: true, ..HistoryQuery::default() })?;
    Ok(all.iter().filter(waits).count())
}

/// The deliveries that failed and are asked for, the oldest first.
fn letters(args: &Args, kept: &[Kept]) -> Vec<Letter> {
    let (handler, to) = (args.handler.as_deref(), args.to.as_deref());
    kept.iter().rev().flat_map(|kept| of_alert(kept, handler, to)).collect()
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
    let failed = kept.handlers.iter().filter(|at| at.is_undelivered());
    let wanted = failed.filter(|at| handler.is_none_or(|name| *name == *at.handler));
    let letter =
        |handler: &Arc<str>| Letter { id: kept.alert.id.clone(), handler: handler.clone(), to: to.map(Arc::from) };
    wanted.map(|at| letter(&at.handler)).collect()
}

/// Asks the running engine. One alert that is refused keeps no other back, and a reason is printed once.
fn ask(client: &Client, letters: &[Letter]) -> Exit {
    let (mut exit, mut told, mut more) = (Exit::Fine, BTreeSet::new(), 0_u64);
    for letter in letters {
        let path = format!("/api/v1/alerts/{}/retry", segment(letter.id.as_str()));
        let mut body = json!({ "handler": &*letter.handler });
        if let Some(to) = &letter.to {
            body["to"] = json!(&**to);
        }
        match client.answer(&Method::POST, &path, Some(&body)) {
            Ok((200..=299, answer)) if client.json => println!("{answer:#}"),
            Ok((200..=299, _)) => {
                let again = if letter.to.is_some() { "" } else { " again" };
                println!("{} goes to {}{again}", letter.id, one_line(letter.receiver()));
            }
            Ok((status, answer)) => {
                let reason = answer["message"].as_str().unwrap_or_default().replace(letter.id.as_str(), "");
                if told.insert((status, reason)) {
                    let of = format!(" of handler '{}'", one_line(&letter.handler));
                    exit = client.refused_of_kept(status, &answer, letter.id.as_str(), &of);
                } else {
                    more += 1;
                }
            }
            Err(error) => return failed(&error),
        }
    }
    if more > 0 {
        eprintln!("  the same of {} more", count(more, "alert"));
    }
    exit
}

/// Leaves the deliveries to the next run.
fn reopen(database: &Offline, letters: &[Letter]) -> Result<(), Error> {
    let at_ms = SystemClock::new().unix_ns() / 1_000_000;
    let entry = |letter: &Letter| Entry::Reopened {
        id: letter.id.clone(),
        handler: letter.receiver().into(),
        from: letter.to.is_some().then(|| letter.handler.clone()),
        at_ms,
    };
    database.write(&letters.iter().map(entry).collect::<Vec<_>>())?;
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
