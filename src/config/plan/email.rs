//! Mail: the server, the addresses and the subject.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;

use crate::types::{Alert, one_line};

/// Mails alerts through one server.
#[derive(Debug, Clone, PartialEq)]
pub struct EmailPlan {
    /// The server's name or address.
    pub server: String,
    /// The server's port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: Encryption,
    /// User and password, if the server wants them.
    pub login: Option<MailLogin>,
    /// The sender.
    pub from: Mailbox,
    /// Receivers; at least one.
    pub to: Vec<Mailbox>,
    /// Receivers of a copy.
    pub cc: Vec<Mailbox>,
    /// Receivers of a copy that the others do not see.
    pub bcc: Vec<Mailbox>,
    /// The subject.
    pub subject: Subject,
    /// The text of an alert in the mail; `None` for all that is known of it.
    pub body: Option<MailBody>,
    /// Alerts within this time of the last mail come in one.
    pub min_interval: Duration,
    /// Whether the mail has HTML beside its text.
    pub html: bool,
    /// Whether the alert's picture is attached.
    pub picture: bool,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Timeout of a delivery.
    pub timeout: Duration,
}

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// It begins unencrypted and must change to TLS by STARTTLS.
    #[default]
    StartTls,
    /// TLS from its begin.
    Tls,
    /// None.
    None,
}

impl Encryption {
    /// The usual port.
    pub fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// A user at a mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct MailLogin {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for MailLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A field of an alert that a subject may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertField {
    /// The level.
    Level,
    /// The rule.
    Rule,
    /// The source.
    Source,
    /// The message.
    Message,
    /// The capture time.
    Time,
    /// The id.
    Id,
    /// The key.
    Key,
}

impl AlertField {
    /// All fields.
    pub const ALL: [Self; 7] = [Self::Level, Self::Rule, Self::Source, Self::Message, Self::Time, Self::Id, Self::Key];

    /// The word in braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Rule => "rule",
            Self::Source => "source",
            Self::Message => "message",
            Self::Time => "time",
            Self::Id => "id",
            Self::Key => "key",
        }
    }

    /// Its value in an alert.
    pub fn of(self, alert: &Alert) -> &str {
        match self {
            Self::Level => alert.level.as_str(),
            Self::Rule => &alert.rule,
            Self::Source => alert.source.as_str(),
            Self::Message => &alert.message,
            Self::Time => &alert.time,
            Self::Id => alert.id.as_str(),
            Self::Key => &alert.key,
        }
    }
}

/// A part of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectPart {
    /// Text as it is.
    Text(String),
    /// A field of the alert.
    Field(AlertField),
}

/// Why a text is not a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectError {
    /// No field has this name.
    Unknown(String),
    /// A brace has no partner.
    Brace,
    /// It holds a line break or another control character.
    Control,
}

/// Characters of a mail's subject.
pub const SUBJECT_CHARS_MAX: usize = 200;

/// A mail's subject: text with fields of the alert in braces. Braces that are doubled stand for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(pub Vec<SubjectPart>);

impl Subject {
    /// The subject of a mail where none is configured.
    pub const DEFAULT: &str = "[{level}] {source}: {message}";

    /// Reads a subject.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(text: &str) -> Result<Self, SubjectError> {
        if text.contains(char::is_control) {
            return Err(SubjectError::Control);
        }
        parts(text).map(Self)
    }

    /// The subject of an alert's mail: one line of bounded length.
    pub fn of(&self, alert: &Alert) -> String {
        let mut out = String::new();
        for part in &self.0 {
            let text = match part {
                SubjectPart::Text(text) => text,
                SubjectPart::Field(field) => field.of(alert),
            };
            // More than these are not shown, so a long message is not copied.
            out.extend(text.chars().take(SUBJECT_CHARS_MAX + 1));
        }
        // A text that looks like an encoded word would be decoded.
        let line = one_line(&out).replace("=?", "= ?");
        match line.char_indices().nth(SUBJECT_CHARS_MAX) {
            None => line,
            Some((end, _)) => format!("{}…", &line[..end]),
        }
    }
}

