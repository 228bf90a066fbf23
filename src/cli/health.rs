//! `dsengine health-check`: reports the health of a running engine as an exit code.

use dsengine::types;
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, refused};

/// The exit codes, for `--help`.
const EXITS: &str = "\
Exit code: 0 healthy; 1 degraded: some source, strategy or handler does not do its work, or the engine answers and \
wants a token; 2 unhealthy: no source delivers frames, or no engine answers";

#[derive(clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// Also say what was looked at and found well
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    client: Client,
}

/// One check.
#[derive(Debug, PartialEq)]
struct Check {
    name: String,
    ok: bool,
    /// The current value.
    value: String,
    /// The expected value.
    limit: String,
    /// Seconds since the measurement; for a source, since its newest frame was captured.
    age_s: Option<f64>,
}

pub(crate) fn run(args: &Args) -> Exit {
    let status = match args.client.answer(&Method::GET, "/health", None) {
        Ok((200 | 503, status)) if status["health"].is_string() => status,
        Ok((code, answer)) => {
            args.client.refused(code, &answer);
            // It runs; a container is not replaced because nobody may look into it.
            return if code == 401 { Exit::Failed } else { Exit::Usage };
        }
        Err(error) => return refused(&error),
    };
    let checks = checks(&status);
    if args.client.json {
        println!("{:#}", as_json(&status, &checks));
    } else {
        show(&status, &checks, args.detailed);
    }
    if is_bare(&status) && (args.detailed || status["health"] != "healthy") {
        args.client.wants_token("note", " to say more");
    }
    match status["health"].as_str() {
        Some("healthy") => Exit::Fine,
        Some("degraded") => Exit::Failed,
        _ => Exit::Usage,
    }
}

/// Whether the engine said no more than how well it is, as it does to who may not read: a source or a problem is in any
/// other status.
fn is_bare(status: &Value) -> bool {
    ["sources", "problems"].iter().all(|key| status[*key].as_array().is_none_or(Vec::is_empty))
}

fn show(status: &Value, checks: &[Check], detailed: bool) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    println!(
        "{}: {}, up for {:.0} s",
        text(&status["name"]),
        text(&status["health"]),
        status["uptime_s"].as_f64().unwrap_or(0.0)
    );
    for problem in status["problems"].as_array().into_iter().flatten() {
        println!("  {}", text(problem));
    }
    for notice in status["notices"].as_array().into_iter().flatten() {
        println!("  note: {}", text(notice));
    }
    for Check { name, ok, value, limit, age_s } in checks.iter().filter(|check| detailed || !check.ok) {
        let age = age_s.map(|age| format!(", {age:.1} s old")).unwrap_or_default();
        println!("{} {name}: {value} (wanted: {limit}){age}", if *ok { "ok    " } else { "not ok" });
    }
}

fn as_json(status: &Value, checks: &[Check]) -> Value {
    let checks: Vec<Value> = checks
        .iter()
        .map(|Check { name, ok, value, limit, age_s }| {
            json!({ "name": name, "ok": ok, "value": value, "limit": limit, "age_s": age_s })
        })
        .collect();
    json!({
        "name": status["name"], "health": status["health"], "ready": status["ready"], "uptime_s": status["uptime_s"],
        "problems": status["problems"], "notices": status["notices"], "checks": checks,
    })
}

