//! Webhooks against real receivers: users, patience, redirects, proxies, certificates, and what failures are called.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dsengine::config::{HandlerKind, HandlerPlan, WebhookPlan};
use dsengine::engine::SystemClock;
use dsengine::handlers;
use dsengine::types::Clock;
use hmac::{Hmac, Mac as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Dsengine, Outcome, root, skip, write, write_trace};

/// A receiver that answers the n-th request, from 0, by what it says.
pub(crate) struct Peer {
    port: u16,
    got: Arc<Mutex<Vec<(Instant, String)>>>,
}

pub(crate) fn certificates(name: &str) -> PathBuf {
    root().join("tests/doubles/tls").join(name)
}

impl Peer {
    pub(crate) fn new(answer: impl Fn(usize, &str) -> String + Send + 'static) -> Self {
        Self::of(answer, None)
    }

    pub(crate) fn tls() -> Self {
        let certificate = CertificateDer::from_pem_file(certificates("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self::of(|_, _| "204 No Content\r\n".into(), Some(Arc::new(config)))
    }

    fn of(answer: impl Fn(usize, &str) -> String + Send + 'static, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let log = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let talk = |stream: &mut dyn ReadWrite| {
                    let Some(request) = request(stream) else { return };
                    let number = log.lock().unwrap().len();
                    let said = answer(number, &request);
                    log.lock().unwrap().push((Instant::now(), request));
                    let _ = stream
                        .write_all(format!("HTTP/1.1 {said}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
                    let _ = stream.flush();
                };
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                match &tls {
                    None => talk(&mut { stream }),
                    Some(config) => {
                        let session = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                        talk(&mut rustls::StreamOwned::new(session, stream));
                    }
                }
            }
        });
        Self { port, got }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.got.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// When the requests came.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.got.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}{rest}", self.port)
    }
}

pub(crate) trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

pub(crate) fn request(stream: &mut dyn ReadWrite) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        if body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
            return Some(text);
        }
    }
}

/// What a run that raises `alerts` alerts, one a frame, says and ends with, its one webhook having this `config`.
fn run(webhook: &str, alerts: usize, keys: &str, env: &[(&str, &str)]) -> Outcome {
    run_with(&format!("{{ name: hook, type: webhook, config: {{ {webhook} }} }}"), alerts, keys, env)
}

/// The same, with this one handler.
pub(crate) fn run_with(handler: &str, alerts: usize, keys: &str, env: &[(&str, &str)]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    write_trace(dir.path(), alerts as u64);
    write(dir.path(), "r.lua", "function detect(f) f:alert{ rule = 'r', key = f.seq, message = 'm' } end");
    let config = format!(
        "sources: [{{ id: a, uri: 'trace:t.jsonl' }}]\nmonitoring: {{ enabled: false }}\n\
         detection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
         alerts: {{ throttle_seconds: 0, burst_threshold: 0, max_alerts_per_minute: 0, min_confidence: 0, {keys}, \
         handlers: [{handler}] }}\n"
    );
    write(dir.path(), "c.yaml", &config);
    let command = Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir.path());
    let clean = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]);
    let command = clean.fold(command, |command, name| command.env(&name, ""));
    env.iter().fold(command, |command, (name, value)| command.env(name, value)).run()
}