/// The text of an alert in a mail, as a [`Subject`], of several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailBody(pub Vec<SubjectPart>);

impl MailBody {
    /// Reads a body.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(text: &str) -> Result<Self, SubjectError> {
        match text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            true => Err(SubjectError::Control),
            false => parts(&text.replace('\r', "")).map(Self),
        }
    }

    /// The text of an alert, of at most `chars_max` characters of each of its fields.
    pub fn of(&self, alert: &Alert, chars_max: usize) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                SubjectPart::Text(text) => out.push_str(text),
                SubjectPart::Field(field) => out.extend(field.of(alert).chars().take(chars_max)),
            }
        }
        out
    }
}

/// The parts of a text with fields in braces.
fn parts(text: &str) -> Result<Vec<SubjectPart>, SubjectError> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            plain.push_str(&from[..1]);
            rest = after;
            continue;
        }
        let (name, after) = from.strip_prefix('{').and_then(|from| from.split_once('}')).ok_or(SubjectError::Brace)?;
        let field = AlertField::ALL.into_iter().find(|field| field.as_str() == name.trim());
        let field = field.ok_or_else(|| SubjectError::Unknown(name.trim().to_owned()))?;
        if !plain.is_empty() {
            parts.push(SubjectPart::Text(std::mem::take(&mut plain)));
        }
        parts.push(SubjectPart::Field(field));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(SubjectPart::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(message: &str) -> Alert {
        Alert::sample(message)
    }

    #[test]
    fn a_subject_is_filled_with_the_alerts_fields() {
        let alert = alert("stayed");
        for (text, shown) in [
            (Subject::DEFAULT, "[high] gate: stayed"),
            ("{rule}/{ key } {time}", "loitering/7 2026-01-01T00:00:00.000Z"),
            ("{{level}} is {level}}}", "{level} is high}"),
            ("{id}", "00000000000000000000000000000000"),
            ("Ü: {message}{message}", "Ü: stayedstayed"),
            ("", ""),
        ] {
            assert_eq!(Subject::read(text).unwrap().of(&alert), shown, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_subject_says_why() {
        for (text, error) in [
            ("{levl}", SubjectError::Unknown("levl".into())),
            ("{}", SubjectError::Unknown(String::new())),
            ("{level", SubjectError::Brace),
            ("level}", SubjectError::Brace),
            ("a\r\nBcc: x@y.example", SubjectError::Control),
        ] {
            assert_eq!(Subject::read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_body_has_lines_and_the_same_fields() {
        let body = MailBody::read("{rule}:\r\n\t{message} {{x}}\n").unwrap();
        assert_eq!(body.of(&alert("stayed"), 100), "loitering:\n\tstayed {x}\n");
        assert_eq!(body.of(&alert("stayed"), 2), "lo:\n\tst {x}\n");
        assert_eq!(MailBody::read("{levl}"), Err(SubjectError::Unknown("levl".into())));
        assert_eq!(MailBody::read("a\u{1b}"), Err(SubjectError::Control));
    }

    #[test]
    fn a_subject_is_one_line_of_bounded_length_and_not_decoded() {
        let subject = Subject::read("{message}").unwrap();
        let shown = subject.of(&alert("a\r\nBcc: x@y.example\u{2028}b =?utf-8?q?=0A?="));
        assert!(!shown.contains(char::is_control) && !shown.contains('\u{2028}') && !shown.contains("=?"), "{shown}");
        let long = subject.of(&alert(&"ü".repeat(100_000)));
        assert_eq!(long.chars().count(), SUBJECT_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_password_is_not_in_a_plans_debug_output() {
        let login = MailLogin { user: "guard".into(), password: "C4n4ry".into() };
        let shown = format!("{login:?}");
        assert!(shown.contains("guard") && !shown.contains("C4n4ry"), "{shown}");
    }
}
