//! The current configuration: the request, the loaded result, and the saved edits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::edit::{Edit, Rights};
use super::lay::{Known, lay};
use super::outcome::{Problem, Refusal, RefusalKind, SourceEntry};
use super::{reach, store};
use crate::config::{
    self, HandlerKind, Loaded, Overlay, Plan, Request, StrategyKind, StrategyPlan, Warning, changed_paths_with,
};
use crate::engine::status::{PluginStatus, SourceStatus};
use crate::guest::Manifest;

/// See the module.
#[derive(Clone)]
pub(super) struct Current {
    /// The load request; its overlay contains every edit in effect.
    pub(super) request: Request,
    pub(super) loaded: Loaded,
    /// The edits that survive a restart.
    pub(super) saved: Overlay,
    /// Keys of the files whose values need a restart.
    pub(super) waits: Vec<String>,
}

/// A candidate for the current configuration.
pub(super) struct Next {
    pub(super) current: Current,
    /// Paths whose edits were dropped in favour of the files.
    pub(super) dropped: Vec<String>,
}

impl Current {
    /// The configuration after an edit by an author with these rights. `save` also adds it to the saved edits.
    pub(super) fn edited(&self, edit: &Edit, save: bool, rights: Rights) -> Result<Next, Refusal> {
        let configured: Vec<String> = configured(&self.loaded).into_iter().map(|(id, _)| id).collect();
        let added = |id: &String| is_added(&self.request.overlay, id);
        let mut beneath = ids(&self.loaded.file_tree);
        beneath.extend(configured.iter().filter(|id| !added(id)).cloned());
        let (effective, profiles) = (&self.loaded.effective, &self.loaded.profiles);
        let known = Known { configured: &configured, beneath: &beneath, effective, profiles };
        let mut next = self.clone();
        lay(edit, &mut next.request.overlay, &known)?;
        let brought = || next.request.overlay.new_reference(&self.request.overlay, &self.loaded.file_tree);
        if rights != Rights::Whole
            && let Some(path) = brought()
        {
            return Err(Refusal::brought_reference(path, rights));
        }
        let refers = next.request.overlay.check_references(&self.loaded.file_tree);
        refers.map_err(|error| Refusal::of(RefusalKind::Invalid, &error, None))?;
        next.loaded = self.load_for(rights, &next.request)?;
        // An earlier edit of what only another profile has waits until that is selected again.
        let is_switch = matches!(edit, Edit::Profile(_));
        let unused = unused(&next.loaded, &self.loaded);
        if let Some(refusal) = Refusal::of_warnings(&unused).filter(|_| !is_switch) {
            return Err(refusal);
        }
        if let Edit::AddSource(_) = edit
            && configured_count(&next.loaded) <= configured.len()
        {
            return Err(Refusal::invalid("the source would not run: a flag or variable decides which sources do")
                .hint("start the engine without --source, with the sources in its configuration"));
        }
        if save {
            lay(edit, &mut next.saved, &known)?;
            next.keep(is_switch, rights)?;
        }
        Ok(Next { current: next, dropped: Vec::new() })
    }

    /// Loads what an author with these rights asks for. Their limits are checked before the machine is asked for files:
    /// its answer would say which there are.
    fn load_for(&self, rights: Rights, request: &Request) -> Result<Loaded, Refusal> {
        let loaded = parsed(request)?;
        if rights == Rights::Limited {
            self.check_reach(&loaded)?;
        }
        let loaded = on_this_machine(loaded);
        check(&loaded)?;
        Ok(loaded)
    }

    /// Checks that no source of `next` opens a file that it does not open now or by the files alone.
    fn check_reach(&self, next: &Loaded) -> Result<(), Refusal> {
        let Some(other) = reach::first_other(&next.inputs, &[&self.loaded.inputs]) else { return Ok(()) };
        let bare = parsed(&Request { overlay: Overlay::default(), ..self.request.clone() });
        let other = match bare {
            Ok(bare) => reach::first_other(&next.inputs, &[&self.loaded.inputs, &bare.inputs]),
            Err(_) => Some(other),
        };
        other.map_or(Ok(()), |path| Err(Refusal::other_file(path)))
    }

    /// Checks that the saved edits can be loaded alone: without literal secrets, and without unsaved edits.
    fn keep(&self, is_switch: bool, rights: Rights) -> Result<(), Refusal> {
        use super::outcome::RefusalKind::NotSaved;
        self.saved.check_secrets().map_err(|error| Refusal::of(NotSaved, &error, None))?;
        let alone = self.load_for(rights, &Request { overlay: self.saved.clone(), ..self.request.clone() });
        let unfit = match alone {
            Ok(alone) => Refusal::of_warnings(&unused(&alone, &self.loaded)).filter(|_| !is_switch),
            Err(refusal) => Some(refusal),
        };
        let Some(unfit) = unfit else { return Ok(()) };
        let message = format!("it cannot be kept without edits that are not: {}", unfit.first_line());
        let refusal = Refusal { problems: unfit.problems, ..Refusal::new(NotSaved, message) };
        Err(refusal.hint("save those that it builds on, too"))
    }

