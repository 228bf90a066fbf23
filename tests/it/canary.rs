//! One secret in every place where one may stand, through every kind of failure: it is shown nowhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::email::Smtpd;
use crate::harness::{ClosedPort, Dsengine, Running, write};
use crate::webhooks::Peer;

/// The secret; of the token the beginning.
const CANARY: &str = "C4n4ry";
const TOKEN: &str = "C4n4ry-token-of-some-length";
/// How it may be seen: as it is, as a user with it as Basic authorization writes them, and in the base64 of a key.
const SHAPES: [&str; 3] = [CANARY, "ZGVzazpDNG40cnk", "QzRuNHJ5"];
/// Longest wait for what takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

#[track_caller]
fn is_not_in(bytes: &[u8], place: &str) {
    for shape in SHAPES {
        let found = bytes.windows(shape.len()).position(|window| window == shape.as_bytes());
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
            panic!("{place} shows the secret: {}", String::from_utf8_lossy(around));
        }
    }
}

/// The receivers, each of which fails in its own way.
struct Peers {
    /// Sends on to an address with the secret, then refuses.
    onward: Peer,
    refusing: Peer,
    /// Its certificate is of nobody that is trusted.
    untrusted: Peer,
    /// Repeats the password that it refuses.
    mail: Option<Smtpd>,
    closed: ClosedPort,
}

impl Peers {
    fn new() -> Self {
        let onward = Peer::new(|number, _| match number {
            0 => format!("302 Found\r\nlocation: http://desk:{CANARY}@127.0.0.1:1/{CANARY}?key={CANARY}\r\n"),
            _ => format!("401 {CANARY}\r\nwww-authenticate: Basic realm=\"{CANARY}\"\r\n"),
        });
        let refusing = Peer::new(|_, _| "403 Forbidden\r\n".into());
        let login = json!({ "user": "gate@example.com", "password": "right", "login": "535 5.7.8 {secret} is wrong" });
        Self { onward, refusing, untrusted: Peer::tls(), mail: Smtpd::start(login), closed: ClosedPort::take() }
    }

    /// Writes a configuration with the secret everywhere, and the scripts that it names.
    fn write(&self, dir: &Path) {
        let closed = self.closed.port;
        write(
            dir,
            "r.lua",
            "function detect(f)\n  if f.seq < 2 then f:alert{ rule = 'r', key = tostring(f.seq), message = 'm' } end\n  \
             if f.seq % 50 == 3 then error('no') end\nend\n",
        );
        write(
            dir,
            "h.lua",
            &format!(
                "---@needs http http://127.0.0.1:{closed}\nfunction handle_alert(alert)\n  local answer, why = \
                 http.post('http://127.0.0.1:{closed}/${{secret:HOOK}}/x?key=${{secret:HOOK}}', alert.message)\n  \
                 error(tostring(why))\nend\n"
            ),
        );
        let mail = self.mail.as_ref().map_or(closed, |server| server.port);
        let hook =
            |name: &str, config: &str| format!("    - {{ name: {name}, type: webhook, config: {{ {config} }} }}\n");
        let handlers = [
            hook("onward", &format!("url: '{}'", self.onward.url(&format!("/{CANARY}?key={CANARY}")))),
            hook(
                "refusing",
                &format!(
                    "url: '{}', headers: {{ X-Api-Key: {CANARY}, X-Site: {CANARY} }}, auth: {{ username: desk, \
                     password: {CANARY} }}, signing_secret: 'whsec_QzRuNHJ5QzRuNHJ5QzRuNHJ5QzRuNHJ5', body: '{{\"x\": \
                     \"${{env:BODY_SECRET}}\", \"text\": \"{{{{message}}}}\"}}'",
                    self.refusing.url(&format!("/{CANARY}"))
                ),
            ),
            hook("untrusted", &format!("url: 'https://desk:{CANARY}@localhost:{}/{CANARY}'", self.untrusted.port())),
            hook("closed", &format!("url: 'http://desk:{CANARY}@127.0.0.1:{closed}/{CANARY}?key={CANARY}'")),
            hook("unknown", &format!("url: 'http://desk:{CANARY}@no-such-host.invalid/{CANARY}'")),
            format!(
                "    - {{ name: mail, type: email, config: {{ smtp_server: 127.0.0.1, smtp_port: {mail}, tls: none, \
                 username: gate@example.com, password: {CANARY}, to_addresses: [guard@example.com] }} }}\n"
            ),
            format!(
                "    - {{ name: broker, type: mqtt, config: {{ url: 'mqtt://127.0.0.1:{closed}', username: gate, \
                 password: {CANARY} }} }}\n"
            ),
            format!(
                "    - {{ name: address, type: mqtt, config: {{ url: 'mqtt://gate:{CANARY}@127.0.0.1:{closed}' }} }}\n"
            ),
            format!(
                "    - {{ name: chat, type: slack, config: {{ webhook_url: 'http://127.0.0.1:{closed}/services/{CANARY}' }} }}\n"
            ),
            format!(
                "    - {{ name: script, module: h.lua, settings: {{ password: {CANARY}, topic: {CANARY} }}, grants: {{ \
                 http: ['http://127.0.0.1:{closed}'], secrets: {{ HOOK: {CANARY} }} }} }}\n"
            ),
        ];
        let config = format!(
            "monitoring:\n  listen: 0.0.0.0\n  tokens: [{{ name: op, token: '${{env:API_TOKEN}}', scopes: [read, control] }}]\n\
             sources:\n  - {{ id: a, uri: 'test:size=64x64,fps=30' }}\n  \
             - {{ id: cam, uri: 'rtsp://viewer:{CANARY}@127.0.0.1:{closed}/cam?token={CANARY}' }}\n\
             extensions: {{ site: {{ password: {CANARY} }} }}\n\
             detection: {{ strategies: [{{ name: r, module: r.lua, config: {{ api_key: {CANARY} }} }}] }}\n\
             alerts:\n  throttle_seconds: 0\n  min_confidence: 0\n  retry_attempts: 1\n  retry_delay: 0.1\n  \
             max_age_seconds: 0\n  handlers:\n{}",
            handlers.concat()
        );
        write(dir, "c.yaml", &config);
    }
}

