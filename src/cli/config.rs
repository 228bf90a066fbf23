//! `dsengine config …`: shows and changes the configuration of a running engine.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use dsengine::config::syntax_error;
use hyper::Method;
use serde_json::Value;

use super::client::Client;
use super::exit::Exit;
use super::sources::{Change, say};

/// Maximum size of a file.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print what a running engine's configuration is, defaults included and secrets masked
    Show(Client),
    /// Say what `apply` would change; exit 1 where it would be refused
    Diff(Diff),
    /// Lay keys over the configuration of a running engine: all of them, or none
    Apply(Apply),
}

#[derive(clap::Args)]
struct Diff {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    client: Client,
}

#[derive(clap::Args)]
struct Apply {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Document {
    /// The keys to change, in YAML as in a configuration; `null` takes a key back to its default, what is absent stays,
    /// and an entry of a list changes the one of its name. `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Exit {
    match &args.command {
        Command::Show(client) => Exit::of(show(client)),
        Command::Diff(Diff { document, client }) => Exit::of(document.read().and_then(|document| {
            let outcome = client.ask(&Method::POST, "/api/v1/config/diff", Some(&document))?;
            if !client.json {
                say(&outcome, false);
            }
            Ok(())
        })),
        Command::Apply(Apply { document, change }) => match document.read() {
            Ok(document) => change.ask(&Method::POST, "/api/v1/config/apply", Some(&document)),
            Err(exit) => exit,
        },
    }
}

fn show(client: &Client) -> Result<(), Exit> {
    let answer = client.get("/api/v1/config")?;
    if client.json {
        return Ok(());
    }
    let yaml = serde_yaml::to_string(&answer["config"]).map_err(|error| {
        eprintln!("error: the answer cannot be printed as YAML: {error}");
        Exit::Failed
    })?;
    println!("{}", yaml.trim_end());
    println!("# hash: {}", answer["hash"].as_str().unwrap_or_default());
    let list = |key: &str| answer[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let saved = list("saved");
    for path in list("overlay") {
        let lasts = if saved.contains(&path) { "saved" } else { "until the restart" };
        println!("# changed while it runs, {lasts}: {path}");
    }
    list("waits_for_restart").iter().for_each(|key| println!("# waits for a restart: {key}"));
    list("no_effect").iter().for_each(|key| println!("# {key}"));
    list("promoted").iter().for_each(|strategy| println!("# promoted: {strategy}"));
    if let Some(problem) = answer["problem"].as_str() {
        println!("# problem: {}", problem.replace('\n', "\n# "));
    }
    Ok(())
}

impl Document {
    fn read(&self) -> Result<Value, Exit> {
        let name = self.file.display();
        let text = text(&self.file).map_err(|error| {
            eprintln!("error: {name}: cannot be read: {error}");
            Exit::Usage
        })?;
        match serde_yaml::from_str::<Value>(&text) {
            Ok(document @ Value::Object(_)) => Ok(document),
            Ok(_) => {
                eprintln!("error: {name}: a configuration is a map of keys, such as `alerts:`");
                Err(Exit::Usage)
            }
            Err(error) => {
                // The parser's own message shows the lines around, with their secrets.
                let at = error.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
                match syntax_error(&name.to_string(), &text) {
                    Some(error) => eprintln!("error: {error}"),
                    None => eprintln!("error: {name}: is no YAML{}", at.unwrap_or_default()),
                }
                Err(Exit::Usage)
            }
        }
    }
}

fn text(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    // One more, so that a longer file is refused and not cut.
    let most = FILE_BYTES_MAX + 1;
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 == most {
        return Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes: apply it in parts")));
    }
    let text = dsengine::text::decode(&bytes);
    Ok(text.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_refused_and_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("long.yaml");
        let mut bytes = vec![b'#'; usize::try_from(FILE_BYTES_MAX).unwrap()];
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(text(&file).unwrap().len(), bytes.len());
        bytes.push(b'#');
        std::fs::write(&file, &bytes).unwrap();
        assert!(text(&file).unwrap_err().to_string().contains("longer than"));
    }
}