#[test]
fn a_user_in_a_webhooks_address_is_sent_as_basic_authorization_and_not_shown() {
    for (user, wanted) in [
        // user:p@ss, user:, p@ss w/rd#1 with a name of two words.
        ("user:p%40ss", "Basic dXNlcjpwQHNz"),
        ("user:p@ss", "Basic dXNlcjpwQHNz"),
        ("user", "Basic dXNlcjo="),
        ("a%20b:w%2Frd%231", "Basic YSBiOncvcmQjMQ=="),
    ] {
        let peer = Peer::new(|_, _| "401 Unauthorized\r\n".into());
        let url = format!("url: 'http://{user}@127.0.0.1:{}/a'", peer.port);
        let out = run(&url, 1, "retry_attempts: 3, max_age_seconds: 0, retry_delay: 0.1", &[]);
        let requests = peer.requests();
        assert_eq!(requests.len(), 1, "refused for good: {}", out.stderr);
        let head = requests[0].split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(head.contains(&format!("authorization: {}", wanted.to_ascii_lowercase())), "{head}");
        assert!(head.starts_with("post /a http/1.1") && !head.contains('@'), "{head}");
        let said = out.stdout + &out.stderr;
        assert!(said.contains("401 Unauthorized: it knows no such user"), "{said}");
        assert!(!said.contains("p@ss") && !said.contains("p%40ss") && !said.contains(wanted), "{said}");
    }
    // A header of one's own is meant so.
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let url = format!("url: 'http://u:p@127.0.0.1:{}/', headers: {{ Authorization: Bearer own-token }}", peer.port);
    run(&url, 1, "retry_attempts: 1, max_age_seconds: 0", &[]);
    let requests = peer.requests();
    assert!(
        requests[0].contains("authorization: Bearer own-token\r\n") && !requests[0].contains("Basic"),
        "{requests:?}"
    );
}

#[test]
fn a_receiver_that_asks_for_patience_gets_it_and_every_alert() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let peer = Peer::new(move |number, _| match number {
            0 | 1 => format!("{status}\r\nretry-after: 1\r\n"),
            _ => "204 No Content\r\n".into(),
        });
        let out = run(
            &format!("url: '{}'", peer.url("/a")),
            2,
            "retry_attempts: 1, max_age_seconds: 0, retry_delay: 0.1",
            &[],
        );
        let got = peer.got.lock().unwrap();
        assert_eq!(got.len(), 4, "{}", out.stderr);
        for pair in got[..3].windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!(gap >= Duration::from_millis(950) && gap < Duration::from_secs(10), "{gap:?}");
        }
        assert!(!out.stderr.contains("given up") && out.stderr.contains("asks to wait 1 s"), "{}", out.stderr);
    }
    // Without a word about how long, it is an attempt like others.
    let peer = Peer::new(|_, _| "429 Too Many Requests\r\nretry-after: soon\r\n".into());
    let out =
        run(&format!("url: '{}'", peer.url("/a")), 1, "retry_attempts: 2, max_age_seconds: 0, retry_delay: 0.1", &[]);
    assert_eq!(peer.requests().len(), 2);
    assert!(out.stderr.contains("given up"), "{}", out.stderr);
}

#[test]
fn a_redirect_is_followed_on_the_same_host_only_and_else_named_once() {
    let peer = Peer::new(|_, request| match request.split(' ').nth(1) {
        Some("/a") => "308 Permanent Redirect\r\nlocation: /b/\r\n".into(),
        Some("/b/") => "307 Temporary Redirect\r\nlocation: c?x=1\r\n".into(),
        _ => "204 No Content\r\n".into(),
    });
    let out = run(&format!("url: '{}'", peer.url("/a")), 1, "retry_attempts: 1, max_age_seconds: 0", &[]);
    let requests = peer.requests();
    assert_eq!(requests.len(), 3, "{}", out.stderr);
    assert!(requests[2].starts_with("POST /b/c?x=1 ") && requests[2].contains("\"rule\":\"r\""), "{}", requests[2]);
    for (answer, told) in [
        ("301 Moved Permanently\r\nlocation: /S3cret\r\n", "it points to http://127.0.0.1"),
        (
            "302 Found\r\nlocation: http://other.example/S3cret\r\n",
            "it points to http://other.example with another path",
        ),
        ("303 See Other\r\nlocation: /a/\r\n", "a slash at the end of the path"),
        (
            "308 Permanent Redirect\r\nlocation: https://127.0.0.1/a\r\n",
            "it points to https://127.0.0.1 with the same path",
        ),
        ("307 Temporary Redirect\r\nlocation: http://other.example/a\r\n", "it points to http://other.example"),
        ("308 Permanent Redirect\r\n", "it says not where to"),
        ("308 Permanent Redirect\r\nlocation: /a\r\n", "more than 5 times"),
    ] {
        let peer = Peer::new(move |_, _| answer.into());
        let out = run(&format!("url: '{}'", peer.url("/a")), 1, "retry_attempts: 1", &[]);
        let most = if told.contains("times") { 6 } else { 1 };
        assert_eq!(peer.requests().len(), most, "{answer}");
        assert!(out.stderr.contains(told) && !out.stderr.contains("S3cret"), "{answer}\n{}", out.stderr);
    }
}