/// The program in a folder, which knows the secrets that the configuration refers to.
fn dsengine(dir: &Path, args: &[&str]) -> Dsengine {
    let secrets = [("BODY_SECRET", CANARY), ("API_TOKEN", TOKEN), ("DSENGINE_TOKEN", TOKEN)];
    secrets.iter().fold(Dsengine::new(args).cwd(dir), |command, (name, value)| command.env(name, value))
}

/// Status and body of an answer; of one without an end, what has come after a second.
fn ask(page: &str, method: &str, path: &str, body: &Value) -> (u16, Vec<u8>) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(page).unwrap();
    let is_stream = path.starts_with("/live") || ["/api/v1/events", "/api/v1/logs"].iter().any(|s| path.starts_with(s));
    stream.set_read_timeout(Some(if is_stream { Duration::from_secs(1) } else { LIMIT })).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), answer)
}

/// The JSON of an answer.
fn json_of(page: &str, path: &str) -> Value {
    let (_, answer) = ask(page, "GET", path, &Value::Null);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The ids of the alerts, once every handler is done with each.
fn settled(run: &mut Running, dir: &Path) -> Vec<String> {
    let until = Instant::now() + LIMIT;
    loop {
        let listed = dsengine(dir, &["alerts", "list", "--config", "c.yaml", "--state", "state", "--json"]).run();
        is_not_in(listed.stdout.as_bytes(), "`alerts list`");
        let alerts: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let alerts = alerts.as_array().cloned().unwrap_or_default();
        let is_done = |alert: &Value| {
            let handlers = alert["handlers"].as_array().unwrap();
            handlers.len() == 10 && handlers.iter().all(|handler| handler["outcome"] == "given_up")
        };
        let done: Vec<_> = alerts.iter().filter(|alert| alert["alert"]["source"] == "a" && is_done(alert)).collect();
        if done.len() == 2 {
            return done.iter().map(|alert| alert["alert"]["id"].as_str().unwrap().to_owned()).collect();
        }
        let ended = run.end(Duration::from_millis(100));
        assert!(ended.is_none() && Instant::now() < until, "{ended:?} {alerts:?}\n{}", run.seen.join("\n"));
    }
}

/// Asks each GET route of the description for what there is; returns how many answered well.
fn walk(page: &str, id: &str) -> usize {
    let description = json_of(page, "/api/v1/openapi.json");
    let routes = description["paths"].as_object().unwrap().iter().filter(|(_, route)| route["get"].is_object());
    let mut good = 0;
    for (route, _) in routes {
        let mut paths = vec![route.replace("{id}", id)];
        for (parameter, values) in [("{source}", ["a", "cam"]), ("{name}", ["r", "script"])] {
            let of = |path: String| match path.contains(parameter) {
                true => values.iter().map(|value| path.replace(parameter, value)).collect(),
                false => vec![path],
            };
            paths = paths.into_iter().flat_map(of).collect();
        }
        for path in paths {
            let query = match route.as_str() {
                "/api/v1/explain" => "?source=a",
                "/live" | "/live/{source}" | "/api/v1/events" | "/api/v1/logs" => "?limit=3",
                _ => "",
            };
            let (status, answer) = ask(page, "GET", &format!("{path}{query}"), &Value::Null);
            is_not_in(&answer, &path);
            good += usize::from(status == 200);
        }
    }
    good
}

/// Edits with the secret that are refused, or succeed; none of them repeats it.
fn edit(page: &str) {
    let address = format!("rtsp://viewer:{CANARY}@127.0.0.1:1/cam?token={CANARY}");
    let hook =
        |config: Value| json!({ "alerts": { "handlers": [{ "name": "w", "type": "webhook", "config": config }] } });
    let login = json!({ "username": "desk", "password": CANARY });
    for (method, path, body, wanted) in [
        ("PATCH", "/api/v1/sources/cam", json!({ "uri": [address] }), 422),
        ("PATCH", "/api/v1/sources/cam", json!({ "uri": address }), 200),
        ("PATCH", "/api/v1/sources/cam", json!({ "password": CANARY }), 422),
        ("POST", "/api/v1/sources", json!({ "id": "x", "uri": format!("rtsp://u:{CANARY}/1@h:3:4/s") }), 422),
        ("POST", "/api/v1/config/validate", hook(json!({ "url": CANARY, "headers": CANARY, "auth": CANARY })), 422),
        ("POST", "/api/v1/config/diff", hook(json!({ "url": format!("http://h/{CANARY}"), "auth": login })), 200),
        ("POST", "/api/v1/config/apply", hook(json!({ "url": CANARY, "pasword": CANARY })), 422),
    ] {
        let (status, answer) = ask(page, method, path, &body);
        is_not_in(&answer, &format!("{method} {path}"));
        assert_eq!(status, wanted, "{method} {path} {body}: {}", String::from_utf8_lossy(&answer));
    }
}

/// The files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_secret_is_shown_nowhere_whatever_fails() {
    let (dir, peers) = (tempfile::tempdir().unwrap(), Peers::new());
    peers.write(dir.path());
    let mut run = dsengine(dir.path(), &["run", "--config", "c.yaml", "--port", "0", "--state", "state"]).start();
    let page = run.page();
    let ids = settled(&mut run, dir.path());
    // All of it has been used, and has failed.
    assert!(peers.onward.requests()[0].contains(CANARY) && peers.refusing.requests()[0].contains(CANARY));
    assert!(peers.mail.as_ref().is_none_or(|server| !server.logins().is_empty()));
    let good = walk(&page, &ids[0]);
    assert!(good > 20, "{good} routes answered");
    edit(&page);
    assert!(walk(&page, &ids[1]) > 20, "after the edits");
    let id = ids[0].as_str();
    let here = ["--config", "c.yaml", "--state", "state"];
    for (command, is_here) in [
        (&["config", "show", "--at", &page][..], false),
        (&["sources", "list", "--at", &page], false),
        (&["validate", "c.yaml"], false),
        (&["alerts", "show", id], true),
        (&["alerts", "show", id, "--json"], true),
        (&["alerts", "list", "--undelivered"], true),
        (&["explain", "alert", id], true),
        (&["explain", "--source", "a"], true),
    ] {
        let args = [command, if is_here { &here[..] } else { &[] }].concat();
        let out = dsengine(dir.path(), &args).run();
        assert!(!format!("{}{}", out.stdout, out.stderr).is_empty(), "{args:?}");
        assert_eq!(out.code(), 0, "{args:?}: {}{}", out.stdout, out.stderr);
        is_not_in(format!("{}{}", out.stdout, out.stderr).as_bytes(), &format!("{args:?}"));
    }
    run.signal("INT");
    assert!(run.end(LIMIT).is_some(), "{}", run.seen.join("\n"));
    is_not_in(run.seen.join("\n").as_bytes(), "the log");
    // Database with its journal and the pictures; what a file is called, too.
    let kept = files(&dir.path().join("state"));
    assert!(kept.iter().any(|file| file.extension().is_some_and(|end| end == "jpg")), "{kept:?}");
    for file in kept {
        is_not_in(file.display().to_string().as_bytes(), "the name of a file");
        is_not_in(&std::fs::read(&file).unwrap(), &file.display().to_string());
    }
}

