//! Who may ask for what beyond loopback: tokens, scopes, sources, sessions of the page, and how many streams.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use dsengine::admin;
use dsengine::backend::SourceState;
use dsengine::config::{AdminPlan, Public, Scope, TokenPlan};
use serde_json::{Value, json};

use crate::admin::{Answer, Served, answer, frame, head, request, wait_until};

const VIEWER: &str = "viewer-0123456789abcdef";
const OPERATOR: &str = "operator-0123456789abcdef";
const GUARD: &str = "guard-0123456789abcdef";
const PUBLISHER: &str = "publisher-0123456789abcdef";

fn token(text: &str, scopes: &[Scope], sources: &[&str]) -> TokenPlan {
    TokenPlan {
        name: text.split('-').next().unwrap().into(),
        token: text.to_owned(),
        scopes: scopes.to_vec(),
        sources: sources.iter().map(|source| (*source).into()).collect(),
    }
}

/// Bound beyond loopback; the tests come from 127.0.0.1, as a proxy would.
fn wide() -> AdminPlan {
    AdminPlan {
        listen: Ipv4Addr::UNSPECIFIED.into(),
        port: 0,
        tokens: vec![
            token(VIEWER, &[Scope::Read], &[]),
            token(OPERATOR, &[Scope::Read, Scope::Control], &[]),
            token(GUARD, &Scope::ALL, &["gate"]),
            token(PUBLISHER, &[Scope::Publish], &[]),
        ],
        allowed_hosts: vec!["cam.example".into()],
        public: Public { probes: true, metrics: false },
        ..AdminPlan::default()
    }
}

struct Wide(Served);

impl Wide {
    fn new() -> Self {
        let served = Served::with(&wide());
        served.board.states.lock().unwrap().insert("yard", SourceState::Running);
        Self(served)
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.admin.address().port()).into()
    }

    /// Sends a request with these headers and without a `Host` of theirs, as `localhost`.
    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> BufReader<TcpStream> {
        let host = if headers.iter().any(|(name, _)| *name == "Host") { None } else { Some(("Host", "localhost")) };
        let headers: Vec<_> = host.into_iter().chain(headers.iter().copied()).collect();
        request(TcpStream::connect(self.address()).unwrap(), method, path, &headers, body)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        answer(self.open(method, path, headers, ""))
    }

    /// The status of an answer that may have no end.
    fn status(&self, method: &str, path: &str, token: Option<&str>) -> u16 {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        head(&mut self.open(method, path, &headers, ""))[9..12].parse().unwrap()
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, &[("Authorization", &format!("Bearer {token}"))])
    }

    /// The cookie that a token is traded for.
    fn log_in(&self, token: &str) -> String {
        let answer = self.ask("POST", "/api/v1/session", &[("Authorization", &format!("Bearer {token}"))]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let cookie = answer.head.split("set-cookie: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        for part in ["; path=/", "; httponly", "; samesite=strict", "; max-age=43200"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }
}

/// Each documented call: method, path with its variables filled in, and its description.
fn calls(document: &Value) -> Vec<(String, String, Value)> {
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let path = path.replace("{source}", "gate").replace("{name}", "x").replace("{id}", "018b");
            let path = path.replace("{session}", "0");
            calls.push((method.to_uppercase(), path, call.clone()));
        }
    }
    calls
}

#[test]
fn every_documented_call_asks_for_the_scope_that_it_names() {
    let wide = Wide::new();
    let document = wide.get("/api/v1/openapi.json", VIEWER).json();
    let mut asked = 0;
    for (method, path, call) in calls(&document) {
        let status = |token| wide.status(&method, &path, token);
        let (sufficient, lacking) = match call["x-scope"].as_str().unwrap() {
            "read" => (VIEWER, PUBLISHER),
            "control" => (OPERATOR, VIEWER),
            "publish" => (PUBLISHER, VIEWER),
            "none" => continue,
            other => panic!("{other}"),
        };
        let allowed = status(Some(sufficient));
        assert!(
            ![401, 403].contains(&allowed) && call["responses"].get(allowed.to_string()).is_some(),
            "{method} {path}: {allowed}"
        );
        if call["x-public"] == "probes" {
            assert!([200, 503].contains(&status(None)) && [200, 503].contains(&status(Some("wrong"))), "{path}");
            continue;
        }
        let limited = if call["x-whole"] == true { 403 } else { status(Some(GUARD)) };
        let statuses = [status(None), status(Some("wrong")), status(Some(lacking)), status(Some(GUARD))];
        assert_eq!(statuses, [401, 401, 403, limited], "{method} {path}");
        assert!(call["x-whole"] == true || limited != 403, "{method} {path}");
        asked += 1;
    }
    assert!(asked >= 24, "{asked} calls");
    for path in ["/nothing", "/api/v1/nothing"] {
        assert_eq!([wide.status("GET", path, None), wide.status("GET", path, Some(VIEWER))], [401, 404], "{path}");
    }
}