    /// The configuration after a change of the files, which drops conflicting edits. `scripts` receives the scripts
    /// that they name, even if the configuration is rejected.
    pub(super) fn reread(&self, scripts: &mut Vec<PathBuf>) -> Result<Next, Refusal> {
        let mut next = self.clone();
        for file in [&self.request.config, &self.request.sources].into_iter().flatten() {
            let is_pipe = fs::metadata(self.request.working_dir.join(file)).is_ok_and(|meta| !meta.is_file());
            if is_pipe {
                return Err(Refusal::invalid(format!("{} is no regular file: it is read once", file.display())));
            }
        }
        let (mut loaded, mut unfit) = match read(&next.request) {
            Ok(loaded) => (loaded, None),
            Err(refusal) => {
                // Edits that will be dropped may be the reason.
                let bare = Request { overlay: Overlay::default(), ..next.request.clone() };
                (read(&bare).map_err(|_| refusal.clone())?, Some(refusal))
            }
        };
        let mut dropped = BTreeSet::new();
        loop {
            let switched = self.loaded.profiles.selected.as_deref();
            let mut changed = changed_paths_with(&self.loaded.file_tree, &loaded.file_tree, switched);
            changed.extend(store::gone_profile(&next.request.overlay, &loaded.file_tree));
            let mut gone = next.request.overlay.without(&changed);
            gone.extend(next.saved.without(&changed));
            if gone.is_empty() {
                break;
            }
            dropped.extend(gone);
            // Repeat without the dropped edits, since the files may have changed.
            (loaded, unfit) = (read(&next.request)?, None);
        }
        if let Some(refusal) = unfit {
            return Err(refusal);
        }
        *scripts = modules(&loaded.plan);
        check(&loaded)?;
        // An emptied file is a mistake; an empty list of sources is not.
        if let Some(none) = config::check_sources(&loaded) {
            Refusal::of_warnings(&[&none]).map_or(Ok(()), Err)?;
        }
        next.loaded = loaded;
        Ok(Next { current: next, dropped: dropped.into_iter().collect() })
    }

    /// Checks that a whole configuration brings no new references, unless it may: a problem could show what they name.
    pub(super) fn check_document(&self, document: &str, rights: Rights) -> Result<(), Refusal> {
        // A text in quotes can write the two signs as escapes.
        let may_hold = document.contains("${") || document.contains('\\');
        // What is no YAML is refused with its place.
        if rights == Rights::Whole || !may_hold || config::syntax_error("document", document).is_some() {
            return Ok(());
        }
        let read = serde_yaml::from_str::<BTreeMap<String, Option<Json>>>(document);
        let entries = read.map_err(|_| Refusal::brought_reference("configuration".to_owned(), rights))?;
        let brought = Overlay { entries }.new_reference(&self.request.overlay, &self.loaded.file_tree);
        brought.map_or(Ok(()), |path| Err(Refusal::brought_reference(path, rights)))
    }

    /// Stamps of the files, to detect a change while reading.
    pub(super) fn stamps(&self) -> Vec<Option<(u64, u64, i64, i64)>> {
        let stamp = |path: &PathBuf| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
        };
        self.loaded.files.iter().map(stamp).collect()
    }

    /// Checks that a source runs and can be started again.
    pub(super) fn check_restart(&self, id: &str, rights: Rights) -> Result<(), Refusal> {
        self.edited(&Edit::RestartSource(id.to_owned()), false, rights)?;
        if self.loaded.plan.sources.iter().any(|source| *source.id.as_str() == *id) {
            return Ok(());
        }
        let message = format!("source '{id}' is switched off: it does not run, so it cannot be started again");
        Err(Refusal::new(RefusalKind::Conflict, message).hint(format!("`dsengine sources enable {id}` lets it run")))
    }

    /// Keys that are set and have no effect yet, each with what it will do.
    pub(super) fn without_effect(&self) -> Vec<&str> {
        let unbuilt = self.loaded.warnings.iter().filter(|warning| warning.name == "not-built");
        unbuilt.map(|warning| warning.message.as_str()).collect()
    }

    /// Strategies that run another module than the files and edits say, because a shadow was promoted.
    pub(super) fn promoted(&self, plugins: &[PluginStatus]) -> Vec<String> {
        let other = |strategy: &StrategyPlan| {
            let (StrategyKind::Lua(path) | StrategyKind::Wasm(path)) = &strategy.kind else { return None };
            let (name, path) = (&strategy.name, path.display().to_string());
            let runs = plugins.iter().find(|plugin| plugin.kind == "strategy" && plugin.name == *name)?;
            let runs = Some(&runs.module).filter(|module| **module != path)?;
            Some(format!("{name} runs {runs} in place of {path}: a shadow was promoted, until the restart"))
        };
        self.loaded.plan.strategies.iter().filter_map(other).collect()
    }

    /// Every configured source.
    pub(super) fn sources(&self, running: Vec<SourceStatus>) -> Vec<SourceEntry> {
        let in_files = ids(&self.loaded.file_tree);
        let entry = |(id, config): (String, &Json)| {
            let is_added = is_added(&self.request.overlay, &id) && !in_files.contains(&id);
            let origin = if is_added { "overlay" } else { "file" };
            let prefix = format!("sources[{id}]");
            let changed = self.request.overlay.entries.keys().any(|path| path.starts_with(&prefix));
            let enabled = config["enabled"] != false;
            let status = running.iter().find(|status| status.id == id).cloned();
            SourceEntry { origin, changed, enabled, config: config.clone(), status, id }
        };
        configured(&self.loaded).into_iter().map(entry).collect()
    }
}