/// The checks in a status.
fn checks(status: &Value) -> Vec<Check> {
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let with = |value: String, error: &Value| match error.as_str() {
        Some(error) => format!("{value}: {error}"),
        None => value,
    };
    let sources = list("sources").into_iter().map(|source| {
        let state = text(&source["state"]);
        Check {
            name: format!("source {}", text(&source["id"])),
            ok: ["running", "stopped", "waiting"].contains(&state.as_str()),
            value: with(format!("{state} at {:.1} fps", source["fps"].as_f64().unwrap_or(0.0)), &source["error"]),
            limit: "running".to_owned(),
            age_s: source["last_frame_age_s"].as_f64(),
        }
    });
    let strategies = list("strategies").into_iter().map(|strategy| {
        let degraded = strategy["degraded"] == true;
        let word = if degraded { "switched off" } else { "judges" };
        let value = format!("{word}, {}", types::count(strategy["faults"].as_u64().unwrap_or(0), "fault"));
        Check {
            name: format!("strategy {}", text(&strategy["name"])),
            ok: !degraded,
            value: with(value, &strategy["last_error"]),
            limit: "judges".to_owned(),
            age_s: None,
        }
    });
    let handlers = list("handlers").into_iter().map(|handler| {
        let degraded = handler["degraded"] == true;
        let word = if degraded { "does not deliver" } else { "delivers" };
        let count = |key: &str| handler[key].as_u64().unwrap_or(0);
        let value = format!("{word}, {} pending, {} given up", count("pending"), count("given_up"));
        Check {
            name: format!("handler {}", text(&handler["name"])),
            ok: !degraded,
            value: with(value, &handler["last_error"]),
            limit: "delivers".to_owned(),
            age_s: None,
        }
    });
    let rejected = list("rejected").into_iter().map(|rejected| Check {
        name: format!("file {}", text(&rejected["script"])),
        ok: false,
        value: text(&rejected["error"]),
        limit: "runs as it stands there".to_owned(),
        age_s: None,
    });
    let thresholds = list("checks").into_iter().map(|check| {
        let unit = text(&check["unit"]);
        let number = |key: &str| check[key].as_f64().unwrap_or(0.0);
        let of = check["source"].as_str().map(|source| format!(" of source {source}")).unwrap_or_default();
        let since = check["crossed_s"].as_f64();
        let value = format!("{:.1} {unit}", number("value"));
        let word = if check["is_least"] == true { "at least" } else { "at most" };
        Check {
            name: format!("{}{of}", text(&check["name"])),
            ok: since.is_none(),
            value: since.map_or(value.clone(), |since| format!("{value} for {since:.0} s")),
            limit: format!("{word} {} {unit}", number("limit")),
            age_s: check["age_s"].as_f64(),
        }
    });
    sources.chain(strategies).chain(handlers).chain(rejected).chain(thresholds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_source_and_problem_is_that_of_a_probe() {
        assert!(is_bare(&json!({ "health": "degraded", "sources": [], "problems": [] })));
        assert!(!is_bare(&json!({ "health": "unhealthy", "sources": [], "problems": ["no source is running"] })));
        assert!(!is_bare(&json!({ "health": "healthy", "sources": [{ "id": "a" }], "problems": [] })));
    }

    #[test]
    fn a_failing_part_is_not_ok_and_has_the_reason() {
        let status = json!({
            "sources": [
                { "id": "a", "state": "running", "fps": 15.0, "last_frame_age_s": 0.1 },
                { "id": "b", "state": "backoff", "fps": 0.0, "error": "refused" },
            ],
            "strategies": [{ "name": "r", "degraded": true, "faults": 9, "last_error": "r.lua:3: nil" }],
            "handlers": [{ "name": "h", "degraded": false, "pending": 2, "given_up": 0 }],
            "rejected": [{ "script": "r.lua", "error": "r.lua:4: unexpected" }],
            "checks": [
                { "name": "system.cpu", "value": 12.3, "limit": 80.0, "unit": "%", "is_least": false, "age_s": 3.0 },
                { "name": "system.fps", "source": "a", "value": 4.0, "limit": 20.0, "unit": "fps", "is_least": true,
                  "age_s": 3.0, "crossed_s": 33.0 },
            ],
        });
        let found: Vec<(String, bool, String)> =
            checks(&status).into_iter().map(|check| (check.name, check.ok, check.value)).collect();
        let wanted = [
            ("source a", true, "running at 15.0 fps"),
            ("source b", false, "backoff at 0.0 fps: refused"),
            ("strategy r", false, "switched off, 9 faults: r.lua:3: nil"),
            ("handler h", true, "delivers, 2 pending, 0 given up"),
            ("file r.lua", false, "r.lua:4: unexpected"),
            ("system.cpu", true, "12.3 %"),
            ("system.fps of source a", false, "4.0 fps for 33 s"),
        ];
        let limits: Vec<String> = checks(&status).into_iter().map(|check| check.limit).collect();
        assert_eq!(limits[5..], ["at most 80 %", "at least 20 fps"]);
        assert_eq!(found, wanted.map(|(name, ok, value)| (name.to_owned(), ok, value.to_owned())));
    }
}
