//! `dsengine sources …`: shows and changes the sources of a running engine, and tries sources without one.

mod discover;
mod test;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, segment};
use super::evidence::{self, Evidence};
use super::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the sources, those that are switched off included
    List(Client),
    /// Add a source
    Add(Add),
    /// Change keys of a source
    Set(Set),
    /// Take a source out
    Remove(Named),
    /// Let a source run that is switched off
    Enable(Named),
    /// Switch a source off; its entry stays
    Disable(Named),
    /// Stop a source and start it again
    Restart(Restart),
    /// Find the ONVIF cameras of this network, with the addresses of their streams
    Discover(discover::Args),
    /// Open a source without an engine, and say in one sentence what is wrong with it, or what comes
    Test(test::Args),
    /// Write a clip or a picture of what is kept of a camera's encoded stream
    Evidence(Evidence),
}

/// A change that may be kept.
#[derive(clap::Args)]
pub(crate) struct Change {
    /// Keep the change over a restart; else it lasts until then
    #[arg(long)]
    save: bool,
    #[command(flatten)]
    client: Client,
}

#[derive(clap::Args)]
struct Add {
    /// What to read, as in `sources[].uri`: a file, rtsp://…, test, scene:NAME, trace:FILE
    #[arg(value_name = "URI")]
    uri: String,
    /// Its name; without one it is taken from the URI
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Further keys of its entry: fps=5, parameters.latency=100, zones='{"door": [[0, 0], [1, 0], [1, 1]]}'
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Set {
    /// The source
    #[arg(value_name = "ID")]
    id: String,
    /// Keys of its entry: fps=5, parameters.latency=100; `fps=` takes a key back to its default
    #[arg(value_name = "KEY=VALUE", required = true)]
    set: Vec<String>,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Named {
    /// The source
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Restart {
    /// The source
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Args) -> Exit {
    match &args.command {
        Command::List(client) => Exit::of(list(client)),
        Command::Add(add) => add.run(),
        Command::Set(set) => set.run(),
        Command::Remove(named) => named.ask(&Method::DELETE, ""),
        Command::Enable(named) => named.ask(&Method::POST, "/enable"),
        Command::Disable(named) => named.ask(&Method::POST, "/disable"),
        Command::Test(args) => test::run(args),
        Command::Discover(args) => discover::run(args),
        Command::Evidence(evidence) => evidence.run(),
        Command::Restart(Restart { id, client }) => {
            let done = client.ask(&Method::POST, &format!("/api/v1/sources/{}/restart", segment(id)), None);
            Exit::of(done.map(|_| {
                if !client.json {
                    println!("source {id} restarted");
                }
            }))
        }
    }
}

fn list(client: &Client) -> Result<(), Exit> {
    let sources = client.get("/api/v1/sources")?;
    if client.json {
        return Ok(());
    }
    let sources: Vec<&Value> = sources.as_array().into_iter().flatten().collect();
    if sources.is_empty() {
        println!("the engine has no source");
        return Ok(());
    }
    println!("{:<20} {:<10} {:>6} {:>10}  {:<8} URI", "ID", "STATE", "FPS", "JUDGED", "ORIGIN");
    for source in sources {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = &source["status"];
        let state = match status["state"].as_str() {
            Some(state) if source["enabled"] == true => state,
            _ if source["enabled"] == true => "missing",
            _ => "disabled",
        };
        println!(
            "{:<20} {state:<10} {:>6.1} {:>10}  {:<8} {}",
            text(&source["id"]),
            status["fps"].as_f64().unwrap_or(0.0),
            status["judged"].as_u64().unwrap_or(0),
            text(&source["origin"]),
            text(address(&source["config"])),
        );
        if let Some(name) = source["config"]["name"].as_str() {
            println!("  name: {name}");
        }
        if let Some(error) = status["error"].as_str() {
            println!("  error: {error}");
        }
        if let Some(line) = evidence::line(&status["evidence"]) {
            println!("  {line}");
        }
    }
    Ok(())
}

/// The address that is analysed.
fn address(config: &Value) -> &Value {
    let uri = &config["uri"];
    if uri.is_null() { &config["streams"]["detect"] } else { uri }
}

impl Add {
    fn run(&self) -> Exit {
        let mut entry = match entries(&self.set) {
            Ok(entry) => entry,
            Err(exit) => return exit,
        };
        entry.insert("uri".to_owned(), self.uri.clone().into());
        if let Some(id) = &self.id {
            entry.insert("id".to_owned(), id.clone().into());
        }
        self.change.ask(&Method::POST, "/api/v1/sources", Some(&entry.into()))
    }
}

impl Set {
    fn run(&self) -> Exit {
        let entry = match entries(&self.set) {
            Ok(entry) => entry,
            Err(exit) => return exit,
        };
        self.change.ask(&Method::PATCH, &format!("/api/v1/sources/{}", segment(&self.id)), Some(&entry.into()))
    }
}

impl Named {
    fn ask(&self, method: &Method, what: &str) -> Exit {
        self.change.ask(method, &format!("/api/v1/sources/{}{what}", segment(&self.id)), None)
    }
}

impl Change {
    /// Requests the change and prints its result.
    pub(crate) fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Exit {
        let path = format!("{path}?save={}", self.save);
        Exit::of(self.client.ask(method, &path, body).map(|done| {
            if !self.client.json {
                say(&done, true);
            }
        }))
    }
}

/// Prints the result of a change, or of a dry run.
pub(crate) fn say(outcome: &Value, done: bool) {
    let lines = |key: &str| -> Vec<String> {
        outcome[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let changes = lines("changes");
    if changes.is_empty() {
        println!("nothing changes: it is so already");
    }
    changes.iter().for_each(|change| println!("{change}"));
    lines("waits_for_restart").iter().for_each(|key| println!("waits for a restart: {key}"));
    lines("dropped_overlay").iter().for_each(|path| println!("dropped in favour of the file: {path}"));
    if done && !changes.is_empty() {
        match outcome["saved"].as_bool() {
            Some(true) => println!("saved: it lasts over a restart"),
            _ => println!("until the restart; with --save it lasts longer"),
        }
    }
}

/// `a.b=1` as `{a: {b: 1}}`.
fn entries(set: &[String]) -> Result<Map<String, Value>, Exit> {
    let mut root = Map::new();
    for text in set {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            eprintln!("error: `{text}` sets no key\n  hint: write KEY=VALUE, as in fps=5");
            return Err(Exit::Usage);
        };
        if !insert(&mut root, key, value_of(value)) {
            eprintln!("error: `{key}` is set twice, once as a whole and once in parts");
            return Err(Exit::Usage);
        }
    }
    Ok(root)
}

/// Parses a value: JSON if valid, null if empty, else text.
fn value_of(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap_or_else(|_| json!(text)) }
}

fn insert(root: &mut Map<String, Value>, key: &str, value: Value) -> bool {
    let Some((first, rest)) = key.split_once('.') else {
        return root.insert(key.to_owned(), value).is_none();
    };
    match root.entry(first).or_insert_with(|| json!({})) {
        Value::Object(inner) => insert(inner, rest, value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_set_become_an_entry() {
        let set =
            ["fps=5", "name=gate 4", "parameters.latency=100", "parameters.protocol=tcp", "timeout=", "x={\"a\": [1]}"];
        let entry = entries(&set.map(str::to_owned)).unwrap();
        let wanted = json!({
            "fps": 5, "name": "gate 4", "parameters": { "latency": 100, "protocol": "tcp" }, "timeout": null,
            "x": { "a": [1] },
        });
        assert_eq!(Value::Object(entry), wanted);
        for wrong in [&["fps"][..], &["=5"], &["fps=5", "fps.x=1"], &["fps=5", "fps=6"]] {
            let set: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            assert_eq!(entries(&set), Err(Exit::Usage), "{wrong:?}");
        }
    }
}
