//! Mail against a real server: encryption, logins, receivers, hostile text, and what failures are called.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dsengine::alert::{DeliveryError, Handler, NoJournal, Retry};
use dsengine::config::{EmailPlan, Encryption, HandlerKind, HandlerPlan, MailLogin, Subject};
use dsengine::engine::SystemClock;
use dsengine::handlers;
use dsengine::types::{Alert, Clock, Level, Raised};
use serde_json::{Value, json};

use crate::alerts::{alert, check_handler};
use crate::harness::{ClosedPort, Outcome, root, skip};
use crate::journal::{self, Process, draft, frame, until};
use crate::webhooks::{certificates, run_with};

/// Where `./dev test` installs the library that it uses.
const PYTHON: &str = "target/venv/bin/python";
/// A password, which is shown nowhere.
const CANARY: &str = "C4n4ry/secret";

/// A mail server in a process of its own (`tests/doubles/smtpd.py` says what the options mean). Killed when dropped.
pub(crate) struct Smtpd {
    child: Child,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
}

impl Smtpd {
    /// A server, or a loud skip.
    pub(crate) fn start(mut options: Value) -> Option<Self> {
        let python = root().join(PYTHON);
        let is_there = Command::new(&python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !is_there.is_ok_and(|status| status.success()) {
            skip("email::server", "aiosmtpd is not installed in target/venv (./dev test does it)");
            return None;
        }
        options["cert"] = certificates("server.pem").display().to_string().into();
        options["key"] = certificates("server.key").display().to_string().into();
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(python)
            .arg(root().join("tests/doubles/smtpd.py"))
            .arg(options.to_string())
            .arg(dir.path().join("mails.jsonl"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server prints its port");
        Some(Self { child, port, dir })
    }

    fn records(&self) -> impl Iterator<Item = Value> {
        let text = std::fs::read_to_string(self.dir.path().join("mails.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>().into_iter()
    }

    /// The mails that came, whatever the server answered.
    pub(crate) fn mails(&self) -> Vec<Value> {
        self.records().filter(|record| record["parts"].is_array()).collect()
    }

    /// The logins that were tried.
    pub(crate) fn logins(&self) -> Vec<Value> {
        self.records().filter(|record| record["login"].is_string()).collect()
    }
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run that raises one alert says and ends with, its one handler being mail with this `config`.
fn run(email: &str, keys: &str, env: &[(&str, &str)]) -> Outcome {
    let whom = "from_address: gate@example.com, to_addresses: [guard@example.com]";
    run_with(&format!("{{ name: mail, type: email, config: {{ {whom}, {email} }} }}"), 1, keys, env)
}

fn plan(port: u16, to: &[&str]) -> EmailPlan {
    EmailPlan {
        picture: false,
        server: "127.0.0.1".into(),
        port,
        encryption: Encryption::None,
        login: None,
        from: "Tor Süd <gate@example.com>".parse().unwrap(),
        to: to.iter().map(|to| to.parse().unwrap()).collect(),
        cc: vec![],
        bcc: vec![],
        subject: Subject::read(Subject::DEFAULT).unwrap(),
        body: None,
        min_interval: Duration::ZERO,
        html: true,
        ca_file: None,
        timeout: Duration::from_secs(20),
    }
}

fn handler(plan: EmailPlan) -> Arc<dyn Handler> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    handlers::build(&HandlerPlan::new("mail", HandlerKind::Email(Box::new(plan))), &clock).unwrap()
}

fn deliver(handler: &Arc<dyn Handler>, alert: &Alert) -> Result<(), DeliveryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(handler.deliver(alert))
}

/// The text of a mail's part of this type.
fn part<'m>(mail: &'m Value, kind: &str) -> &'m str {
    let parts = mail["parts"].as_array().unwrap();
    parts.iter().find(|part| part["type"] == kind).and_then(|part| part["text"].as_str()).unwrap_or_default()
}

#[test]
fn a_mail_has_the_alert_as_text_and_html_and_goes_to_everyone() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let mut plan = plan(server.port, &["a@example.com", "Büro <b@example.com>"]);
    plan.cc = vec!["c@example.com".parse().unwrap()];
    // Who is named twice gets one.
    plan.bcc = vec!["hidden@example.com".parse().unwrap(), "a@example.com".parse().unwrap()];
    let mail = handler(plan);
    let one =
        Alert { suppressed: 2, message: "Person <7> am Tor\nseit 12 s & länger".into(), ..(*alert("7")).clone() };
    deliver(&mail, &one).unwrap();
    deliver(&mail, &one).unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    let mail = &mails[0];
    assert_eq!(mail["from"], "gate@example.com");
    assert_eq!(mail["to"], json!(["a@example.com", "b@example.com", "c@example.com", "hidden@example.com"]));
    let headers = &mail["headers"];
    assert_eq!(headers["from"], "Tor Süd <gate@example.com>");
    assert_eq!(headers["to"], "a@example.com, Büro <b@example.com>");
    assert_eq!(headers["cc"], "c@example.com");
    assert_eq!(headers["subject"], "[medium] gate: Person <7> am Tor⏎seit 12 s & länger");
    assert_eq!(headers["message-id"], mails[1]["headers"]["message-id"], "twice the same mail");
    let id = one.id.as_str();
    assert_eq!(headers["message-id"], format!("<{id}.mail@example.com>"));
    assert!(!headers.to_string().contains("hidden"), "{headers}");
    let (text, html) = (part(mail, "text/plain"), part(mail, "text/html"));
    assert!(text.starts_with("Person <7> am Tor\r\nseit 12 s & länger\r\n"), "{text}");
    assert!(html.contains("<p>Person &lt;7&gt; am Tor<br>\r\nseit 12 s &amp; länger</p>"), "{html}");
    for part in ["loitering", "gate", "medium", id, &one.time, "2 before this one"] {
        assert!(text.contains(part) && html.contains(part), "{part}: {text}\n{html}");
    }
    assert!(mail["defects"].as_array().unwrap().is_empty() && mail["longest_line"].as_u64() <= Some(998), "{mail}");
    assert_eq!(mail["hello"], "[127.0.0.1]");
}

#[test]
fn alerts_within_the_interval_come_in_one_mail_and_a_critical_one_at_once() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let hour = EmailPlan { min_interval: Duration::from_secs(3600), ..plan(server.port, &["guard@example.com"]) };
    let mut process = Process::start(Box::new(NoJournal), vec![handler(hour)], &journal::plan());
    let first = process.raise(1).unwrap();
    until("the first comes at once", || process.totals().delivered == 1);
    let (second, third) = (process.raise(2).unwrap(), process.raise(3).unwrap());
    let critical = Raised { level: Some(Level::Critical), message: "fire".into(), ..draft(4) };
    let fourth = process.gate.raise(&critical, &frame("gate", 4)).unwrap();
    until("a critical one takes the others along", || process.totals().delivered == 4);
    let fifth = process.raise(5).unwrap();
    // No more come: none waits any longer.
    process.delivery.finish();
    assert_eq!(process.drain(), 0);
    let mails = server.mails();
    assert_eq!(mails.len(), 3, "{mails:?}");
    let holds = |mail: &Value, alert: &Alert| part(mail, "text/plain").contains(alert.id.as_str());
    for (mail, alerts) in mails.iter().zip([vec![&first], vec![&second, &third, &fourth], vec![&fifth]]) {
        assert!(alerts.iter().all(|alert| holds(mail, alert)), "{mail}");
        assert_eq!(part(mail, "text/plain").matches("Level:").count(), alerts.len(), "{mail}");
    }
    assert_eq!(mails[1]["headers"]["subject"], "[critical] gate: fire (+2 more)");
    process.assert_balance();
}

