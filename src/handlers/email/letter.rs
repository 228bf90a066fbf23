//! The mail of an alert, or of several: headers, text, and HTML beside it.
//!
//! What comes from scripts and cameras is one line in a header, escaped in HTML, and bounded everywhere.

use std::sync::Arc;
use std::time::SystemTime;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Message, MultiPart, SinglePart};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::EmailPlan;
use crate::types::{Alert, AlertId, lines, one_line};

/// Characters of an alert's message.
const MESSAGE_CHARS_MAX: usize = 10_000;
/// Characters of another field.
const FIELD_CHARS_MAX: usize = 300;
/// Detections that are listed.
const DETECTIONS_MAX: usize = 20;

/// Between two alerts of one text.
const RULE: &str = "----------------------------------------";

/// The mail as it is sent, of an alert and of `more` that came with it. `handler` makes the mails of two handlers
/// different ones.
pub(super) fn write(
    plan: &EmailPlan,
    handler: &str,
    alert: &Alert,
    more: &[Arc<Alert>],
    sent: SystemTime,
    picture: Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let mut builder = Message::builder()
        .from(plan.from.clone())
        .date(sent)
        .message_id(Some(message_id(plan, handler, alert)))
        .subject(subject(plan, alert, more));
    for mailbox in &plan.to {
        builder = builder.to(mailbox.clone());
    }
    for mailbox in &plan.cc {
        builder = builder.cc(mailbox.clone());
    }
    // Nobody's absence note shall answer it.
    for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Dsengine-Alert", alert.id.as_str())] {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()));
    }
    let (text, html) = bodies(plan, alert, more);
    let both = |text| MultiPart::alternative_plain_html(text, html);
    let letter = match (plan.html, picture) {
        (true, None) => builder.multipart(both(text)),
        (false, None) => builder.singlepart(SinglePart::plain(text)),
        (is_html, Some(jpeg)) => {
            let mixed = MultiPart::mixed();
            let mixed = if is_html { mixed.multipart(both(text)) } else { mixed.singlepart(SinglePart::plain(text)) };
            builder.multipart(mixed.singlepart(attachment(alert, jpeg)?))
        }
    };
    letter.map(|letter| letter.formatted()).map_err(|error| format!("the mail cannot be written: {error}"))
}

/// The alert's picture, named after its id.
fn attachment(alert: &Alert, jpeg: Vec<u8>) -> Result<SinglePart, String> {
    let kind = ContentType::parse("image/jpeg").map_err(|error| format!("the picture has no type: {error}"))?;
    // An id that came from elsewhere may be any text.
    let name = AlertId::parse(alert.id.as_str()).map_or_else(|| "alert".to_owned(), |id| id.to_string());
    Ok(Attachment::new(format!("{name}.jpg")).body(jpeg, kind))
}

/// The subject of the worst of the alerts, and how many more there are.
fn subject(plan: &EmailPlan, alert: &Alert, more: &[Arc<Alert>]) -> String {
    let worst = more.iter().map(|alert| &**alert).fold(alert, |a, b| if b.level > a.level { b } else { a });
    let subject = plan.subject.of(worst);
    if more.is_empty() { subject } else { format!("{subject} (+{} more)", more.len()) }
}

/// The text and the HTML of the alerts.
fn bodies(plan: &EmailPlan, alert: &Alert, more: &[Arc<Alert>]) -> (String, String) {
    let chars_max = (MESSAGE_CHARS_MAX / (1 + more.len())).max(FIELD_CHARS_MAX);
    let (mut texts, mut parts) = (Vec::new(), Vec::new());
    for alert in std::iter::once(alert).chain(more.iter().map(|alert| &**alert)) {
        let (message, fields) = match &plan.body {
            Some(body) => (cut(&lines(&body.of(alert, chars_max)), MESSAGE_CHARS_MAX), Vec::new()),
            None => (cut(&lines(&alert.message), chars_max), fields(alert)),
        };
        texts.push(text(&message, &fields));
        parts.push(part(&message, &fields));
    }
    (texts.join(&format!("\n{RULE}\n\n")), html(&parts.join("<hr>\n")))
}

/// The same for each attempt, so that a receiver drops what comes twice.
fn message_id(plan: &EmailPlan, handler: &str, alert: &Alert) -> String {
    let handler = utf8_percent_encode(handler, NON_ALPHANUMERIC);
    format!("<{}.{handler}@{}>", alert.id, plan.from.email.domain())
}

/// The fields of an alert other than its message.
fn fields(alert: &Alert) -> Vec<(&'static str, String)> {
    let field = |text: &str| cut(&one_line(text), FIELD_CHARS_MAX);
    let mut fields = vec![
        ("Level", field(alert.level.as_str())),
        ("Source", field(alert.source.as_str())),
        ("Rule", field(&alert.rule)),
        ("Key", field(&alert.key)),
        ("Captured", field(&alert.time)),
    ];
    if !alert.tags.is_empty() {
        fields.push(("Tags", field(&alert.tags.join(" "))));
    }
    if alert.suppressed > 0 {
        fields.push(("Held back", format!("{} before this one", alert.suppressed)));
    }
    for detection in alert.detections.iter().take(DETECTIONS_MAX) {
        let track = detection.track_id.map(|id| format!(", track {id}")).unwrap_or_default();
        fields.push(("Seen", field(&format!("{} {:.2}{track}", detection.label, detection.confidence))));
    }
    if let Some(more) = alert.detections.len().checked_sub(DETECTIONS_MAX).filter(|more| *more > 0) {
        fields.push(("Seen", format!("{more} more")));
    }
    fields.push(("Id", field(alert.id.as_str())));
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

fn text(message: &str, fields: &[(&str, String)]) -> String {
    let mut out = format!("{message}\n{}", if fields.is_empty() { "" } else { "\n" });
    for (name, value) in fields {
        out.push_str(&format!("{:<10} {value}\n", format!("{name}:")));
    }
    out
}

/// A whole page.
fn html(body: &str) -> String {
    format!("<!DOCTYPE html>\n<html><body>\n{body}</body></html>\n")
}

/// An alert's part of the page.
fn part(message: &str, fields: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th align=\"left\">{name}</th><td>{}</td></tr>\n", escaped(value))
    };
    let rows: String = fields.iter().map(row).collect();
    let message = escaped(message).replace('\n', "<br>\n");
    match fields.is_empty() {
        true => format!("<p>{message}</p>\n"),
        false => format!("<p>{message}</p>\n<table>\n{rows}</table>\n"),
    }
}

