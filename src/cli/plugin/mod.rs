//! `dsengine plugin …`: inspects, builds and measures plugins, and replaces them in a running engine.

mod bench;
mod build;
mod check;
pub(crate) mod module;
mod remote;

use clap::Subcommand;

use super::client::Client;
use super::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load a plugin without running it: manifest, version, capabilities, settings
    Check(check::Args),
    /// Make a component: of a Rust folder, or of a core module
    Build(build::Args),
    /// Measure a strategy's calls, beside its budget
    Bench(bench::Args),
    /// List the plugins of a running engine
    List(Client),
    /// Let a running engine read a plugin's file again; what was wrong is printed
    Reload(remote::Named),
    /// Put a shadow (`mode: shadow`) in the place of the strategy it runs beside
    Promote(remote::Named),
    /// Show the state that a running engine keeps for a plugin, or clear it
    State(remote::State),
}

pub(crate) fn run(args: &Args) -> Exit {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Build(args) => build::run(args),
        Command::Bench(args) => bench::run(args),
        Command::List(client) => Exit::of(remote::list(client)),
        Command::Reload(named) => Exit::of(remote::change(named, "reload")),
        Command::Promote(named) => Exit::of(remote::change(named, "promote")),
        Command::State(args) => Exit::of(remote::state(args)),
    }
}
