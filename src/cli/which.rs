//! Which run a command is about: the flags that name its configuration, and where its alerts are kept.

use std::path::{Path, PathBuf};

use dsengine::config::{Loaded, Request};
use dsengine::control;
use dsengine::error::{Code, Error};
use dsengine::sqlite::StateLock;

use super::input::Input;

/// The flags that name a run.
#[derive(clap::Args, Default, Clone)]
pub(crate) struct Which {
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

    /// The database of its alerts, which may not exist. If no file names the run, that of the only one that runs with the
    /// state folder. `None` without it, or without a state folder.
    pub(crate) fn database(&self) -> Option<PathBuf> {
        let request = self.request();
        let state = self.state_dir(&request)?;
        if self.is_named() {
            return control::alerts_file(&state, &request);
        }
        let mut running = control::running(&state);
        running.pop().filter(|_| running.is_empty())
    }

    /// Where the engine answers that runs it.
    pub(crate) fn engine(&self) -> Result<String, Error> {
        let name = self.file().unwrap_or(Path::new("")).display();
        let database = self.database();
        let Some(database) = database.filter(|database| StateLock::is_held(database)) else {
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