#[test]
fn each_alert_has_a_mail_of_its_own_where_the_interval_is_zero() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let mail = format!(
        "{{ name: mail, type: email, config: {{ from_address: gate@example.com, to_addresses: [guard@example.com], \
         smtp_server: 127.0.0.1, smtp_port: {}, tls: none, min_interval_seconds: 0 }} }}",
        server.port
    );
    run_with(&mail, 4, "retry_attempts: 3", &[]).expect(0);
    let mails = server.mails();
    assert_eq!(mails.len(), 4, "{mails:?}");
    assert!(mails.iter().all(|mail| part(mail, "text/plain").matches("Level:").count() == 1), "{mails:?}");
}

#[test]
fn a_mail_of_several_alerts_is_the_same_at_each_attempt_and_counts_for_all_of_them() {
    let Some(server) = Smtpd::start(json!({ "answers": { "DATA": ["250 ok", "451 later"] } })) else { return };
    let mail = format!(
        "{{ name: mail, type: email, config: {{ from_address: gate@example.com, to_addresses: [guard@example.com], \
         smtp_server: 127.0.0.1, smtp_port: {}, tls: none, min_interval_seconds: 3600 }} }}",
        server.port
    );
    let out = run_with(&mail, 10, "retry_attempts: 3, retry_delay: 0.1", &[]).expect(0);
    let mails = server.mails();
    let answer = |mail: &&Value| mail["answer"].as_str().is_some_and(|answer| answer.starts_with("250"));
    let taken: Vec<&Value> = mails.iter().filter(answer).collect();
    assert!((1..=3).contains(&taken.len()), "{}: {mails:?}", out.stderr);
    let alerts: usize = taken.iter().map(|mail| part(mail, "text/plain").matches("Level:").count()).sum();
    assert_eq!(alerts, 10, "each in one mail");
    for refused in mails.iter().filter(|mail| !answer(mail)) {
        let again = taken.iter().find(|mail| mail["headers"]["message-id"] == refused["headers"]["message-id"]);
        assert_eq!(again.map(|mail| part(mail, "text/plain")), Some(part(refused, "text/plain")));
    }
}