/// A source with these keys.
fn source(keys: &str) -> String {
    format!("sources: [{{ id: a, {keys} }}]\n")
}

/// A handler with these keys.
fn handler(keys: &str) -> String {
    format!("sources: [{{ id: a, uri: test }}]\nalerts: {{ handlers: [{{ name: h, {keys} }}] }}\n")
}

/// A handler of this kind with this `config`.
fn kind(word: &str, config: &str) -> String {
    handler(&format!("type: {word}, config: {{ {config} }}"))
}

/// A webhook with these keys beside its address.
fn hook(keys: &str) -> String {
    kind("webhook", &format!("url: 'http://h/', {keys}"))
}

/// An engine with these keys.
fn engine(keys: &str) -> String {
    format!("sources: [{{ id: a, uri: test }}]\n{keys}\n")
}

/// Configurations that are wrong at the secret, or beside it.
fn wrong() -> Vec<String> {
    let mail =
        |keys: &str| kind("email", &format!("smtp_server: h, to_addresses: [g@e.com], username: u@e.com, {keys}"));
    let token = |keys: &str| engine(&format!("monitoring: {{ tokens: [{{ name: op, {keys} }}] }}"));
    let sources = [
        "uri: ['rtsp://u:C4n4ry@h/s']",
        "uri: { address: 'rtsp://u:C4n4ry@h/s' }",
        "uri: 'rtsp://u:C4n4ry@h:99999/s'",
        "uri: 'rtspp://u:C4n4ry@h/s?key=C4n4ry'",
        "uri: 'rtsp://u:C4n4ry/1@h:3:4/s'",
        "uri: 'rtsp//u:C4n4ry@h/s'",
        "uri: test, pasword: C4n4ry",
        "uri: 'rtsp://u:C4n4ry@h/s', uri: 'rtsp://u:C4n4ry@h/t'",
        "uri: 'rtsp://u:C4n4ry@h/s', fps: fast",
        "uri: 'rtsp://u:C4n4ry@h/s",
    ];
    let hooks = [
        "headers: 'C4n4ry'",
        "headers: [C4n4ry]",
        "headers: { X-Site: [C4n4ry] }",
        "headers: { 'X Site': C4n4ry }",
        "headers: { A: '${env:NOT_SET_AT_ALL:-C4n4ry}' }, timeout: x",
        "auth: C4n4ry",
        "auth: [u, C4n4ry]",
        "auth: { username: u, password: [C4n4ry] }",
        "auth: { username: u, pasword: C4n4ry }",
        "auth: { username: 'u:C4n4ry', password: C4n4ry }",
        "body: { x: C4n4ry }",
        "body: '{\"x\": C4n4ry'",
        "body: '{\"x\": \"C4n4ry\", \"y\": {{no}}}'",
        "signing_secret: C4n4ry",
        "signing_secret: [C4n4ry]",
        "signing_secret: 'whsec_C4n4ry!!'",
        "timeout: '${env:BODY_SECRET}'",
        "method: '${env:BODY_SECRET}'",
    ];
    let brokers = [
        "url: 'mqtt://u:C4n4ry@h/x'",
        "url: 'mqtt://u:C4n4ry@h', username: u, password: C4n4ry",
        "url: 'mqtt://h', password: C4n4ry",
        "url: 'mqtt://h', username: u, password: [C4n4ry]",
        "url: '${env:BODY_SECRET}'",
    ];
    let others = [
        kind("webhook", "url: ['http://h/C4n4ry']"),
        kind("webhook", "url: C4n4ry"),
        kind("webhook", "url: 'http://u:C4n4ry@h/C4n4ry', timeout: 1000, headers: { A: C4n4ry }"),
        mail("password: [C4n4ry]"),
        mail("password: { a: C4n4ry }"),
        mail("pasword: C4n4ry, smtp_port: 0"),
        mail("password: C4n4ry, smtp_port: 99999"),
        kind("slack", "webhook_url: C4n4ry"),
        kind("slack", "webhook_url: ['https://h/C4n4ry']"),
        kind("slack", "webhook_url: 'https://u:C4n4ry@h/C4n4ry'"),
        handler("module: h.lua, settings: [C4n4ry]"),
        handler("module: h.lua, settings: { password: [C4n4ry], topic: [C4n4ry] }, pasword: C4n4ry"),
        handler("module: h.lua, grants: { secrets: C4n4ry }"),
        handler("module: h.lua, grants: { secrets: { HOOK: [C4n4ry] } }"),
        engine("monitoring: { tokens: C4n4ry }"),
        engine("monitoring: { tokens: { op: C4n4ry } }"),
        engine("monitoring: { tokens: [C4n4ry] }"),
        engine("monitoring: { prometheus_port: '${env:BODY_SECRET}' }"),
        token("token: C4n4ry-0123456789abcdef, scopes: [read]"),
        token("token: [C4n4ry], scopes: [read]"),
        token("tokn: C4n4ry, scopes: [read]"),
        engine("extensions: { password: [C4n4ry], a: { api_key: { b: C4n4ry } } }\nalerts: { throttle_seconds: x }"),
        engine(
            "detection: { strategies: [{ name: r, module: r.lua, config: { api_key: [C4n4ry] }, pasword: C4n4ry }] }",
        ),
        engine("detection: { strategies: [{ name: r, module: r.lua, config: C4n4ry }] }"),
        engine("alerts: { throttle_seconds: x } # password: C4n4ry"),
        engine("alerts: { handlers: ['webhook: http://u:C4n4ry@h'] }"),
    ];
    let of = |keys: &[&str], make: &dyn Fn(&str) -> String| keys.iter().map(|keys| make(keys)).collect::<Vec<_>>();
    [of(&sources, &source), of(&hooks, &hook), of(&brokers, &|keys| kind("mqtt", keys)), others.into()].concat()
}