#[test]
fn a_webhook_goes_by_the_proxy_that_the_environment_names() {
    let keys = "retry_attempts: 1, max_age_seconds: 0";
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        let peer = Peer::new(|_, _| "204 No Content\r\n".into());
        let proxy = format!("http://user:p%40ss@127.0.0.1:{}", peer.port);
        let out = run("url: 'http://hooks.test.invalid/a'", 1, keys, &[(name, &proxy)]);
        let requests = peer.requests();
        assert_eq!(requests.len(), 1, "{name}: {}", out.stderr);
        assert!(requests[0].starts_with("POST http://hooks.test.invalid/a HTTP/1.1\r\n"), "{}", requests[0]);
        assert!(requests[0].contains("proxy-authorization: Basic dXNlcjpwQHNz\r\n"), "{}", requests[0]);
    }
    // https through a tunnel, which this one refuses.
    let peer = Peer::new(|_, _| "403 Forbidden\r\n".into());
    let proxy = format!("http://127.0.0.1:{}", peer.port);
    let out = run("url: 'https://hooks.test.invalid/a'", 1, keys, &[("HTTPS_PROXY", &proxy)]);
    assert!(peer.requests()[0].starts_with("CONNECT hooks.test.invalid:443 "), "{:?}", peer.requests());
    assert!(out.stderr.contains("does not let through to hooks.test.invalid"), "{}", out.stderr);
    // Round it.
    let (peer, direct) = (Peer::new(|_, _| "204 No Content\r\n".into()), Peer::new(|_, _| "204 No Content\r\n".into()));
    let proxy = format!("http://127.0.0.1:{}", peer.port);
    for no in ["127.0.0.1", "10.0.0.0/8,127.0.0.0/8", "*"] {
        run(&format!("url: '{}'", direct.url("/a")), 1, keys, &[("http_proxy", &proxy), ("no_proxy", no)]);
    }
    assert_eq!((peer.requests().len(), direct.requests().len()), (0, 3));
    let out = run(&format!("url: '{}'", direct.url("/a")), 1, keys, &[("http_proxy", "http://127.0.0.1:1")]);
    assert!(out.stderr.contains("nobody listens at the proxy 127.0.0.1:1"), "{}", out.stderr);
}

#[test]
fn a_webhook_trusts_the_authorities_that_it_is_told() {
    let (peer, ca) = (Peer::tls(), certificates("ca.pem"));
    let url = format!("url: 'https://localhost:{}/a'", peer.port);
    let keys = "retry_attempts: 1, max_age_seconds: 0";
    let out = run(&url, 1, keys, &[]);
    assert!(out.stderr.contains("is of an authority that this machine does not trust"), "{}", out.stderr);
    assert!(out.stderr.contains("config.ca_file") && peer.requests().is_empty(), "{}", out.stderr);
    let named = format!("{url}, ca_file: '{}'", ca.display());
    run(&named, 1, keys, &[]);
    assert_eq!(peer.requests().len(), 1);
    run(&url, 1, keys, &[("SSL_CERT_FILE", &ca.display().to_string())]);
    assert_eq!(peer.requests().len(), 2);
    // Another name than the certificate's.
    let out = run(&named.replace("localhost", "127.0.0.1"), 1, keys, &[]);
    assert!(out.stderr.contains("is for another name than 127.0.0.1"), "{}", out.stderr);
    // No TLS at all.
    let plain = Peer::new(|_, _| "204 No Content\r\n".into());
    let out =
        run(&format!("url: 'https://127.0.0.1:{}/a'", plain.port), 1, "retry_attempts: 1, max_age_seconds: 0", &[]);
    assert!(out.stderr.contains("TLS") || out.stderr.contains("hung up"), "{}", out.stderr);
}

