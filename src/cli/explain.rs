//! `dsengine explain E0203`: prints the page of an error code. `why` has `explain alert ID` and `explain --source ID`.

use dsengine::error::Code;

use super::exit::Exit;
use super::signals::Stop;
use super::why::{self, Why};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An error's code, as printed in brackets, or `alert`; without one, all codes are listed
    #[arg(value_name = "CODE")]
    what: Option<String>,
    /// With `alert`: its id, or the beginning or the end of it, sent or not; `all` with --trace
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    why: Why,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    let usage = |message: &str, hint: &str| {
        eprintln!("error: {message}\n  hint: {hint}");
        Exit::Usage
    };
    match (args.what.as_deref(), &args.id, args.why.is_of_source()) {
        (Some("alert"), Some(id), false) => why::of_alert(&args.why, id, stop),
        (Some("alert"), ..) => usage("which alert?", "dsengine explain alert ID; `dsengine alerts list` prints ids"),
        (None, None, true) => why::of_source(&args.why, stop),
        (None, None, false) => {
            for code in Code::ALL {
                let title = code.page().lines().next().unwrap_or_default().trim_start_matches("# ");
                println!("{title}");
            }
            Exit::Fine
        }
        (Some(wanted), None, false) => page(wanted),
        _ => usage("one thing at a time", "explain CODE, explain alert ID, or explain --source ID"),
    }
}

/// Prints the page of an error code.
fn page(wanted: &str) -> Exit {
    match Code::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(wanted)) {
        Some(code) => {
            println!("{}", code.page().trim_end());
            Exit::Fine
        }
        None => {
            eprintln!("error: there is no code {wanted}\n  hint: `dsengine explain` lists them");
            Exit::Usage
        }
    }
}
