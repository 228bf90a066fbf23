//! The shipped handlers for phones and chats, and `slack`: what reaches a receiver that stands for each service.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ALARM, Answer, Bench, Hit, Receiver, TRACE};
use crate::harness::root;
use crate::webhooks::Peer;

/// What is secret; it may be in no output.
const SECRET: &str = "C4n4ry";

/// A shipped script, its service's host, and what a configuration says of it.
pub(super) struct Push {
    pub(super) script: &'static str,
    pub(super) host: &'static str,
    pub(super) settings: &'static str,
    pub(super) secrets: &'static str,
}

pub(super) const PUSHES: [Push; 4] = [
    Push { script: "ntfy", host: "ntfy.sh", settings: "{ topic: gate, login: true }", secrets: "NTFY: 'C4n4ry'" },
    Push {
        script: "telegram",
        host: "api.telegram.org",
        settings: "{ chat_id: -1001234567890 }",
        secrets: "TELEGRAM: '12:C4n4ry'",
    },
    Push {
        script: "pushover",
        host: "api.pushover.net",
        settings: "{ token: C4n4ry, user: C4n4ry-user, retry: 90 }",
        secrets: "",
    },
    Push { script: "discord", host: "discord.com", settings: "{}", secrets: "DISCORD: '1/C4n4ry'" },
];

impl Push {
    /// The requests of four alerts, one of each level in rising order, to a receiver that answers so.
    fn requests(&self, bench: &Bench, status: u16) -> Vec<Hit> {
        let receiver = Receiver::new(Answer::Status(status));
        let said = self.said(bench, &receiver.address);
        assert_eq!(said.contains("given up"), status >= 400, "{}: {said}", self.script);
        receiver.hits()
    }

    /// What a run says whose four alerts go to a receiver at this address.
    fn said(&self, bench: &Bench, address: &str) -> String {
        let Self { script, host, settings, secrets } = self;
        let text = std::fs::read_to_string(root().join(format!("scripts/handlers/{script}.lua"))).unwrap();
        assert!(text.contains(&format!("---@needs http {host}\n")), "{script}");
        let text = text.replace(&format!("https://{host}"), &format!("http://{host}")).replace(host, address);
        bench.write("push.lua", &text);
        bench.write(
            "alarm.lua",
            "function detect(frame)\n  for _, level in { 'low', 'medium', 'high', 'critical' } do\n    \
             frame:alert{ rule = 'r-' .. level, level = level, key = 'k', message = 'two\\nlines @everyone' }\n  end\nend\n",
        );
        let out = bench.run(&format!(
            "{TRACE}{ALARM}alerts:\n  min_confidence: 0\n  max_alerts_per_minute: 1000\n  retry_attempts: 2\n  max_age_seconds: 0\n  \
             retry_delay: 0.1\n  handlers:\n    - {{ name: push, module: push.lua, settings: {settings}, \
             grants: {{ http: ['http://{address}'], secrets: {{ {secrets} }} }} }}\n"
        ));
        let said = format!("{}{}", out.stdout, out.stderr);
        assert!(!said.contains(SECRET), "{script}: {said}");
        said
    }
}