#[test]
fn a_file_of_authorities_that_holds_none_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let of = |file: &Path| {
        let plan = WebhookPlan { ca_file: Some(file.to_owned()), ..WebhookPlan::to("https://h/") };
        let kind = HandlerKind::Webhook(Box::new(plan));
        handlers::build(&HandlerPlan::new("hook", kind), &clock).err().map(|error| error.to_string())
    };
    assert_eq!(of(&certificates("ca.pem")), None);
    write(dir.path(), "empty.pem", "nothing here\n");
    for file in [dir.path().join("none.pem"), dir.path().join("empty.pem"), certificates("server.key")] {
        let said = of(&file).unwrap_or_else(|| panic!("{}", file.display()));
        assert!(said.contains(&file.display().to_string()) && said.contains("ca_file"), "{said}");
    }
}

#[test]
fn validate_reads_the_file_of_authorities_and_waits_for_no_pipe() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "empty.pem", "nothing here\n");
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let validate = |file: &Path| {
        let config = format!(
            "sources: [{{ id: a, uri: 'test:size=64x64,fps=5' }}]\nmonitoring: {{ enabled: false }}\nalerts: {{ handlers: [{{ name: hook, \
             type: webhook, config: {{ url: 'https://h.invalid/', ca_file: '{}' }} }}] }}\n",
            file.display()
        );
        write(dir.path(), "c.yaml", &config);
        Dsengine::new(["validate", "c.yaml"]).cwd(dir.path()).run()
    };
    assert_eq!(validate(&certificates("ca.pem")).code(), 0);
    for (file, said) in [
        (dir.path().join("none.pem"), "cannot be read"),
        (dir.path().join("empty.pem"), "holds no certificate: it is text without `BEGIN CERTIFICATE`"),
        (certificates("server.key"), "holds no certificate: it begins with"),
        (pipe, "is no regular file"),
    ] {
        let out = validate(&file);
        assert_eq!(out.code(), 1, "{}: {}", file.display(), out.stderr);
        assert!(out.stderr.contains(said) && out.stderr.contains("ca_file"), "{}", out.stderr);
    }
}

#[test]
fn a_scripts_requests_trust_the_named_authorities_and_go_round_the_proxies() {
    let (peer, ca) = (Peer::tls(), certificates("ca.pem"));
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "---@needs http https://localhost:{0}\nfunction handle_alert(alert) return http.post('https://localhost:{0}/a', \
         alert.message) end",
        peer.port
    );
    write(dir.path(), "hook.lua", &script);
    let handler = format!(
        "{{ name: hook, module: '{}', grants: {{ http: ['https://localhost:{}'] }} }}",
        dir.path().join("hook.lua").display(),
        peer.port
    );
    let keys = "retry_attempts: 1, max_age_seconds: 0";
    let closed = "http://127.0.0.1:1";
    let proxies = [("HTTPS_PROXY", closed), ("https_proxy", closed), ("ALL_PROXY", closed)];
    let ca = ca.display().to_string();
    let trusted: Vec<_> = proxies.into_iter().chain([("SSL_CERT_FILE", ca.as_str())]).collect();
    let out = run_with(&handler, 1, keys, &trusted);
    let requests = peer.requests();
    assert_eq!(requests.len(), 1, "{}", out.stderr);
    assert!(requests[0].starts_with("POST /a HTTP/1.1") && requests[0].ends_with("\r\n\r\nm"), "{}", requests[0]);
    let out = run_with(&handler, 1, keys, &proxies);
    assert_eq!(peer.requests().len(), 1);
    assert!(out.stderr.contains("is of an authority that this machine does not trust"), "{}", out.stderr);
}

