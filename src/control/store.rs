//! The files of saved edits: one overlay file per configuration, in the state folder.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::Control;
use super::fingerprint::fingerprint;
use crate::config::{self, Loaded, Overlay, Request, changed_paths_with};
use crate::error::{Code, Error};
use crate::sqlite::{Decisions, Delivered, History, StateLock};
use crate::types::AlertId;

/// Characters of the digest in a file's name: enough to avoid collisions on a machine.
const DIGEST_CHARS: usize = 16;

/// The default state folder: `$STATE_DIRECTORY` (a service's, its first), else `$XDG_STATE_HOME/dsengine`, else
/// `~/.local/state/dsengine`. `None` if none of the variables is set.
pub fn state_dir(env: &[(String, String)]) -> Option<PathBuf> {
    let value = |name: &str| env.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value);
    let service = value("STATE_DIRECTORY").and_then(|folders| folders.split(':').next());
    if let Some(folder) = service.map(Path::new).filter(|path| path.is_absolute()) {
        return Some(folder.to_owned());
    }
    let base = match value("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute()) {
        Some(path) => PathBuf::from(path),
        None => Path::new(value("HOME")?).join(".local/state"),
    };
    Some(base.join("dsengine"))
}

/// The file for saved edits of `request`'s configuration.
fn overlay_file(state: &Path, request: &Request) -> Option<PathBuf> {
    state_file(state, request, "overlay", "yaml")
}

/// The files for saved edits and for the alerts of `request`'s configuration.
pub(super) fn files(state: &Path, request: &Request) -> (Option<PathBuf>, Option<PathBuf>) {
    (overlay_file(state, request), alerts_file(state, request))
}

impl Control {
    /// The log behind `explain`, if there is a database.
    pub fn decisions(&self) -> Option<Decisions> {
        self.alerts.as_deref().filter(|file| file.exists()).map(Decisions::new)
    }

    /// What became of an alert at its handlers, if there is a database that has it.
    pub fn delivered(&self, alert: &AlertId) -> Option<Vec<Delivered>> {
        let file = self.alerts.as_deref().filter(|file| file.exists())?;
        History::new(file).find(alert.as_str()).ok().map(|kept| kept.handlers)
    }
}

/// The database for the alerts of `request`'s configuration, in the state folder. `None` without a configuration or a
/// sources file.
pub fn alerts_file(state: &Path, request: &Request) -> Option<PathBuf> {
    state_file(state, request, "alerts", "db")
}

/// The databases in this state folder that engines use now, in the order of their names.
pub fn running(state: &Path) -> Vec<PathBuf> {
    let is_database = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("alerts-") && name.ends_with(".db"))
    };
    let files = fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut databases: Vec<PathBuf> = files.filter(is_database).filter(|file| StateLock::is_held(file)).collect();
    databases.sort();
    databases
}

/// The folder for pictures of alerts in the state folder, of a configuration that is in a file.
pub fn pictures_dir(state: &Path, request: &Request) -> Option<PathBuf> {
    Some(state.join("pictures").join(state_name(state, request)?))
}

/// A file of the state folder, named after the absolute path of the configuration, else of the sources file. `None`
/// without either: what is kept could not be applied to anything later.
fn state_file(state: &Path, request: &Request, what: &str, extension: &str) -> Option<PathBuf> {
    Some(state.join(format!("{what}-{}.{extension}", state_name(state, request)?)))
}

/// The file that names a configuration: its absolute path, without `..`. `None` without a configuration or a sources
/// file.
pub fn configuration_file(request: &Request) -> Option<PathBuf> {
    let file = request.config.as_ref().or(request.sources.as_ref())?;
    let path = std::path::absolute(request.working_dir.join(file)).ok()?;
    let mut clean = PathBuf::new();
    for part in path.components() {
        if part != Component::ParentDir {
            clean.push(part);
            continue;
        }
        // What is above a symlink is above its target. Others are kept: a configuration mount switches them.
        if clean.is_symlink() {
            clean = clean.canonicalize().unwrap_or(clean);
        }
        clean.pop();
    }
    Some(clean)
}

/// The name of a configuration in the state folder: that under which its file runs now, else that of its path.
fn state_name(state: &Path, request: &Request) -> Option<String> {
    let path = configuration_file(request)?;
    let own = name_of(&path);
    if StateLock::is_held(&database(state, &own)) {
        return Some(own);
    }
    Some(running_as(state, &path).unwrap_or(own))
}

