//! `dsengine alerts ack|resolve|reopen|verdict`: through the running engine, else in its database.

use dsengine::alert::{By, Case, CaseState, CaseStep, Cased, Entry, Saved, SavedKind};
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::{History, Kept};
use dsengine::types::{Clock as _, one_line};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::exit::{Exit, failed};
use super::offline::Offline;

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
    Exit::of(take(args, step).map(|answer| match args.client.json {
        true => println!("{answer:#}"),
        false => println!("{}", line(&answer)),
    }))
}

/// Returns the alert with its case after the step, as the engine answers.
fn take(args: &Args, step: CaseStep) -> Result<Value, Exit> {
    let client = &args.client;
    let run = client.run().map_err(|error| failed(&error))?;
    let Ok(database) = run.alerts() else {
        let (status, answer) = ask(args, &args.id, step)?;
        return client.accepted(status, answer);
    };
    // Before the case is read: nobody else changes it meanwhile.
    let offline = Offline::take(database).map_err(|error| failed(&error))?;
    // The engine takes whole ids only.
    let kept = History::new(database).find(&args.id).map_err(|error| failed(&error))?;
    if let Some(database) = offline {
        return change(args, &database, kept, step).map_err(|error| failed(&error));
    }
    let id = kept.alert.id.as_str();
    match ask(args, id, step)? {
        (200..=299, answer) => Ok(answer),
        (status, answer) => Err(client.refused_of_kept(status, &answer, id, "")),
    }
}

/// Asks the running engine.
fn ask(args: &Args, id: &str, step: CaseStep) -> Result<(u16, Value), Exit> {
    let (path, mut body) = match step {
        CaseStep::Acknowledge | CaseStep::Resolve | CaseStep::Reopen => (step.as_str(), json!({})),
        CaseStep::True | CaseStep::False => ("verdict", json!({ "correct": step == CaseStep::True })),
    };
    for (key, text) in [("note", &args.note), ("by", &args.by)] {
        if let Some(text) = text {
            body[key] = json!(text);
        }
    }
    let path = format!("/api/v1/alerts/{}/{path}", segment(id));
    args.client.answer(&Method::POST, &path, Some(&body)).map_err(|error| failed(&error))
}

/// Takes the step without an engine.
fn change(args: &Args, database: &Offline, kept: Kept, step: CaseStep) -> Result<Value, Error> {
    let Kept { alert, mut case, .. } = kept;
    let now_ms = SystemClock::new().unix_ns() / 1_000_000;
    let by = By::new(&By::person(args.by.as_deref(), WHO), now_ms, args.note.as_deref());
    let changed = case.take(step, by).map_err(|error| {
        Error::new(Code::Request, error.to_string()).hint(format!("dsengine alerts reopen {}", alert.id))
    })?;
    let unreadable = |error: serde_json::Error| Error::new(Code::Io, error.to_string());
    if changed {
        let contents = serde_json::to_string(&case).map_err(unreadable)?;
        let (name, contents) = (alert.id.as_str().into(), Some(contents.into()));
        database.write(&[Entry::Saved(Saved { kind: SavedKind::Case, name, contents })])?;
    }
    serde_json::to_value(Cased { alert: alert.into(), case }).map_err(unreadable)
}

/// One line on where a case stands.
fn line(answer: &Value) -> String {
    let case = &answer["case"];
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default()).into_owned();
    let verdict = case["verdict"]["correct"].as_bool();
    let verdict = verdict.map(|correct| format!(", said to be {correct}")).unwrap_or_default();
    format!("{} is {}{verdict}", text(&answer["id"]), text(&case["state"]))
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
