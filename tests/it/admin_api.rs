//! The API against its own description: `schemathesis` asks for everything the OpenAPI text allows, and for much that
//! it does not, and finds no answer that is not described.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Dsengine, get, root, skip, write};

/// Where `./dev test` installs it.
const VENV: &str = "target/venv/bin/schemathesis";

/// What it is told about the API beyond the OpenAPI text.
const SETTINGS: &str = r#"
continue-on-failure = true
request-timeout = 10.0

[checks]
# Busy, and not ready: both described.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
# What a source or a configuration may hold is judged by the engine: 409 and 422 are answers to what the text allows.
positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422", "503"]

# Streams have no end of their own.
[[operations]]
include-path-regex = "^(/live|/api/v1/events|/api/v1/logs)$"
parameters = { limit = 0 }

[[operations]]
include-path = "/live/{source}"
parameters = { limit = 0, source = "gate" }

# It writes no SDP; tests/it/webrtc offers what should be refused.
[[operations]]
include-path-regex = "^/(whip|whep)/[^/]+$"
include-method = "POST"
enabled = false
"#;

#[test]
fn schemathesis_finds_no_answer_that_is_not_described() {
    let test = "schemathesis_finds_no_answer_that_is_not_described";
    let program = root().join(VENV);
    if !program.exists() {
        return skip(test, "schemathesis is not installed in target/venv (./dev test does it)");
    }
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "c.yaml",
        "sources: [{ id: gate, uri: 'test:size=64x64,fps=5' }, { id: yard, uri: 'test:size=64x64,fps=5' }]\n",
    );
    write(dir.path(), "schemathesis.toml", SETTINGS);
    let mut run =
        Dsengine::new(["run", "--config", "c.yaml", "--port", "0", "--state", "state"]).cwd(dir.path()).start();
    let page = run.page();
    let tested = Command::new(program)
        .args(["run", "--seed", "1", "--max-examples", "25", "--no-color", "--generation-database", "none"])
        .arg(format!("http://{page}/api/v1/openapi.json"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{said}\n{}", String::from_utf8_lossy(&tested.stderr));
    // It has been at work, and the engine has lived through it.
    assert!(said.contains("Operations") && said.contains("passed"), "{said}");
    let (status, body) = get(&page, "/api/v1/status");
    let status = (status, serde_json::from_str::<Value>(&body).unwrap()["version"].is_string());
    assert_eq!(status, (200, true));
}
