//! `dsengine validate`: judges the file; what this machine lacks is a warning unless `--strict`.

use dsengine::{config, engine};

use super::exit::Exit;
use super::input::Input;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration to judge (same as --config)
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<std::path::PathBuf>,
    #[command(flatten)]
    input: Input,
    /// Exit with 1 when anything is missing, broken or without effect (notes do not count)
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    let config = args.file.clone().or_else(|| args.input.config.clone());
    let input = Input { config, source: args.input.source.clone(), sources: args.input.sources.clone() };
    let loaded = match input.load(Vec::new()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let mut warnings = loaded.warnings.clone();
    warnings.extend(config::check(&loaded));
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    let plan = &loaded.plan;
    let broken = engine::check_modules(plan);
    for error in &broken {
        eprintln!("error: {error}");
    }
    if !broken.is_empty() {
        // What a machine lacks is a warning; a module that does not load is wrong on every machine.
        println!("not valid: {} of its scripts and components cannot be loaded", broken.len());
        return Exit::Usage;
    }
    println!(
        "valid: {} source{}, {} model{}, {} strategies, {} handlers, {} warning{}",
        plan.sources.len(),
        plural(plan.sources.len()),
        plan.models.len(),
        plural(plan.models.len()),
        plan.strategies.len(),
        plan.handlers.len(),
        warnings.len(),
        plural(warnings.len()),
    );
    let fails = warnings.iter().any(|w| w.fails_strict());
    if args.strict && fails { Exit::Failed } else { Exit::Fine }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