#[test]
fn no_text_of_an_alert_becomes_a_header_or_a_second_mail() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    let mail = handler(plan(server.port, &["guard@example.com"]));
    let evil =
        "x\r\n.\r\nMAIL FROM:<evil@example.com>\r\nBcc: evil@example.com\r\n\r\n<script>\u{2028}ü=?utf-8?q?=0A?=";
    let evil = Alert {
        message: evil.into(),
        rule: evil.into(),
        key: evil.into(),
        source: evil.into(),
        time: evil.into(),
        ..(*alert("7")).clone()
    };
    deliver(&mail, &evil).unwrap();
    deliver(&mail, &Alert { message: "\r\n.\r\n..\r\n".into(), ..evil }).unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    let usual = [
        "auto-submitted",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "subject",
        "to",
        "x-dsengine-alert",
    ];
    for mail in &mails {
        let mut names: Vec<&str> =
            mail["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, usual);
        assert_eq!((&mail["to"], &mail["from"]), (&json!(["guard@example.com"]), &"gate@example.com".into()));
        assert!(!part(mail, "text/html").contains("<script>"), "{mail}");
        assert!(mail["defects"].as_array().unwrap().is_empty(), "{mail}");
    }
    let subject = mails[0]["headers"]["subject"].as_str().unwrap();
    assert!(!subject.contains(['\r', '\n', '\u{2028}']) && subject.contains("evil@example.com"), "{subject}");
}

#[test]
fn a_mail_handler_keeps_to_the_rules_of_the_seam() {
    let Some(server) = Smtpd::start(json!({})) else { return };
    check_handler(|| handler(plan(server.port, &["guard@example.com"])));
    assert!(server.mails().len() >= 5, "{:?}", server.mails());
}

