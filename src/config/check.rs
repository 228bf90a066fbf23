//! Checks what this machine lacks for a valid configuration.

use std::path::Path;

use super::load::Loaded;
use super::plan::{HandlerKind, StrategyKind};
use super::warning::{Severity, Warning};

/// Warnings about what this machine lacks. `validate` prints them; `run` refuses to start if one is a refusal.
pub fn check(loaded: &Loaded) -> Vec<Warning> {
    let plan = &loaded.plan;
    let mut out = Vec::new();
    let mut lacks = |name, path: &Path, (part, what): (String, String), hint: &str| {
        if let Err(reason) = readable(path) {
            let message = format!("{what}: {} {reason}", path.display());
            let place = loaded.place(&part);
            out.push(Warning { place, ..Warning::new(name, Severity::Refusal, message).hint(hint) });
        }
    };
    let strategy = |name: &str, key: &str, what: &str| {
        (format!("detection.strategies[{name}].{key}"), format!("the {what} of strategy `{name}`"))
    };
    for model in &plan.models {
        let hint = "a relative path is looked for beside the config file, then in the working directory";
        lacks("model-missing", &model.model, strategy(&model.name, "model_path", "model"), hint);
        if let Some(labels) = &model.labels {
            let hint = "leave it out where the model carries its labels";
            lacks("labels-missing", labels, strategy(&model.name, "labels_path", "labels"), hint);
        }
    }
    for guest in &plan.strategies {
        if let StrategyKind::Lua(path) | StrategyKind::Wasm(path) = &guest.kind {
            let hint = "a relative path is looked for beside the config file, then in the working directory";
            lacks("script-missing", path, strategy(&guest.name, "module", "script"), hint);
        }
    }
    if let Some(library) = &plan.ort_library {
        lacks(
            "ort-library-missing",
            library,
            ("inference.ort_library".to_owned(), "inference.ort_library".to_owned()),
            "leave it out to have it searched for",
        );
    }
    for source in &plan.sources {
        let Some(path) = source.input.file() else { continue };
        if let Err(reason) = readable(path) {
            let message = format!("source `{}`: {} {reason}", source.id, path.display());
            let place = loaded.place(&format!("sources[{}].uri", source.id));
            out.push(Warning { place, ..Warning::new("source-missing", Severity::Warning, message) });
        }
    }
    for handler in &plan.handlers {
        if let HandlerKind::File { path, .. } = &handler.kind {
            let what = format!("the file of handler `{}`", handler.name);
            let place = loaded.place(&format!("alerts.handlers[{}].config.log_file", handler.name));
            out.extend(unwritable("alert-file-unwritable", path, &what).map(|warning| Warning { place, ..warning }));
        }
    }
    if let Some(path) = &plan.logging.file {
        out.extend(unwritable("log-file-unwritable", path, "logging.log_file"));
    }
    out
}

/// The refusal of a configuration without a source. One with an empty list of sources may get some while it runs.
pub fn check_sources(loaded: &Loaded) -> Option<Warning> {
    let may_come = loaded.file_tree.get("sources").is_some();
    (loaded.plan.sources.is_empty() && !may_come).then(|| {
        Warning::new("no-source", Severity::Refusal, "there is no source to run")
            .hint("name one with --source, --sources or `sources:` in the config")
    })
}

fn readable(path: &Path) -> Result<(), String> {
    // The type is checked before opening: opening a pipe blocks until it has a writer.
    let opened = std::fs::metadata(path).and_then(|found| match found.is_file() {
        true => std::fs::File::open(path).map(|_| found),
        false => Ok(found),
    });
    match opened {
        Ok(found) if found.is_dir() => Err("is a folder".to_owned()),
        Ok(found) if !found.is_file() => Err("is no regular file".to_owned()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("does not exist".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Asks the system instead of reading the mode bits, and creates nothing.
fn unwritable(name: &'static str, path: &Path, what: &str) -> Option<Warning> {
    use rustix::fs::{Access, access};
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let target = if path.exists() { path } else { folder };
    let reason = access(target, Access::WRITE_OK).err()?;
    let message = format!("{what}: {} cannot be written: {reason}", path.display());
    let hint = "make its folder, or name another";
    Some(Warning::new(name, Severity::Refusal, message).hint(hint))
}
