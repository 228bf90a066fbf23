//! Finds the plugin at a path, and its settings in a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsengine::config::{GrantPlan, HandlerKind, LimitPlan, ModulePlan, Plan, StrategyKind, StrategyPlan};
use dsengine::engine::{Guests, SystemClock};
use dsengine::error::{Code, Error};
use dsengine::guest::http::{Failure, Request, Response, Wire};
use dsengine::guest::{BuildInputs, Grants, GuestKind, Manifest, Needs};
use dsengine::telemetry::Metrics;
use dsengine::text;
use dsengine::wasm::{self, World};
use tokio::runtime::Runtime;

use crate::cli::exit::Exit;
use crate::cli::input::Input;
use crate::cli::test::Sample;

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "plugin.toml";

/// A plugin's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// A script.
    Lua,
    /// A component.
    Wasm,
}

/// The language, by file extension.
pub(crate) fn language(path: &Path) -> Option<Language> {
    match path.extension()?.to_str()? {
        "lua" | "luau" => Some(Language::Lua),
        "wasm" => Some(Language::Wasm),
        _ => None,
    }
}

/// A plugin's file with its manifest.
pub(super) struct Module {
    pub(super) path: PathBuf,
    pub(super) language: Language,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
    pub(super) kind: GuestKind,
}

impl Module {
    /// Finds the plugin at `path`: a folder with plugin.toml, or the file itself.
    pub(super) fn find(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { entry(path)? } else { path.to_owned() };
        let shown = path.display().to_string();
        let Some(language) = language(&path) else {
            return Err(Error::new(Code::Plugin, format!("{shown}: is neither a .lua nor a .wasm")));
        };
        let bytes = text::bytes(&path).map_err(|e| {
            let error = Error::new(Code::Plugin, format!("{shown}: cannot be read: {e}"));
            match language {
                Language::Wasm => error.hint("build it first: dsengine plugin build"),
                Language::Lua => error,
            }
        })?;
        let text = match language {
            Language::Lua => {
                let text = text::decode(&bytes);
                let text = text.map_err(|e| Error::new(Code::Plugin, format!("{shown}:{}: {e}", e.line)))?;
                Some(text::script(&text).to_owned())
            }
            Language::Wasm => None,
        };
        let manifest = Manifest::of(&path, text.as_deref(), &BuildInputs::default())?;
        let kind = match (manifest.kind, &text) {
            (Some(kind), _) => kind,
            (None, Some(text)) if text.contains("handle_alert") => GuestKind::Handler,
            (None, Some(_)) => GuestKind::Strategy,
            (None, None) => match wasm::check(&bytes)?.world {
                World::Strategy => GuestKind::Strategy,
                World::Handler => GuestKind::Handler,
            },
        };
        Ok(Self { path, language, bytes, manifest, kind })
    }

    /// Its name in the manifest, else its file's.
    pub(super) fn name(&self) -> String {
        match &*self.manifest.name {
            "" => self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            name => name.to_owned(),
        }
    }

    /// Its settings in the configuration; without one, everything that it requests, and the settings of its first test.
    pub(super) fn role(&self, plan: Option<&Plan>, sample: Option<&Sample>) -> Result<Role, Error> {
        let Some(plan) = plan else { return Ok(self.by_itself(sample)) };
        let same = |path: &Path| matches!((path.canonicalize(), self.path.canonicalize()), (Ok(a), Ok(b)) if a == b);
        let strategy = plan.strategies.iter().find(|s| match &s.kind {
            StrategyKind::Lua(path) | StrategyKind::Wasm(path) => same(path),
            StrategyKind::Motion => false,
        });
        if let Some(found) = strategy {
            return Ok(Role::Strategy(Box::new(found.clone())));
        }
        let handler = plan.handlers.iter().find_map(|h| match &h.kind {
            HandlerKind::Module(module) if same(&module.path) => Some((h.name.to_string(), module.clone())),
            _ => None,
        });
        let (name, module) = handler.ok_or_else(|| {
            Error::new(
                Code::Config,
                format!("the configuration runs no strategy or handler from {}", self.path.display()),
            )
            .hint("name it there as a module, or leave --config out to give it all that it asks for")
        })?;
        Ok(Role::Handler(name, module))
    }

    fn by_itself(&self, sample: Option<&Sample>) -> Role {
        let Needs { http, shared_state, pixels, env, files } = self.manifest.needs.clone();
        let grants = GrantPlan { http, shared_state, pixels, env, files, secrets: Default::default() };
        let empty = || serde_json::Value::Object(serde_json::Map::new());
        let config = sample.map_or_else(empty, |s| s.config.clone());
        let class = sample.and_then(|s| s.class.clone());
        let limits = LimitPlan::default();
        match self.kind {
            GuestKind::Strategy => {
                let kind = match self.language {
                    Language::Lua => StrategyKind::Lua(self.path.clone()),
                    Language::Wasm => StrategyKind::Wasm(self.path.clone()),
                };
                let new = StrategyPlan::new(self.name(), kind);
                let plan = StrategyPlan { filters: true, config, class, limits, grants, persist_state: false, ..new };
                Role::Strategy(Box::new(plan))
            }
            GuestKind::Handler => {
                let (path, extensions) = (self.path.clone(), Default::default());
                let module = ModulePlan { path, class, config, limits, grants, persist_state: false, extensions };
                Role::Handler(self.name(), Box::new(module))
            }
        }
    }
}

/// The plan of the given configuration, after checking that the plugin exists. Prints problems.
pub(super) fn given(plugin: &Path, config: Option<&Path>) -> Result<Option<Plan>, Exit> {
    if !plugin.exists() {
        eprintln!("error: {}: there is no such file or folder", plugin.display());
        return Err(Exit::Usage);
    }
    let Some(config) = config else { return Ok(None) };
    let input = Input { config: Some(config.to_owned()), ..Input::default() };
    input.load(Vec::new()).map(|loaded| Some(loaded.plan))
}

/// Where it would run.
pub(super) enum Role {
    /// On the lanes, as a strategy.
    Strategy(Box<StrategyPlan>),
    /// After the policy, as a handler of this name.
    Handler(String, Box<ModulePlan>),
}

fn entry(dir: &Path) -> Result<PathBuf, Error> {
    let file = dir.join(MANIFEST);
    let text = text::read(&file).map_err(|e| {
        Error::new(Code::Plugin, format!("{}: cannot be read: {e}", file.display()))
            .hint("a plugin's folder has a plugin.toml; name the .lua or .wasm itself where there is none")
    })?;
    let manifest = Manifest::parse(&text, &file.display().to_string())?;
    Ok(dir.join(manifest.entry.unwrap_or_default()))
}

/// A network that denies every request: inspecting a plugin must have no effects.
struct Nowhere;

impl Wire for Nowhere {
    fn send(&self, _: Request, _: &Grants, _: usize) -> Result<Response, Failure> {
        Err(Failure::Denied("there is no network while a plugin is checked".into()))
    }
}

/// Isolated guests without a network.
pub(super) fn guests() -> Result<(Arc<Guests>, Runtime), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::new(Code::Io, format!("cannot start a runtime: {e}")))?;
    let metrics = Metrics::new(Arc::new(SystemClock::new()));
    let guests = Guests::with_wire(metrics, runtime.handle().clone(), None, Arc::new(Nowhere))?;
    Ok((guests, runtime))
}
