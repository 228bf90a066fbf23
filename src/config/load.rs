//! `load`: file, sources file, environment and flags become one [`Plan`], or every problem at once.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::build::{self, Site};
use super::fit::{self, Fit};
use super::overlay::Overlay;
use super::places::Places;
use super::plan::Plan;
use super::problem::{LoadError, Origin, Origins, Place, Problems};
use super::schema::{self, Config, ModelSettings, MotionSettings};
use super::tree::{self, FILE_BYTES_MAX, Key, Node, Style, Value};
use super::warning::{Severity, Warning};
use super::{expand, keys, layer, secret, source_uri};

/// What to load. The process's own environment and folder are read by nobody below: they are arguments.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The configuration file (`--config`); `None` = defaults.
    pub config: Option<PathBuf>,
    /// A sources file (`--sources`): a map with `sources` and, if wanted, `zones`. Replaces the file's sources.
    pub sources: Option<PathBuf>,
    /// One source (`--source`). Replaces the file's sources.
    pub source_uri: Option<String>,
    /// Changes by API and command line, laid over the files and under the environment.
    pub overlay: Overlay,
    /// Flags: dotted key and value, `("logging.level", "debug")`. They win over everything.
    pub overrides: Vec<(String, String)>,
    /// Environment variables. Only names that begin with `DSENGINE_` or `PYDS_`, and those a `${env:…}` names, are
    /// looked at.
    pub env: Vec<(String, String)>,
    /// What relative paths are relative to. A path to read is looked for beside the config file first, then beside the
    /// sources file; a path to write and that of `source_uri` are relative to this folder only.
    pub working_dir: PathBuf,
}

/// A configuration that is sound in itself. Whether this machine can run it says [`super::check`].
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the engine runs.
    pub plan: Plan,
    /// What should be known about it.
    pub warnings: Vec<Warning>,
    /// The whole configuration with defaults, secrets masked. `plan.hash` is taken from it.
    pub effective: Json,
}

/// Loads a configuration.
///
/// # Errors
/// Every problem at once, each with its place, an excerpt, what was expected and the nearest real name.
pub fn load(request: &Request) -> Result<Loaded, LoadError> {
    let mut origins = Origins::default();
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    let schema = schema::inlined::<Config>();

    let Some((mut root, idle)) = layers(request, &schema, &mut origins, &mut problems, &mut warnings)? else {
        return Err(problems.into_error(&origins));
    };
    module_settings(&mut root);
    let mut places = Places::default();
    let mut fit = Fit { problems: &mut problems, places: &mut places, whole: &schema, gaps: false };
    let mut json = fit.value(&root, root.place, &schema, "").unwrap_or_else(|| Json::Object(serde_json::Map::new()));
    strategy_configs(&root, &mut json, &mut fit);
    let gaps = fit.gaps;

    let config = match serde_json::from_value::<Config>(json) {
        Ok(config) => config,
        Err(error) => {
            // Whatever is wrong was reported with its place; this says so if it ever was not.
            if problems.is_empty() {
                problems.at_value(Place::nowhere(), "the configuration cannot be read", error.to_string());
            }
            return Err(problems.into_error(&origins));
        }
    };
    if gaps {
        return Err(problems.into_error(&origins));
    }
    let effective = effective(&config, &places);
    let hash = hash(&effective);
    unbuilt(&places, &origins, &mut warnings);
    let beside = [&request.config, &request.sources].into_iter().flatten().filter_map(|file| file.parent());
    let folders = beside.map(|folder| request.working_dir.join(folder)).chain([request.working_dir.clone()]).collect();
    let mut site = Site {
        places: &places,
        origins: &origins,
        problems: &mut problems,
        warnings: &mut warnings,
        folders,
        source_is_flag: request.source_uri.is_some(),
        idle,
    };
    let plan = build::plan(config, hash, &mut site);
    if problems.is_empty() { Ok(Loaded { plan, warnings, effective }) } else { Err(problems.into_error(&origins)) }
}