#[test]
fn what_bound_to_loopback_asks_for_no_token_even_where_there_are_some() {
    let served = Served::with(&AdminPlan { listen: Ipv4Addr::LOCALHOST.into(), ..wide() });
    for headers in [&[("Host", "localhost")][..], &[("Host", "localhost"), ("Authorization", "Bearer wrong")]] {
        let stream = TcpStream::connect(served.admin.address()).unwrap();
        assert_eq!(answer(request(stream, "GET", "/api/v1/status", headers, "")).status, 200);
    }
    let stream = TcpStream::connect(served.admin.address()).unwrap();
    let session = answer(request(stream, "POST", "/api/v1/session", &[("Host", "localhost")], ""));
    assert_eq!((session.status, session.json()["name"].as_str()), (200, Some("loopback")));
    assert!(!session.head.contains("set-cookie"));
}

#[test]
fn public_probes_say_whether_and_not_what() {
    let wide = Wide::new();
    wide.0.board.states.lock().unwrap().insert("gate", SourceState::Stalled);
    let open = wide.ask("GET", "/health", &[]);
    assert_eq!((open.status, open.json()["health"].as_str()), (200, Some("degraded")));
    assert!(!open.body.contains("gate") && wide.get("/health", VIEWER).body.contains("source gate is stalled"));
    wide.0.board.states.lock().unwrap().insert("yard", SourceState::Stalled);
    let (open, told) = (wide.ask("GET", "/readyz", &[]), wide.get("/readyz", VIEWER));
    assert_eq!((open.status, open.body.as_str(), told.status), (503, "not ready\n", 503));
    assert!(told.body.contains("source gate is stalled"), "{}", told.body);
    assert_eq!(wide.ask("GET", "/livez", &[]).body, "ok\n");
}

