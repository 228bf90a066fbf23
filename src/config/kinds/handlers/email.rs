//! `email`: a mail for each alert.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Host;

use super::Type;
use crate::config::build::Site;
use crate::config::nearest::nearest;
use crate::config::plan::{AlertField, EmailPlan, Encryption, HandlerKind, MailBody, MailLogin, Subject, SubjectError};
use crate::config::schema::Handler;
use crate::config::warning::{Severity, Warning};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Email {
    /// email: the mail server. Default localhost. Example: mail.example.com.
    smtp_server: Option<String>,
    /// email: its port. Default 587, with `tls: tls` 465, with `tls: none` 25. Range 1–65535. Example: 2525.
    #[schemars(range(min = 1, max = 65_535))]
    smtp_port: Option<u32>,
    /// email: user at the mail server. Default none. Example: alerts@example.com.
    username: Option<String>,
    /// email: password at the mail server. Default none. Example: "${env:SMTP_PASSWORD}".
    password: Option<String>,
    /// email: how the connection is encrypted: starttls, tls (from its begin) or none. Default starttls. Example: tls.
    tls: Option<MailEncryption>,
    /// email: false says `tls: none`, another way to write it. Default true. Example: false.
    use_tls: Option<bool>,
    /// email: true says `tls: tls`, another way to write it. Default false. Example: true.
    use_ssl: Option<bool>,
    /// email: the sender. Default: `username`, where that is a mail address. Example: "North gate <gate@example.com>".
    from_address: Option<String>,
    /// email: another way to write `from_address`. Default none. Example: gate@example.com.
    from_email: Option<String>,
    /// email: the receivers. Default none. Example: [guard@example.com].
    #[schemars(length(max = 100))]
    to_addresses: Option<Vec<String>>,
    /// email: another way to write `to_addresses`. Default none. Example: [guard@example.com].
    #[schemars(length(max = 100))]
    to_emails: Option<Vec<String>>,
    /// email: receivers of a copy. Default none. Example: [office@example.com].
    #[schemars(length(max = 100))]
    cc: Option<Vec<String>>,
    /// email: receivers of a copy whom the others do not see. Default none. Example: [archive@example.com].
    #[schemars(length(max = 100))]
    bcc: Option<Vec<String>>,
    /// email: the subject, with {level}, {rule}, {source}, {message}, {time}, {id} and {key} of the alert.
    /// Default "[{level}] {source}: {message}". Example: "{rule} at {source}".
    subject: Option<String>,
    /// email: another way to write `subject`. Default none. Example: "{rule} at {source}".
    subject_template: Option<String>,
    /// email: the text of an alert in the mail, with the fields of `subject`. Default: all that is known of the alert.
    /// Example: "{message}\n{time} at {source}".
    body_template: Option<String>,
    /// email: send HTML beside the text. Default true. Example: false.
    html: Option<bool>,
    /// email: another way to write `html`. Default true. Example: false.
    include_html: Option<bool>,
    /// email: attach the alert's picture. Default false. Example: true.
    include_attachments: Option<bool>,
    /// email: authorities whose certificates are trusted beside the machine's, PEM. Default none. Example: certs/ca.pem.
    ca_file: Option<PathBuf>,
    /// email: longest wait for the mail server. Default 30. Unit: seconds. Range 0.1–300. Example: 5.
    #[schemars(range(min = 0.1, max = 300))]
    timeout: Option<f64>,
    /// email: alerts within this time of the last mail come in one, a critical one at once. Default 60. Unit: seconds.
    /// Range 0–86400. Example: 300.
    #[schemars(range(min = 0, max = 86_400))]
    min_interval_seconds: Option<f64>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MailEncryption {
    StartTls,
    Tls,
    None,
}

impl Type for Email {
    const WORD: &'static str = "email";

    fn plan(self, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let Self {
            smtp_server,
            smtp_port,
            username,
            password,
            tls,
            use_tls,
            use_ssl,
            from_address,
            from_email,
            to_addresses,
            to_emails,
            cc,
            bcc,
            subject,
            subject_template,
            body_template,
            html,
            include_html,
            include_attachments,
            ca_file,
            timeout,
            min_interval_seconds,
        } = self;
        let mut form = Form { path, site: &mut *site, is_right: true };
        let (encryption, said_by) = form.encryption(tls, use_tls, use_ssl);
        let server = form.server(smtp_server.as_deref().unwrap_or("localhost"));
        let login = form.login(username, password);
        if let (Some(host), Some(_), Encryption::None) = (&server, &login, encryption)
            && !is_loopback(host)
        {
            let label = "set tls: starttls or tls: tls, or leave username and password out";
            form.wrong(said_by, "the password would go to the mail server unencrypted", label);
        }
        if ca_file.is_some() && encryption == Encryption::None {
            let label = "set tls: starttls or tls: tls, or leave it out";
            form.wrong("ca_file", "`ca_file` has no effect without TLS", label);
        }
        let to = form.either(("to_addresses", to_addresses), ("to_emails", to_emails));
        let to = to.map(|(key, list)| form.mailboxes(key, list)).unwrap_or_default();
        let [cc, bcc] = [("cc", cc), ("bcc", bcc)].map(|(key, list)| form.mailboxes(key, list.unwrap_or_default()));
        let from = form.either(("from_address", from_address), ("from_email", from_email));
        let from = match from {
            Some((key, from)) => form.mailbox(key, &from),
            None => login.as_ref().and_then(|login| mailbox(&login.user).ok()),
        };
        let subject = form.either(("subject", subject), ("subject_template", subject_template));
        let subject = subject.unwrap_or_else(|| ("subject", Subject::DEFAULT.to_owned()));
        let subject = form.template(subject.0, "subject", Subject::read(&subject.1));
        let body = body_template.map(|text| form.template("body_template", "text", MailBody::read(&text)));
        let html = form.either(("html", html), ("include_html", include_html)).is_none_or(|(_, html)| html);
        if !form.is_right {
            return None;
        }
        let ca_file = ca_file.map(|file| site.find(&file));
        let needed = [(to.is_empty(), "receiver", "to_addresses"), (from.is_none(), "sender", "from_address")];
        if let Some((_, what, key)) = needed.into_iter().find(|(is_missing, ..)| *is_missing) {
            missing(what, key, handler, path, site);
            return None;
        }
        Some(HandlerKind::Email(Box::new(EmailPlan {
            picture: include_attachments.unwrap_or_default(),
            server: server?.to_string().trim_matches(['[', ']']).to_owned(),
            port: smtp_port.and_then(|port| u16::try_from(port).ok()).unwrap_or_else(|| encryption.port()),
            encryption,
            login,
            from: from?,
            to,
            cc,
            bcc,
            subject: subject?,
            body: body.flatten(),
            min_interval: Duration::from_secs_f64(min_interval_seconds.unwrap_or(60.0)),
            html,
            ca_file,
            timeout: Duration::from_secs_f64(timeout.unwrap_or(30.0)),
        })))
    }
}

/// Reports an address without which no mail is sent.
fn missing(what: &str, key: &str, handler: &Handler, path: &str, site: &mut Site<'_>) {
    if handler.head.enabled {
        let message = format!("the email handler `{}` has no {what}", handler.head.name);
        let hint = format!("set its config.{key}, or take it off the list");
        site.warn(path, Warning::new("email-without-address", Severity::Refusal, message).hint(hint));
    }
}

/// Reads the settings of one handler and reports what is wrong with them.
struct Form<'f, 's> {
    path: &'f str,
    site: &'f mut Site<'s>,
    is_right: bool,
}

impl Form<'_, '_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>, label: impl Into<String>) {
        self.is_right = false;
        self.site.wrong(&format!("{}.config.{key}", self.path), message, label);
    }

    fn twice(&mut self, key: &str, what: &str, other: &str) {
        self.is_right = false;
        let at = format!("{}.config.{key}", self.path);
        self.site.wrong_key(&at, format!("{what} is set twice"), format!("`{other}` says it: take one of them away"));
    }

    /// The value of two keys that say the same, with the key.
    fn either<T>(
        &mut self,
        (key, value): (&'static str, Option<T>),
        (other, also): (&'static str, Option<T>),
    ) -> Option<(&'static str, T)> {
        if value.is_some() && also.is_some() {
            self.twice(other, &format!("`{key}`"), key);
        }
        value.map(|value| (key, value)).or(also.map(|also| (other, also)))
    }

    /// The encryption, and the key that says it.
    fn encryption(
        &mut self,
        tls: Option<MailEncryption>,
        use_tls: Option<bool>,
        use_ssl: Option<bool>,
    ) -> (Encryption, &'static str) {
        if let Some(tls) = tls {
            for (key, _) in [("use_tls", use_tls), ("use_ssl", use_ssl)].iter().filter(|(_, value)| value.is_some()) {
                self.twice(key, "the encryption", "tls");
            }
            let encryption = match tls {
                MailEncryption::StartTls => Encryption::StartTls,
                MailEncryption::Tls => Encryption::Tls,
                MailEncryption::None => Encryption::None,
            };
            return (encryption, "tls");
        }
        match (use_ssl, use_tls) {
            (Some(true), _) => (Encryption::Tls, "use_ssl"),
            (_, Some(false)) => (Encryption::None, "use_tls"),
            _ => (Encryption::StartTls, "tls"),
        }
    }

    fn server(&mut self, text: &str) -> Option<Host> {
        let host = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => Some(Host::Ipv4(ip)),
            Ok(IpAddr::V6(ip)) => Some(Host::Ipv6(ip)),
            Err(_) => Host::parse(text).ok(),
        };
        if host.is_none() {
            let label = "expected a name such as mail.example.com; the port goes into `smtp_port`";
            self.wrong("smtp_server", "the mail server is no host", label);
        }
        host
    }

    fn login(&mut self, user: Option<String>, password: Option<String>) -> Option<MailLogin> {
        let [user, password] = [user, password].map(|text| text.filter(|text| !text.is_empty()));
        match (user, password) {
            (Some(user), Some(password)) => Some(MailLogin { user, password }),
            (Some(_), None) => {
                self.wrong("username", "the user has no password", "set `password`, or leave `username` out");
                None
            }
            (None, Some(_)) => {
                self.wrong("password", "the password is of no user", "set `username`, or leave `password` out");
                None
            }
            (None, None) => None,
        }
    }

    fn mailboxes(&mut self, key: &str, list: Vec<String>) -> Vec<Mailbox> {
        let read = |(index, text): (usize, &String)| self.mailbox(&format!("{key}[{index}]"), text);
        list.iter().enumerate().filter_map(read).collect()
    }

    fn mailbox(&mut self, key: &str, text: &str) -> Option<Mailbox> {
        mailbox(text).map_err(|label| self.wrong(key, "this is no mail address", label)).ok()
    }

    fn template<T>(&mut self, key: &str, what: &str, read: Result<T, SubjectError>) -> Option<T> {
        let fields = || AlertField::ALL.into_iter().map(AlertField::as_str);
        let error = match read {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let (message, label) = match error {
            SubjectError::Unknown(name) => {
                let known = fields().map(|field| format!("{{{field}}}")).collect::<Vec<_>>().join(", ");
                let label = match nearest(&name, fields()) {
                    Some(near) => format!("did you mean {{{near}}}? Known are {known}"),
                    None => format!("known are {known}"),
                };
                (format!("an alert has no `{name}`"), label)
            }
            SubjectError::Brace => {
                let label = "a field is {level}; a brace that stands for itself is doubled: {{ or }}";
                (format!("a brace of the {what} has no partner"), label.to_owned())
            }
            SubjectError::Control => {
                let lines = if what == "subject" { "is one line," } else { "has lines," };
                (
                    format!("the {what} holds a control character"),
                    format!("a {what} {lines} without control characters"),
                )
            }
        };
        self.wrong(key, message, label);
        None
    }
}

/// Reads `name@example.com` or `Name <name@example.com>`; the error says what is expected.
fn mailbox(text: &str) -> Result<Mailbox, &'static str> {
    if text.contains(char::is_control) {
        return Err("an address is one line, without control characters");
    }
    let expected = "expected name@example.com or Name <name@example.com>";
    let Mailbox { name, email } = text.trim().parse().map_err(|_| expected)?;
    if !email.user().is_ascii() {
        return Err("letters beyond ASCII are for the part after the @ and for the name before <");
    }
    if email.domain().is_ascii() {
        return Ok(Mailbox::new(name, email));
    }
    // As it is written in DNS: not every server takes other letters.
    let domain = Host::parse(email.domain()).map_err(|_| expected)?.to_string();
    Ok(Mailbox::new(name, Address::new(email.user(), domain).map_err(|_| expected)?))
}

/// Whether nobody else sees what goes to this host.
fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_name_and_written_as_in_dns() {
        let shown = |text: &str| mailbox(text).map(|mailbox| (mailbox.name, mailbox.email.to_string()));
        assert_eq!(shown("a.b+c@example.com"), Ok((None, "a.b+c@example.com".into())));
        let named = Ok((Some("North gate".into()), "gate@example.com".into()));
        assert_eq!(shown(" North gate <gate@example.com> "), named);
        assert_eq!(shown("x@m\u{fc}nchen.example"), Ok((None, "x@xn--mnchen-3ya.example".into())));
        for text in
            ["", "guard", "a@b@c", "a@x.example\r\nBcc: b@x.example", "a@x.example, b@x.example", "\u{fc}@x.example"]
        {
            assert!(mailbox(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_what_does_not_leave_the_machine() {
        for (host, is) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("mail.localhost", true),
            ("127.9.0.1", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("10.0.0.1", false),
            ("mail.example", false),
        ] {
            assert_eq!(is_loopback(&Host::parse(host).unwrap()), is, "{host}");
        }
    }
}