/// The name under which the same file runs, by another path: through a symlink.
fn running_as(state: &Path, path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let is_same = |file: &PathBuf| {
        StateLock::configuration(file).and_then(|other| other.canonicalize().ok()).is_some_and(|other| other == real)
    };
    let file = running(state).into_iter().find(is_same)?;
    Some(file.file_stem()?.to_str()?.strip_prefix("alerts-")?.to_owned())
}

fn database(state: &Path, name: &str) -> PathBuf {
    state.join(format!("alerts-{name}.db"))
}

fn name_of(path: &Path) -> String {
    let digest: String =
        Sha256::digest(path.as_os_str().as_encoded_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    format!("{stem}-{}", &digest[..DIGEST_CHARS])
}

/// Writes saved edits, and the fingerprint of the files that they apply to.
pub(super) fn write(file: &Path, overlay: &Overlay, file_tree: &Json) -> Result<(), Error> {
    // The fingerprint first: it is harmless without its edits.
    let beside = prints(file);
    let temporary = beside.with_extension("tmp");
    let text = fingerprint(file_tree).to_string();
    let written = write_private(&temporary, &text).and_then(|()| fs::rename(&temporary, &beside));
    written.map_err(|error| Error::new(Code::Io, format!("{} cannot be written: {error}", beside.display())))?;
    overlay.write(file)
}

/// Creates the state folder, for its owner only.
///
/// # Errors
/// When it cannot be created.
pub fn create_state_dir(state: &Path) -> Result<(), Error> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
    created.map_err(|error| Error::new(Code::Io, format!("{} cannot be created: {error}", state.display())))
}

/// Writes a file, and creates its folder, for its owner only.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_of(file))?;
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

fn state_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// Notes when a switch of the profile that is saved in `file` was made, in seconds since 1970.
pub(super) fn write_switched(file: &Path, unix_s: u64) -> io::Result<()> {
    let (beside, temporary) = (switched(file), switched(file).with_extension("tmp"));
    write_private(&temporary, &unix_s.to_string()).and_then(|()| fs::rename(temporary, beside))
}

/// When the saved switch of the profile was made; `None` if that is not known.
pub(super) fn read_switched(file: &Path) -> Option<u64> {
    fs::read_to_string(switched(file)).ok()?.trim().parse().ok()
}

fn switched(file: &Path) -> PathBuf {
    file.with_extension("switched")
}

fn prints(file: &Path) -> PathBuf {
    file.with_extension("files.json")
}

/// The path of a switch to a profile that the files no longer have.
pub(super) fn gone_profile(overlay: &Overlay, file_tree: &Json) -> Option<String> {
    let name = overlay.get("profile")??.as_str()?;
    let is_known = file_tree.get("profiles").is_some_and(|profiles| profiles.get(name).is_some());
    (!is_known).then(|| "profile".to_owned())
}