#[test]
fn a_token_that_is_limited_to_sources_sees_and_changes_those_only() {
    let wide = Wide::new();
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|source| source["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&wide.get("/api/v1/sources", VIEWER).json()), ["gate", "yard"]);
    assert_eq!(ids(&wide.get("/api/v1/sources", GUARD).json()), ["gate"]);
    wide.0.board.states.lock().unwrap().insert("yard", SourceState::Stalled);
    let status = wide.get("/api/v1/status", GUARD);
    assert_eq!(
        (ids(&status.json()["sources"]), status.json()["health"].as_str()),
        (vec!["gate".into()], Some("healthy"))
    );
    assert!(!status.body.contains("yard"), "{}", status.body);
    for (method, path) in
        [("GET", "/api/v1/sources/yard"), ("GET", "/live/yard?limit=0"), ("DELETE", "/api/v1/sources/yard")]
    {
        let bearer = format!("Bearer {GUARD}");
        let refused = wide.ask(method, path, &[("Authorization", &bearer)]);
        assert_eq!(refused.status, 403, "{method} {path}");
        assert!(refused.json()["message"].as_str().unwrap().contains("these sources only: gate"), "{}", refused.body);
    }
    assert_eq!(wide.status("GET", "/live/gate?limit=0", Some(GUARD)), 200);
    let bearer = format!("Bearer {GUARD}");
    let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let add = |id: &str| {
        answer(wide.open("POST", "/api/v1/sources", &json, &json!({ "id": id, "uri": "test:" }).to_string())).status
    };
    // There is nothing here that could be changed, which only who may is told.
    assert_eq!((add("gate"), add("yard")), (409, 403));
    let states = wide.get("/api/v1/events?limit=0", GUARD).body;
    assert!(states.contains("\"gate\"") && !states.contains("\"yard\""), "{states}");
}

#[test]
fn the_page_trades_its_token_for_a_cookie_that_changes_nothing_from_elsewhere() {
    let wide = Wide::new();
    assert_eq!(wide.ask("GET", "/", &[]).status, 200);
    assert_eq!(wide.ask("GET", "/assets/page.css", &[]).status, 200);
    // Every module of the page, from the first one on.
    let mut modules = vec!["page.js".to_owned()];
    let mut next = 0;
    while let Some(name) = modules.get(next).cloned() {
        let module = wide.ask("GET", &format!("/assets/{name}"), &[]);
        assert_eq!(module.status, 200, "{name}");
        let imports = module.body.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
        for import in imports {
            if !modules.iter().any(|known| known == import) {
                modules.push(import.to_owned());
            }
        }
        next += 1;
    }
    assert_eq!(modules.len(), 6, "{modules:?}");
    assert_eq!(wide.ask("POST", "/api/v1/session", &[]).status, 401);
    assert_eq!(wide.ask("POST", "/api/v1/session", &[("Authorization", "Bearer wrong")]).status, 401);
    let cookie = wide.log_in(OPERATOR);
    let cookie = ("Cookie", cookie.as_str());
    assert_eq!(wide.ask("GET", "/api/v1/status", &[cookie]).status, 200);
    assert!(wide.ask("GET", "/api/v1/events?limit=0", &[cookie]).body.contains("event: state"));
    let reload = |headers: &[(&str, &str)]| wide.ask("POST", "/api/v1/plugins/x/reload", headers).status;
    let port = wide.address().port();
    let (ours, named) = (format!("http://localhost:{port}"), format!("localhost:{port}"));
    // 409: there is no such plugin.
    assert_eq!(reload(&[("Host", &named), ("Origin", &ours), cookie]), 409);
    assert_eq!(reload(&[cookie]), 403);
    assert_eq!(reload(&[("Origin", "http://evil.example"), cookie]), 403);
    assert_eq!(reload(&[("Authorization", &format!("Bearer {OPERATOR}"))]), 409);
    let closed = wide.ask("DELETE", "/api/v1/session", &[("Host", &named), ("Origin", &ours), cookie]);
    assert!(closed.status == 204 && closed.head.contains("max-age=0"), "{}", closed.head);
    assert_eq!(wide.ask("GET", "/api/v1/status", &[cookie]).status, 401);
}

#[test]
fn a_changed_plan_holds_from_now_on_and_ends_what_it_does_not_allow_any_more() {
    let wide = Wide::new();
    let cookie = wide.log_in(VIEWER);
    let bearers = [VIEWER, OPERATOR].map(|token| format!("Bearer {token}"));
    let mut streams = bearers.each_ref().map(|bearer| {
        let mut stream = wide.open("GET", "/api/v1/events", &[("Authorization", bearer)], "");
        assert!(head(&mut stream).starts_with("http/1.1 200"));
        stream
    });
    assert_eq!(wide.ask("GET", "/metrics", &[]).status, 401);
    assert_eq!(wide.ask("GET", "/livez", &[("Host", "new.example")]).status, 403);
    let mut plan = wide_without(VIEWER);
    plan.public = Public { probes: false, metrics: true };
    plan.allowed_hosts.push("new.example".into());
    wide.0.admin.set_plan(&plan);
    assert_eq!(wide.ask("GET", "/metrics", &[]).status, 200);
    assert_eq!([wide.status("GET", "/livez", None), wide.status("GET", "/livez", Some(OPERATOR))], [401, 200]);
    assert_eq!(wide.ask("GET", "/", &[("Host", "new.example:80")]).status, 200);
    assert_eq!(wide.ask("GET", "/api/v1/status", &[("Cookie", &cookie)]).status, 401);
    let mut rest = String::new();
    streams[0].read_to_string(&mut rest).unwrap();
    wide.0.board.events.state(&"gate".into(), SourceState::Stalled);
    let mut line = String::new();
    while !line.contains("stalled") {
        line.clear();
        assert_ne!(streams[1].read_line(&mut line).unwrap(), 0, "the other's stream goes on");
    }
}

fn wide_without(token: &str) -> AdminPlan {
    let mut plan = wide();
    plan.tokens.retain(|kept| !token.starts_with(&format!("{}-", kept.name)));
    plan
}

#[test]
fn streams_are_bounded_per_token_and_the_next_one_is_told() {
    let wide = Wide::new();
    let bearer = format!("Bearer {VIEWER}");
    let open = |path: &str, bearer: &str| {
        let mut stream = wide.open("GET", path, &[("Authorization", bearer)], "");
        (head(&mut stream), stream)
    };
    let mut held: Vec<_> = (0..admin::STREAMS_PER_TOKEN_MAX).map(|_| open("/api/v1/events", &bearer)).collect();
    assert!(held.iter().all(|(head, _)| head.starts_with("http/1.1 200")));
    for path in ["/api/v1/events?limit=0", "/live?limit=0"] {
        let refused = wide.get(path, VIEWER);
        assert!(refused.status == 429 && refused.head.contains("retry-after: "), "{}", refused.head);
        assert!(refused.json()["message"].as_str().unwrap().contains("the token 'viewer' has 16 streams open"));
    }
    assert_eq!(wide.get("/api/v1/events?limit=0", OPERATOR).status, 200);
    assert_eq!(wide.get("/api/v1/status", VIEWER).status, 200);
    held.pop();
    wait_until(|| wide.get("/api/v1/events?limit=0", VIEWER).status == 200);
}

#[test]
fn streams_end_after_as_many_as_were_asked_for() {
    let wide = Wide::new();
    let snapshot = wide.get("/api/v1/events?limit=0&kinds=state", VIEWER).body;
    assert_eq!(snapshot.matches("event: state").count(), 2, "{snapshot}");
    assert!(!wide.get("/api/v1/events?limit=0&kinds=alert", VIEWER).body.contains("event:"));
    let bearer = format!("Bearer {VIEWER}");
    let mut events = wide.open("GET", "/api/v1/events?limit=2&kinds=state", &[("Authorization", &bearer)], "");
    let mut seen = head(&mut events);
    while seen.matches("event: state").count() < 2 {
        assert_ne!(events.read_line(&mut seen).unwrap(), 0);
    }
    for state in [SourceState::Stalled, SourceState::Running, SourceState::Stalled] {
        wide.0.board.events.state(&"gate".into(), state);
    }
    events.read_to_string(&mut seen).unwrap();
    assert_eq!(seen.matches("event: state").count(), 4, "{seen}");
    assert!(!wide.get("/live?limit=0", VIEWER).body.contains("dsengine-frame"));
    let mut pictures = wide.open("GET", "/live/gate?limit=2", &[("Authorization", &bearer)], "");
    head(&mut pictures);
    wait_until(|| wide.0.board.live.watchers() == 1);
    let mut bytes = vec![0; 4096];
    let mut parts = 0;
    for seq in 1..=2_u64 {
        wide.0.board.live.publish(&frame(seq), seq * 1_000_000_000);
        // Each is taken before the next comes: a newer one would replace it.
        let mut text = String::new();
        while !text.contains(&format!("\"seq\":{seq}")) {
            let read = pictures.read(&mut bytes).unwrap();
            assert_ne!(read, 0);
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        parts += 1;
    }
    let mut rest = Vec::new();
    pictures.read_to_end(&mut rest).unwrap();
    assert_eq!(parts, 2);
}

#[test]
fn what_cannot_be_answered_says_why_in_one_shape() {
    let wide = Wide::new();
    let bearer = format!("Bearer {OPERATOR}");
    let auth = ("Authorization", bearer.as_str());
    let yaml = ("Content-Type", "application/yaml");
    let json = ("Content-Type", "application/json");
    let long = "x".repeat(1024 * 1024 + 1);
    for (method, path, headers, body, status) in [
        ("GET", "/api/v1/events?limit=x", vec![auth], "", 400),
        ("GET", "/api/v1/events?limit=1000001", vec![auth], "", 400),
        ("GET", "/api/v1/events?kinds=nothing", vec![auth], "", 400),
        ("GET", "/live?unknown=1", vec![auth], "", 400),
        ("GET", "/api/v1/sources/%ff", vec![auth], "", 400),
        ("GET", "/api/v1/sources/nowhere", vec![auth], "", 404),
        ("GET", "/live/nowhere", vec![auth], "", 404),
        ("GET", "/api/v1/nothing", vec![auth], "", 404),
        ("PUT", "/api/v1/sources", vec![auth], "", 405),
        ("DELETE", "/livez", vec![auth], "", 405),
        ("POST", "/api/v1/sources?save=maybe", vec![auth, json], "{}", 400),
        ("POST", "/api/v1/sources", vec![auth, json], "{", 400),
        ("POST", "/api/v1/sources", vec![auth, yaml], "{}", 415),
        ("POST", "/api/v1/sources", vec![auth, json], "[]", 422),
        ("POST", "/api/v1/sources", vec![auth, json], &long, 413),
        ("POST", "/api/v1/sources", vec![auth, json], "{\"id\": \"a\"}", 409),
        ("POST", "/api/v1/config/validate", vec![auth, yaml], &long, 413),
        ("POST", "/api/v1/config/validate", vec![auth, yaml], "sources: []", 409),
        ("POST", "/api/v1/config/validate", vec![auth, json], "null", 422),
        ("POST", "/api/v1/plugins/x/reload", vec![auth], "", 409),
        ("GET", "/api/v1/status", vec![("Host", "evil.example"), auth], "", 403),
        ("GET", "/api/v1/status", vec![("Authorization", "Basic abc")], "", 401),
    ] {
        let answer = answer(wide.open(method, path, &headers, body));
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        let error = answer.json();
        let keys: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "hint", "message", "place", "problems"], "{method} {path}");
        assert!(error["code"].as_str().unwrap().starts_with('E') && error["message"].as_str().is_some());
        assert_eq!(answer.head.contains("\r\nallow: "), status == 405, "{method} {path}: {}", answer.head);
        assert_eq!(answer.head.contains("\r\nwww-authenticate: bearer"), status == 401, "{}", answer.head);
    }
}

