//! The settings of mail: what is wrong is said at its place, and the old names are read.

use std::time::Duration;

use dsengine::config::{self, EmailPlan, Encryption, HandlerKind, Request};

use crate::harness::{Dsengine, root, write};
use crate::webhooks::certificates;

#[test]
fn validate_reads_the_file_of_authorities() {
    let dir = tempfile::tempdir().unwrap();
    let validate = |ca_file: &str| {
        let config = format!(
            "sources: [{{ id: a, uri: 'test:size=64x64,fps=5' }}]\nmonitoring: {{ enabled: false }}\nalerts: {{ \
             handlers: [{{ name: email, config: {{ from_address: a@example.com, to_addresses: [b@example.com], \
             ca_file: '{ca_file}' }} }}] }}\n"
        );
        write(dir.path(), "c.yaml", &config);
        Dsengine::new(["validate", "c.yaml"]).cwd(dir.path()).run()
    };
    validate(&certificates("ca.pem").display().to_string()).expect(0);
    write(dir.path(), "empty.pem", "nothing here\n");
    for (file, told) in [("none.pem", "cannot be read"), ("empty.pem", "holds no certificate")] {
        let out = validate(file).expect(1);
        assert!(out.stderr.contains(told) && out.stderr.contains("ca_file"), "{}", out.stderr);
    }
}

#[test]
fn the_mail_of_the_readme_can_be_sent() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("name: email")).expect("README has mail");
    let dir = tempfile::tempdir().unwrap();
    let config =
        format!("sources: [{{ id: a, uri: 'test:size=64x64,fps=5' }}]\nmonitoring: {{ enabled: false }}\n{block}");
    write(dir.path(), "c.yaml", &config);
    let out = Dsengine::new(["validate", "c.yaml"]).cwd(dir.path()).env("SMTP_PASSWORD", "C4n4ry").run().expect(0);
    assert!(!format!("{}{}", out.stdout, out.stderr).contains("C4n4ry"), "{}", out.stderr);
}

/// The plan of a mail handler with this `config` and the names of its warnings, or what is wrong with it.
fn read(settings: &str) -> Result<(Option<EmailPlan>, Vec<&'static str>), String> {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "sources: [{{ id: a, uri: test }}]\nalerts:\n  handlers:\n    - name: email\n      config: {{ {settings} }}\n"
    );
    write(dir.path(), "c.yaml", &text);
    let request = Request { config: Some("c.yaml".into()), working_dir: dir.path().to_owned(), ..Request::default() };
    let loaded = config::load(&request).map_err(|error| error.to_string())?;
    let plan = loaded.plan.handlers.iter().find_map(|handler| match &handler.kind {
        HandlerKind::Email(plan) => Some((**plan).clone()),
        _ => None,
    });
    Ok((plan, loaded.warnings.iter().map(|warning| warning.name).collect()))
}

#[test]
fn what_is_wrong_with_a_mail_handler_is_said_at_its_place() {
    let good = "from_address: a@example.com, to_addresses: [b@example.com]";
    for (settings, parts) in [
        ("subject: '{levl} x'", &["an alert has no `levl`", "did you mean {level}?", "{key}"][..]),
        ("subject: 'at {zone}'", &["an alert has no `zone`", "known are {level}, {rule}"]),
        ("subject: 'a {level'", &["a brace of the subject has no partner"]),
        ("subject: \"a\\nBcc: x@example.com\"", &["the subject holds a control character"]),
        ("body_template: 'x {levl}'", &["an alert has no `levl`", "did you mean {level}?"]),
        ("body_template: 'x {level'", &["a brace of the text has no partner"]),
        ("body_template: \"a\\u0007\"", &["the text holds a control character"]),
        ("cc: [x@example.com, \"x@example.com\\nBcc: y\"]", &["this is no mail address", "an address is one line"]),
        ("cc: [guard]", &["this is no mail address", "expected name@example.com"]),
        ("bcc: [ü@example.com]", &["letters beyond ASCII"]),
        ("to_emails: [c@example.com]", &["`to_addresses` is set twice"]),
        ("from_email: c@example.com", &["`from_address` is set twice"]),
        ("subject: a, subject_template: b", &["`subject` is set twice"]),
        ("html: true, include_html: true", &["`html` is set twice"]),
        ("tls: tls, use_ssl: true", &["the encryption is set twice"]),
        ("tls: ssl", &["starttls", "none"]),
        ("smtp_server: 'mail.example.com:25'", &["the mail server is no host", "smtp_port"]),
        ("tls: none, ca_file: ca.pem", &["`ca_file` has no effect without TLS", "set tls: starttls"]),
        ("username: u", &["the user has no password"]),
        ("password: C4n4ry", &["the password is of no user"]),
        (
            "tls: none, smtp_server: mail.example.com, username: u, password: C4n4ry",
            &["the password would go to the mail server unencrypted", "set tls: starttls"],
        ),
        ("use_tls: false, smtp_server: 10.0.0.1, username: u, password: C4n4ry", &["unencrypted"]),
        ("timeout: 1000", &["out of range"]),
        (
            "min_interval_seconds: 600 }\n      max_age_seconds: 60\n      where: { min_level: low",
            &["alerts expire before they are mailed", "up to 600 s", "after 60 s"],
        ),
    ] {
        let error = read(&format!("{good}, {settings}")).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{settings}: {part}: {error}");
        }
        assert!(error.contains("c.yaml:") && !error.contains("C4n4ry"), "{settings}: {error}");
    }
}

#[test]
fn a_mail_handlers_settings_have_the_seeds_names_too() {
    let good = "to_emails: [b@example.com]";
    let read = |settings: &str| read(&format!("{good}, {settings}")).unwrap();
    let plan = |settings: &str| read(settings).0.unwrap_or_else(|| panic!("{settings}"));
    let usual = plan("from_email: a@example.com");
    assert_eq!((&*usual.server, usual.port, usual.encryption), ("localhost", 587, Encryption::StartTls));
    assert!(usual.html && usual.timeout == Duration::from_secs(30) && usual.login.is_none(), "{usual:?}");
    for (settings, encryption, port) in [
        ("use_tls: true, use_ssl: false", Encryption::StartTls, 587),
        ("use_ssl: true", Encryption::Tls, 465),
        ("use_tls: true, use_ssl: true", Encryption::Tls, 465),
        ("use_tls: false", Encryption::None, 25),
        ("tls: none, smtp_port: 2525", Encryption::None, 2525),
    ] {
        let plan = plan(&format!("from_email: a@example.com, {settings}"));
        assert_eq!((plan.encryption, plan.port), (encryption, port), "{settings}");
    }
    let own = plan("username: gate@example.com, password: x, smtp_server: '::1', tls: none");
    assert_eq!((own.from.email.to_string(), &*own.server), ("gate@example.com".to_owned(), "::1"));
    // Nobody to write to, or nobody who writes: it does not run, and is no mistake in the file.
    for settings in ["username: u, password: x", "to_addresses: []"] {
        let text = if settings.contains("to_addresses") { settings.to_owned() } else { format!("{good}, {settings}") };
        let (plan, warnings) = self::read(&text).unwrap();
        assert!(plan.is_none() && warnings.contains(&"email-without-address"), "{settings}: {warnings:?}");
    }
    assert_eq!(usual.min_interval, Duration::from_secs(60));
    assert_eq!(plan("from_email: a@example.com, min_interval_seconds: 300").min_interval, Duration::from_secs(300));
}