/// Whether edits say what a source's address is, as those do that add it.
fn is_added(overlay: &config::Overlay, id: &str) -> bool {
    ["uri", "streams", "streams.detect"].iter().any(|key| overlay.get(&format!("sources[{id}].{key}")).is_some())
}

/// Loads a configuration, and refuses what an engine would not start with.
pub(super) fn load(request: &Request) -> Result<Loaded, Refusal> {
    let loaded = read(request)?;
    check(&loaded)?;
    Ok(loaded)
}

fn read(request: &Request) -> Result<Loaded, Refusal> {
    parsed(request).map(on_this_machine)
}

/// Adds the warnings about what this machine lacks.
fn on_this_machine(mut loaded: Loaded) -> Loaded {
    loaded.warnings.extend(config::check(&loaded));
    loaded
}

/// Loads a configuration without asking what this machine lacks for it.
fn parsed(request: &Request) -> Result<Loaded, Refusal> {
    config::load(request).map_err(|error| {
        let problems = error.problems().iter().map(|problem| Problem {
            message: problem.message.clone(),
            place: problem.place.clone(),
            hint: problem.hint.clone(),
        });
        Refusal::of_problems(problems.collect()).unwrap_or_else(|| Refusal::invalid(error.to_string()))
    })
}

fn check(loaded: &Loaded) -> Result<(), Refusal> {
    let refusing: Vec<_> = loaded.warnings.iter().filter(|warning| warning.refuses_run()).collect();
    Refusal::of_warnings(&refusing).map_or(Ok(()), Err)
}

/// New warnings about edits of items that do not exist.
fn unused<'a>(loaded: &'a Loaded, before: &Loaded) -> Vec<&'a Warning> {
    let is_new = |warning: &&Warning| warning.name == "overlay-unused" && !before.warnings.contains(warning);
    loaded.warnings.iter().filter(is_new).collect()
}

/// Every configured source with its id, including disabled ones.
fn configured(loaded: &Loaded) -> Vec<(String, &Json)> {
    let mut planned = loaded.plan.sources.iter();
    let entries = loaded.effective["sources"].as_array().into_iter().flatten();
    entries
        .filter_map(|entry| {
            // The plan has the enabled ones, in the same order.
            let planned = if entry["enabled"] == false { None } else { planned.next() };
            let id = planned.map(|plan| plan.id.to_string()).or_else(|| Some(entry["id"].as_str()?.to_owned()))?;
            Some((id, entry))
        })
        .collect()
}

fn configured_count(loaded: &Loaded) -> usize {
    loaded.effective["sources"].as_array().map_or(0, Vec::len)
}

/// The ids of the sources in the files.
fn ids(tree: &Json) -> Vec<String> {
    let sources = tree["sources"].as_array().into_iter().flatten();
    sources.filter_map(|source| Some(source["id"].as_str()?.to_owned())).collect()
}

/// The modules of a plan's strategies and handlers, and their manifests.
fn modules(plan: &Plan) -> Vec<PathBuf> {
    let strategies = plan.strategies.iter().filter_map(|strategy| match &strategy.kind {
        StrategyKind::Lua(path) | StrategyKind::Wasm(path) => Some(path.clone()),
        StrategyKind::Motion => None,
    });
    let handlers = plan.handlers.iter().filter_map(|handler| match &handler.kind {
        HandlerKind::Module(module) => Some(module.path.clone()),
        HandlerKind::Console
        | HandlerKind::Email(_)
        | HandlerKind::File { .. }
        | HandlerKind::Mqtt(_)
        | HandlerKind::Shipped { .. }
        | HandlerKind::Webhook(_) => None,
    });
    let modules: Vec<PathBuf> = strategies.chain(handlers).collect();
    let manifests: Vec<PathBuf> = modules.iter().filter_map(|module| Manifest::file_of(module)).collect();
    [modules, manifests].concat()
}
