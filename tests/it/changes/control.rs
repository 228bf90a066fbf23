//! Edits by chance by the API and by the command line: what is asked is the same.

use serde_json::{Value, json};

/// One request of the API.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Value,
    /// Of one that is refused: what its answer names.
    pub(super) wrong: Option<&'static str>,
}

fn ask(method: &'static str, path: &str, body: Value) -> Ask {
    Ask { method, path: path.to_owned(), body, wrong: None }
}

fn apply(body: Value) -> Ask {
    ask("POST", "/api/v1/config/apply", body)
}

/// The sources that only these edits add and remove.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) added: Vec<String>,
    /// The last of them is switched off.
    disabled: bool,
}

impl Asked {
    /// The kinds of [`Asked::valid`] that add something which nothing takes away again.
    pub(super) const STAY: [usize; 2] = [6, 9];

    /// Something that can be taken. Every kind has its turn.
    pub(super) fn valid(&mut self, rng: &mut fastrand::Rng, n: usize) -> Ask {
        let strategy = |entry: Value| apply(json!({ "detection": { "strategies": [entry] } }));
        match n % 10 {
            0 => ask("PATCH", "/api/v1/sources/e1", json!({ "fps": rng.u32(5..30) })),
            1 => self.add(n),
            2 => strategy(json!({ "name": "keep", "config": { "other": n } })),
            3 => ask("POST", "/api/v1/sources/e1/restart", Value::Null),
            4 => apply(json!({ "alerts": { "throttle_seconds": rng.u32(1..600) } })),
            5 => match self.added.pop() {
                Some(id) => {
                    self.disabled = false;
                    ask("DELETE", &format!("/api/v1/sources/{id}"), Value::Null)
                }
                None => self.add(n),
            },
            6 => {
                let log = json!({ "log_file": format!("asked-{n}.jsonl") });
                apply(json!({ "alerts": { "handlers": [{ "name": "asked", "type": "file", "config": log }] } }))
            }
            7 | 8 => {
                let Some(id) = self.added.last() else { return self.add(n) };
                self.disabled = !self.disabled;
                let verb = if self.disabled { "disable" } else { "enable" };
                ask("POST", &format!("/api/v1/sources/{id}/{verb}"), Value::Null)
            }
            _ => {
                let config = json!({ "name": "asked", "stamp": n });
                strategy(json!({ "name": "asked", "module": "other.lua", "sources": ["e0", "w1"], "config": config }))
            }
        }
    }

    fn add(&mut self, n: usize) -> Ask {
        let id = format!("a{n}");
        self.disabled = false;
        self.added.push(id.clone());
        ask("POST", "/api/v1/sources", json!({ "id": id, "uri": "scene:scene.yaml?pixels=false&live=true", "fps": 10 }))
    }

    /// Something that is refused.
    pub(super) fn wrong(n: usize) -> Ask {
        let strategy = |entry: Value| apply(json!({ "detection": { "strategies": [entry] }, "name": "never" }));
        let handler = json!({ "name": "bad", "module": "error.lua" });
        let broken = json!({ "id": "bad", "uri": "scene:broken-scene.yaml?pixels=false" });
        let all = [
            (ask("PATCH", "/api/v1/sources/e1", json!({ "fps": -3 })), "fps"),
            (ask("POST", "/api/v1/sources", broken), "sources[bad]"),
            (strategy(json!({ "name": "bad", "module": "nowhere.lua" })), "detection.strategies[bad]"),
            (strategy(json!({ "name": "keep", "config": { "zone": "nowhere" } })), "config.yaml:"),
            (apply(json!({ "alert": 3 })), "alert"),
            (apply(json!({ "monitoring": { "prometheus": { "port": 9 } } })), "monitoring.prometheus.port"),
            (ask("DELETE", "/api/v1/sources/nobody", Value::Null), "nobody"),
            (apply(json!({ "alerts": { "handlers": [handler] } })), "alerts.handlers[bad]"),
        ];
        let (ask, named) = all[n % all.len()].clone();
        Ask { wrong: Some(named), ..ask }
    }
}

impl Ask {
    /// The command that asks for the same; the body of an `apply` is to be written to `file`.
    pub(super) fn command(&self, file: &str) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let set = |body: &Value| -> Vec<String> {
            let keys = body.as_object().unwrap().iter().filter(|(key, _)| !["id", "uri"].contains(&key.as_str()));
            keys.map(|(key, value)| format!("{key}={value}")).collect()
        };
        let rest = self.path.strip_prefix("/api/v1/sources").unwrap_or_default().trim_start_matches('/');
        let (id, verb) = rest.split_once('/').unwrap_or((rest, ""));
        match (self.method, verb) {
            _ if self.path.ends_with("/config/apply") => words(&["config", "apply", file]),
            ("PATCH", _) => [words(&["sources", "set", id]), set(&self.body)].concat(),
            ("DELETE", _) => words(&["sources", "remove", id]),
            ("POST", "") => {
                let text = |key: &str| self.body[key].as_str().unwrap().to_owned();
                let mut all = words(&["sources", "add", &text("uri"), "--id", &text("id")]);
                set(&self.body).into_iter().for_each(|set| all.extend(["--set".to_owned(), set]));
                all
            }
            (_, verb) => words(&["sources", verb, id]),
        }
    }
}
