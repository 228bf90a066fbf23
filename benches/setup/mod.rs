//! An engine for a bench: its plan from a few lines of YAML, as a user writes them.

use std::error::Error;
use std::fs;
use std::path::Path;

use dsengine::config::{self, Plan, Request};

use crate::report;

/// The plan of `yaml`. Nothing listens, and the log stays silent: a bench installs no subscriber.
pub(crate) fn plan(name: &str, yaml: &str) -> Result<Plan, Box<dyn Error>> {
    let file = report::folder()?.join(format!("{name}.yaml"));
    fs::write(&file, format!("monitoring: {{ enabled: false }}\n{yaml}"))?;
    let request = Request {
        config: Some(file),
        working_dir: Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(),
        ..Request::default()
    };
    Ok(config::load(&request).map_err(|problems| problems.to_string())?.plan)
}
