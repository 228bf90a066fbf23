//! Which run a command is about: the flags that name its configuration, and where its alerts are kept.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dsengine::config::{Loaded, Request};
use dsengine::control;
use dsengine::error::{Code, Error};
use dsengine::sqlite::StateLock;
use dsengine::telemetry::redact;
use hyper::Uri;

use super::input::Input;

/// The address of the engine that is meant where no flag names one.
const VARIABLE: &str = "DSENGINE_AT";

/// The flags that name a run.
#[derive(clap::Args, Default, Clone)]
pub(crate) struct Which {
    /// Address of the engine's page, as `run` prints it: HOST:PORT or http://HOST:PORT [env: DSENGINE_AT]
    ///
    /// Without it, the engine is asked that runs --config; without that, the only one that runs with the state folder,
    /// else the one at 127.0.0.1:8000. The variable counts where neither flag is given.
    #[arg(long, value_name = "ADDR", alias = "url")]
    pub(crate) at: Option<String>,
    /// The configuration that runs, or ran
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The sources file, if `run` had no configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) sources: Option<PathBuf>,
    /// The folder that `run` was given as --state
    #[arg(long, value_name = "DIR", env = "DSENGINE_STATE")]
    pub(crate) state: Option<PathBuf>,
}

impl Which {
    /// The file that names the run.
    fn file(&self) -> Option<&Path> {
        self.config.as_deref().or(self.sources.as_deref())
    }

    /// Whether a file names the run.
    pub(crate) fn is_named(&self) -> bool {
        self.file().is_some()
    }

    /// The address that names the engine: of the flag, or of the variable if no flag names the run.
    pub(crate) fn address(&self) -> Option<String> {
        let is_given = |at: &String| !at.is_empty();
        let variable = || std::env::var(VARIABLE).ok().filter(is_given);
        self.at.clone().filter(is_given).or_else(|| if self.is_named() { None } else { variable() })
    }

    /// Whether the flags name something, and agree.
    ///
    /// # Errors
    /// The file does not exist, and nothing is kept of a run of it; or it runs at another address than that of the flag.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let has_run = || self.database().is_some_and(|database| database.exists());
        if let Some(error) = self.missing().filter(|_| !has_run()) {
            return Err(error);
        }
        let Some((file, at)) = self.file().zip(self.address()) else { return Ok(()) };
        let database = self.database().filter(|database| StateLock::is_held(database));
        match database.and_then(|database| StateLock::address(&database)) {
            Some(other) if is_same(&at, &other) == Some(false) => {
                let (name, at) = (file.display(), shown(&at));
                Err(Error::new(Code::Request, format!("the engine that runs {name} is at {other}, not at {at}"))
                    .hint("leave out --config or --at"))
            }
            _ => Ok(()),
        }
    }

    /// The file that names the run, if it does not exist.
    pub(crate) fn missing(&self) -> Option<Error> {
        let file = self.file().filter(|file| !file.exists())?;
        Some(
            Error::new(Code::Request, format!("there is no file {}", file.display())).hint(
                "name the file that `run` was given, or leave it out and name the engine's address: --at HOST:PORT",
            ),
        )
    }

    fn request(&self) -> Request {
        Input { source: None, sources: self.sources.clone(), config: self.config.clone() }.request(Vec::new())
    }

    /// The configuration as a run would load it: with the edits that were saved.
    pub(crate) fn load(&self) -> Result<Loaded, Error> {
        let mut request = self.request();
        let state = self.state_dir(&request);
        let (loaded, dropped) = control::load_saved(&mut request, state.as_deref())?;
        if !dropped.is_empty() {
            eprintln!("warning: the files now say otherwise: saved edits are dropped: {}", dropped.join(", "));
        }
        Ok(loaded)
    }

    fn state_dir(&self, request: &Request) -> Option<PathBuf> {
        self.state.clone().or_else(|| control::state_dir(&request.env))
    }

    /// The database of its alerts, which may not exist. If no file names the run, that of the one that runs with the
    /// state folder at the given address, or of the only one. `None` without it, or without a state folder.
    pub(crate) fn database(&self) -> Option<PathBuf> {
        let request = self.request();
        let state = self.state_dir(&request)?;
        if self.is_named() {
            return control::alerts_file(&state, &request);
        }
        let mut running = control::running(&state);
        if let Some(at) = self.address() {
            let is_it = |database: &PathBuf| {
                StateLock::address(database).is_some_and(|noted| is_same(&at, &noted) == Some(true))
            };
            return running.into_iter().find(is_it);
        }
        running.pop().filter(|_| running.is_empty())
    }

    /// Where the engine answers that runs it.
    pub(crate) fn engine(&self) -> Result<String, Error> {
        let name = self.file().unwrap_or(Path::new("")).display();
        let database = self.database();
        let Some(database) = database.filter(|database| StateLock::is_held(database)) else {
            if let Some(error) = self.missing() {
                return Err(error);
            }
            return Err(Error::new(Code::Io, format!("no engine runs {name}")).hint(
                "start it: dsengine run --config FILE; if it runs with another --state, name that; if it keeps no \
                 alerts on disk, name its address: --at HOST:PORT",
            ));
        };
        StateLock::address(&database).ok_or_else(|| {
            Error::new(Code::Io, format!("the engine that runs {name} does not say where it answers"))
                .hint("it is still starting, or monitoring.prometheus.enabled is false: it has no page then")
        })
    }

    /// Where the engines answer that run with this state folder, whatever their configuration.
    pub(crate) fn running(&self) -> Vec<String> {
        let databases = self.state_dir(&self.request()).map(|state| control::running(&state)).unwrap_or_default();
        databases.iter().filter_map(|database| StateLock::address(database)).collect()
    }
}

