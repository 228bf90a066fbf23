//! The layers above the file: environment variables and flags, set in the tree by key.

use serde_json::Value as Json;

use super::fit;
use super::nearest::nearest;
use super::overlay::Reports;
use super::problem::{Location, Origin};
use super::tree::{self, Key, Node, Style, Value};
use super::warning::{Severity, Warning};

/// The prefix of our variables; `__` separates nested keys.
const PREFIX: &str = "DSENGINE_";
/// The prefix of the old system's variables.
const OLD_PREFIX: &str = "PYDS_";
/// Variables with this prefix are not keys; the tests use them.
const RESERVED: &str = "DSENGINE_TEST";
/// Variables that are not keys: command-line flags read them.
const FLAGS: &[&str] = &["DSENGINE_AT", "DSENGINE_TOKEN", "DSENGINE_STATE"];
/// The old system's variables and their keys.
const OLD_NAMES: &[(&str, &str)] = &[
    ("PYDS_LOG_LEVEL", "logging.level"),
    ("PYDS_DEBUG", "debug"),
    ("PYDS_ENVIRONMENT", "environment"),
    ("PYDS_GPU_ID", "pipeline.gpu_id"),
    ("PYDS_BATCH_SIZE", "pipeline.batch_size"),
    ("PYDS_CONFIDENCE_THRESHOLD", "detection.confidence_threshold"),
    ("PYDS_ALERTS_ENABLED", "alerts.enabled"),
    ("PYDS_MONITORING_ENABLED", "monitoring.enabled"),
    ("PYDS_PROMETHEUS_PORT", "monitoring.prometheus.port"),
    ("PYDS_LOG_FILE", "logging.log_file"),
];
/// Alternative keys for one setting: setting one in a higher layer removes the other from lower layers.
const TWINS: &[(&str, &str)] = &[
    ("monitoring.prometheus.port", "monitoring.prometheus_port"),
    ("monitoring.prometheus.enabled", "monitoring.prometheus_enabled"),
    ("monitoring.prometheus.path", "monitoring.prometheus_path"),
    ("pipeline.batch_timeout_ms", "pipeline.batch_timeout_us"),
    ("monitoring.thread_pool_size", "thread_pool_size"),
    ("pipeline.max_sources", "max_concurrent_sources"),
];

/// Applies environment variables to the tree: old names first, so that new ones override them.
pub(super) fn environment(root: &mut Node, env: &[(String, String)], schema: &Json, to: &mut Reports<'_>) {
    let (foreign, env): (Vec<_>, Vec<_>) = env.iter().partition(|(name, value)| is_of_a_service(name, value));
    if let Some((name, _)) = foreign.first() {
        let message = format!(
            "{name} and what else Kubernetes says of services in {} environment variables sets nothing here",
            foreign.len()
        );
        let note = Warning::new("service-variables", Severity::Note, message);
        to.warnings.push(note.hint("`enableServiceLinks: false` in the pod's specification keeps them out"));
    }
    for (name, value) in env.iter().filter(|(name, _)| name.starts_with(OLD_PREFIX)) {
        let Some(key) = old_key(name, schema) else {
            if value.trim().is_empty() {
                continue;
            }
            let message = format!("the environment variable {name} of the old system names no key; it is ignored");
            to.warnings.push(Warning::new("unknown-variable", Severity::Warning, message));
            continue;
        };
        if is_as_unset(&key, value, schema) {
            continue;
        }
        let ours = variable(&key);
        let message = format!("the environment variable {name} is an old name");
        to.warnings.push(Warning::new("old-variable", Severity::Warning, message).hint(format!("write {ours}")));
        // The old system wrote its enum values in capitals.
        let words = at(schema, &parts(&key)).and_then(|(_, schema)| schema.get("enum").cloned());
        let value = if words.is_some() { value.to_ascii_lowercase() } else { value.clone() };
        put(root, &key, &value, Origin::Variable(name.clone()), schema, to);
    }
    let is_ours = |name: &str| name.starts_with(PREFIX) && !name.starts_with(RESERVED) && !FLAGS.contains(&name);
    let ours = env.iter().filter(|(name, _)| is_ours(name));
    let mut ours: Vec<(String, &String, &String)> =
        ours.map(|(name, value)| (name[PREFIX.len()..].to_ascii_lowercase().replace("__", "."), name, value)).collect();
    // A list before its entries, and those in order, regardless of the order in the environment.
    ours.sort_by_cached_key(|(key, name, _)| (ranks(key), (*name).clone()));
    for (key, name, value) in ours {
        if at(schema, &parts(&key)).is_none() {
            if value.trim().is_empty() {
                continue;
            }
            let mut known: Vec<String> = Vec::new();
            fit::visit(schema, "", &mut |path, _| known.push(variable(&path.replace("[]", ".0"))));
            let lower: Vec<String> = known.iter().map(|name| name.to_ascii_lowercase()).collect();
            let message = format!("the environment variable {name} names no key; it is ignored");
            let mut warning = Warning::new("unknown-variable", Severity::Warning, message);
            if let Some(near) = nearest(name, lower.iter().map(String::as_str)) {
                warning = warning.hint(format!("did you mean {}?", near.to_ascii_uppercase()));
            }
            to.warnings.push(warning);
            continue;
        }
        if is_as_unset(&key, value, schema) {
            continue;
        }
        put(root, &key, value, Origin::Variable(name.clone()), schema, to);
    }
}

