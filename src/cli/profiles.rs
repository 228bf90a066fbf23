//! `dsengine profile [NAME]`: shows the profile of a running engine, or switches to another.

use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, failed};
use super::sources::say;

/// Taken as `--none`, unless a profile has that name.
const NONE: &str = "none";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The profile to switch to, `none` as --none does where no profile has that name; without it, the profiles are
    /// listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Switch to no profile: the configuration as it is without one
    #[arg(long, conflicts_with = "name")]
    none: bool,
    /// Until the restart only; otherwise the switch is kept beside the state
    #[arg(long)]
    no_save: bool,
    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Args) -> Exit {
    match args.name.is_some() || args.none {
        true => Exit::of(switch(args)),
        false if args.no_save => {
            eprintln!("error: --no-save belongs to a switch\n  hint: dsengine profile NAME --no-save");
            Exit::Usage
        }
        false => Exit::of(show(&args.client)),
    }
}

fn switch(args: &Args) -> Result<(), Exit> {
    let path = format!("/api/v1/profile?save={}", !args.no_save);
    let name = match args.name.as_deref() {
        Some(NONE) if !has_none(&args.client)? => None,
        name => name,
    };
    let outcome = args.client.ask(&Method::POST, &path, Some(&json!({ "name": name })))?;
    if !args.client.json {
        say(&outcome, true);
    }
    Ok(())
}

/// Whether a profile is named as the word for none.
fn has_none(client: &Client) -> Result<bool, Exit> {
    let (status, answer) = client.answer(&Method::GET, "/api/v1/profile", None).map_err(|error| failed(&error))?;
    let answer = client.accepted(status, answer)?;
    Ok(answer["profiles"].as_array().into_iter().flatten().any(|name| name == NONE))
}

fn show(client: &Client) -> Result<(), Exit> {
    let answer = client.get("/api/v1/profile")?;
    if client.json {
        return Ok(());
    }
    let names: Vec<&str> = answer["profiles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        println!("the configuration has no `profiles`");
    }
    for name in names {
        println!("{} {name}", if answer["profile"] == name { "*" } else { " " });
    }
    if let Some(by) = answer["fixed_by"].as_str() {
        println!("{by} sets it: it cannot be switched while the engine runs");
    }
    Ok(())
}
