//! `dsengine alerts …`: accepted alerts and what became of them, of a running engine or a former run; and what people
//! do about them (`case`).

use std::path::PathBuf;

use clap::Subcommand;
use dsengine::alert::{CaseState, CaseStep};
use dsengine::error::{Code, Error};
use dsengine::sqlite::{History, HistoryQuery, Kept};
use dsengine::types::{Level, one_line};

use super::case;
use super::exit::{Exit, failed};
use super::retry;
use super::which::Which;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the newest alerts, newest first
    List(List),
    /// Print an alert: what was seen, and what became of it at each handler
    Show(Show),
    /// Acknowledge an alert: somebody has taken it up
    Ack(case::Args),
    /// Resolve an alert: it is over
    Resolve(case::Args),
    /// Open an alert again
    Reopen(case::Args),
    /// Say whether an alert was true, which is kept with it
    Verdict(case::Verdict),
    /// Send an alert again by the handlers that did not deliver it
    Retry(retry::Args),
}

/// Which configuration's alerts.
#[derive(clap::Args)]
struct Where {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct List {
    /// Number of alerts at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    most: usize,
    /// Only those that a handler is not done with
    #[arg(long)]
    pending: bool,
    /// Only those that a handler did not deliver
    #[arg(long, conflicts_with = "pending")]
    undelivered: bool,
    /// Only those that nobody has acknowledged
    #[arg(long, group = "case")]
    open: bool,
    /// Only those that are acknowledged
    #[arg(long, group = "case")]
    acknowledged: bool,
    /// Only those that are resolved
    #[arg(long, group = "case")]
    resolved: bool,
    /// Only those of this source
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only those of this level: low, medium, high, critical
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,
    #[command(flatten)]
    from: Where,
}

#[derive(clap::Args)]
struct Show {
    /// Its id, or the beginning or the end of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    from: Where,
}

fn level(word: &str) -> Result<Level, String> {
    word.parse().map_err(|_| format!("expected one of {}", Level::ALL.map(Level::as_str).join(", ")))
}

impl List {
    fn query(&self) -> HistoryQuery<'_> {
        let (source, rule) = (self.source.as_deref(), self.rule.as_deref());
        let (pending, undelivered) = (self.pending, self.undelivered);
        HistoryQuery { pending, undelivered, state: self.state(), source, rule, level: self.level }
    }

    /// The state that is asked for.
    fn state(&self) -> Option<CaseState> {
        let asked = [self.open, self.acknowledged, self.resolved];
        let states = [CaseState::Open, CaseState::Acknowledged, CaseState::Resolved];
        asked.into_iter().zip(states).find_map(|(asked, state)| asked.then_some(state))
    }
}

impl Where {
    fn history(&self) -> Result<History, Error> {
        database(&self.which, !self.json).map(|file| History::new(&file))
    }
}

/// The database of a run's alerts. `says` whose they are, if nothing names it.
pub(crate) fn database(which: &Which, says: bool) -> Result<PathBuf, Error> {
    let run = which.find()?;
    let file = run.alerts()?;
    if says
        && !run.is_named()
        && let Ok(at) = run.engine()
    {
        eprintln!("note: these are the alerts of the engine at {at}; --config FILE names another's");
    }
    Ok(file.to_owned())
}

pub(crate) fn run(args: &Args) -> Exit {
    let printed = match &args.command {
        Command::List(list) => list.from.history().and_then(|history| {
            let kept = history.list(list.most, &list.query())?;
            if list.from.json {
                return json(&kept);
            }
            if kept.is_empty() {
                println!("no alerts");
            }
            kept.iter().for_each(|kept| println!("{}", line(kept)));
            Ok(())
        }),
        Command::Show(show) => show.from.history().and_then(|history| {
            let kept = history.find(&show.id)?;
            if show.from.json {
                return json(&kept);
            }
            println!("{}", whole(&kept));
            Ok(())
        }),
        Command::Retry(args) => return retry::run(args),
        Command::Ack(args) => return case::run(args, CaseStep::Acknowledge),
        Command::Resolve(args) => return case::run(args, CaseStep::Resolve),
        Command::Reopen(args) => return case::run(args, CaseStep::Reopen),
        Command::Verdict(verdict) => {
            let (args, step) = verdict.step();
            return case::run(args, step);
        }
    };
    printed.map_or_else(|error| failed(&error), |()| Exit::Fine)
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new(Code::Io, error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// One alert in one line.
fn line(kept: &Kept) -> String {
    let alert = &kept.alert;
    let open: Vec<String> = kept
        .handlers
        .iter()
        .filter(|handler| handler.outcome != "delivered")
        .map(|handler| format!("{} {}", handler.handler, handler.outcome.replace('_', " ")))
        .collect();
    let outcome = match (kept.handlers.is_empty(), open.is_empty()) {
        (true, _) => "no handler".to_owned(),
        (false, true) => "delivered".to_owned(),
        (false, false) => open.join(", "),
    };
    let outcome = match case::short(&kept.case) {
        Some(case) => format!("{outcome}; {case}"),
        None => outcome,
    };
    format!(
        "{} {:8} {} {}: {}  [{}; {}]",
        alert.time,
        alert.level,
        one_line(alert.source.as_str()),
        one_line(&alert.rule),
        one_line(&alert.message),
        one_line(&outcome),
        alert.id
    )
}

/// One alert with all that is kept of it.
fn whole(kept: &Kept) -> String {
    let alert = &kept.alert;
    let mut text = format!(
        "{}\n  time        {}\n  level       {}\n  source      {}, frame {}\n  rule        {}\n  key         {}\n  message     {}\n  held back   {}",
        alert.id,
        alert.time,
        alert.level,
        one_line(alert.source.as_str()),
        alert.seq,
        one_line(&alert.rule),
        one_line(&alert.key),
        one_line(&alert.message),
        alert.suppressed
    );
    if let Some(mark) = &alert.evidence {
        let (stream, by) = (one_line(&mark.stream), one_line(&mark.offset_by).replace('_', " "));
        text += &format!("\n  evidence    stream {stream}, {:+.1} ms, by {by}", mark.offset_ms);
    }
    if !alert.tags.is_empty() {
        text += &format!("\n  tags        {}", one_line(&alert.tags.join(" ")));
    }
    text += &case::whole(&kept.case);
    for detection in &alert.detections {
        text += &format!("\n  detection   {} {:.2}", one_line(&detection.label), detection.confidence);
    }
    for handler in &kept.handlers {
        text += &format!("\n  handler     {}: {}", one_line(&handler.handler), handler.outcome.replace('_', " "));
        for attempt in &handler.attempts {
            text += &format!("\n    failed    {} {}", attempt.at, one_line(&attempt.error));
        }
    }
    text
}