#[test]
fn a_connection_is_encrypted_to_a_server_that_is_trusted_and_to_no_other() {
    let (Some(starttls), Some(tls)) =
        (Smtpd::start(json!({ "tls": "starttls" })), Smtpd::start(json!({ "tls": "tls" })))
    else {
        return;
    };
    let ca = certificates("ca.pem").display().to_string();
    let keys = "retry_attempts: 1, max_age_seconds: 0";
    for (server, word) in [(&starttls, "starttls"), (&tls, "tls")] {
        let config = format!("smtp_server: localhost, smtp_port: {}, tls: {word}", server.port);
        let out = run(&config, keys, &[]);
        let told = "is of an authority that this machine does not trust";
        assert!(out.stderr.contains(told) && out.stderr.contains("config.ca_file"), "{word}: {}", out.stderr);
        let named = format!("{config}, ca_file: '{ca}'");
        let out = run(&named.replace("localhost", "127.0.0.1"), keys, &[]);
        assert!(out.stderr.contains("is for another name than 127.0.0.1"), "{word}: {}", out.stderr);
        assert!(server.mails().is_empty(), "{word}");
        run(&named, keys, &[]).expect(0);
        run(&config, keys, &[("SSL_CERT_FILE", &ca)]).expect(0);
        let mails = server.mails();
        assert!(mails.len() == 2 && mails.iter().all(|mail| mail["tls"] == true), "{word}: {mails:?}");
    }
    // What the server does not do is not done without.
    let Some(plain) = Smtpd::start(json!({})) else { return };
    for (word, told) in
        [("starttls", "offers no STARTTLS: set tls: tls"), ("tls", "speaks no TLS on this port: set tls")]
    {
        let out = run(&format!("smtp_server: localhost, smtp_port: {}, tls: {word}", plain.port), keys, &[]);
        assert!(out.stderr.contains(told), "{word}: {}", out.stderr);
    }
    // A port that begins with TLS waits for the other side, as does the other side for a greeting.
    let out = run(&format!("smtp_server: localhost, smtp_port: {}, timeout: 2", tls.port), keys, &[]);
    assert!(out.stderr.contains("no greeting (where it begins with TLS, set tls: tls)"), "{}", out.stderr);
    assert!(plain.mails().is_empty());
}

#[test]
fn a_refused_login_is_tried_once_and_its_password_is_in_no_message() {
    // It answers with what it got, as some do.
    let options = json!({ "user": "gate@example.com", "password": "right", "login": "535 5.7.8 {secret} is wrong" });
    let Some(server) = Smtpd::start(options) else { return };
    let login = |password: &str| {
        let config = format!(
            "smtp_server: 127.0.0.1, smtp_port: {}, tls: none, username: gate@example.com, password: '{password}'",
            server.port
        );
        run(&config, "retry_attempts: 5, max_age_seconds: 0, retry_delay: 0.1", &[])
    };
    let out = login(CANARY).expect(1);
    let told = "the server answered 535 (5.7.8 *** is wrong) to the login: it knows no such user and password";
    assert!(out.stderr.contains(told), "{}", out.stderr);
    assert!(!format!("{}{}", out.stdout, out.stderr).contains("C4n4ry"), "{}", out.stderr);
    assert_eq!(server.logins().len(), 1, "{:?}", server.logins());
    login("right").expect(0);
    assert_eq!(server.mails()[0]["user"], "gate@example.com");
    // Without a login, or with one that it does not offer.
    let out = run(
        &format!("smtp_server: 127.0.0.1, smtp_port: {}, tls: none", server.port),
        "retry_attempts: 5, max_age_seconds: 0",
        &[],
    );
    assert!(out.stderr.contains("530") && out.stderr.contains("set username and password"), "{}", out.stderr);
    let Some(open) = Smtpd::start(json!({})) else { return };
    let mut plan = plan(open.port, &["guard@example.com"]);
    plan.login = Some(MailLogin { user: "u".into(), password: CANARY.into() });
    let error = deliver(&handler(plan), &alert("1")).unwrap_err();
    assert!(error.message.contains("offers no login") && error.retry == Retry::Later, "{error}");
}

#[test]
fn an_answer_says_whether_a_mail_is_tried_again_and_what_to_do() {
    for (options, retry, told) in [
        (json!({ "greeting": "421 busy" }), Retry::Later, "421 (busy) to the greeting"),
        (json!({ "greeting": "554 not you" }), Retry::Later, "check smtp_server"),
        (json!({ "greeting": "HTTP/1.1 400 Bad Request" }), Retry::Later, "does not answer like a mail server"),
        (json!({ "answers": { "MAIL": ["550 5.7.1 not from there"] } }), Retry::Never, "check from_address"),
        (json!({ "answers": { "MAIL": ["452 4.3.1 full"] } }), Retry::Later, "no room"),
        (json!({ "answers": { "a@example.com": ["550 5.1.1 no such user"] } }), Retry::Never, "check the address"),
        (json!({ "answers": { "a@example.com": ["450 4.2.0 greylisted"] } }), Retry::Later, "receiver a@example.com"),
        (json!({ "answers": { "a@example.com": ["421 4.3.2 bye"] } }), Retry::Later, "closes the connection"),
        (json!({ "answers": { "DATA": ["451 4.3.0 later"] } }), Retry::Later, "451 (4.3.0 later) to the mail"),
        (json!({ "answers": { "DATA": ["554 5.6.0 spam"] } }), Retry::Never, "does not take the mail"),
        (json!({ "answers": { "DATA": ["552 5.3.4 too big"] } }), Retry::Never, "too large"),
    ] {
        let Some(server) = Smtpd::start(options) else { return };
        let error = deliver(&handler(plan(server.port, &["a@example.com"])), &alert("1")).unwrap_err();
        assert!(error.message.contains(told), "{told}: {error}");
        assert!(error.message.starts_with(&format!("127.0.0.1:{}: ", server.port)), "{error}");
        assert_eq!(error.retry, retry, "{error}");
    }
}

