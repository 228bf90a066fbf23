//! `dsengine monitor`: repeatedly prints a running engine's figures.

use std::io::IsTerminal as _;
use std::time::Duration;

use crossbeam_channel::never;
use dsengine::types;
use hyper::Method;
use serde_json::Value;

use super::client::Client;
use super::exit::{Exit, failed};
use super::run::time;
use super::signals::Stop;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Time between two looks: 2s, 500ms
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    interval: Duration,
    /// End after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// A full-screen view. Not built yet: it comes as plain lines
    #[arg(long)]
    dashboard: bool,
    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    stop.at_once(Exit::Fine);
    if args.dashboard {
        eprintln!("note: the full-screen view is not built yet; these are plain lines");
    }
    let clears = std::io::stdout().is_terminal();
    for look in 0.. {
        let status = match args.client.answer(&Method::GET, "/api/v1/status", None) {
            Ok((200, status)) => status,
            Ok((code, answer)) => return args.client.refused(code, &answer),
            Err(error) => return failed(&error),
        };
        if args.client.json {
            println!("{status}");
        } else {
            // Moves the cursor to the upper left corner and clears the screen.
            print!("{}{}", if clears { "\x1b[H\x1b[J" } else { "" }, page(&status));
        }
        if args.count.is_some_and(|count| look + 1 >= count) {
            break;
        }
        let _ = never::<()>().recv_timeout(args.interval);
    }
    Exit::Fine
}

/// One status as text.
fn page(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let mut page = String::new();
    let mut line = |text: String| page += &(text + "\n");
    let up = status["uptime_s"].as_f64().unwrap_or(0.0);
    line(format!("{}: {}, up for {up:.0} s", text(&status["name"]), text(&status["health"])));
    list("problems").iter().for_each(|problem| line(format!("  {}", text(problem))));
    list("notices").iter().for_each(|notice| line(format!("  note: {}", text(notice))));
    line(format!(
        "{:<20} {:<10} {:>6} {:>10} {:>10} {:>8} {:>7}",
        "SOURCE", "STATE", "FPS", "FRAMES", "JUDGED", "DROPPED", "AGE"
    ));
    for source in list("sources") {
        // Frames that `fps` leaves out are not lost.
        let lost = source["dropped"].as_object().into_iter().flatten().filter(|(reason, _)| *reason != "fps");
        let dropped: u64 = lost.map(|(_, n)| count(n)).sum();
        let age = source["last_frame_age_s"].as_f64().map_or("-".to_owned(), |age| format!("{age:.1} s"));
        line(format!(
            "{:<20} {:<10} {:>6.1} {:>10} {:>10} {dropped:>8} {age:>7}",
            text(&source["id"]),
            text(&source["state"]),
            source["fps"].as_f64().unwrap_or(0.0),
            count(&source["frames"]),
            count(&source["judged"]),
        ));
    }
    for strategy in list("strategies").iter().filter(|strategy| count(&strategy["faults"]) > 0) {
        line(format!("strategy {}: {}", text(&strategy["name"]), types::count(count(&strategy["faults"]), "fault")));
    }
    for handler in list("handlers") {
        line(format!(
            "handler {}: {} delivered, {} given up, {} pending",
            text(&handler["name"]),
            count(&handler["delivered"]),
            count(&handler["given_up"]),
            count(&handler["pending"]),
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn frames_that_fps_leaves_out_are_not_dropped_and_notices_are_shown() {
        let status = json!({
            "name": "t", "health": "healthy", "uptime_s": 3.0, "notices": ["1 silence holds"],
            "sources": [{ "id": "gate", "state": "running", "fps": 30.0, "frames": 90, "judged": 10,
                          "dropped": { "fps": 75, "overload": 5 } }],
        });
        let page = page(&status);
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[1], "  note: 1 silence holds");
        let columns: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(columns, ["gate", "running", "30.0", "90", "10", "5", "-"]);
    }
}