#[test]
fn failures_of_a_webhook_are_told_by_what_is_wrong() {
    let keys = "retry_attempts: 1, max_age_seconds: 0";
    let out = run("url: 'http://no-such-host.invalid/a'", 1, keys, &[]);
    assert!(out.stderr.contains("the name no-such-host.invalid is not known"), "{}", out.stderr);
    let out = run("url: 'http://127.0.0.1:1/a'", 1, keys, &[]);
    assert!(out.stderr.contains("nobody listens at 127.0.0.1:1"), "{}", out.stderr);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("url: 'http://127.0.0.1:{}/a', timeout: 0.5", silent.local_addr().unwrap().port());
    let out = run(&url, 1, keys, &[]);
    assert!(out.stderr.contains("connected, and no answer within 0.5 s"), "{}", out.stderr);
    drop(silent);
    for (status, told) in [("403 Forbidden", "may not post there"), ("404 Not Found", "check the url")] {
        let peer = Peer::new(move |_, _| format!("{status}\r\n"));
        let out = run(&format!("url: '{}'", peer.url("/a")), 1, "retry_attempts: 2, retry_delay: 0.1", &[]);
        // A login is not tried again, so that no account is locked.
        let requests = if status.starts_with("403") { 1 } else { 2 };
        assert!(out.stderr.contains(told) && peer.requests().len() == requests, "{}", out.stderr);
    }
    let hung: TcpListener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hung.local_addr().unwrap().port();
    std::thread::spawn(move || hung.incoming().map_while(Result::ok).for_each(|stream: TcpStream| drop(stream)));
    let out = run(&format!("url: 'http://127.0.0.1:{port}/a'"), 1, keys, &[]);
    assert!(out.stderr.contains("hung up before it answered"), "{}", out.stderr);
}

/// A request's header, by its name in lower case.
pub(crate) fn header<'r>(request: &'r str, name: &str) -> Option<&'r str> {
    let head = request.split("\r\n\r\n").next()?;
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
        .map(|(_, v)| v)
}

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn a_webhook_is_sent_by_the_method_as_the_user_and_with_the_body_that_are_set() {
    for method in ["POST", "PUT", "PATCH"] {
        let peer = Peer::new(|_, _| "204 No Content\r\n".into());
        let settings = format!(
            "url: '{}', method: {method}, auth: {{ username: desk, password: 'p@ss:w\u{f6}rd' }}, body: '{{\"text\": \
             \"{{{{source}}}}: {{{{message}}}}\", \"seq\": {{{{seq}}}}, \"all\": {{{{alert}}}}}}'",
            peer.url("/a")
        );
        let out = run(&settings, 1, "retry_attempts: 1, max_age_seconds: 0", &[]);
        let requests = peer.requests();
        assert_eq!(requests.len(), 1, "{}", out.stderr);
        assert!(requests[0].starts_with(&format!("{method} /a HTTP/1.1\r\n")), "{}", requests[0]);
        let user = STANDARD.encode("desk:p@ss:w\u{f6}rd");
        assert_eq!(header(&requests[0], "authorization"), Some(&*format!("Basic {user}")));
        assert_eq!(header(&requests[0], "content-type"), Some("application/json"));
        let sent: Value = serde_json::from_str(body(&requests[0])).unwrap();
        assert_eq!((&sent["text"], &sent["seq"], &sent["all"]["rule"]), (&json!("a: m"), &json!(0), &json!("r")));
        assert_eq!(sent["all"]["id"].as_str(), header(&requests[0], "webhook-id"));
    }
    // A redirect keeps the method.
    let peer = Peer::new(|number, _| match number {
        0 => "307 Temporary Redirect\r\nlocation: /b\r\n".into(),
        _ => "204 No Content\r\n".into(),
    });
    run(&format!("url: '{}', method: PUT", peer.url("/a")), 1, "retry_attempts: 1, max_age_seconds: 0", &[]);
    assert!(peer.requests()[1].starts_with("PUT /b HTTP/1.1\r\n"), "{:?}", peer.requests());
}

