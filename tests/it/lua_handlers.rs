//! Lua scripts as handlers: what they are given, what they say, what they may reach, what stops them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsengine::alert::{DeliveryError, Handler, Retry};
use dsengine::guest::http::{Failure, Request, Response, Wire};
use dsengine::guest::{Grants, GuestContext, Limits, Needs, StateStore, Watchdog};
use dsengine::lua::{self, LuaHandler, Script};
use dsengine::types::{Alert, AlertId, BBox, Detection, Level, SourceId};
use serde_json::{Value, json};

use crate::lua::{script_of, shipped, with_config};

/// A wire that keeps what was sent and answers as told.
#[derive(Default)]
pub(crate) struct Post {
    sent: Mutex<Vec<Request>>,
    answers: Mutex<Vec<Result<Response, Failure>>>,
    /// How long an answer takes.
    delay: Duration,
}

impl Post {
    fn answering(answers: impl IntoIterator<Item = Result<Response, Failure>>) -> Arc<Self> {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Arc::new(Self { answers: Mutex::new(answers), ..Self::default() })
    }

    fn sent(&self) -> Vec<Request> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

impl Wire for Post {
    fn send(&self, request: Request, _: &Grants, _: usize) -> Result<Response, Failure> {
        if !self.delay.is_zero() {
            std::thread::park_timeout(self.delay);
        }
        self.sent.lock().unwrap().push(request);
        self.answers.lock().unwrap().pop().unwrap_or_else(|| answer(200, ""))
    }
}

fn answer(status: u16, body: &str) -> Result<Response, Failure> {
    Ok(Response { status, headers: vec![("x-a".into(), "1".into()), ("x-a".into(), "2".into())], body: body.into() })
}

pub(crate) fn alert() -> Alert {
    let mut person = Detection::new("person", 0, 0.9, BBox { x: 0.25, y: 0.5, width: 0.1, height: 0.2 });
    person.track_id = Some(7);
    Alert {
        id: AlertId::new(1_700_000_000_000_000_000, [7; 10]),
        level: Level::High,
        rule: "intrusion".into(),
        source: SourceId::from("gate"),
        key: "7".into(),
        time: "2023-11-14T22:13:20.000Z".into(),
        pts_ns: 4_000_000_000,
        seq: 100,
        message: "person in yard".into(),
        detections: vec![person],
        suppressed: 2,
        digest: None,
        tags: vec![],
        picture: false,
        evidence: None,
        expires_seconds: None,
    }
}

struct Bench {
    handler: LuaHandler,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        self.runtime.block_on(self.handler.deliver(alert))
    }
}

fn context(state: &StateStore) -> GuestContext {
    let watchdog = Watchdog::start().unwrap();
    GuestContext::new("desk", None, Limits::lua(), state, watchdog)
}

fn script(text: &str) -> Script {
    script_of(context(&StateStore::default()), text)
}

fn load(script: Script, wire: Arc<dyn Wire>) -> Result<Bench, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handler = lua::handler(script, wire, runtime.handle().clone()).map_err(|e| e.to_string())?;
    Ok(Bench { handler, runtime })
}

fn bench(text: &str) -> Bench {
    load(script(text), Post::answering([])).unwrap()
}

/// What becomes of one alert.
pub(crate) fn deliver(text: &str) -> Result<(), DeliveryError> {
    bench(text).deliver(&alert())
}

#[test]
fn a_handler_is_given_the_alert_as_json_has_it() {
    let text = "function handle_alert(alert) return false, json.encode(alert) end";
    let said: Value = serde_json::from_str(&deliver(text).unwrap_err().message).unwrap();
    let json = serde_json::to_string(&alert()).unwrap();
    assert_eq!(said, serde_json::from_str::<Value>(&json).unwrap());
    assert_eq!((&said["level"], &said["pts_ns"]), (&json!("high"), &json!(4_000_000_000_u64)));
    assert_eq!(said["detections"][0]["confidence"], 0.9, "and not the nearest 32-bit number");
}

