//! `dsengine plugin list|reload|promote|state`: requests to a running engine.

use dsengine::types::{count, one_line};
use hyper::Method;
use serde_json::Value;

use crate::cli::client::{Client, segment};
use crate::cli::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Named {
    /// The strategy's or handler's name in the configuration
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    client: Client,
}

pub(crate) fn list(client: &Client) -> Result<(), Exit> {
    let answer = client.get("/api/v1/plugins")?;
    if client.json {
        return Ok(());
    }
    let plugins: Vec<&Value> = answer.as_array().into_iter().flatten().collect();
    if plugins.is_empty() {
        println!("the engine runs no plugin");
        return Ok(());
    }
    println!("{:<20} {:<9} {:<5} {:>10} {:>7}  {:<14} FILE", "NAME", "KIND", "LANG", "GENERATION", "SOURCES", "STATE");
    for plugin in plugins {
        let text = |key: &str| one_line(plugin[key].as_str().unwrap_or_default()).into_owned();
        let state = match plugin["shadow_of"].as_str() {
            Some(active) => format!("shadow of {active}"),
            None if plugin["degraded"] == true => "degraded".to_owned(),
            None if plugin["on_probation"] == true => "on probation".to_owned(),
            None => "active".to_owned(),
        };
        println!(
            "{:<20} {:<9} {:<5} {:>10} {:>7}  {state:<14} {}",
            text("name"),
            text("kind"),
            text("language"),
            plugin["generation"].as_u64().unwrap_or(0),
            plugin["sources"].as_u64().unwrap_or(0),
            text("module")
        );
        if let Some(error) = plugin["last_error"].as_str() {
            println!("  last error: {}", one_line(error));
        }
    }
    Ok(())
}

pub(crate) fn change(named: &Named, what: &str) -> Result<(), Exit> {
    let Named { name, client } = named;
    let done = client.ask(&Method::POST, &format!("/api/v1/plugins/{}/{what}", segment(name)), None)?;
    if client.json {
        return Ok(());
    }
    let names: Vec<&str> = done["plugins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let number = |key: &str| done[key].as_u64().unwrap_or(0);
    let (generation, lanes, tried) = (number("generation"), number("lanes"), number("tried"));
    if done["changed"] == false {
        println!("{}: the file is what runs already, generation {generation}", names.join(", "));
    } else {
        println!(
            "{}: generation {generation} judges on {}, tried on {} before",
            names.join(", "),
            count(lanes, "lane"),
            count(tried, "remembered frame")
        );
    }
    if what == "promote" {
        let active = names.first().copied().unwrap_or_default();
        let file = module(client, active).unwrap_or_else(|| "the shadow's".to_owned());
        println!("until the restart; to keep it, set {active}'s `module` to {file} and remove the shadow");
    }
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct State {
    #[command(flatten)]
    named: Named,
    /// Clear it, on every source and for later runs
    #[arg(long)]
    clear: bool,
}

pub(crate) fn state(args: &State) -> Result<(), Exit> {
    let Named { name, client } = &args.named;
    let method = if args.clear { Method::DELETE } else { Method::GET };
    let answer = client.ask(&method, &format!("/api/v1/plugins/{}/state", segment(name)), None)?;
    if client.json {
        return Ok(());
    }
    if args.clear {
        println!("{name}: {} cleared", count(answer["values"].as_u64().unwrap_or(0), "value"));
        return Ok(());
    }
    println!("{:<20} {:>7} {:>9} {:<12} AFTER A RESTART", "SOURCE", "VALUES", "BYTES", "VERSION");
    for space in answer.as_array().into_iter().flatten() {
        let text = |key: &str| one_line(space[key].as_str().unwrap_or_default()).into_owned();
        let source = match (space["shared"] == true, text("source")) {
            (true, _) => "(all)".to_owned(),
            (_, source) if source.is_empty() => "-".to_owned(),
            (_, source) => source,
        };
        println!(
            "{source:<20} {:>7} {:>9} {:<12} {}",
            space["values"].as_u64().unwrap_or(0),
            space["bytes"].as_u64().unwrap_or(0),
            text("version"),
            if space["kept"] == true { "kept" } else { "lost" }
        );
    }
    Ok(())
}

/// The module of a plugin.
fn module(client: &Client, name: &str) -> Option<String> {
    let (_, plugins) = client.answer(&Method::GET, "/api/v1/plugins", None).ok()?;
    let plugin = plugins.as_array()?.iter().find(|plugin| plugin["name"] == name)?;
    Some(plugin["module"].as_str()?.to_owned())
}