/// Texts that are no YAML at the secret, or beside it.
fn broken() -> Vec<String> {
    let sources = [
        "uri: test, password: \"C4n4ry\", name: \"x",
        "uri: test, name: \"x, password: \"C4n4ry\"",
        "uri: test, pasword: @C4n4ry",
        "uri: test, password: %C4n4ry: '",
        "uri: test, password: *C4n4ry",
        "uri: test, password: !C4n4ry [",
    ];
    let hooks =
        ["headers: { X-Site: @C4n4ry }", "headers: { Site: *C4n4ry }", "headers: { Site: 'C4n4ry, Other: 'C4n4ry' }"];
    let lines =
        ["headers:\n    Site: @C4n4ry", "password: \"x\n  C4n4ry\" x", "api_key: `C4n4ry", "- \"rtsp://u:C4n4ry@h/s"];
    let lines = lines.map(|lines| engine(&format!("extensions:\n  {lines}")));
    let (sources, hooks) = (sources.map(source), hooks.map(hook));
    [&sources[..], &hooks, &lines].concat()
}

#[test]
fn a_secret_is_in_no_message_about_a_configuration_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "h.lua", "function handle_alert(alert) end\n");
    write(dir.path(), "r.lua", "function detect(f) end\n");
    for text in wrong() {
        write(dir.path(), "bad.yaml", &text);
        let out = dsengine(dir.path(), &["validate", "bad.yaml"]).run();
        assert_ne!(out.code(), 0, "{text}");
        is_not_in(format!("{}{}", out.stdout, out.stderr).as_bytes(), &text);
    }
}

#[test]
fn a_secret_is_in_no_message_about_a_text_that_is_no_yaml() {
    let dir = tempfile::tempdir().unwrap();
    for text in broken() {
        write(dir.path(), "bad.yaml", &text);
        let commands: [&[&str]; 3] = [
            &["validate", "bad.yaml"],
            &["run", "--config", "bad.yaml", "--state", "state"],
            // Nothing answers there.
            &["config", "diff", "bad.yaml", "--at", "127.0.0.1:1"],
        ];
        for args in commands {
            let out = dsengine(dir.path(), args).run();
            assert_ne!(out.code(), 0, "{args:?}: {text}");
            is_not_in(format!("{}{}", out.stdout, out.stderr).as_bytes(), &format!("{args:?}: {text}"));
        }
    }
}
