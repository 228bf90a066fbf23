//! The command line: one file per command, exit codes as a type, results on standard output and problems on standard
//! error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

/// Prints a line; unlike std's macro it does not panic on failure.
macro_rules! println {
    ($($arg:tt)*) => {
        $crate::cli::exit::print(format_args!("{}\n", format_args!($($arg)*)))
    };
}

/// Prints a line on standard error; ignores failures.
macro_rules! eprintln {
    ($($arg:tt)*) => {
        $crate::cli::exit::print_error(format_args!("{}\n", format_args!($($arg)*)))
    };
}

mod alerts;
mod benchmark;
mod case;
mod client;
mod config;
mod doctor;
mod evidence;
mod exit;
mod explain;
mod files;
mod health;
mod input;
mod judgements;
mod memory;
mod moment;
mod monitor;
mod new;
mod observers;
mod offline;
mod outbox;
mod plugin;
mod png;
mod profile;
mod profiles;
mod progress;
mod record;
mod recording;
mod reloader;
mod replay;
mod retry;
mod run;
mod scene;
mod schema;
pub(crate) mod signals;
mod silence;
mod snapshot;
mod sources;
mod summary;
mod test;
mod truth;
mod validate;
mod which;
mod why;

use clap::{CommandFactory, Parser, Subcommand};
use exit::Exit;
use signals::Stop;

/// Commands to begin with, for `--help`.
const EXAMPLES: &str = "\
Examples:
  dsengine run clip.mp4                               watch a file for motion, and print the page's address
  dsengine run --source rtsp://user:pass@camera/      watch a camera, until Ctrl-C
  dsengine validate camera.yaml                       say whether a configuration can start here
  dsengine run --config camera.yaml                   run it
  dsengine alerts list --config camera.yaml           what was raised, and where it stands
  dsengine silence add --for 2h 'source=\"gate\"'       keep a camera quiet for a time
  dsengine explain E0101                              what an error means, and what to do";

/// A scriptable engine for live video analytics.
#[derive(Parser)]
#[command(name = "dsengine", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run sources through detection, rules and alerts until they end or you stop it
    #[command(alias = "start")]
    Run(run::Args),
    /// Judge a configuration without running it
    Validate(validate::Args),
    /// Write a source's detections to a trace, one JSON object per analysed frame
    Record(record::Args),
    /// Write one picture of a source, with a grid to read the coordinates of zones from
    Snapshot(snapshot::Args),
    /// Play a trace through rules and alert policy, as fast as it can, and print the alerts
    Replay(replay::Args),
    /// Write a new plugin, with a test: a strategy or a handler, in Lua, Rust or C
    New(new::Args),
    /// Run the tests of plugins: recorded frames in, expected alerts out
    Test(test::Args),
    /// Check, build and measure plugins; list, reload and promote those of a running engine, show their state
    Plugin(plugin::Args),
    /// List and show accepted alerts; acknowledge, resolve and judge them, send them again
    Alerts(alerts::Args),
    /// Silence some alerts of a running engine for a time: add, list, end
    Silence(silence::Args),
    /// List, add, change, remove, enable, disable and restart the sources of a running engine; test and discover sources
    Sources(sources::Args),
    /// Show, compare and change the configuration of a running engine
    Config(config::Args),
    /// List the profiles of a running engine, or switch to one
    Profile(profiles::Args),
    /// Say how a running engine is, also as the exit code: 0 healthy, 1 degraded, 2 unhealthy
    HealthCheck(health::Args),
    /// Print a running engine's figures again and again
    Monitor(monitor::Args),
    /// Measure how many frames of so many sources this machine judges
    Benchmark(benchmark::Args),
    /// List and render scripted scenes
    Scene(scene::Args),
    /// Say what this machine has and lacks
    Doctor(doctor::Args),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Explain an error code, how an alert was decided on, or what a source raised and what held it back
    Explain(explain::Args),
    /// Print shell completions
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

/// Parses the arguments and runs the command.
pub(crate) fn run(stop: &Stop) -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap reports help and version as errors.
            let printed = error.print();
            if error.use_stderr() {
                return Exit::Usage;
            }
            if let Err(error) = printed {
                exit::unprinted(&error);
            }
            return Exit::Fine;
        }
    };
    match cli.command {
        Command::Run(args) => run::run(args, stop),
        Command::Validate(args) => validate::run(&args),
        Command::Record(args) => record::run(args, stop),
        Command::Snapshot(args) => snapshot::run(&args, stop),
        Command::Replay(args) => replay::run(&args, stop),
        Command::New(args) => new::run(&args),
        Command::Test(args) => test::run(&args, stop),
        Command::Plugin(args) => plugin::run(&args),
        Command::Alerts(args) => alerts::run(&args),
        Command::Silence(args) => silence::run(&args),
        Command::Sources(args) => sources::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Profile(args) => profiles::run(&args),
        Command::HealthCheck(args) => health::run(&args),
        Command::Monitor(args) => monitor::run(&args, stop),
        Command::Benchmark(args) => benchmark::run(&args, stop),
        Command::Scene(args) => scene::run(&args, stop),
        Command::Doctor(args) => doctor::run(&args),
        Command::Schema => schema::run(),
        Command::Explain(args) => explain::run(&args, stop),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "dsengine", &mut script);
            println!("{}", String::from_utf8_lossy(&script));
            Exit::Fine
        }
    }
}