#[test]
fn a_token_is_in_no_answer() {
    let shown = format!("{:?}", wide());
    assert!(shown.contains("viewer") && !shown.contains("0123456789abcdef"), "{shown}");
    let wide = Wide::new();
    let document = wide.get("/api/v1/openapi.json", VIEWER);
    for (method, path, _) in calls(&document.json()) {
        let path = format!("{path}{}", if path.contains("/live") || path.contains("events") { "?limit=0" } else { "" });
        for token in [VIEWER, OPERATOR, GUARD] {
            let answer = wide.ask(&method, &path, &[("Authorization", &format!("Bearer {token}"))]);
            let text = format!("{}{}", answer.head, answer.body);
            assert!(!text.contains("0123456789abcdef"), "{method} {path}: {text}");
        }
    }
}

#[test]
fn the_states_that_a_source_was_in_are_kept_with_their_times() {
    let wide = Wide::new();
    let history = || wide.get("/api/v1/sources/gate", VIEWER).json()["history"].clone();
    wait_until(|| history().as_array().is_some_and(|changes| changes.len() == 1));
    for state in [SourceState::Stalled, SourceState::Backoff { attempt: 1 }, SourceState::Running] {
        wide.0.board.events.state(&"gate".into(), state);
    }
    wait_until(|| history().as_array().is_some_and(|changes| changes.len() == 4));
    let history = history();
    let states: Vec<_> = history.as_array().unwrap().iter().map(|change| change["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["running", "backoff", "stalled", "running"]);
    let times: Vec<_> = history.as_array().unwrap().iter().map(|change| change["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b) && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
}

#[test]
fn a_picture_is_shown_to_whoever_may_see_its_source() {
    let wide = Wide::new();
    let dir = tempfile::tempdir().unwrap();
    let (yard, delivery, _runtime) = crate::alerts::pictured(dir.path(), "yard");
    *wide.0.board.pictures.lock().unwrap() = delivery.pictures().clone();
    let path = format!("/api/v1/alerts/{}/picture.jpg", yard.id);
    let shown =
        |path: &str| [Some(VIEWER), Some(GUARD), Some(PUBLISHER), None].map(|token| wide.status("GET", path, token));
    // The guard may see the gate only, and is not told that there is a picture.
    assert_eq!(shown(&path), [200, 404, 403, 401]);
    assert_eq!(shown(&format!("{path}?clean=1")), [200, 404, 403, 401]);
    for (path, status) in [
        (format!("{path}?clean=2"), 400),
        (format!("{path}?other=1"), 400),
        (format!("/api/v1/alerts/{}/picture.jpg", "0".repeat(32)), 404),
        ("/api/v1/alerts/..%2f..%2fsecret/picture.jpg".to_owned(), 404),
    ] {
        assert_eq!(wide.status("GET", &path, Some(VIEWER)), status, "{path}");
    }
    let head = head(&mut wide.open("GET", &path, &[("Authorization", &format!("Bearer {VIEWER}"))], ""));
    assert!(head.contains("content-type: image/jpeg") && head.contains("cache-control: no-store"), "{head}");
    let (gate, delivery, _runtime) = crate::alerts::pictured(dir.path(), "gate");
    *wide.0.board.pictures.lock().unwrap() = delivery.pictures().clone();
    assert_eq!(shown(&format!("/api/v1/alerts/{}/picture.jpg", gate.id)), [200, 200, 403, 401]);
}
