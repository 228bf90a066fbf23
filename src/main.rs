//! The `dsengine` command: catch signals, parse, do one thing, end with a code that means something.

mod cli;

fn main() -> std::process::ExitCode {
    let stop = cli::signals::Stop::install();
    cli::run(&stop).into()
}
