//! A configuration that tests edit, as values; its YAML is what the engine gets.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dsengine::config::{self, Plan, Request};

use crate::harness::{street, write};

/// Judges every frame by adding a detection that says who judged: `NAME=STAMP/ZONES`.
const RULE: &str = "\
local stamp, wanted = config.stamp, config.zone or 'gate'
local known = false
for _, name in zones.names() do known = known or name == wanted end
if not known then error('there is no zone ' .. wanted, 0) end
local source, calls = '', 0
function detect(frame)
  source = frame.source
  local inside = ''
  for _, name in zones.names() do if name:sub(1, 1) == 'z' then inside ..= name end end
  frame:add{ label = ('%s=%d/%s'):format(config.name, stamp, inside), bbox = { x = 0, y = 0, width = 0.1, height = 0.1 } }
  state.set('calls', (state.get('calls') or 0) + 1)
end
function suspend()
  calls += 1
  return { source = source, calls = calls }
end
function resume(from, handed)
  if config.refuse_on == handed.source and handed.calls > 1 then error('it will not take over', 0) end
end
";

/// A source as the file lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub(super) id: String,
    pub(super) uri: String,
    /// What else its entry says.
    pub(super) rest: String,
}

/// A rule: the same script under its own name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) module: String,
    /// Sources that it judges; all where there is none.
    pub(super) only: Vec<String>,
    pub(super) filters: bool,
    pub(super) shadow_of: Option<String>,
    /// What else its `config` says.
    pub(super) config: String,
}

impl Rule {
    pub(super) fn new(name: &str) -> Self {
        let (name, module, config) = (name.to_owned(), "rule.lua".to_owned(), String::new());
        Self { name, module, only: Vec::new(), filters: false, shadow_of: None, config }
    }

    fn judges(&self, source: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == source)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    pub(super) dir: PathBuf,
    pub(super) name: String,
    pub(super) sources: Vec<Source>,
    pub(super) rules: Vec<Rule>,
    /// What every rule's `config` says, and the number of the zone that comes and goes with it.
    pub(super) stamp: u64,
    /// Handlers' entries, by name.
    pub(super) handlers: Vec<(String, String)>,
    /// Models' entries, by name.
    pub(super) models: Vec<(String, String)>,
    pub(super) throttle: u32,
    pub(super) tracking: bool,
    /// More of the document.
    pub(super) rest: String,
}

/// The sources that no edit names.
pub(super) const UNTOUCHED: [&str; 4] = ["w0", "w1", "l0", "l1"];

/// The shipped street without end, at so many frames a second.
pub(super) fn scene(fps: u32) -> String {
    street(3000, fps.into()).replace("width: 640\nheight: 360", "width: 320\nheight: 180")
}

impl Site {
    /// Four sources that stay, of which two wait and two are live, and two that are edited; two rules.
    pub(super) fn new(dir: &Path, fps: u32) -> Self {
        write(dir, "scene.yaml", &scene(fps));
        write(dir, "broken-scene.yaml", "seed: nothing\n");
        write(dir, "rule.lua", RULE);
        write(dir, "other.lua", &format!("-- the same in another file\n{RULE}"));
        write(dir, "error.lua", "\nlocal a = nil\nlocal b = a.b\nfunction detect(frame) end\n");
        write(dir, "desk.lua", "function handle_alert(alert) log.debug(alert.message) end\n");
        let waiting = |id: &str| source(id, "scene:scene.yaml?pixels=false", ", realtime: true");
        let live = |id: &str| source(id, "scene:scene.yaml?pixels=false&live=true", "");
        Self {
            dir: dir.to_owned(),
            name: "site".into(),
            sources: vec![waiting("w0"), waiting("w1"), live("l0"), live("l1"), waiting("e0"), live("e1")],
            rules: vec![Rule::new("r0"), Rule::new("r1")],
            stamp: 1,
            handlers: Vec::new(),
            models: Vec::new(),
            throttle: 60,
            tracking: true,
            rest: String::new(),
        }
    }

    pub(super) fn source(&mut self, id: &str) -> &mut Source {
        self.sources.iter_mut().find(|source| source.id == id).unwrap()
    }

    /// The document.
    pub(super) fn yaml(&self) -> String {
        let Self { name, sources, rules, stamp, handlers, models, throttle, tracking, rest, .. } = self;
        let mut text = format!("name: {name}\nsources:\n");
        for Source { id, uri, rest } in sources {
            writeln!(text, "  - {{ id: {id}, uri: '{uri}'{rest} }}").unwrap();
        }
        writeln!(text, "detection:\n  enable_tracking: {tracking}\n  strategies:").unwrap();
        for (name, entry) in models {
            writeln!(text, "    - {{ name: {name}, {entry} }}").unwrap();
        }
        for Rule { name, module, only, filters, shadow_of, config } in rules {
            let only = if only.is_empty() { String::new() } else { format!(", sources: [{}]", only.join(", ")) };
            let shadow = shadow_of.as_ref().map(|of| format!(", mode: shadow, shadow_of: {of}")).unwrap_or_default();
            let filters = if *filters { ", filters: true" } else { "" };
            let config = format!("{{ name: {name}, stamp: {stamp}{config} }}");
            writeln!(text, "    - {{ name: {name}, module: {module}, config: {config}{only}{shadow}{filters} }}")
                .unwrap();
        }
        let square = "[[0, 0], [1, 0], [1, 1], [0, 1]]";
        writeln!(text, "zones: {{ gate: {square}, z{stamp}: {square} }}").unwrap();
        writeln!(text, "alerts:\n  throttle_seconds: {throttle}\n  handlers:").unwrap();
        for (name, entry) in handlers {
            writeln!(text, "    - {{ name: {name}{entry} }}").unwrap();
        }
        if handlers.is_empty() {
            text = text.replace("  handlers:\n", "  handlers: []\n");
        }
        text + "monitoring: { prometheus: { port: 0 } }\nlogging: { format: text }\n" + rest
    }

    /// What the engine is to run.
    pub(super) fn plan(&self) -> Plan {
        let file = write(&self.dir, "config.yaml", &self.yaml());
        let request = Request { config: Some(file), working_dir: self.dir.clone(), ..Request::default() };
        config::load(&request).unwrap_or_else(|error| panic!("{error}\n{}", self.yaml())).plan
    }

    /// The rules that judge a source, in order.
    pub(super) fn judging(&self, source: &str) -> Vec<&str> {
        let rules = self.rules.iter().filter(|rule| rule.shadow_of.is_none() && rule.judges(source));
        rules.map(|rule| rule.name.as_str()).collect()
    }

    /// What those rules say of each frame.
    pub(super) fn marks(&self, source: &str) -> Vec<String> {
        self.judging(source).iter().map(|name| format!("{name}={0}/z{0}", self.stamp)).collect()
    }
}

/// A source's entry.
pub(super) fn source(id: &str, uri: &str, rest: &str) -> Source {
    Source { id: id.into(), uri: uri.into(), rest: rest.into() }
}
