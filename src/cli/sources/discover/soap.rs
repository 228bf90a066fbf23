//! One question to an ONVIF service: SOAP over HTTP, straight to the camera, with a bounded answer.

use std::time::Duration;

use dsengine::outbound::{self, As, Asked, Challenge, Dialer};
use dsengine::types::rfc3339;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::timeout;
use url::Url;

use super::{token, xml};

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A user of the cameras.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Asks `body` of the service at `at`; returns its answer if that is not a fault. `at_unix_ms` is the time at the camera.
///
/// # Errors
/// Why the answer cannot be used, in one sentence without secrets.
pub(super) async fn ask(at: &Url, body: &str, login: Option<&Login>, at_unix_ms: u64) -> Result<String, String> {
    let asked = async {
        let (status, challenge, answer) = send(at, body, login, at_unix_ms, None).await?;
        let again = challenge.filter(|_| status == 401).zip(login).and_then(|(challenge, login)| {
            let cnonce: String = random().ok()?.iter().map(|byte| format!("{byte:02x}")).collect();
            let user = As { name: &login.user, password: &login.password };
            Some(challenge.answer(&user, &Asked { method: "POST", path: at.path() }, 1, &cnonce))
        });
        let (status, answer) = match again {
            Some(header) => {
                let (status, _, answer) = send(at, body, login, at_unix_ms, Some(&header)).await?;
                (status, answer)
            }
            None => (status, answer),
        };
        judged(status, answer, login.is_some())
    };
    match timeout(ANSWER_MAX, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("it has not answered within {} s", ANSWER_MAX.as_secs())),
    }
}

/// The answer, unless it is a refusal.
fn judged(status: u16, answer: String, is_given: bool) -> Result<String, String> {
    let document = xml::parse(&answer);
    let fault = document.as_ref().ok().and_then(|document| xml::all(document.root(), "Fault").next());
    let is_login = status == 401 || fault.is_some_and(|fault| fault.descendants().any(|n| is_refusal(n.text())));
    match (is_login, is_given) {
        (true, true) => return Err("it refuses the user or the password: correct --user and the password".into()),
        (true, false) => {
            return Err("it requires a user and a password: give them with --user and --password-file".into());
        }
        (false, _) => {}
    }
    if let Some(fault) = fault {
        let why = xml::text(fault, &["Reason"])
            .or_else(|| xml::text(fault, &["Text"]))
            .or_else(|| xml::text(fault, &["faultstring"]));
        return Err(format!("it answers with a fault ({})", why.as_deref().unwrap_or("without a reason")));
    }
    if status != 200 {
        return Err(format!("it answers {status}"));
    }
    document.map(drop)?;
    Ok(answer)
}

/// Whether a fault's text is about who asks: the codes of ONVIF and of WS-Security.
fn is_refusal(text: Option<&str>) -> bool {
    let code = text.unwrap_or_default().trim().rsplit(':').next().unwrap_or_default();
    matches!(code, "NotAuthorized" | "FailedAuthentication" | "InvalidSecurity" | "InvalidSecurityToken")
}

/// Sends the question once: the status, the challenge of HTTP digest where there is one, and the body. Basic is not
/// answered: it would send the password itself.
async fn send(
    at: &Url,
    body: &str,
    login: Option<&Login>,
    at_unix_ms: u64,
    header: Option<&str>,
) -> Result<(u16, Option<Challenge>, String), String> {
    let host = at.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = at.port_or_known_default().unwrap_or(80);
    let tls = if at.scheme() == "https" { Some(outbound::tls(None)?) } else { None };
    let io = Dialer::new(host, port, tls).dial().await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
    let mut request = Request::new(Full::new(Bytes::from(envelope(body, login, at_unix_ms)?)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = at.path().parse().map_err(|_| "its address cannot be read")?;
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| "a header has characters that none has".to_owned());
    let headers = request.headers_mut();
    headers.insert(HOST, value(&format!("{}:{port}", at.host_str().unwrap_or_default()))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/soap+xml; charset=utf-8"));
    if let Some(header) = header {
        let mut header = value(header)?;
        header.set_sensitive(true);
        headers.insert(AUTHORIZATION, header);
    }
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(|error| format!("it broke off ({error})"))?;
        let status = answer.status().as_u16();
        let challenge = Challenge::of(answer.headers()).filter(|offered| *offered != Challenge::Basic);
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body =
            body.map_err(|error| format!("its answer breaks off, or is longer than 1 MiB ({error})"))?.to_bytes();
        Ok((status, challenge, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection ends when the exchange has dropped its sender; its own error is the exchange's, too.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// The question with who asks.
fn envelope(body: &str, login: Option<&Login>, at_unix_ms: u64) -> Result<String, String> {
    let token = match login {
        Some(login) => {
            let created = rfc3339(at_unix_ms);
            let token = token::header(&login.user, &login.password, &random()?, &created);
            format!("<s:Header>{}</s:Header>", token.ok_or("this GLib has no SHA-1")?)
        }
        None => String::new(),
    };
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">{token}<s:Body>{body}</s:Body></s:Envelope>"
    ))
}

fn random() -> Result<[u8; 16], String> {
    let mut bytes = [0; 16];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(got) if got == bytes.len() => Ok(bytes),
        _ => Err("the system gives no random bytes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_give() {
        let fault = |code: &str| {
            format!(
                "<e><Fault><Code><Subcode><Value>ter:{code}</Value></Subcode></Code><Reason><Text>no</Text></Reason></Fault></e>"
            )
        };
        let of = |status, text: &str, is_given| judged(status, text.to_owned(), is_given).unwrap_err();
        assert!(of(400, &fault("NotAuthorized"), false).contains("requires a user"));
        assert!(of(400, &fault("NotAuthorized"), true).contains("refuses the user"));
        assert!(of(401, "", false).contains("requires a user"));
        assert!(of(500, &fault("ActionNotSupported"), true).contains("fault"));
        assert_eq!(of(404, "<html></html>", true), "it answers 404");
        assert!(of(200, "no xml", true).contains("not readable XML"));
        assert_eq!(judged(200, "<a/>".into(), false).as_deref(), Ok("<a/>"));
    }
}