#[test]
fn what_it_returns_is_what_becomes_of_the_alert() {
    let cases: &[(&str, Option<(Retry, &str)>)] = &[
        ("", None),
        ("return true", None),
        ("return 'delivered'", None),
        ("return 'skipped'", None),
        ("return { status = 204 }", None),
        ("return false", Some((Retry::Later, "the script says that it was not delivered"))),
        ("return nil, 'line is busy'", Some((Retry::Later, "line is busy"))),
        ("return 'retry', 'busy'", Some((Retry::Later, "busy"))),
        ("return { status = 503 }", Some((Retry::Later, "the receiver answered 503"))),
        ("return { status = 429 }", Some((Retry::Later, "the receiver answered 429"))),
        ("return { status = 401 }", Some((Retry::Login, "the receiver answered 401"))),
        ("return { status = 410 }", Some((Retry::Never, "the receiver answered 410"))),
        ("error('own words')", Some((Retry::Fault, "scripts/x.lua:2: own words"))),
        (
            "return 'deliverd'",
            Some((
                Retry::Fault,
                "scripts/x.lua: handle_alert returned 'deliverd', which is none of delivered, skipped, retry",
            )),
        ),
        (
            "return {}",
            Some((
                Retry::Fault,
                "scripts/x.lua: handle_alert returned a table that is no answer of http: it has no status",
            )),
        ),
        (
            "return 5",
            Some((
                Retry::Fault,
                "scripts/x.lua: handle_alert returned a integer; it returns nothing, true, false, a word or an answer of http",
            )),
        ),
    ];
    for (body, expected) in cases {
        let result = deliver(&format!("function handle_alert(alert)\n{body}\nend"));
        let told = result.as_ref().err().map(|e| (e.retry, &*e.message));
        assert_eq!(told, *expected, "{body}");
    }
}

