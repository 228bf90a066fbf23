//! `alerts.handlers[].config` of mail: what a real mail server gets.

use serde_json::{Value, json};

use super::{ALARM, Bench, TRACE};
use crate::email::Smtpd;
use crate::webhooks::certificates;

/// Sender and receiver, where they are not what is looked at.
const WHOM: &str = "from_address: gate@example.com, to_addresses: [guard@example.com]";

/// The trace's one strong alert, mailed with these settings, until the program has ended with this code.
#[track_caller]
fn mailed(bench: &Bench, settings: &str, code: i32) {
    let alerts = "throttle_seconds: 60, min_confidence: 0.8, retry_attempts: 1, max_age_seconds: 0";
    let handler = format!("{{ name: mail, type: email, config: {{ {settings} }} }}");
    bench.run(&format!("{TRACE}{ALARM}alerts: {{ {alerts}, handlers: [{handler}] }}\n")).expect(code);
}

/// The last mail that came.
fn last(server: &Smtpd) -> Value {
    server.mails().pop().expect("a mail")
}

#[test]
fn mails_are_encrypted_as_they_are_told() {
    // Nothing else listens there: the usual server is another address.
    let Some(plain) = Smtpd::start(json!({ "host": "127.0.0.2" })) else { return };
    let bench = Bench::new();
    let named = format!("{WHOM}, smtp_server: 127.0.0.2, smtp_port: {}", plain.port);
    for settings in ["tls: none", "use_tls: false"] {
        mailed(&bench, &format!("{named}, {settings}"), 0);
        assert_eq!(last(&plain)["tls"], false, "{settings}");
    }
    mailed(&bench, &named, 1);
    mailed(&bench, &format!("{WHOM}, smtp_port: {}, tls: none", plain.port), 1);
    assert_eq!(plain.mails().len(), 2, "STARTTLS is the usual, and the server is named");
    let servers = ["starttls", "tls"].map(|tls| Smtpd::start(json!({ "tls": tls })));
    let [Some(starttls), Some(tls)] = &servers else { return };
    let ca = format!("ca_file: '{}'", certificates("ca.pem").display());
    for (server, settings) in
        [(starttls, "tls: starttls"), (starttls, "use_tls: true"), (tls, "tls: tls"), (tls, "use_ssl: true")]
    {
        let settings = format!("{WHOM}, smtp_server: localhost, smtp_port: {}, {settings}", server.port);
        let before = server.mails().len();
        mailed(&bench, &settings, 1);
        assert_eq!(server.mails().len(), before, "{settings}: an authority that is not trusted");
        mailed(&bench, &format!("{settings}, {ca}"), 0);
        assert_eq!((server.mails().len(), &last(server)["tls"]), (before + 1, &true.into()), "{settings}");
    }
}

#[test]
fn mails_are_sent_by_the_user_that_is_set() {
    let Some(server) = Smtpd::start(json!({ "user": "guard", "password": "right" })) else { return };
    let bench = Bench::new();
    let settings = format!("{WHOM}, smtp_server: 127.0.0.1, smtp_port: {}, tls: none", server.port);
    mailed(&bench, &settings, 1);
    mailed(&bench, &format!("{settings}, username: guard, password: wrong"), 1);
    mailed(&bench, &format!("{settings}, username: other, password: right"), 1);
    assert!(server.mails().is_empty());
    mailed(&bench, &format!("{settings}, username: guard, password: right"), 0);
    assert_eq!(last(&server)["user"], "guard");
    let users: Vec<Value> = server.logins().iter().map(|login| login["login"].clone()).collect();
    assert_eq!(users, ["guard", "other", "guard"]);
}

#[test]
fn mails_go_from_and_to_whom_they_are_told() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let bench = Bench::new();
    let settings = format!("smtp_server: 127.0.0.1, smtp_port: {}, tls: none", server.port);
    for (keys, from, to, shown) in [
        ("from_address: a@example.com, to_addresses: [b@example.com]", "a@example.com", &["b@example.com"][..], "-"),
        ("from_email: c@example.com, to_emails: [d@example.com]", "c@example.com", &["d@example.com"], "-"),
        (
            "from_address: a@example.com, to_addresses: [b@example.com], cc: [e@example.com], bcc: [f@example.com]",
            "a@example.com",
            &["b@example.com", "e@example.com", "f@example.com"],
            "e@example.com",
        ),
    ] {
        mailed(&bench, &format!("{settings}, {keys}"), 0);
        let mail = last(&server);
        assert_eq!((&mail["from"], &mail["to"]), (&from.into(), &json!(to)), "{keys}");
        assert_eq!((&mail["headers"]["from"], &mail["headers"]["to"]), (&from.into(), &to[0].into()), "{keys}");
        assert_eq!(mail["headers"]["cc"].as_str().unwrap_or("-"), shown, "{keys}");
        assert!(mail["headers"]["bcc"].is_null(), "{keys}");
    }
}

#[test]
fn mails_look_as_they_are_told() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let bench = Bench::new();
    let settings = format!("{WHOM}, smtp_server: 127.0.0.1, smtp_port: {}, tls: none", server.port);
    for (keys, subject, types) in [
        ("timeout: 20", "[medium] a: seen", &["text/plain", "text/html"][..]),
        ("subject: '{rule}/{key} at {source}'", "seen/car at a", &["text/plain", "text/html"]),
        ("subject_template: 'Gate {{1}}: {message}', html: true", "Gate {1}: seen", &["text/plain", "text/html"]),
        ("html: false", "[medium] a: seen", &["text/plain"]),
        ("include_html: false", "[medium] a: seen", &["text/plain"]),
    ] {
        mailed(&bench, &format!("{settings}, {keys}"), 0);
        let mail = last(&server);
        assert_eq!(mail["headers"]["subject"], subject, "{keys}");
        let parts = mail["parts"].as_array().unwrap().iter();
        assert_eq!(parts.map(|part| part["type"].as_str().unwrap()).collect::<Vec<_>>(), types, "{keys}");
    }
}

#[test]
fn mails_have_the_text_that_is_set() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let bench = Bench::new();
    let settings = format!("{WHOM}, smtp_server: 127.0.0.1, smtp_port: {}, tls: none", server.port);
    mailed(&bench, &format!("{settings}, body_template: \"{{rule}}:\\n{{message}} at <{{source}}>\""), 0);
    let mail = last(&server);
    let text = |kind: &str| {
        let parts = mail["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part["type"] == kind).unwrap_or_else(|| panic!("{mail}"));
        part["text"].as_str().unwrap().replace('\r', "")
    };
    assert_eq!(text("text/plain"), "seen:\nseen at <a>\n");
    assert!(text("text/html").contains("<p>seen:<br>\nseen at &lt;a&gt;</p>"), "{}", text("text/html"));
}
