//! Reads from a web address: within the hosts that are allowed, and as the user of the address at its own host only.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderValue, LOCATION, PROXY_AUTHORIZATION, RANGE, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use url::Url;

use super::login::{As, Asked, Challenge};
use super::trouble::Trouble;
use super::{Connector, Opening, Proxies};

/// Redirects followed per request.
const REDIRECTS_MAX: u32 = 5;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Idle connections kept per host.
const IDLE_CONNECTIONS_MAX: usize = 2;

/// Whom a [`Reader`] asks.
#[derive(Clone)]
pub struct Access {
    /// The address whose scheme, host and port are always allowed.
    pub place: Url,
    /// Name and password there; no other host gets them.
    pub user: Option<(String, String)>,
    /// More hosts that are allowed, as `host` (with the usual port of the scheme) or `host:port`.
    pub hosts: Vec<String>,
}

/// Some bytes of what stands at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first byte.
    pub from: u64,
    /// The last byte; `None` for the rest.
    pub to: Option<u64>,
}

/// Reads from web addresses, one request at a time.
pub struct Reader {
    access: Access,
    client: Client<Connector, Empty<Bytes>>,
    proxies: Proxies,
    opening: Opening,
    /// How the user logs in there, and how often that was answered.
    login: Option<(Challenge, u32)>,
}

impl Reader {
    /// Creates a reader with this trust and these proxies.
    pub fn new(access: Access, tls: &ClientConfig, proxies: Proxies) -> Self {
        let connector = Connector::new(tls, proxies.clone());
        let opening = connector.opening();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Self { access, client, proxies, opening, login: None }
    }

    /// Whether a connection is being opened, for a message.
    pub fn opening(&self) -> Opening {
        self.opening.clone()
    }