#[test]
fn whatever_an_alert_says_the_body_is_json() {
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    let dir = tempfile::tempdir().unwrap();
    let message = "\"quoted\", \\ {{seq}}\n\t\u{1} \u{fc}\u{2028}";
    let lua = message.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\u{1}', "\\1");
    write(dir.path(), "r.lua", &format!("function detect(f) f:alert{{ rule = 'r', message = \"{lua}\" }} end"));
    let config = format!(
        "sources: [{{ id: a, uri: 'test:size=64x64,fps=30', parameters: {{ frames: 2 }} }}]\n\
         monitoring: {{ enabled: false }}\ndetection: {{ strategies: [{{ name: r, module: r.lua }}] }}\n\
         alerts: {{ min_confidence: 0, handlers: [{{ name: hook, type: webhook, config: {{ url: '{}', body: \
         '{{\"text\": \"<{{{{message}}}}>\", \"bare\": {{{{message}}}}, \"one\": {{{{alert}}}}}}' }} }}] }}\n",
        peer.url("/a")
    );
    write(dir.path(), "c.yaml", &config);
    let out = Dsengine::new(["run", "--config", "c.yaml", "--state", "state"]).cwd(dir.path()).run();
    let requests = peer.requests();
    assert_eq!(requests.len(), 1, "{}", out.stderr);
    let sent: Value = serde_json::from_str(body(&requests[0])).unwrap_or_else(|e| panic!("{e}: {}", requests[0]));
    let said = sent["one"]["message"].as_str().unwrap();
    assert!(said.contains("\"quoted\"") && said.contains("{{seq}}"), "{said}");
    assert_eq!((sent["text"].as_str(), sent["bare"].as_str()), (Some(&*format!("<{said}>")), Some(said)));
}

#[test]
fn a_webhooks_own_attempts_and_answers_count() {
    for (own, wanted) in [("retry_attempts: 4", 4), ("retry_attempts: 1", 1), ("timeout: 5", 2)] {
        let peer = Peer::new(|_, _| "503 Service Unavailable\r\n".into());
        let out = run(
            &format!("url: '{}', {own}", peer.url("/a")),
            1,
            "retry_attempts: 2, max_age_seconds: 0, retry_delay: 0.1",
            &[],
        );
        assert_eq!(peer.requests().len(), wanted, "{own}: {}", out.stderr);
        assert!(out.stderr.contains("given up"), "{}", out.stderr);
    }
    let codes = "success_codes: [202, 304, 409]";
    for (status, taken) in [
        ("202 Accepted", true),
        ("409 Conflict", true),
        ("304 Not Modified", true),
        ("200 OK", false),
        ("204 No Content", false),
    ] {
        let peer = Peer::new(move |_, _| format!("{status}\r\n"));
        let out = run(
            &format!("url: '{}', {codes}", peer.url("/a")),
            1,
            "retry_attempts: 2, max_age_seconds: 0, retry_delay: 0.1",
            &[],
        );
        assert_eq!(peer.requests().len(), if taken { 1 } else { 2 }, "{status}: {}", out.stderr);
        assert_eq!(out.stderr.contains("none of its success_codes"), !taken, "{}", out.stderr);
    }
}