/// A request's first line and headers, and its body.
fn parts(hit: &Hit) -> (&str, Value) {
    let (head, body) = hit.request.split_once("\r\n\r\n").unwrap();
    (head, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {}", hit.request)))
}

#[test]
fn each_service_gets_an_alert_in_its_own_form_and_by_its_level() {
    let bench = Bench::new();
    let levels = ["low", "medium", "high", "critical"];
    for push in &PUSHES {
        let hits = push.requests(&bench, 200);
        assert_eq!(hits.len(), 4, "{}", push.script);
        for (n, level) in levels.into_iter().enumerate() {
            let of_level = |hit: &&Hit| hit.request.contains(&format!("r-{level} at a"));
            let hit = hits.iter().find(of_level).unwrap_or_else(|| panic!("{}: {level}", push.script));
            let (head, body) = parts(hit);
            let head = format!("{}\r\n", head.to_ascii_lowercase());
            assert!(head.contains("\r\ncontent-type: application/json"), "{head}");
            let (title, message) = (format!("r-{level} at a"), "two\nlines @everyone");
            let (path, expected) = match push.script {
                "ntfy" => {
                    assert!(head.contains("\r\nauthorization: bearer c4n4ry\r\n"), "{head}");
                    let tags = ["information_source", "bell", "warning", "rotating_light"];
                    let expected = json!({ "topic": "gate", "title": title, "message": message, "priority": n + 2,
                        "tags": [tags[n]] });
                    ("/", expected)
                }
                "telegram" => {
                    let text = format!("{}: {title}\n{message}", level.to_uppercase());
                    let expected = json!({ "chat_id": -1_001_234_567_890_i64, "text": text,
                        "disable_notification": n == 0 });
                    ("/bot12:c4n4ry/sendmessage", expected)
                }
                "pushover" => {
                    let mut expected = json!({ "token": "C4n4ry", "user": "C4n4ry-user", "title": title,
                        "message": message, "priority": n as i64 - 1 });
                    if n == 3 {
                        expected["retry"] = 90.into();
                        expected["expire"] = 3600.into();
                    }
                    ("/1/messages.json", expected)
                }
                _ => {
                    let colours = [0x0034_98DB, 0x00F1_C40F, 0x00E6_7E22, 0x00E7_4C3C];
                    let time = &body["embeds"][0]["timestamp"];
                    assert!(time.as_str().is_some_and(|time| time.starts_with("2023-11-14T22:13:20")), "{body}");
                    let embed = json!({ "title": title, "description": message, "color": colours[n],
                        "timestamp": time });
                    (
                        "/api/webhooks/1/c4n4ry?wait=true",
                        json!({ "allowed_mentions": { "parse": [] }, "embeds": [embed] }),
                    )
                }
            };
            assert!(head.starts_with(&format!("post {path} http/1.1\r\n")), "{head}");
            assert_eq!(body, expected, "{}", push.script);
        }
    }
}

#[test]
fn a_service_that_is_busy_or_refuses_is_asked_again_as_often_as_it_is_set() {
    let bench = Bench::new();
    for push in &PUSHES {
        for status in [429, 400, 413] {
            assert_eq!(push.requests(&bench, status).len(), 8, "{} {status}", push.script);
        }
    }
}

#[test]
fn telegram_is_asked_again_after_the_time_that_its_answer_says() {
    // As its documentation says of `ResponseParameters`: seconds to wait, in the body.
    let busy = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 2",
        "parameters": { "retry_after": 2 } })
    .to_string();
    let peer = Peer::new(move |number, _| match number {
        0 => format!("429 Too Many Requests\r\ncontent-length: {}\r\n\r\n{busy}", busy.len()),
        _ => "200 OK\r\n".to_owned(),
    });
    let telegram = PUSHES.iter().find(|push| push.script == "telegram").unwrap();
    let said = telegram.said(&Bench::new(), peer.url("").trim_start_matches("http://"));
    assert!(!said.contains("given up"), "{said}");
    let times = peer.times();
    assert_eq!(times.len(), 5, "{said}");
    assert!(times[1] - times[0] >= Duration::from_secs(2), "{:?}", times[1] - times[0]);
}

#[test]
fn the_slack_handler_posts_to_the_address_that_is_set() {
    let (bench, receiver) = (Bench::new(), Receiver::new(Answer::Status(200)));
    let config = |address: &str| {
        format!(
            "{TRACE}{ALARM}alerts: {{ min_confidence: 0.8, retry_attempts: 1, max_age_seconds: 0, handlers: [{{ name: slack, config: {{ \
             webhook_url: '{address}' }} }}, {{ name: second, type: slack, where: {{ rules: [other] }}, config: {{ \
             webhook_url: '{address}' }} }}] }}\n"
        )
    };
    let out = bench.run(&config(&format!("http://{}/services/T0/C4n4ry?x=C4n4ry", receiver.address))).expect(0);
    let hits = receiver.hits();
    assert_eq!(hits.len(), 1, "{}", out.stderr);
    let (head, body) = parts(&hits[0]);
    assert!(head.starts_with("POST /services/T0/C4n4ry?x=C4n4ry HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, json!({ "text": "seen" }));
    assert!(!format!("{}{}", out.stdout, out.stderr).contains(SECRET), "{}", out.stderr);
    // A refusal shows nothing of it, and `validate` opens the script.
    let refusing = Receiver::new(Answer::Status(404));
    let out = bench.run(&config(&format!("http://{}/services/C4n4ry", refusing.address)));
    assert!(out.code() == 1 && out.stderr.contains("the receiver answered 404"), "{}", out.stderr);
    assert!(!format!("{}{}", out.stdout, out.stderr).contains(SECRET), "{}", out.stderr);
    assert_eq!(bench.command("validate", &config("https://hooks.slack.com/services/C4n4ry"), &[]).run().code(), 0);
    for address in ["hooks.slack.com/C4n4ry", "ftp://h/C4n4ry", "https://u:C4n4ry@h/"] {
        let out = bench.command("validate", &config(address), &[]).run();
        assert!(out.code() != 0 && out.stderr.contains("config.webhook_url` is no web address"), "{}", out.stderr);
        assert!(!out.stderr.contains(SECRET), "{}", out.stderr);
    }
    let none = format!("{TRACE}alerts: {{ handlers: [slack] }}\n");
    let out = bench.run(&none);
    assert!(out.code() != 0 && out.stderr.contains("the slack handler `slack` has no webhook_url"), "{}", out.stderr);
}
