//! `dsengine plugin check`: shows what a plugin is and requests, and whether it loads here.

use std::path::PathBuf;
use std::sync::Arc;

use dsengine::config::{GrantPlan, Plan};
use dsengine::error::Error;
use dsengine::guest::{API, GuestKind, Needs, Settings, hosts, may_read};
use dsengine::types::{SourceId, one_line};
use dsengine::wasm;

use super::module::{Language, Module, Role, given, guests};
use crate::cli::exit::{Exit, failed};
use crate::cli::test::{Sample, sample};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A plugin's folder, script or component
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Check it with the settings, limits and grants that this configuration gives it; without one, it gets what it asks
    /// for and the settings of its first test
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Exit {
    let plan = match given(&args.path, args.config.as_deref()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let module = match Module::find(&args.path) {
        Ok(module) => module,
        Err(error) => return failed(&error),
    };
    if let Err(error) = describe(&module) {
        return failed(&error);
    }
    let sample = if plan.is_none() { sample(&module.path) } else { None };
    let role = match module.role(plan.as_ref(), sample.as_ref()) {
        Ok(role) => role,
        Err(error) => return failed(&error),
    };
    let granted = match &role {
        Role::Strategy(plan) => &plan.grants,
        Role::Handler(_, plan) => &plan.grants,
    };
    let granted = plan.is_some().then_some(granted);
    capabilities(&module.manifest.needs, granted);
    declared(&module.manifest.settings);
    if let Some(sample) = &sample {
        println!("settings   those of {}", one_line(&sample.file.to_string()));
    }
    match load(&module, &role, plan.as_ref(), sample.as_ref()) {
        Ok(version) => {
            println!("loads      yes, it says that it is version {}", one_line(&version));
            Exit::Fine
        }
        Err(error) => {
            println!("loads      no");
            let exit = failed(&error);
            if args.config.is_none() && sample.is_none() {
                eprintln!("  note: it was loaded without settings; --config FILE gives it those of a configuration");
            }
            exit
        }
    }
}

fn describe(module: &Module) -> Result<(), Error> {
    let kind = if module.kind == GuestKind::Strategy { "strategy" } else { "handler" };
    let language = if module.language == Language::Lua { "in Lua" } else { "as a component" };
    let version = match &*module.manifest.version {
        "0" => String::new(),
        version => format!(" {}", one_line(version)),
    };
    println!("{}{version}, a {kind} {language} ({})", module.name(), one_line(&module.path.display().to_string()));
    if module.language == Language::Wasm {
        let info = wasm::check(&module.bytes)?;
        println!("world      {}, built for API {} (this engine offers {}.{})", info.world, info.version, API.0, API.1);
        println!("imports    {}", one_line(&imports(&info.imports)));
        println!("size       {} bytes", module.bytes.len());
    } else {
        println!("API        this engine offers {}.{}", API.0, API.1);
    }
    Ok(())
}

/// Lists imports: `dsengine:plugin/log@0.1.0` is `log`; those of languages' standard libraries are counted.
fn imports(names: &[String]) -> String {
    let ours = |name: &str| Some(name.strip_prefix("dsengine:plugin/")?.split('@').next()?.to_owned());
    let wasi = names.iter().filter(|name| name.starts_with("wasi:")).count();
    let mut shown: Vec<String> =
        names.iter().filter(|name| !name.starts_with("wasi:")).map(|n| ours(n).unwrap_or_else(|| n.clone())).collect();
    if wasi > 0 {
        shown.push(format!("{wasi} of WASI (clocks and output only)"));
    }
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

fn capabilities(asked: &Needs, granted: Option<&GrantPlan>) {
    let Needs { http, shared_state, pixels, env, files } = asked;
    let mut lines: Vec<(String, bool)> = Vec::new();
    let has = |test: &dyn Fn(&GrantPlan) -> bool| granted.is_none_or(test);
    for host in http {
        lines.push((format!("requests to {host}"), has(&|g| !hosts(&g.http, host).is_empty())));
    }
    if *shared_state {
        lines.push(("state over all sources".to_owned(), has(&|g| g.shared_state)));
    }
    if *pixels {
        lines.push(("pixels".to_owned(), has(&|g| g.pixels)));
    }
    for name in env {
        lines.push((format!("the environment variable {name}"), has(&|g| g.env.contains(name))));
    }
    for path in files {
        lines.push((format!("reading {}", path.display()), has(&|g| may_read(g, path))));
    }
    if lines.is_empty() {
        println!("asks for   nothing");
    }
    for (what, has) in lines {
        let word = match (granted.is_some(), has) {
            (false, _) => "",
            (true, true) => ": granted",
            (true, false) => ": NOT granted",
        };
        println!("asks for   {}{word}", one_line(&what));
    }
}

/// Prints the declared settings.
fn declared(settings: &Settings) {
    for (name, setting) in &settings.0 {
        let default = match &setting.default {
            _ if setting.required => ", required".to_owned(),
            Some(default) => format!(" = {default}"),
            None => String::new(),
        };
        let range = setting.range().map_or(String::new(), |range| format!(" in {range}"));
        let help = if setting.help.is_empty() { String::new() } else { format!(": {}", setting.help) };
        println!("setting    {}", one_line(&format!("{name} {}{default}{range}{help}", setting.kind())));
    }
}

/// Creates an instance without effects; returns its version.
fn load(module: &Module, role: &Role, plan: Option<&Plan>, sample: Option<&Sample>) -> Result<String, Error> {
    let (guests, _runtime) = guests()?;
    match role {
        Role::Strategy(role) => {
            let judged = |id: &SourceId| role.sources.is_empty() || role.sources.contains(id);
            let source = match plan.and_then(|plan| plan.sources.iter().find(|s| judged(&s.id))) {
                Some(source) => {
                    guests.set_zones(&source.id, &source.zones);
                    source.id.clone()
                }
                None => SourceId::from("check"),
            };
            if let Some(sample) = sample {
                guests.set_zones(&source, &sample.zones);
            }
            let strategy = guests.strategy(role, &module.bytes, &Arc::default())?.rehearsal(&source)?;
            Ok(strategy.version().to_owned())
        }
        Role::Handler(name, plan) => {
            guests.handler(name, plan, &module.bytes, &Arc::default())?;
            Ok(module.manifest.version.clone())
        }
    }
}