/// Whether Kubernetes set a variable for a Service of the namespace whose name starts like ours:
/// `DSENGINE_PORT=tcp://10.0.0.1:80`, `DSENGINE_SERVICE_HOST`, `DSENGINE_WEB_PORT_80_TCP_ADDR` …
fn is_of_a_service(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    if !name.starts_with(PREFIX) && !name.starts_with(OLD_PREFIX) {
        return false;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let url = PROTOCOLS.iter().any(|word| value.starts_with(&format!("{}://", word.to_ascii_lowercase())));
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT_") || name.ends_with("_SERVICE_PORT") {
        return !name.contains("__");
    }
    if name.ends_with("_PORT") && url {
        return true;
    }
    // `_PORT_80_TCP`, optionally followed by `_PROTO`, `_PORT`, `_ADDR`.
    name.match_indices("_PORT_").any(|(at, mark)| {
        let mut parts = name[at + mark.len()..].split('_');
        let port = parts.next().is_some_and(digits);
        let protocol = parts.next().is_some_and(|word| PROTOCOLS.contains(&word));
        let last = parts.next();
        let known = last.is_none_or(|word| ["PROTO", "PORT", "ADDR"].contains(&word));
        port && protocol && known && parts.next().is_none()
    })
}

/// Whether a variable is empty and its key does not allow that: Compose and CI pass unset values as empty ones.
fn is_as_unset(key: &str, value: &str, schema: &Json) -> bool {
    let Some((_, schema)) = at(schema, &parts(key)).filter(|_| value.trim().is_empty()) else { return false };
    let is_text = schema.get("type").is_some_and(|kind| kind == "string");
    let bounded = schema.get("enum").is_some() || schema.get("minLength").and_then(Json::as_u64).unwrap_or(0) > 0;
    !is_text || bounded
}

/// Applies flags to the tree, by dotted key (`sources.0.uri`).
pub(super) fn flags(root: &mut Node, overrides: &[(String, String)], schema: &Json, to: &mut Reports<'_>) {
    for (key, value) in overrides {
        if at(schema, &parts(key)).is_some() {
            put(root, key, value, Origin::Flag(key.clone()), schema, to);
            continue;
        }
        let mut known = Vec::new();
        fit::visit(schema, "", &mut |path, _| known.push(path.replace("[]", ".0")));
        let label = match nearest(key, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`dsengine schema` lists every key".to_owned(),
        };
        let origin = to.origins.add(Origin::Flag(key.clone()));
        to.problems.at_key(Location { origin, ..Location::default() }, format!("unknown key `{key}`"), label);
    }
}

/// Removes the twins of keys that a higher layer has set.
pub(super) fn remove_twins(root: &mut Node, set: &[String]) {
    for (a, b) in TWINS {
        let has = |key: &str| set.iter().any(|set| set == key);
        match (has(a), has(b)) {
            (true, false) => remove(root, &parts(b)),
            (false, true) => remove(root, &parts(a)),
            _ => {}
        }
    }
}

/// The variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").replace('-', "_").to_ascii_uppercase())
}

fn old_key(name: &str, schema: &Json) -> Option<String> {
    if let Some((_, key)) = OLD_NAMES.iter().find(|(old, _)| *old == name) {
        return Some((*key).to_owned());
    }
    // In `PYDS_<A>_<B>` the end of a name is ambiguous: accepted only if it matches a key.
    let flat = name[OLD_PREFIX.len()..].to_ascii_lowercase();
    let mut found = None;
    fit::visit(schema, "", &mut |path, _| {
        if !path.contains('[') && path.replace('.', "_") == flat && found.is_none() {
            found = Some(path.to_owned());
        }
    });
    found
}