/// An address as it may be printed: without a password.
pub(crate) fn shown(at: &str) -> String {
    if at.contains("://") {
        return redact::uri(at);
    }
    redact::uri(&format!("http://{at}")).trim_start_matches("http://").to_owned()
}

/// Whether an address is that which an engine noted; `None` if it cannot be told. An engine that listens on every
/// address notes the loopback.
fn is_same(at: &str, noted: &str) -> Option<bool> {
    let (at, noted) = (parts(at)?, parts(noted)?);
    if at.1 != noted.1 {
        return Some(false);
    }
    let (at, noted) = (ip(&at.0)?, ip(&noted.0)?);
    match (at.is_loopback(), noted.is_loopback()) {
        (true, true) => Some(true),
        (false, true) => None,
        _ => Some(at == noted),
    }
}

/// Host and port.
fn parts(at: &str) -> Option<(String, u16)> {
    let uri = if at.contains("://") { at.to_owned() } else { format!("http://{at}") };
    let uri: Uri = uri.parse().ok()?;
    Some((uri.host()?.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(80)))
}

fn ip(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") { Some(IpAddr::from([127, 0, 0, 1])) } else { host.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_an_engine_however_it_is_written() {
        let noted = "http://127.0.0.1:8112/";
        for at in ["127.0.0.1:8112", "localhost:8112", "http://LOCALHOST:8112", "[::1]:8112"] {
            assert_eq!(is_same(at, noted), Some(true), "{at}");
        }
        assert_eq!(is_same("127.0.0.1:8113", noted), Some(false));
        assert_eq!(is_same("gate.example:8113", noted), Some(false));
        assert_eq!(is_same("192.168.0.7:8112", noted), None, "it may listen on every address");
        assert_eq!(is_same("gate.example:8112", noted), None);
        assert_eq!(is_same("127.0.0.1:8112", "http://192.168.0.7:8112/"), Some(false));
    }

    #[test]
    fn a_missing_file_is_named() {
        let which = Which { config: Some("/nowhere/c.yaml".into()), ..Which::default() };
        assert!(which.missing().unwrap().to_string().contains("there is no file /nowhere/c.yaml"));
        assert!(Which::default().missing().is_none());
    }
}
