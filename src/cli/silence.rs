//! `dsengine silence …`: for which alerts of a running engine nobody is notified, and until when.

use clap::Subcommand;
use dsengine::types::{count, one_line};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a silence: dsengine silence add --for 2h 'source="gate"' 'rule=~"loiter.*"' --comment 'it is painted'
    ///
    /// It silences the alerts that all of its matchers match, until its end; they count as suppressed. It outlasts a
    /// restart. A critical alert is silenced only where a matcher names the level, as in 'level=~".+"'.
    Add(Add),
    /// List the silences that are active or will be, the newest first
    List(List),
    /// End a silence now
    End(End),
}

#[derive(clap::Args)]
struct Add {
    /// FIELD, operator and VALUE: the field is source, rule, level, key, label or zone (of any detection), the
    /// operator =, !=, =~ or !~ (a regular expression that fits the whole value)
    #[arg(value_name = "MATCHER", required = true, num_args = 1..)]
    matchers: Vec<String>,
    /// How long it lasts: 45m, 2h, 1day 6h
    #[arg(long = "for", value_name = "TIME", required_unless_present = "until", conflicts_with = "until")]
    duration: Option<String>,
    /// When it ends: 2026-01-31T18:00:00Z
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// When it starts: 2026-01-31T16:00:00Z; now where this is left out
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Why it is created; --note as well
    #[arg(long, value_name = "TEXT", alias = "note", default_value = "", hide_default_value = true)]
    comment: String,
    /// Who creates it: a person's name, kept before that of the token
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    client: Client,
}

#[derive(clap::Args)]
struct List {
    /// Those that have ended within five days, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    client: Client,
}

#[derive(clap::Args)]
struct End {
    /// Its id, as `list` prints it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Args) -> Exit {
    Exit::of(match &args.command {
        Command::Add(add) => create(add),
        Command::List(list) => show(list),
        Command::End(end) => finish(end),
    })
}

fn create(add: &Add) -> Result<(), Exit> {
    let mut body = json!({ "matchers": add.matchers, "comment": add.comment });
    for (key, value) in
        [("duration", &add.duration), ("ends_at", &add.until), ("starts_at", &add.from), ("by", &add.by)]
    {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    let silence = add.client.ask(&Method::POST, "/api/v1/silences", Some(&body))?;
    if !add.client.json {
        println!("{}", line(&silence));
    }
    for warning in silence["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("warning: {}", one_line(warning));
    }
    Ok(())
}

fn show(list: &List) -> Result<(), Exit> {
    let silences = list.client.get(&format!("/api/v1/silences?all={}", list.all))?;
    if list.client.json {
        return Ok(());
    }
    let silences = silences.as_array().map(Vec::as_slice).unwrap_or_default();
    if silences.is_empty() {
        println!("no silences");
    }
    silences.iter().for_each(|silence| println!("{}", line(silence)));
    Ok(())
}

fn finish(end: &End) -> Result<(), Exit> {
    let silence = end.client.ask(&Method::DELETE, &format!("/api/v1/silences/{}", segment(&end.id)), None)?;
    if !end.client.json {
        println!("{}", line(&silence));
    }
    Ok(())
}

/// One silence in one line.
fn line(silence: &Value) -> String {
    let text = |key: &str| one_line(silence[key].as_str().unwrap_or_default()).into_owned();
    let matchers: Vec<&str> = silence["matchers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let times = match &*text("state") {
        "pending" => format!("pending, from {} until {}", text("starts_at"), text("ends_at")),
        "ended" => format!("ended {}", text("ends_at")),
        state => format!("{state} until {}", text("ends_at")),
    };
    let held = count(silence["suppressed"].as_u64().unwrap_or_default(), "alert");
    let comment = match text("comment") {
        comment if comment.is_empty() => comment,
        comment => format!(": {comment}"),
    };
    let matchers = matchers.join(" ");
    let (id, by) = (text("id"), text("created_by"));
    format!("{id}  {times}  {}  [by {by}; {held} held back]{comment}", one_line(&matchers))
}