/// The tree with every layer on it, and the names of the sources that the one of the command line replaced; `None` when
/// a text is no YAML.
fn layers(
    request: &Request,
    schema: &Json,
    origins: &mut Origins,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Result<Option<(Node, Vec<String>)>, LoadError> {
    let env: BTreeMap<String, String> = request.env.iter().cloned().collect();
    let room = expand::Room { env: &env, working_dir: &request.working_dir };
    let mut root = match &request.config {
        Some(path) => match file(path, request, origins, problems)? {
            Some(node) => node,
            None => return Ok(None),
        },
        None => Node::map(Place::nowhere()),
    };
    if root.is_nothing() {
        root = Node::map(root.place);
    }
    if !matches!(root.value, Value::Map(_)) {
        let place = Place { width: 1, ..root.place };
        problems.at_value(place, "the configuration is no map", "expected keys such as `sources:` and `detection:`");
        return Ok(None);
    }
    expand::expand(&mut root, &room, problems);
    if let Some(path) = &request.sources {
        match file(path, request, origins, problems)? {
            Some(mut node) => {
                expand::expand(&mut node, &room, problems);
                sources_file(&mut root, node, problems);
            }
            None => return Ok(None),
        }
    }
    let source = request.source_uri.as_ref().map(|uri| {
        let origin = origins.add(Origin::Flag("--source".to_owned()));
        let place = Place { origin, line: 1, column: 1, width: 1 };
        if request.sources.is_some() {
            problems.at_value(place, "a source is named twice", "give one of --source and --sources");
        }
        let key = |text: &str| Key { text: text.to_owned(), place };
        let entry = Value::Map(vec![(key("uri"), Node::scalar(uri.clone(), Style::Quoted, place))]);
        let entry = Node { place, value: entry, template: None };
        (key("sources"), Node { place, value: Value::List(vec![entry]), template: None })
    });
    let replaced = if source.is_some() { names(&root) } else { Vec::new() };
    // The environment may say more about the one source, but not which it is.
    if let Some((key, list)) = source.clone() {
        replace(&mut root, key, list);
    }
    layer::environment(&mut root, &request.env, schema, origins, problems, warnings);
    if let Some((key, list)) = source {
        let said = root.get("sources").cloned();
        replace(&mut root, key, with_details(list, said));
    }
    layer::flags(&mut root, &request.overrides, schema, origins, problems);
    Ok(Some((root, replaced)))
}

/// The ids of the sources that a tree lists, those that are made from a uri included.
fn names(root: &Node) -> Vec<String> {
    let Some(Value::List(entries)) = root.get("sources").map(|sources| &sources.value) else { return Vec::new() };
    let text = |entry: &Node, key: &str| match entry.get(key).map(|node| &node.value) {
        Some(Value::Scalar { text, .. }) => Some(text.clone()),
        _ => None,
    };
    let name = |(index, entry): (usize, &Node)| {
        text(entry, "id").unwrap_or_else(|| {
            let uri = text(entry, "uri").unwrap_or_default();
            let parsed = source_uri::kind_of(&uri)
                .and_then(|kind| source_uri::parse(&uri, kind, &Default::default(), &|path| path.into()));
            parsed.map_or_else(|_| format!("source{index}"), |parsed| source_uri::generated_id(&parsed, index))
        })
    };
    entries.iter().enumerate().map(name).collect()
}

fn file(
    path: &Path,
    request: &Request,
    origins: &mut Origins,
    problems: &mut Problems,
) -> Result<Option<Node>, LoadError> {
    let name = path.display().to_string();
    let refuse = |reason: String| LoadError::plain(format!("{name} {reason}"));
    let opened = std::fs::File::open(request.working_dir.join(path));
    let opened = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("does not exist".to_owned()),
        _ => refuse(format!("cannot be read: {error}")),
    })?;
    let mut bytes = Vec::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("is larger than {} KiB", FILE_BYTES_MAX / 1024)));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("is no UTF-8 text".to_owned()))?;
    let origin = origins.add(Origin::File { name, text: text.clone() });
    Ok(tree::parse(&text, origin, problems))
}

/// The one source of the command line, with the keys that the environment set for it.
fn with_details(list: Node, said: Option<Node>) -> Node {
    let Value::List(entries) = &list.value else { return list };
    let first = match said.map(|said| said.value) {
        Some(Value::List(items)) => items.into_iter().next(),
        _ => None,
    };
    let (Some(entry), Some(Node { value: Value::Map(keys), .. })) = (entries.first(), first) else { return list };
    let mut entry = entry.clone();
    if let Value::Map(own) = &mut entry.value {
        own.extend(keys.into_iter().filter(|(key, _)| key.text != "uri"));
    }
    Node { value: Value::List(vec![entry]), ..list }
}

