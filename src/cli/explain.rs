//! `dsengine explain E0203`: prints the page of an error code.

use dsengine::error::Code;

use super::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The code, as printed in brackets; without one, all codes are listed.
    code: Option<String>,
}

pub(crate) fn run(args: &Args) -> Exit {
    let Some(wanted) = &args.code else {
        for code in Code::ALL {
            let title = code.page().lines().next().unwrap_or_default().trim_start_matches("# ");
            println!("{title}");
        }
        return Exit::Fine;
    };
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
