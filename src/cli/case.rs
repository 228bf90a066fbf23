//! `dsengine alerts ack|resolve|reopen|verdict`: through the running engine, else in its database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::{By, Case, CaseState, CaseStep, Entry, Journal as _, Saved, SavedKind};
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::{History, Keep, Kept, SqliteJournal, StateLock};
use dsengine::types::{Clock as _, one_line};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::exit::{Exit, failed};

/// Who changes a case while no engine runs.
const WHO: &str = "command line";

/// Which alert, and of which engine or configuration.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Its id, or the beginning or the end of it
    #[arg(value_name = "ID")]
    id: String,
    /// Why, kept with the alert
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who does it: a person's name, kept before that of the token, or `command line`
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    client: Client,
}

/// Whether the alert was true.
#[derive(clap::Args)]
pub(super) struct Verdict {
    #[command(flatten)]
    of: Args,
    /// Whether it was true
    #[arg(value_name = "true|false", action = clap::ArgAction::Set)]
    correct: bool,
}

impl Verdict {
    /// The alert, and what is said of it.
    pub(super) fn step(&self) -> (&Args, CaseStep) {
        (&self.of, if self.correct { CaseStep::True } else { CaseStep::False })
    }
}

/// Takes a step with an alert's case.
pub(super) fn run(args: &Args, step: CaseStep) -> Exit {
    let Some(database) = args.client.database() else { return Exit::of(ask(args, &args.id, false, step)) };
    // The engine takes whole ids only.
    let kept = match History::new(&database).find(&args.id) {
        Ok(kept) => kept,
        Err(error) => return failed(&error),
    };
    // Whoever runs the configuration holds its lock.
    match StateLock::take(&database) {
        Ok(_lock) => offline(args, &database, kept, step).map_or_else(|error| failed(&error), |()| Exit::Fine),
        Err(error) if !StateLock::is_held(&database) => failed(&error),
        Err(_) => Exit::of(ask(args, kept.alert.id.as_str(), true, step)),
    }
}

/// Asks the running engine; `is_kept` says that the alert is on the disk.
fn ask(args: &Args, id: &str, is_kept: bool, step: CaseStep) -> Result<(), Exit> {
    let client = &args.client;
    let (path, mut body) = match step {
        CaseStep::Acknowledge | CaseStep::Resolve | CaseStep::Reopen => (step.as_str(), json!({})),
        CaseStep::True | CaseStep::False => ("verdict", json!({ "correct": step == CaseStep::True })),
    };
    for (key, text) in [("note", &args.note), ("by", &args.by)] {
        if let Some(text) = text {
            body[key] = json!(text);
        }
    }
    let answer = match is_kept {
        true => client.ask_of_kept(id, path, "", &body)?,
        false => client.ask(&Method::POST, &format!("/api/v1/alerts/{}/{path}", segment(id)), Some(&body))?,
    };
    if !client.json {
        println!("{}", answered(&answer));
    }
    Ok(())
}

fn answered(answer: &Value) -> String {
    let case = &answer["case"];
    let verdict = case["verdict"]["correct"].as_bool();
    said(answer["id"].as_str().unwrap_or_default(), case["state"].as_str().unwrap_or_default(), verdict)
}

/// Changes the database, which no engine uses.
fn offline(args: &Args, database: &Path, kept: Kept, step: CaseStep) -> Result<(), Error> {
    let Kept { alert, mut case, .. } = kept;
    let clock = SystemClock::new();
    let by = By::new(&By::person(args.by.as_deref(), WHO), clock.unix_ns() / 1_000_000, args.note.as_deref());
    let changed = case.take(step, by).map_err(|error| {
        Error::new(Code::Request, error.to_string()).hint(format!("dsengine alerts reopen {}", alert.id))
    })?;
    if changed {
        let unsaved = |why: &dyn std::fmt::Display| Error::new(Code::Io, format!("the case cannot be saved: {why}"));
        let contents = serde_json::to_string(&case).map_err(|error| unsaved(&error))?;
        let (name, contents) = (alert.id.as_str().into(), Some(contents.into()));
        // What is too old is forgotten by the next run.
        let keep = Keep { age: Duration::MAX, alerts: u64::MAX };
        let mut journal = SqliteJournal::open(database, keep, Arc::new(clock)).map_err(|error| unsaved(&error))?;
        let saved = Entry::Saved(Saved { kind: SavedKind::Case, name, contents });
        journal.write(&[saved]).map_err(|error| unsaved(&error))?;
    }
    if args.client.json {
        let mut answer = serde_json::to_value(&alert).unwrap_or_default();
        answer["case"] = serde_json::to_value(&case).unwrap_or_default();
        println!("{answer:#}");
    } else {
        let verdict = case.verdict.as_ref().map(|verdict| verdict.correct);
        println!("{}", said(alert.id.as_str(), case.state.as_str(), verdict));
    }
    Ok(())
}

/// One line on where a case stands.
fn said(id: &str, state: &str, verdict: Option<bool>) -> String {
    let verdict = verdict.map(|correct| format!(", said to be {correct}")).unwrap_or_default();
    format!("{} is {}{verdict}", one_line(id), one_line(state))
}

/// What `alerts list` adds for a case that is not as it was at first.
pub(super) fn short(case: &Case) -> Option<String> {
    let verdict = case.verdict.as_ref().map(|verdict| verdict.correct.to_string());
    let state = (case.state != CaseState::Open).then(|| case.state.to_string());
    let words: Vec<String> = state.into_iter().chain(verdict).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What `alerts show` prints of a case.
pub(super) fn whole(case: &Case) -> String {
    // As JSON writes them.
    let times = serde_json::to_value(case).unwrap_or_default();
    let time = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut text = format!(
        "\n  state       {}\n  seen        {} to {}, raised {} more times",
        case.state,
        time(&times["first"]),
        time(&times["last"]),
        case.count
    );
    if let Some(verdict) = &case.verdict {
        text += &format!("\n  verdict     {}", verdict.correct);
    }
    for (index, change) in case.changes.iter().enumerate() {
        let note = change.by.note.as_ref().map(|note| format!(": {}", one_line(note))).unwrap_or_default();
        let at = time(&times["changes"][index]["by"]["at"]);
        text += &format!("\n  change      {at} {} by {}{note}", change.step.as_str(), one_line(&change.by.who));
    }
    text
}