#[test]
fn a_connection_that_does_not_come_is_given_up_before_an_answer_is() {
    // It takes the connection and says nothing of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let keys = "retry_attempts: 1, max_age_seconds: 0";
    let out = run(&format!("url: 'https://{at}/a', connect_timeout: 0.3, timeout: 60"), 1, keys, &[]);
    assert!(out.stderr.contains(&format!("no connection to {at} within 0.3 s")), "{}", out.stderr);
    // Connected, it has the time of an answer.
    let out = run(&format!("url: 'http://{at}/a', connect_timeout: 1, timeout: 1.5"), 1, keys, &[]);
    assert!(out.stderr.contains("connected, and no answer within 1.5 s"), "{}", out.stderr);
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn a_signed_webhook_carries_what_its_secret_verifies_at_every_attempt() {
    let peer = Peer::new(|number, _| if number == 0 { "503 x\r\n".into() } else { "204 No Content\r\n".into() });
    let url = peer.url("/a");
    let settings =
        format!("url: '{url}', signing_secret: '${{env:HOOK_SECRET}}', body: '{{\"m\": \"{{{{message}}}}\"}}'");
    let out = run(&settings, 1, "retry_attempts: 2, max_age_seconds: 0, retry_delay: 0.1", &[("HOOK_SECRET", SECRET)]);
    let requests = peer.requests();
    assert_eq!(requests.len(), 2, "{}", out.stderr);
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    for request in &requests {
        let of = |name: &str| header(request, name).unwrap_or_else(|| panic!("{name}: {request}"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.{}", of("webhook-id"), of("webhook-timestamp"), body(request)).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(of("webhook-signature"), expected);
        assert_eq!(of("idempotency-key"), of("webhook-id"));
    }
    assert_eq!(header(&requests[0], "webhook-id"), header(&requests[1], "webhook-id"));
    assert!(!(out.stdout + &out.stderr).contains(&SECRET[6..]));
    // Without a secret there is no signature; a key of one's own stays.
    let peer = Peer::new(|_, _| "204 No Content\r\n".into());
    run(
        &format!("url: '{}', headers: {{ Idempotency-Key: own }}", peer.url("/a")),
        1,
        "retry_attempts: 1, max_age_seconds: 0",
        &[],
    );
    let request = &peer.requests()[0];
    assert_eq!((header(request, "webhook-signature"), header(request, "idempotency-key")), (None, Some("own")));
}

/// A process that ends with its guard.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_library_of_standard_webhooks_verifies_what_is_signed() {
    let test = "the_library_of_standard_webhooks_verifies_what_is_signed";
    let python = root().join("target/venv/bin/python");
    let has_library = Command::new(&python).args(["-c", "import standardwebhooks"]).output();
    if !has_library.is_ok_and(|out| out.status.success()) {
        return skip(test, "standardwebhooks is not installed in target/venv (./dev test does it)");
    }
    let receiver = Command::new(python)
        .arg(root().join("tests/doubles/webhook_receiver.py"))
        .arg(SECRET)
        .args([certificates("server.pem"), certificates("server.key")])
        .stdout(Stdio::piped())
        .spawn();
    let mut receiver = Ended(receiver.unwrap());
    let mut lines = BufReader::new(receiver.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.next().expect("its port");
    let settings = |secret: &str| {
        let ca = certificates("ca.pem");
        format!("url: 'https://localhost:{port}/a', ca_file: '{}', signing_secret: {secret}", ca.display())
    };
    let out = run(&settings(SECRET), 2, "retry_attempts: 1, max_age_seconds: 0", &[]);
    assert!(!out.stderr.contains("given up"), "{}", out.stderr);
    for _ in 0..2 {
        let told: Value = serde_json::from_str(&lines.next().expect("a request")).unwrap();
        assert!(told["error"].is_null() && told["alert"]["message"] == "m", "{told}\n{}", out.stderr);
        assert_eq!((&told["alert"]["id"], &told["key"]), (&told["id"], &told["id"]));
    }
    // While a receiver changes its secret, both sign.
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    run(&settings(&format!("'{other} {SECRET}'")), 1, "retry_attempts: 1", &[]).expect(0);
    let told: Value = serde_json::from_str(&lines.next().expect("a request")).unwrap();
    assert!(told["error"].is_null(), "{told}");
    // It refuses another secret's.
    let out = run(&settings("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 1, "retry_attempts: 1, max_age_seconds: 0", &[]);
    assert!(out.stderr.contains("400 Bad Request"), "{}", out.stderr);
    let told: Value = serde_json::from_str(&lines.next().expect("a request")).unwrap();
    assert_eq!(told["error"], "No matching signature found", "{told}");
}
