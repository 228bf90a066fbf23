//! `dsengine validate`: checks whether this machine can start a configuration; with `--syntax`, checks the files only.

use dsengine::config::{self, Warning};
use dsengine::engine::{self, Checked};
use dsengine::infer;
use dsengine::types::count;

use super::exit::Exit;
use super::input::Input;

/// The exit codes, for `--help`.
const EXITS: &str = "\
Exit code: 0 this machine can start it; 1 it cannot: a model, label file, script, clip or secret is missing, broken or \
does not fit (with --syntax: nothing is opened), or --strict and something has no effect; 2 the configuration is wrong";

#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// The configuration to judge (same as --config)
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<std::path::PathBuf>,
    #[command(flatten)]
    input: Input,
    /// Judge it with this profile applied
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Judge the configuration alone: models, scripts and clips need not be there
    #[arg(long)]
    syntax: bool,
    /// Exit with 1 when anything is missing, broken or without effect (notes do not count)
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    let config = args.file.clone().or_else(|| args.input.config.clone());
    let input = Input { config, source: args.input.source.clone(), sources: args.input.sources.clone() };
    let profile = args.profile.iter().map(|name| ("profile".to_owned(), name.clone()));
    let loaded = match input.load(profile.collect()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let mut warnings = loaded.warnings.clone();
    warnings.extend(config::check(&loaded));
    let plan = &loaded.plan;
    let Checked { errors, warnings: told } = match args.syntax {
        true => Checked::default(),
        false => engine::check(plan, &infer::Search::of_process(None)),
    };
    let lacks = |warning: &Warning| !args.syntax && (warning.refuses_run() || warning.is_missing());
    for warning in &warnings {
        eprintln!("{}: {warning}", if lacks(warning) { "error" } else { "warning" });
    }
    told.iter().for_each(|warning| eprintln!("warning: {warning}"));
    errors.iter().for_each(|error| eprintln!("error: {}", loaded.placed(error.clone())));
    // They may come from another file, with --sources.
    if let Some(none) = config::check_sources(&loaded) {
        eprintln!("note: {none}");
    }
    let lacking = warnings.iter().filter(|warning| lacks(warning)).count() + errors.len();
    if lacking > 0 {
        println!("not valid: this machine cannot start it: {}", count(lacking, "error"));
        return Exit::Failed;
    }
    println!(
        "valid: {}, {}, {}, {}, {}",
        count(plan.sources.len(), "source"),
        count(plan.models.len(), "model"),
        count(plan.strategies.len(), "strategy"),
        count(plan.handlers.len(), "handler"),
        count(warnings.len() + told.len(), "warning"),
    );
    let fails = warnings.iter().any(Warning::fails_strict) || !told.is_empty();
    if args.strict && fails { Exit::Failed } else { Exit::Fine }
}
