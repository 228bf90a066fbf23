//! `load` turns file, sources file, environment and flags into one [`Plan`], or reports every problem at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use super::build::{self, Site};
use super::fit::Fit;
use super::layers::{Layers, layers};
use super::overlay::{Overlay, Reports};
use super::part_places::PartPlaces;
use super::places::Places;
use super::plan::{Input, Plan};
use super::problem::{LoadError, Location, Origins, Problems};
use super::profile::ProfileChoice;
use super::schema::{self, Config};
use super::tree::{Node, Value};
use super::warning::{Severity, Warning};
use super::{effective, keys, kinds, sources};
use crate::error::Error;
use crate::types::{SourceId, TimeZone};

/// The inputs of a load. No code below reads the process's environment or working directory: they are passed here.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The configuration file (`--config`); `None` = defaults.
    pub config: Option<PathBuf>,
    /// Text to use instead of the contents of the configuration file.
    pub document: Option<String>,
    /// A sources file (`--sources`): a map with `sources` and, if wanted, `zones`. Replaces the file's sources.
    pub sources: Option<PathBuf>,
    /// One source (`--source`). Replaces the file's sources.
    pub source_uri: Option<String>,
    /// Changes by API and command line, applied over the files and under the environment.
    pub overlay: Overlay,
    /// Flags: dotted key and value, `("logging.level", "debug")`. They override everything else.
    pub overrides: Vec<(String, String)>,
    /// Environment variables. Only names that begin with `DSENGINE_` or `PYDS_`, and those that a `${env:…}` names, are
    /// used.
    pub env: Vec<(String, String)>,
    /// The base of relative paths. A path to read is resolved against the config file's folder first, then the sources
    /// file's; a path to write and that of `source_uri` are relative to this folder only.
    pub working_dir: PathBuf,
}

/// A valid configuration. [`super::check`] checks whether this machine can run it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan for the engine.
    pub plan: Plan,
    /// What is valid and still likely to be a mistake.
    pub warnings: Vec<Warning>,
    /// The whole configuration with defaults, secrets masked; `plan.hash` is its hash.
    pub effective: Json,
    /// The config file and the sources file as written, with references unresolved; [`super::changed_paths`] compares
    /// these.
    pub file_tree: Json,
    /// The input of each source, also of those that are disabled.
    pub inputs: BTreeMap<SourceId, Input>,
    /// The files and folders that were read, to be watched.
    pub files: Vec<PathBuf>,
    /// The profiles of the file, and the selected one.
    pub profiles: ProfileChoice,
    /// Strategies from the plugin folder that were left out of the plan because they cannot run, with the reason.
    pub left_out: Vec<String>,
    /// Strategies from the plugin folder.
    dropped_in: Vec<String>,
    places: Arc<PartPlaces>,
}

impl Loaded {
    /// The location of a part of the configuration, as `file:line:column`, by its overlay path: `sources[yard]`,
    /// `alerts.handlers[hook].config.url`. The location of its nearest parent if the part itself was not written;
    /// `None` for a default.
    pub fn place(&self, part: &str) -> Option<String> {
        self.places.find(part)
    }

    /// The error with its place in front, if it is about a key and not about a whole source, strategy or handler.
    #[must_use]
    pub fn placed(&self, error: Error) -> Error {
        let is_of_a_key = |part: &&str| part.contains("].");
        match error.part().filter(is_of_a_key).and_then(|part| self.place(part)) {
            Some(place) => error.at(&place),
            None => error,
        }
    }

    /// Removes a strategy of the plugin folder from the plan because of an error about it, so that the rest can run;
    /// `None` if the error is about anything else.
    pub fn leave_out(&mut self, error: &Error) -> Option<&str> {
        let (name, _) = error.part()?.strip_prefix("detection.strategies[")?.split_once(']')?;
        let number = self.dropped_in.iter().position(|own| own == name)?;
        self.dropped_in.remove(number);
        self.plan.strategies.retain(|strategy| strategy.name != name);
        self.left_out.push(format!("plugin {name} is left out: {}", error.message()));
        self.left_out.last().map(String::as_str)
    }
}