#[test]
fn a_server_that_defers_a_mail_gets_the_same_one_again() {
    let Some(server) = Smtpd::start(json!({ "answers": { "DATA": ["451 later", "421 later"] } })) else { return };
    let config = format!("smtp_server: 127.0.0.1, smtp_port: {}, tls: none", server.port);
    let out = run(&config, "retry_attempts: 3, max_age_seconds: 0, retry_delay: 0.1", &[]).expect(0);
    let mails = server.mails();
    let ids: Vec<&Value> = mails.iter().map(|mail| &mail["headers"]["message-id"]).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(mails[2]["answer"], "250 OK");
    assert!(!out.stderr.contains("given up"), "{}", out.stderr);
}

#[test]
fn a_receiver_who_is_refused_costs_the_others_nothing_and_gives_nobody_two_mails() {
    let answers =
        json!({ "answers": { "full@example.com": ["452 full", "452 full"], "gone@example.com": ["550 gone"] } });
    let Some(server) = Smtpd::start(answers) else { return };
    let mail = handler(plan(server.port, &["full@example.com", "good@example.com", "gone@example.com"]));
    let one = alert("1");
    let error = deliver(&mail, &one).unwrap_err();
    assert_eq!(error.retry, Retry::Later);
    for part in ["full@example.com", "gone@example.com", "the others got it"] {
        assert!(error.message.contains(part), "{error}");
    }
    // Only he is left.
    let error = deliver(&mail, &one).unwrap_err();
    assert!(error.retry == Retry::Later && !error.message.contains("gone@example.com"), "{error}");
    // It is taken for him, and stays a failure: one receiver never got it.
    let error = deliver(&mail, &one).unwrap_err();
    assert!(error.retry == Retry::Partly && error.message.contains("gone@example.com"), "{error}");
    let to: Vec<Value> = server.mails().iter().map(|mail| mail["to"].clone()).collect();
    assert_eq!(to, [json!(["good@example.com"]), json!(["full@example.com"])]);
    // Somebody sends it again: everybody gets it.
    deliver(&mail, &one).unwrap();
    assert_eq!(server.mails()[2]["to"].as_array().unwrap().len(), 3);
    // Another alert begins anew.
    deliver(&mail, &alert("2")).unwrap();
    assert_eq!(server.mails()[3]["to"].as_array().unwrap().len(), 3);
}

#[test]
fn a_server_that_is_not_there_is_told_by_what_is_wrong() {
    let closed = ClosedPort::take();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let hung_port = hung.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // It greets half, and goes.
        hung.incoming().map_while(Result::ok).for_each(|mut stream| drop(stream.write_all(b"220-mail")));
    });
    let none = EmailPlan { server: "no-such-host.invalid".into(), ..plan(25, &["a@example.com"]) };
    let quick =
        EmailPlan { timeout: Duration::from_secs(1), ..plan(silent.local_addr().unwrap().port(), &["a@example.com"]) };
    for (plan, told) in [
        (plan(closed.port, &["a@example.com"]), "nobody listens at 127.0.0.1:"),
        (none, "the name no-such-host.invalid is not known"),
        (quick.clone(), "connected, and no greeting"),
        (EmailPlan { encryption: Encryption::Tls, ..quick }, "no TLS and greeting from 127.0.0.1:"),
        (plan(hung_port, &["a@example.com"]), "hung up before it answered"),
    ] {
        let error = deliver(&handler(plan), &alert("1")).unwrap_err();
        assert!(error.message.contains(told) && error.retry == Retry::Later, "{told}: {error}");
    }
}