/// A text without meaning in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The first so many characters of a text.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} … ({} characters more)", &text[..end], text[end..].chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Encryption, MailBody, Subject};
    use crate::types::{AlertId, BBox, Detection, Level};

    fn alert() -> Alert {
        Alert { id: AlertId::new(0, [7; 10]), suppressed: 3, ..Alert::sample("stayed") }
    }

    fn plan() -> EmailPlan {
        EmailPlan {
            picture: false,
            server: "localhost".into(),
            port: 25,
            encryption: Encryption::None,
            login: None,
            from: "Gate <gate@example.com>".parse().unwrap(),
            to: vec!["a@example.com".parse().unwrap()],
            cc: vec!["c@example.com".parse().unwrap()],
            bcc: vec!["hidden@example.com".parse().unwrap()],
            subject: Subject::read(Subject::DEFAULT).unwrap(),
            body: None,
            min_interval: Duration::ZERO,
            html: true,
            ca_file: None,
            timeout: Duration::from_secs(1),
        }
    }

    fn written(plan: &EmailPlan, alert: &Alert) -> String {
        let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(784_887_151);
        String::from_utf8(write(plan, "m\u{fc}: x", alert, &[], sent, None).unwrap()).unwrap()
    }

    #[test]
    fn the_headers_name_the_alert_the_time_and_those_who_may_be_seen() {
        let mail = written(&plan(), &alert());
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        for line in [
            "Date: Tue, 15 Nov 1994 08:12:31 +0000",
            "Subject: [high] gate: stayed",
            "To: a@example.com",
            "Cc: c@example.com",
            "Auto-Submitted: auto-generated",
            "Message-ID: <00000000000007070707070707070707.m%C3%BC%3A%20x@example.com>",
        ] {
            assert!(head.lines().any(|found| found == line), "{line}: {head}");
        }
        assert!(!mail.contains("hidden@example.com"), "{mail}");
        assert!(mail.contains("Held back: 3 before this one"), "{mail}");
    }

    #[test]
    fn no_text_of_an_alert_becomes_a_header_or_html() {
        let evil = "x\r\nBcc: evil@example.com\r\n\r\n<script>alert('&')</script>\u{0}";
        let alert = Alert { message: evil.into(), rule: evil.into(), key: evil.into(), source: evil.into(), ..alert() };
        let mail = written(&plan(), &alert);
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc:") || line.contains("script")), "{head}");
        assert!(!mail.contains('\0'), "{mail}");
        let shown = part(evil, &fields(&alert));
        assert!(!shown.contains("<script>") && shown.contains("&lt;script&gt;alert(&#39;&amp;&#39;)"), "{shown}");
    }

    #[test]
    fn a_mail_of_several_alerts_has_all_of_them_and_the_subject_of_the_worst() {
        let other = |level, message: &str| Arc::new(Alert { level, ..Alert::sample(message) });
        let more = [other(Level::Critical, "fire <1>"), other(Level::Low, "wind")];
        let short = EmailPlan { body: Some(MailBody::read("{level}: {message}").unwrap()), ..plan() };
        assert_eq!(subject(&short, &alert(), &more), "[critical] gate: fire <1> (+2 more)");
        let (text, page) = bodies(&short, &alert(), &more);
        assert_eq!(text, format!("high: stayed\n\n{RULE}\n\ncritical: fire <1>\n\n{RULE}\n\nlow: wind\n"));
        assert!(page.contains("<p>high: stayed</p>\n<hr>\n<p>critical: fire &lt;1&gt;</p>"), "{page}");
        let (text, _) = bodies(&plan(), &alert(), &more);
        assert_eq!(text.matches("Level:").count(), 3, "{text}");
        let long: Vec<_> = (0..99).map(|_| other(Level::Low, &"x".repeat(1_000_000))).collect();
        let (text, page) = bodies(&plan(), &alert(), &long);
        assert!(text.len() < 200_000 && page.len() < 200_000, "{} {}", text.len(), page.len());
    }

    #[test]
    fn a_mail_has_a_largest_size() {
        let long = "<".repeat(1_000_000);
        let seen = Detection::new("x".repeat(100_000), 0, 0.5, BBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 });
        let alert =
            Alert { message: long.clone(), rule: long.clone(), key: long, detections: vec![seen; 100], ..alert() };
        let mail = written(&plan(), &alert);
        assert!(mail.len() < 200_000, "{}", mail.len());
        assert!(mail.lines().all(|line| line.len() <= 998), "no line is longer than SMTP allows");
        assert!(mail.contains("80 more"));
        let text = written(&EmailPlan { html: false, ..plan() }, &alert);
        assert!(!text.contains("<html>") && text.len() < mail.len());
    }
}