    /// Asks for what stands at `to`, or a part of it, and returns the answer if it is a success. Follows redirects, and
    /// logs in where the server asks for it. It has no time limit of its own.
    ///
    /// # Errors
    /// Why there is nothing to read.
    pub async fn get(&mut self, to: &Url, part: Option<Part>) -> Result<(Url, Response<Incoming>), Trouble> {
        let mut to = to.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.admit(&to)?;
            let answer = self.ask(&to, part).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok((to, answer));
            }
            if !matches!(status.as_u16(), 301..=303 | 307 | 308) {
                let phrase = status.canonical_reason().unwrap_or_default();
                return Err(Trouble::Status(status.as_u16(), phrase.to_owned()));
            }
            let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
            to = match place.and_then(|place| to.join(place).ok()) {
                Some(next) => next,
                None => return Err(Trouble::Redirected("no address that can be read".to_owned())),
            };
            if !self.is_allowed(&to) {
                return Err(Trouble::Redirected(shown(&to)));
            }
        }
        Err(Trouble::Redirected("one address after the other".to_owned()))
    }

    /// Whether an address may be read.
    pub fn is_allowed(&self, to: &Url) -> bool {
        self.is_own(to) || self.access.hosts.iter().any(|entry| names(entry, to))
    }

    fn admit(&self, to: &Url) -> Result<(), Trouble> {
        if self.is_allowed(to) { Ok(()) } else { Err(Trouble::NotAllowed(shown(to))) }
    }

    /// Whether it has the scheme, host and port of the place.
    fn is_own(&self, to: &Url) -> bool {
        let place =
            |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
        place(to) == place(&self.access.place)
    }

    /// Sends one request, and a second one where the server asks who it is.
    async fn ask(&mut self, to: &Url, part: Option<Part>) -> Result<Response<Incoming>, Trouble> {
        let knew = self.login.is_some();
        let answer = self.send(to, part).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let given = self.access.user.is_some() && self.is_own(to);
        let refused = Trouble::Unauthorized { given };
        let challenge = Challenge::of(answer.headers()).filter(|_| given).ok_or(refused.clone())?;
        // The same credentials would be refused again, and a second try may lock the account.
        if knew && !challenge.is_stale() {
            self.login = None;
            return Err(refused);
        }
        self.login = Some((challenge, 0));
        let answer = self.send(to, part).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.login = None;
            return Err(refused);
        }
        Ok(answer)
    }

    /// Sends one request and waits for the head of the answer.
    async fn send(&mut self, to: &Url, part: Option<Part>) -> Result<Response<Incoming>, Trouble> {
        let uri = uri(to).ok_or_else(|| Trouble::NotAllowed(shown(to)))?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dsengine/", env!("CARGO_PKG_VERSION"))));
        if let Some(Part { from, to }) = part {
            let range = format!("bytes={from}-{}", to.map(|to| to.to_string()).unwrap_or_default());
            headers.insert(RANGE, HeaderValue::try_from(range).map_err(|_| Trouble::NotHttp)?);
        }
        if let Some(value) = self.proxies.authorization(&uri) {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        let own = self.is_own(to);
        if let (true, Some((challenge, count)), Some((name, password))) = (own, &mut self.login, &self.access.user) {
            *count += 1;
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            let nonce = URL_SAFE_NO_PAD.encode(std::array::from_fn::<u8, 12, _>(|_| fastrand::u8(..)));
            let value = challenge.answer(&As { name, password }, &Asked { method: "GET", path }, *count, &nonce);
            let mut value = HeaderValue::try_from(value).map_err(|_| Trouble::Unauthorized { given: true })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        self.opening.begin();
        let proxy = self.proxies.name(&uri);
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        self.client.request(request).await.map_err(|error| Trouble::of(&error, &host, proxy.as_deref()))
    }
}

/// Whether an entry of a list of hosts names an address.
fn names(entry: &str, to: &Url) -> bool {
    let Some(host) = to.host_str().filter(|_| matches!(to.scheme(), "http" | "https")) else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = to.port_or_known_default().unwrap_or_default();
    entry.eq_ignore_ascii_case(&format!("{host}:{port}"))
        || (to.port().is_none() && [host, bare].iter().any(|host| entry.eq_ignore_ascii_case(host)))
}

/// An address as it may be printed: scheme, host and port.
fn shown(url: &Url) -> String {
    match url.host_str() {
        Some(host) => {
            format!("{}://{host}{}", url.scheme(), url.port().map(|port| format!(":{port}")).unwrap_or_default())
        }
        None => format!("{}:", url.scheme()),
    }
}

/// The request URI: the address without user and fragment.
fn uri(url: &Url) -> Option<Uri> {
    let mut bare = url.clone();
    bare.set_fragment(None);
    // These fail only for an address without a host.
    let _ = (bare.set_username(""), bare.set_password(None));
    bare.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_place_and_listed_hosts_are_read() {
        let access = Access {
            place: Url::parse("https://cam.example/a.m3u8").unwrap(),
            user: None,
            hosts: ["cdn.example", "other.example:8080", "10.0.0.9"].map(str::to_owned).to_vec(),
        };
        let tls = super::super::tls(None).unwrap();
        let reader = Reader::new(access, &tls, Proxies::of(|_| None));
        for (to, allowed) in [
            ("https://cam.example/b.ts", true),
            ("https://cam.example:443/b.ts", true),
            ("http://cam.example/b.ts", false),
            ("https://cam.example:8443/b.ts", false),
            ("https://CDN.example/b.ts", true),
            ("http://cdn.example/b.ts", true),
            ("http://cdn.example:81/b.ts", false),
            ("http://other.example:8080/b.ts", true),
            ("http://other.example/b.ts", false),
            ("http://10.0.0.9/b.ts", true),
            ("http://127.0.0.1/b.ts", false),
            ("file:///etc/passwd", false),
            ("file://cdn.example/etc/passwd", false),
            ("data:text/plain,x", false),
        ] {
            assert_eq!(reader.is_allowed(&Url::parse(to).unwrap()), allowed, "{to}");
        }
    }
}
