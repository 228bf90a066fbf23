//! Reports the results of the cases.

use std::path::PathBuf;

use dsengine::error::Error;
use dsengine::types::one_line;
use serde_json::{Value, json};

use super::case::Case;
use super::compare::Difference;
use super::find::Plugin;
use crate::cli::exit::Exit;

/// Maximum differences shown per case; a broken plugin differs on every frame.
const SHOWN_MAX: usize = 20;

/// The result of a case.
pub(super) struct Verdict {
    differences: Vec<Difference>,
    wrote: Option<PathBuf>,
}

impl Verdict {
    pub(super) fn passed() -> Self {
        Self::of(Vec::new())
    }

    pub(super) fn of(differences: Vec<Difference>) -> Self {
        Self { differences, wrote: None }
    }

    /// The case could not be completed.
    pub(super) fn broken(error: &Error) -> Self {
        Self::of(vec![Difference::wrong(error.to_string())])
    }

    /// The results were written as the expectations.
    pub(super) fn updated(wrote: Option<PathBuf>) -> Self {
        Self { differences: Vec::new(), wrote }
    }

    /// The results are no expectations, for these reasons.
    pub(super) fn not_updated(reasons: &[String]) -> Self {
        let told = "nothing is written: mend it, or list what is meant to fail in the case first: faults: [{}]";
        Self::of([told].into_iter().chain(reasons.iter().map(String::as_str)).map(Difference::wrong).collect())
    }
}

/// Counts and prints results.
pub(super) struct Report {
    json: bool,
    passed: usize,
    failed: usize,
    cases: Vec<Value>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, passed: 0, failed: 0, cases: Vec::new() }
    }

    pub(super) fn add(&mut self, plugin: &Plugin, case: &Case, verdict: Verdict) {
        let Verdict { differences, wrote } = verdict;
        let ok = differences.is_empty();
        if ok {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        let (name, title) = (&plugin.manifest.name, case.name());
        if self.json {
            let differences: Vec<Value> = differences
                .iter()
                .map(|d| json!({ "place": d.place, "expected": d.expected, "came": d.actual }))
                .collect();
            let updated = wrote.is_some();
            self.cases.push(json!({
                "plugin": name, "case": title, "file": case.shown(), "ok": ok, "updated": updated,
                "differences": differences,
            }));
            return;
        }
        let mark = if ok { "ok  " } else { "FAIL" };
        println!("{mark}  {name}: {}  ({})", one_line(&title), case.shown());
        if let Some(path) = wrote {
            println!("      wrote {}", path.display());
        }
        for Difference { place, expected, actual } in differences.iter().take(SHOWN_MAX) {
            println!("      {}", place.replace('\n', "\n      "));
            for (word, text) in [("expected", expected), ("came    ", actual)] {
                if let Some(text) = text {
                    println!("        {word}  {}", one_line(text));
                }
            }
            if expected.is_some() && actual.is_none() && !place.ends_with("did not come") {
                println!("        came      nothing");
            }
        }
        if differences.len() > SHOWN_MAX {
            println!("      … and {} more", differences.len() - SHOWN_MAX);
        }
    }

    pub(super) fn end(self) -> Exit {
        let Self { json, passed, failed, cases } = self;
        if json {
            println!("{:#}", json!({ "passed": passed, "failed": failed, "cases": cases }));
        } else {
            println!("{passed} passed, {failed} failed");
        }
        if failed == 0 { Exit::Fine } else { Exit::Failed }
    }
}
