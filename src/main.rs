//! The `dsengine` command: handles signals, parses the arguments, runs one command, and ends with its exit code.

mod cli;

#[allow(unsafe_code, reason = "the environment is written while there is one thread")]
fn main() -> std::process::ExitCode {
    let (name, value) = dsengine::infer::TELEMETRY_OFF;
    // SAFETY: no thread has been started yet, so nothing reads the environment while it changes.
    unsafe { std::env::set_var(name, value) };
    let stop = cli::signals::Stop::install();
    cli::run(&stop).into()
}
