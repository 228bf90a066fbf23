//! `dsengine doctor`: reports what this machine has, what it lacks, and which package provides it.

use std::collections::BTreeSet;

use dsengine::types::{Finding, count_are};
use dsengine::{deepstream, gst, infer};

use super::exit::Exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The packages that a hint names.
const INSTALL: &str = "apt-get install ";

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
        println!("{}", verdict(&findings));
    }
    if findings.iter().all(|f| f.ok || f.optional) { Exit::Fine } else { Exit::Failed }
}

/// The findings in one line: whether it can run here, and what to do where it cannot.
fn verdict(findings: &[Finding]) -> String {
    let missing: Vec<&Finding> = findings.iter().filter(|finding| !finding.ok && !finding.optional).collect();
    if missing.is_empty() {
        return match findings.iter().filter(|finding| !finding.ok).count() {
            0 => "verdict: ready, nothing is missing".to_owned(),
            optional => format!("verdict: ready; {} not there", count_are(optional, "optional part")),
        };
    }
    let names: Vec<&str> = missing.iter().map(|finding| finding.name.as_str()).collect();
    let mut verdict = format!("verdict: {} missing: {}", count_are(missing.len(), "part"), names.join(", "));
    let packages: BTreeSet<&str> = missing
        .iter()
        .filter_map(|finding| finding.hint.as_deref()?.strip_prefix(INSTALL))
        .flat_map(str::split_whitespace)
        .collect();
    if !packages.is_empty() {
        let packages: Vec<&str> = packages.into_iter().collect();
        verdict += &format!("; {INSTALL}{}", packages.join(" "));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, ok: bool, optional: bool, hint: Option<&str>) -> Finding {
        Finding { name: name.into(), ok, optional, detail: String::new(), hint: hint.map(str::to_owned) }
    }

    #[test]
    fn the_last_line_says_whether_it_can_run_and_what_to_install() {
        let fine = finding("files", true, false, None);
        let gpu = finding("DeepStream", false, true, Some("see its manual"));
        let h264 = finding("H.264 decoder", false, false, Some("apt-get install libav"));
        let mp4 = finding("writing mp4", false, false, Some("apt-get install ugly libav"));
        assert_eq!(verdict(std::slice::from_ref(&fine)), "verdict: ready, nothing is missing");
        assert_eq!(verdict(&[fine.clone(), gpu.clone()]), "verdict: ready; 1 optional part is not there");
        let missing = "verdict: 2 parts are missing: H.264 decoder, writing mp4; apt-get install libav ugly";
        assert_eq!(verdict(&[fine, gpu, h264, mp4]), missing);
    }
}
