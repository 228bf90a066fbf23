//! `dsengine explain alert ID`: how an alert was decided on and what became of it, sent or not. `dsengine explain
//! --source ID`: what was raised on a source, and what held it back. Both of a running engine or a former run, or of a
//! trace that is played for it.

use std::path::{Path, PathBuf};

use dsengine::alert::records::{Asked, Explained, NotOne, Page, REVIEW_MAX, Records};
use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::sqlite::Decisions;
use dsengine::types::{Clock as _, TimeZone, one_line, rfc3339};

use super::alerts::{database, json};
use super::exit::{Exit, failed, refused};
use super::signals::Stop;
use super::which::Which;
use super::{moment, replay};

/// How far back is looked if nothing else is said.
const SINCE: &str = "-1h";

#[derive(clap::Args)]
pub(crate) struct Why {
    /// What was raised on this source, and what held it back
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// With --source: of this rule only
    #[arg(long, value_name = "NAME", requires = "source")]
    rule: Option<String>,
    /// With --source: from this moment on: 2026-01-31T14:30:00Z, -10m, 14:30 (default: an hour ago)
    #[arg(long, value_name = "TIME", requires = "source", allow_hyphen_values = true)]
    from: Option<String>,
    /// With --source: up to this moment (default: now)
    #[arg(long, value_name = "TIME", requires = "source", allow_hyphen_values = true)]
    to: Option<String>,
    /// With --source: so many decisions at most, the newest; those of one moment stay together
    #[arg(long, value_name = "N", requires = "source", default_value_t = REVIEW_MAX as u32,
        value_parser = clap::value_parser!(u32).range(1..=REVIEW_MAX as i64))]
    limit: u32,
    /// Play this trace through the rules and the policy of --config, and explain that
    #[arg(long, value_name = "FILE", conflicts_with_all = ["at", "sources"])]
    trace: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Whether a source is asked about.
    pub(crate) fn is_of_source(&self) -> bool {
        self.source.is_some()
    }

    fn log(&self) -> Result<Decisions, Error> {
        database(&self.which, !self.json).map(|file| Decisions::new(&file))
    }

    /// The time that is asked about, in Unix milliseconds.
    fn time(&self) -> Result<(u64, u64), Exit> {
        let now_ms = SystemClock::new().unix_ns() / 1_000_000;
        let has_time_of_day = [&self.from, &self.to].into_iter().flatten().any(|text| !text.contains(['-', 'T']));
        let zone = match self.which.has_file() && has_time_of_day {
            true => self.which.input().load(Vec::new())?.plan.timezone,
            false => TimeZone::utc(),
        };
        let read =
            |text: &str| moment::parse(text, now_ms, &zone).map_err(|error| refused(&Error::new(Code::Request, error)));
        match (self.from.as_deref(), self.to.as_deref(), &self.trace) {
            // Of a trace, all that is not left out.
            (from, to, Some(_)) => Ok((from.map_or(Ok(0), read)?, to.map_or(Ok(u64::MAX), read)?)),
            (from, to, None) => Ok((read(from.unwrap_or(SINCE))?, to.map_or(Ok(now_ms), read)?)),
        }
    }
}

/// Explains one alert, or with a trace `all`.
pub(crate) fn of_alert(args: &Why, id: &str, stop: &Stop) -> Exit {
    if let Some(trace) = &args.trace {
        return of_trace(trace, args.which.config.clone(), id, args.json, stop);
    }
    let records = args.log().and_then(|log| log.of_alert(id));
    let explained = records.and_then(|records| found(&records, id));
    Exit::of(explained.and_then(|explained| print(&[explained], args.json, true)).map_err(|error| failed(&error)))
}

/// Plays a trace and explains one alert of it, or `all`.
pub(crate) fn of_trace(trace: &Path, config: Option<PathBuf>, id: &str, json: bool, stop: &Stop) -> Exit {
    let records = match replay::records(trace, config, stop) {
        Ok(records) => records,
        Err(exit) => return exit,
    };
    let explained = match id {
        "all" => Ok(records.explain_all()),
        id => found(&records, id).map(|explained| vec![explained]),
    };
    Exit::of(explained.and_then(|explained| print(&explained, json, id != "all")).map_err(|error| failed(&error)))
}

fn found(records: &Records, id: &str) -> Result<Explained, Error> {
    records.explain(id).map_err(|problem| match problem {
        NotOne::None => Error::new(Code::NoAlert, format!("the log has no alert {id:?}"))
            .hint("dsengine alerts list, or dsengine explain --source ID for those that were held back"),
        NotOne::Many(ids) => Error::new(Code::NoAlert, format!("more than one alert has {id:?} in its id: {ids}"))
            .hint("give more of it"),
    })
}

/// Prints alerts; one alone as JSON is not in a list.
fn print(explained: &[Explained], as_json: bool, is_one: bool) -> Result<(), Error> {
    match (as_json, explained) {
        (true, [one]) if is_one => return json(one),
        (true, all) => return json(&all),
        (false, []) => println!("no alert was raised"),
        (false, all) => {
            for explained in all {
                println!("{}", explained.title());
                explained.lines.iter().for_each(|line| println!("  {}", one_line(line)));
            }
        }
    }
    Ok(())
}

/// Says what was raised on a source, and what held it back.
pub(crate) fn of_source(args: &Why, stop: &Stop) -> Exit {
    Exit::of(review(args, stop))
}

fn review(args: &Why, stop: &Stop) -> Result<(), Exit> {
    let source = args.source.as_deref().unwrap_or_default();
    let (from_ms, to_ms) = args.time()?;
    let most = args.limit as usize;
    let asked = Asked { source: source.to_owned(), rule: args.rule.clone(), from_ms, to_ms, most };
    let (page, known) = match &args.trace {
        Some(trace) => {
            let records = replay::records(trace, args.which.config.clone(), stop)?;
            let mut known: Vec<String> = records.decided.iter().map(|decided| decided.source.to_string()).collect();
            known.sort();
            known.dedup();
            (Page::default().with(&asked, records), known)
        }
        None => {
            let log = args.log().map_err(|error| failed(&error))?;
            let read = log.of_source(&asked).and_then(|page| Ok((page, log.sources()?)));
            read.map_err(|error| failed(&error))?
        }
    };
    let review = page.review(&asked);
    if args.json {
        return json(&review).map_err(|error| failed(&error));
    }
    review.lines().iter().for_each(|line| println!("{}", one_line(line)));
    if let Some(next_ms) = review.next_ms {
        let (from, next) = (rfc3339(review.from_ms), rfc3339(next_ms));
        eprintln!("note: these are the newest decisions, from {from} on; for those before them: --to {next}");
    }
    if !known.iter().any(|known| known == source) {
        let known = if known.is_empty() { "none yet".to_owned() } else { one_line(&known.join(", ")).into_owned() };
        eprintln!("note: the log knows nothing of the source {}; it knows {known}", one_line(source));
    }
    Ok(())
}