/// The sort key of a key: entries of a list by number.
fn ranks(key: &str) -> Vec<(usize, String)> {
    let rank = |part: &str| part.parse().map_or((usize::MAX, part.to_owned()), |number| (number, String::new()));
    key.split('.').map(rank).collect()
}

fn parts(key: &str) -> Vec<&str> {
    key.split('.').collect()
}

/// The schema of a key, and the key as the schema spells it.
pub(super) fn at<'s>(schema: &'s Json, parts: &[&str]) -> Option<(Vec<String>, &'s Json)> {
    let [first, rest @ ..] = parts else { return Some((Vec::new(), schema)) };
    if let Some(options) = schema.get("anyOf").and_then(Json::as_array) {
        return options.iter().find_map(|option| at(option, parts));
    }
    let (name, child) = if first.parse::<usize>().is_ok() && schema.get("items").is_some() {
        ((*first).to_owned(), schema.get("items")?)
    } else {
        let properties = schema.get("properties").and_then(Json::as_object);
        match properties.and_then(|p| p.iter().find(|(name, _)| name.replace('-', "_") == first.replace('-', "_"))) {
            Some((name, child)) => (name.clone(), child),
            None => match schema.get("additionalProperties") {
                Some(others @ (Json::Object(_) | Json::Bool(true))) => ((*first).to_owned(), others),
                _ if *schema == Json::Bool(true) => ((*first).to_owned(), schema),
                _ => return None,
            },
        }
    };
    let (mut names, schema) = at(child, rest)?;
    names.insert(0, name);
    Some((names, schema))
}

fn put(root: &mut Node, key: &str, value: &str, origin: Origin, schema: &Json, to: &mut Reports<'_>) {
    let Some((names, _)) = at(schema, &parts(key)) else { return };
    let origin = to.origins.add(origin);
    let place = Location { origin, line: 1, column: 1, width: 1 };
    let node = if value.starts_with(['[', '{']) {
        match tree::parse(value, origin, to.problems) {
            Some(node) => node,
            None => return,
        }
    } else {
        Node::scalar(value, Style::Raw, place)
    };
    remove_twins(root, &[names.join(".")]);
    if let Err((message, label)) = insert(root, &names, node, place) {
        to.problems.at_key(place, message, label);
    }
}

fn insert(at: &mut Node, names: &[String], node: Node, place: Location) -> Result<(), (String, String)> {
    let [first, rest @ ..] = names else {
        *at = node;
        return Ok(());
    };
    if let Ok(index) = first.parse::<usize>() {
        if at.is_nothing() || matches!(&at.value, Value::Map(entries) if entries.is_empty()) {
            at.value = Value::List(Vec::new());
        }
        let Value::List(items) = &mut at.value else {
            return Err((format!("entry {index} of something that is no list"), "the file holds no list there".into()));
        };
        if index > items.len() {
            let label = format!("the list has {} entries: the next is number {}", items.len(), items.len());
            return Err((format!("entry {index} would leave a gap"), label));
        }
        if index == items.len() {
            items.push(Node::map(place));
        }
        return insert(&mut items[index], rest, node, place);
    }
    if let Value::Scalar { text, .. } = &at.value {
        // A handler's bare name is short for a map.
        let name = (!at.is_nothing()).then(|| {
            (Key { text: "name".to_owned(), place: at.place }, Node::scalar(text.clone(), Style::Quoted, at.place))
        });
        at.value = Value::Map(name.into_iter().collect());
    }
    let Value::Map(entries) = &mut at.value else {
        return Err((format!("`{first}` of something that is no map"), "the file holds a list there".into()));
    };
    let index = match entries.iter().position(|(key, _)| key.text == *first) {
        Some(index) => index,
        None => {
            entries.push((Key { text: first.clone(), place }, Node::map(place)));
            entries.len() - 1
        }
    };
    insert(&mut entries[index].1, rest, node, place)
}

fn remove(at: &mut Node, parts: &[&str]) {
    let ([first, rest @ ..], Value::Map(entries)) = (parts, &mut at.value) else { return };
    if rest.is_empty() {
        entries.retain(|(key, _)| key.text != *first);
    } else if let Some((_, child)) = entries.iter_mut().find(|(key, _)| key.text == *first) {
        remove(child, rest);
    }
}