#[test]
fn requests_carry_what_the_script_wrote_and_answers_come_back_whole() {
    let post = Post::answering([answer(201, r#"{"id": [1, "a"]}"#), Err(Failure::Timeout), answer(200, "no json")]);
    let text = r#"
        function handle_alert(alert)
            local a = http.post("https://a.example/x", { text = alert.message, n = 3 }, { headers = { ["X-Key"] = "${secret:KEY}" }, timeout = 2 })
            local b, why = http.get("https://b.example/")
            local c = http.request("https://c.example/", "plain", { method = "put" })
            local bad, no = c:json()
            return false, table.concat({ a.status, a.headers["x-a"], a:json().id[2], tostring(b), why, c.body, tostring(bad), no }, " | ")
        end"#;
    let bench = load(script(text), post.clone()).unwrap();
    let said = bench.deliver(&alert()).unwrap_err().message;
    assert_eq!(
        said,
        "201 | 1, 2 | a | nil | no answer in time | no json | nil | no JSON: expected ident at line 1 column 2"
    );
    let sent = post.sent();
    assert_eq!(sent.iter().map(|r| &*r.method).collect::<Vec<_>>(), ["POST", "GET", "PUT"]);
    assert_eq!(
        sent[0].headers,
        [("X-Key".into(), "${secret:KEY}".into()), ("content-type".into(), "application/json".into())]
    );
    assert_eq!(serde_json::from_slice::<Value>(&sent[0].body).unwrap(), json!({ "n": 3, "text": "person in yard" }));
    assert_eq!(String::from_utf8_lossy(&sent[0].body), r#"{"n":3,"text":"person in yard"}"#, "3 and not 3.0");
    assert_eq!(sent[0].timeout, Duration::from_secs(2));
    assert!(sent[1].timeout <= Duration::from_secs(30) && sent[1].timeout > Duration::from_secs(20));
}

#[test]
fn a_request_that_is_written_wrong_is_an_error_at_its_line() {
    let cases = [
        ("http.post()", "scripts/x.lua:2: http.post: the url is a text, got nil"),
        (
            "http.get('u', 'x')",
            "scripts/x.lua:2: http.get: options are a table such as { headers = { [\"X-Key\"] = \"…\" }, timeout = 5 }, got string",
        ),
        (
            "http.get('u', { retries = 1 })",
            "scripts/x.lua:2: http.get: unknown option 'retries'; the options are headers, timeout",
        ),
        (
            "http.post('u', print)",
            "scripts/x.lua:2: http.post: the body is a text, or a table that becomes JSON; got function",
        ),
        (
            "http.post('u', { print })",
            "scripts/x.lua:2: http.post: the body: a function cannot be kept; what can is booleans, numbers, texts and tables",
        ),
        ("http.get('u', { timeout = -1 })", "scripts/x.lua:2: http.get: timeout is a number of seconds above 0"),
    ];
    for (body, message) in cases {
        let error = deliver(&format!("function handle_alert(alert)\n{body}\nend")).unwrap_err();
        assert_eq!((error.retry, &*error.message), (Retry::Fault, message), "{body}");
    }
}

#[test]
fn requests_are_counted_and_none_is_sent_while_loading() {
    let post = Post::answering([]);
    let text = r#"
        function handle_alert(alert)
            for n = 1, 20 do
                local answer, why = http.get("https://a.example/")
                if not answer then return nil, n .. ": " .. why end
            end
        end"#;
    let bench = load(script(text), post.clone()).unwrap();
    for _ in 0..2 {
        let error = bench.deliver(&alert()).unwrap_err();
        assert_eq!((error.retry, &*error.message), (Retry::Later, "9: more than 8 requests in one delivery"));
        assert_eq!(post.sent().len(), 8);
    }
    let error = load(script("http.get('https://a.example')\nfunction handle_alert() end"), post.clone()).err().unwrap();
    assert!(
        error.starts_with("[E0401] scripts/x.lua:1: http.get: requests are sent by handle_alert, not while"),
        "{error}"
    );
    assert!(post.sent().is_empty());
    let error = load(script("function detect() end"), post).err().unwrap();
    assert!(error.contains("there is no function handle_alert(alert)"), "{error}");
}

#[test]
fn waiting_for_an_answer_costs_wall_time_and_no_cpu_time() {
    let slow = Arc::new(Post { delay: Duration::from_secs(2), ..Post::default() });
    let text = "function handle_alert(alert) return http.get('https://a.example/') end";
    load(script(text), slow.clone()).unwrap().deliver(&alert()).expect("2 s of waiting, 20 ms of CPU time allowed");
    let mut hurried = script(text);
    hurried.context.limits.delivery.wall = Duration::from_millis(30);
    let bench = load(hurried, slow).unwrap();
    let error = bench.deliver(&alert()).unwrap_err();
    assert_eq!(error.retry, Retry::Later, "{error}");
    assert!(["no answer in time", "scripts/x.lua:1: stopped after 30 ms"].contains(&&*error.message), "{error}");
}

#[test]
fn runaways_are_stopped_tried_again_and_the_handler_goes_on() {
    let text = r#"
        function handle_alert(alert)
            if alert.message == "loop" then while true do end end
            if alert.message == "hoard" then local t = {} while true do t[#t + 1] = table.create(1000, 0) end end
            if alert.message == "fail" then state.set("n", 100) error("no") end
            local n = (state.get("n") or 0) + 1
            state.set("n", n)
            return false, n .. ""
        end"#;
    let mut script = script(text);
    script.context.limits.delivery.hard_cpu = Duration::from_millis(200);
    let bench = load(script, Post::answering([])).unwrap();
    let says = |message: &str| {
        let error = bench.deliver(&Alert { message: message.into(), ..alert() }).unwrap_err();
        (error.retry, error.message)
    };
    let later = |text: &str| (Retry::Later, text.to_owned());
    assert_eq!(says("count"), later("1"));
    assert_eq!(says("loop"), later("scripts/x.lua:3: stopped after 200 ms of CPU time"));
    assert_eq!(says("hoard"), later("scripts/x.lua: wants more than 32 MiB of memory"));
    assert_eq!(says("fail"), (Retry::Fault, "scripts/x.lua:5: no".to_owned()));
    assert_eq!(says("count"), later("2"), "state is in the host, and a failed call wrote none");
    let usage = bench.handler.usage().unwrap();
    assert!(usage.memory_bytes > 0 && usage.memory_bytes < 4 << 20 && usage.state_bytes > 0, "{usage:?}");
    assert!(usage.slow > 0, "{usage:?}");
}

#[test]
fn a_rehearsal_sends_nothing_and_writes_nothing() {
    let state = StateStore::default();
    let post = Post::answering([]);
    let text = "function handle_alert(alert) state.set('k', 1) return http.get('https://a.example/') end";
    let real = context(&state);
    let bench = load(script_of(real.rehearsal(), text), post.clone()).unwrap();
    assert_eq!(bench.deliver(&alert()).unwrap_err().message, "a rehearsal sends nothing");
    assert!(post.sent().is_empty());
    assert_eq!(state.space("desk", None).lock().bytes(), 0);
}

#[test]
fn the_readmes_slack_handler_runs_as_it_is_described() {
    let text = std::fs::read_to_string(shipped("handlers/slack.lua")).unwrap();
    let post = Post::answering([answer(200, "ok"), answer(404, "no_service"), answer(503, "")]);
    let slack = Script { class: Some("SlackHandler".into()), ..script(&text) };
    let bench = load(slack, post.clone()).unwrap();
    bench.deliver(&alert()).unwrap();
    let sent = post.sent();
    assert_eq!((&*sent[0].method, &*sent[0].url), ("POST", "https://hooks.slack.com/services/${secret:SLACK}"));
    assert_eq!(String::from_utf8_lossy(&sent[0].body), r#"{"text":"person in yard"}"#);
    assert_eq!(bench.deliver(&alert()).unwrap_err().retry, Retry::Never);
    assert_eq!(bench.deliver(&alert()).unwrap_err().retry, Retry::Later);
}

#[test]
fn an_answer_that_asks_for_patience_gets_it() {
    for (status, wait, retry) in [
        (429, "7", Retry::After(Duration::from_secs(7))),
        (503, "0.5", Retry::After(Duration::from_secs(1))),
        (503, " 60 ", Retry::After(Duration::from_secs(60))),
        (429, "soon", Retry::Later),
        (429, "-1", Retry::Later),
        (429, "1e300", Retry::Later),
        (500, "7", Retry::Later),
        (400, "7", Retry::Never),
    ] {
        let answer = format!("return {{ status = {status}, headers = {{ ['retry-after'] = '{wait}' }} }}");
        let result = deliver(&format!("function handle_alert(alert) {answer} end"));
        assert_eq!(result.unwrap_err().retry, retry, "{status} {wait}");
    }
}

#[test]
fn telegram_says_in_the_body_how_long_to_wait() {
    let text = std::fs::read_to_string(shipped("handlers/telegram.lua")).unwrap();
    let busy = r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":7}}"#;
    let post = Post::answering([
        answer(429, busy),
        answer(429, r#"{"ok":false}"#),
        answer(429, "no json"),
        answer(400, busy),
        Err(Failure::Timeout),
        answer(200, r#"{"ok":true}"#),
    ]);
    let bench = load(with_config(script(&text), json!({ "chat_id": "@gate" })), post.clone()).unwrap();
    let retries = [(); 5].map(|()| bench.deliver(&alert()).unwrap_err().retry);
    let after = Retry::After(Duration::from_secs(7));
    assert_eq!(retries, [after, Retry::Later, Retry::Later, Retry::Never, Retry::Later]);
    bench.deliver(&alert()).unwrap();
    let sent = post.sent();
    assert_eq!(sent[5].url, "https://api.telegram.org/bot${secret:TELEGRAM}/sendMessage");
    assert_eq!(serde_json::from_slice::<Value>(&sent[5].body).unwrap()["chat_id"], "@gate");
}

#[test]
fn the_handlers_for_phones_say_what_their_settings_lack() {
    for (name, lacks) in [("ntfy", "topic"), ("telegram", "chat_id"), ("pushover", "token")] {
        let text = std::fs::read_to_string(shipped(&format!("handlers/{name}.lua"))).unwrap();
        let error = load(script(&text), Post::answering([])).err().expect("refused");
        assert!(error.contains(&format!("config.{lacks} is missing")), "{error}");
    }
}

#[test]
fn the_webhook_script_posts_what_is_wanted() {
    let text = std::fs::read_to_string(shipped("handlers/webhook-json.lua")).unwrap();
    assert!(load(script(&text), Post::answering([])).err().unwrap().contains("config.url is missing"));
    let post = Post::answering([]);
    let config = json!({ "url": "https://hooks.example.com/a", "labels": ["person"] });
    let bench = load(with_config(script(&text), config), post.clone()).unwrap();
    bench.deliver(&alert()).unwrap();
    let sent = post.sent();
    assert_eq!(serde_json::from_slice::<Alert>(&sent[0].body).unwrap(), alert());
    assert!(sent[0].headers.contains(&("webhook-id".into(), alert().id.to_string())));
    bench.deliver(&Alert { detections: vec![], ..alert() }).unwrap();
    assert!(post.sent().is_empty());
}

#[test]
fn a_host_that_is_not_granted_is_not_reached() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let web = dsengine::guest::http::Web::new(runtime.handle().clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let text = format!("function handle_alert(alert) return http.get('http://{host}/') end");
    let bench = load(script(&text), web.clone()).unwrap();
    let error = bench.deliver(&alert()).unwrap_err();
    assert_eq!(error.retry, Retry::Fault);
    assert_eq!(error.message, format!("scripts/x.lua:1: http.get: requests to {host} are not granted"));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
    let mut granted = script(&text);
    let needs = Needs { http: vec![host], ..Needs::default() };
    granted.context.grants = Arc::new(Grants { has: needs, ..Grants::default() });
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    load(granted, web).unwrap().deliver(&alert()).unwrap();
    server.join().unwrap();
}

#[test]
fn the_handlers_compliance_test_passes_for_a_script() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    crate::alerts::check_handler(|| {
        let script = script("function handle_alert(alert) log.info(alert.message) end");
        Arc::new(lua::handler(script, Post::answering([]), runtime.handle().clone()).unwrap())
    });
}
