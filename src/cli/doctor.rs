//! `dsengine doctor`: reports what this machine has, what it lacks, and which package provides it.

use dsengine::types::Finding;
use dsengine::{deepstream, gst, infer};

use super::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Exit {
    let mut findings = gst::doctor();
    findings.push(infer::finding(&infer::Search::of_process(None)));
    findings.push(deepstream::finding());
    if args.json {
        println!("{:#}", serde_json::json!(findings));
    } else {
        for finding in &findings {
            let mark = match finding {
                Finding { ok: true, .. } => "ok  ",
                Finding { optional: true, .. } => "-   ",
                _ => "MISS",
            };
            println!("{mark}  {:<28} {}", finding.name, finding.detail);
            if let Some(hint) = finding.hint.as_ref().filter(|_| !finding.ok) {
                println!("      {:<28} hint: {hint}", "");
            }
        }
    }
    if findings.iter().all(|f| f.ok || f.optional) { Exit::Fine } else { Exit::Failed }
}