/// Takes `sources` and `zones` out of a sources file; anything else belongs elsewhere.
fn sources_file(root: &mut Node, node: Node, problems: &mut Problems) {
    let place = Place { width: 1, ..node.place };
    let Value::Map(entries) = node.value else {
        problems.at_value(place, "a sources file is a map", "expected `sources:` and, if wanted, `zones:`");
        return;
    };
    if !entries.iter().any(|(key, _)| key.text == "sources") {
        problems.at_value(place, "a sources file has `sources`", "expected `sources:` with a list");
    }
    for (key, value) in entries {
        match key.text.as_str() {
            "sources" => replace(root, key, value),
            "zones" => match (root.get("zones").map(|zones| &zones.value), value) {
                (Some(Value::Map(old)), Node { place, value: Value::Map(new), template }) => {
                    let mut all: Vec<_> = new;
                    let names: Vec<String> = all.iter().map(|(key, _)| key.text.clone()).collect();
                    all.extend(old.iter().filter(|(key, _)| !names.contains(&key.text)).cloned());
                    replace(root, key, Node { place, value: Value::Map(all), template });
                }
                (_, value) => replace(root, key, value),
            },
            other => {
                let label = match super::nearest::nearest(other, ["sources", "zones"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a sources file holds `sources` and `zones`; the rest belongs into --config".to_owned(),
                };
                problems.at_key(key.place, format!("unknown key `{other}` in a sources file"), label);
            }
        }
    }
}

fn replace(root: &mut Node, key: Key, node: Node) {
    if let Value::Map(entries) = &mut root.value {
        entries.retain(|(old, _)| old.text != key.text);
        entries.push((key, node));
    }
}

/// The `config` of a handler that is a module is the module's own, whatever it holds: read as its `settings`.
fn module_settings(root: &mut Node) {
    let Some(handlers) = root.get_mut("alerts").and_then(|alerts| alerts.get_mut("handlers")) else { return };
    let Value::List(handlers) = &mut handlers.value else { return };
    for handler in handlers.iter_mut().filter(|h| h.get("module").is_some() && h.get("settings").is_none()) {
        let Value::Map(entries) = &mut handler.value else { continue };
        for (key, _) in entries.iter_mut().filter(|(key, _)| key.text == "config") {
            "settings".clone_into(&mut key.text);
        }
    }
}

/// The `config` of a model and of `motion` has keys of its own, a script's has not: which it is, only its neighbours
/// tell.
fn strategy_configs(root: &Node, json: &mut Json, fit: &mut Fit<'_>) {
    let Some(Value::List(entries)) =
        root.get("detection").and_then(|d| d.get("strategies")).map(|strategies| &strategies.value)
    else {
        return;
    };
    for (index, entry) in entries.iter().enumerate() {
        let Some(config) = entry.get("config") else { continue };
        let named = |name: &str| matches!(entry.get("name"), Some(Node { value: Value::Scalar { text, .. }, .. }) if text == name);
        let schema = match (entry.get("model_path"), entry.get("module")) {
            (Some(_), _) => schema::inlined::<ModelSettings>(),
            (None, None) if named("motion") => schema::inlined::<MotionSettings>(),
            _ => continue,
        };
        let path = format!("detection.strategies[{index}].config");
        let place = fit.places.key(&path);
        let typed = fit.value(config, place, &schema, &path);
        // With an entry missing, the numbers of the others are no longer theirs; such a file is refused anyhow.
        if let (Some(typed), Some(slot)) = (typed, json.pointer_mut(&format!("/detection/strategies/{index}/config")))
            && !fit.gaps
        {
            *slot = typed;
        }
    }
}

/// One warning per key that is set and does nothing yet.
fn unbuilt(places: &Places, origins: &Origins, warnings: &mut Vec<Warning>) {
    let mut seen: Vec<String> = Vec::new();
    for (path, found) in places.set() {
        let key = generic(path);
        let Some(effect) = keys::not_built(&key) else { continue };
        if seen.contains(&key) {
            continue;
        }
        let message = format!("`{key}` has no effect yet: {effect}");
        let place = origins.show(found.key);
        warnings.push(Warning::new("not-built", Severity::Warning, message).place(place));
        seen.push(key);
    }
}

/// `sources[3].uri` → `sources[].uri`.
fn generic(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// The whole configuration with defaults, without what may not be seen.
fn effective(config: &Config, places: &Places) -> Json {
    let mut json = serde_json::to_value(config).unwrap_or_default();
    mask(&mut json, "", false, places);
    json
}

fn mask(json: &mut Json, path: &str, hidden: bool, places: &Places) {
    if let Some(template) = places.template(path) {
        *json = Json::String(secret::in_template(template));
        return;
    }
    match json {
        Json::Object(map) => {
            map.retain(|_, value| !value.is_null());
            for (key, value) in map {
                let child = fit::join(path, key);
                let hidden = hidden || secret::is_secret_key(key) || child.ends_with(".config.headers");
                mask(value, &child, hidden, places);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                mask(item, &format!("{path}[{index}]"), hidden, places);
            }
        }
        Json::String(_) | Json::Number(_) if hidden => *json = Json::String(secret::MASK.to_owned()),
        Json::String(text) => *text = secret::in_text(text),
        _ => {}
    }
}

/// SHA-256 of the effective configuration: keys in order, so the same settings give the same hash.
fn hash(effective: &Json) -> String {
    let mut text = String::new();
    canonical(effective, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(json: &Json, out: &mut String) {
    match json {
        Json::Object(map) => {
            let sorted: BTreeMap<&String, &Json> = map.iter().collect();
            out.push('{');
            for (key, value) in sorted {
                out.push_str(&Json::String(key.clone()).to_string());
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}