/// Loads a configuration.
///
/// # Errors
/// Every problem at once, each with its location, an excerpt, what was expected and the nearest valid name.
pub fn load(request: &Request) -> Result<Loaded, LoadError> {
    let mut origins = Origins::default();
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    let schema = schema::inlined::<Config>();

    let mut to = Reports { origins: &mut origins, problems: &mut problems, warnings: &mut warnings };
    let Some(Layers { mut root, replaced, profiles, file_tree, mut files }) = layers(request, &schema, &mut to)? else {
        return Err(problems.into_error(&origins));
    };
    #[cfg(feature = "mutate")]
    super::mutate::ignore(&mut root);
    let ids = sources::ids(&root);
    module_settings(&mut root);
    let mut places = Places::default();
    let mut fit = Fit { problems: &mut problems, places: &mut places, whole: &schema, gaps: false };
    let mut json = fit.value(&root, root.place, &schema, "").unwrap_or_else(|| Json::Object(serde_json::Map::new()));
    strategy_configs(&root, &mut json, &mut fit);
    let choice = profiles.choice().clone();
    profiles.check(&mut fit, &schema);
    let gaps = fit.gaps;

    let config = match serde_json::from_value::<Config>(json) {
        Ok(config) => config,
        Err(error) => {
            // Every problem should have been reported with its location; this is a fallback.
            if problems.is_empty() {
                problems.at_value(Location::nowhere(), "the configuration cannot be read", error.to_string());
            }
            return Err(problems.into_error(&origins));
        }
    };
    if gaps {
        return Err(problems.into_error(&origins));
    }
    let effective = effective::effective(&config, &places);
    let hash = effective::hash(&effective);
    let effective = effective::shown(effective, &places);
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
        idle: replaced,
        profiles: choice.clone(),
        watched: Vec::new(),
        dropped_in: Vec::new(),
        name: None,
        timezone: TimeZone::utc(),
        sources: Vec::new(),
        inputs: BTreeMap::new(),
    };
    let plan = build::plan(config, hash, &mut site);
    let Site { watched, dropped_in, inputs, .. } = site;
    files.extend(watched);
    if !problems.is_empty() {
        return Err(problems.into_error(&origins));
    }
    let mut places = PartPlaces::new(places, &origins, &effective, &ids);
    for plugin in &dropped_in {
        places.add(format!("detection.strategies[{}]", plugin.name), plugin.module.display().to_string());
    }
    let (places, left_out) = (Arc::new(places), Vec::new());
    let dropped_in = dropped_in.into_iter().map(|plugin| plugin.name).collect();
    Ok(Loaded { plan, warnings, effective, file_tree, inputs, files, profiles: choice, left_out, dropped_in, places })
}

/// Renames `config` of a handler that is a module to `settings`, whatever it contains.
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

/// Types the `config` of models and `motion`, which have keys of their own, unlike a script's; the other keys of the
/// entry determine the kind.
fn strategy_configs(root: &Node, json: &mut Json, fit: &mut Fit<'_>) {
    let Some(Value::List(entries)) =
        root.get("detection").and_then(|d| d.get("strategies")).map(|strategies| &strategies.value)
    else {
        return;
    };
    for (index, entry) in entries.iter().enumerate() {
        let Some(config) = entry.get("config") else { continue };
        let Some(schema) = kinds::strategies::config_schema(entry) else { continue };
        let path = format!("detection.strategies[{index}].config");
        let place = fit.places.key(&path);
        let typed = fit.value(config, place, &schema, &path);
        // With a missing entry, indices are wrong; such a file is rejected anyway.
        if let (Some(typed), Some(slot)) = (typed, json.pointer_mut(&format!("/detection/strategies/{index}/config")))
            && !fit.gaps
        {
            *slot = typed;
        }
    }
}

/// Adds one warning per key that is set and has no effect yet.
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
pub(super) fn generic(path: &str) -> String {
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