/// Loads the configuration with the edits saved in `state`, which are added to the request. Returns the paths of edits
/// that were dropped because the files have changed since.
///
/// # Errors
/// When the configuration cannot be loaded, or the saved edits cannot be read.
pub fn load_saved(request: &mut Request, state: Option<&Path>) -> Result<(Loaded, Vec<String>), Error> {
    let Some(file) = state.and_then(|state| overlay_file(state, request)) else {
        return Ok((config::load(request)?, Vec::new()));
    };
    // If the folder cannot exist or is not accessible, this user has saved nothing.
    let is_nowhere = match fs::metadata(&file).map_err(|error| error.kind()) {
        Err(ErrorKind::NotADirectory) => true,
        Err(ErrorKind::PermissionDenied) => {
            tracing::warn!("saved edits are not looked for: {} cannot be looked into", state_of(&file).display());
            true
        }
        _ => false,
    };
    let saved = if is_nowhere { Overlay::default() } else { Overlay::read(&file)? };
    if saved.is_empty() {
        return Ok((config::load(request)?, Vec::new()));
    }
    request.overlay = saved;
    let loaded = config::load(request);
    // Edits that will be dropped may be the reason for a failure.
    let bare = Request { overlay: Overlay::default(), ..request.clone() };
    let file_tree = match &loaded {
        Ok(loaded) => loaded.file_tree.clone(),
        Err(_) => config::load(&bare)?.file_tree,
    };
    let before = crate::text::bytes(&prints(&file)).ok().and_then(|text| serde_json::from_slice::<Json>(&text).ok());
    // The profile that applied: the fingerprint has no values.
    let switched = request.overlay.get("profile").unwrap_or_else(|| file_tree.get("profile"));
    let switched = switched.and_then(Json::as_str).map(str::to_owned);
    let compared = |before: Json| changed_paths_with(&before, &fingerprint(&file_tree), switched.as_deref());
    let mut changed = before.map(compared).unwrap_or_default();
    changed.extend(gone_profile(&request.overlay, &file_tree));
    let dropped = request.overlay.without(&changed);
    if dropped.is_empty() {
        let note = |error| Error::from(error).hint(format!("the edits that were saved are in {}", file.display()));
        return Ok((loaded.map_err(note)?, dropped));
    }
    let loaded = config::load(request)?;
    // If this fails, the next start gets the same result.
    if let Err(error) = write(&file, &request.overlay, &loaded.file_tree) {
        tracing::warn!("{error}");
    }
    Ok((loaded, dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_state_folder_is_that_of_the_user() {
        let dir = |pairs: &[(&str, &str)]| state_dir(&env(pairs));
        assert_eq!(dir(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), Some("/s/dsengine".into()));
        assert_eq!(dir(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), Some("/h/.local/state/dsengine".into()));
        assert_eq!(dir(&[("STATE_DIRECTORY", "/v/a:/v/b"), ("XDG_STATE_HOME", "/s")]), Some("/v/a".into()));
        assert_eq!(dir(&[("HOME", "")]), None);
    }

    #[test]
    fn each_configuration_has_its_own_file() {
        let file = |config: Option<&str>, sources: Option<&str>, dir: &str| {
            let (config, sources) = (config.map(Into::into), sources.map(Into::into));
            overlay_file(Path::new("/s"), &Request { config, sources, working_dir: dir.into(), ..Request::default() })
        };
        let one = file(Some("c.yaml"), None, "/a").unwrap();
        assert_eq!(Some(&one), file(Some("/a/c.yaml"), Some("s.yaml"), "/b").as_ref());
        assert_ne!(Some(&one), file(Some("c.yaml"), None, "/b").as_ref());
        assert!(one.to_string_lossy().starts_with("/s/overlay-c-"), "{}", one.display());
        assert!(file(None, Some("s.yaml"), "/a").is_some());
        assert_eq!(file(None, None, "/a"), None);
        assert_eq!(Some(&one), file(Some("../a/./c.yaml"), None, "/b").as_ref());
    }

    #[test]
    fn a_configuration_that_runs_is_known_by_its_other_paths() {
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path(), dir.path().join("state"));
        for folder in ["one", "two/deep", "state"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("two/c.yaml"), "").unwrap();
        std::os::unix::fs::symlink("../two/c.yaml", root.join("one/link.yaml")).unwrap();
        std::os::unix::fs::symlink("two/deep", root.join("far")).unwrap();
        let of = |folder: &str, file: &str| Request {
            config: Some(file.into()),
            working_dir: root.join(folder),
            ..Request::default()
        };
        let own = alerts_file(&state, &of("two", "c.yaml")).unwrap();
        let other = of("one", "link.yaml");
        assert_eq!(alerts_file(&state, &of("one", "../two/c.yaml")), Some(own.clone()));
        assert_eq!(alerts_file(&state, &of("", "far/../c.yaml")), Some(own.clone()), "above the link's target");
        assert_ne!(alerts_file(&state, &other), Some(own.clone()), "a mount may switch the link");
        fs::write(&own, "").unwrap();
        let mut lock = StateLock::take(&own).unwrap();
        lock.note_configuration(&configuration_file(&of("two", "c.yaml")).unwrap());
        lock.note_address("http://127.0.0.1:8112/");
        assert_eq!(alerts_file(&state, &other), Some(own.clone()), "it is the file that runs");
        assert_eq!(StateLock::address(&own).as_deref(), Some("http://127.0.0.1:8112/"));
        drop(lock);
        assert_ne!(alerts_file(&state, &other), Some(own));
    }
}
