//! Which run a command is about: the flags that name it, where its engine answers, and where its alerts are kept.
//! [`Which::find`] says what is tried, in which order.

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
/// The default address of an engine.
const AT: &str = "127.0.0.1:8000";

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
    pub(crate) fn has_file(&self) -> bool {
        self.file().is_some()
    }

    /// The address that names the engine: of the flag, or of the variable if no flag names the run.
    fn address(&self) -> Option<String> {
        let is_given = |at: &String| !at.is_empty();
        let variable = || std::env::var(VARIABLE).ok().filter(is_given);
        self.at.clone().filter(is_given).or_else(|| if self.has_file() { None } else { variable() })
    }

    /// What to load for the files.
    pub(crate) fn input(&self) -> Input {
        Input { source: None, sources: self.sources.clone(), config: self.config.clone() }
    }

    fn request(&self) -> Request {
        self.input().request(Vec::new())
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

    /// Finds the run. The first of these that is there decides:
    ///
    /// 1. --at: the engine at that address, which must run the file if one is named too;
    /// 2. --config, else --sources: the run of that file, which may have ended;
    /// 3. `DSENGINE_AT`: the engine at that address;
    /// 4. the only engine that runs with the state folder; of several, the one at the default address;
    /// 5. the engine at the default address.
    ///
    /// # Errors
    /// The file does not exist, and nothing is kept of a run of it; the engine that runs it is at another address than
    /// --at; or several engines run and nothing names one.
    pub(crate) fn find(&self) -> Result<Run, Error> {
        let request = self.request();
        let state = self.state_dir(&request);
        let running = || state.as_deref().map(Engine::running).unwrap_or_default();
        match (self.address(), self.file()) {
            (at, Some(file)) => {
                let database = state.as_deref().and_then(|state| control::alerts_file(state, &request));
                let has_run = database.as_ref().is_some_and(|database| database.exists());
                match missing(file).filter(|_| !has_run) {
                    Some(error) => Err(error),
                    None => Run::of_file(file, database, at),
                }
            }
            (Some(at), None) => Ok(Run::at(at, running())),
            (None, None) => Run::only(running()),
        }
    }
}

/// An engine that runs with the state folder.
struct Engine {
    database: PathBuf,
    /// Where it answers, if it says so.
    address: Option<String>,
}

impl Engine {
    fn running(state: &Path) -> Vec<Self> {
        let engine = |database: PathBuf| Self { address: StateLock::address(&database), database };
        control::running(state).into_iter().map(engine).collect()
    }

    fn is_at(&self, at: &str) -> bool {
        self.address.as_deref().is_some_and(|noted| is_same(at, noted) == Some(true))
    }

    /// What it runs, and where it answers.
    fn name(&self) -> String {
        let path = StateLock::configuration(&self.database).unwrap_or_else(|| self.database.clone());
        let at = self.address.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        format!("{}{at}", path.display())
    }
}

/// What names a run.
#[derive(Debug, Clone)]
enum Named {
    Address,
    File(PathBuf),
    Nothing,
}

/// The run that a command is about.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    named: Named,
    /// Where its engine answers. `None` if it does not run or does not say so.
    address: Option<String>,
    /// The database of its alerts, which may not exist. `None` without a state folder, and for an address at which no
    /// engine of that folder is.
    database: Option<PathBuf>,
}

impl Run {
    /// The run of a file; `at`, if it is given, must be where it answers.
    fn of_file(file: &Path, database: Option<PathBuf>, at: Option<String>) -> Result<Self, Error> {
        let held = database.clone().filter(|database| StateLock::is_held(database));
        let noted = held.as_deref().and_then(StateLock::address);
        let Some(at) = at else { return Ok(Self { named: Named::File(file.to_owned()), address: noted, database }) };
        if let Some(other) = noted.filter(|noted| is_same(&at, noted) == Some(false)) {
            let (name, at) = (file.display(), shown(&at));
            return Err(Error::new(Code::Request, format!("the engine that runs {name} is at {other}, not at {at}"))
                .hint("leave out --config or --at"));
        }
        // Alerts of a former run are not those of the engine at the address.
        Ok(Self { named: Named::Address, address: Some(at), database: held })
    }

    /// The run of the engine at an address.
    fn at(at: String, running: Vec<Engine>) -> Self {
        let engine = running.into_iter().find(|engine| engine.is_at(&at));
        Self { named: Named::Address, address: Some(at), database: engine.map(|engine| engine.database) }
    }

    /// The run that is meant if nothing names one.
    ///
    /// # Errors
    /// When several run, none of them at the default address: a guess might change the wrong one.
    fn only(mut running: Vec<Engine>) -> Result<Self, Error> {
        if running.len() > 1 && running.iter().any(|engine| engine.is_at(AT)) {
            running.retain(|engine| engine.is_at(AT));
        }
        if running.len() > 1 {
            let names: Vec<String> = running.iter().map(Engine::name).collect();
            return Err(Error::new(Code::Io, format!("several engines run: {}", names.join(", ")))
                .hint("name one by its configuration, --config FILE, or its address, --at HOST:PORT"));
        }
        let (address, database) = match running.pop() {
            Some(engine) => (engine.address, Some(engine.database)),
            None => (Some(AT.to_owned()), None),
        };
        Ok(Self { named: Named::Nothing, address, database })
    }

    /// Whether a flag or the variable names it.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self.named, Named::Nothing)
    }

    /// Where its engine answers, without a slash at its end.
    ///
    /// # Errors
    /// It does not run, or does not say where it answers.
    pub(crate) fn engine(&self) -> Result<&str, Error> {
        if let Some(at) = &self.address {
            return Ok(at.trim_end_matches('/'));
        }
        let name = match &self.named {
            Named::File(file) if !self.database.as_deref().is_some_and(StateLock::is_held) => {
                return Err(missing(file).unwrap_or_else(|| {
                    Error::new(Code::Io, format!("no engine runs {}", file.display())).hint(
                        "start it: dsengine run --config FILE; if it runs with another --state, name that; if it keeps \
                         no alerts on disk, name its address: --at HOST:PORT",
                    )
                }));
            }
            Named::File(file) => format!("runs {}", file.display()),
            Named::Address | Named::Nothing => "runs with this state folder".to_owned(),
        };
        Err(Error::new(Code::Io, format!("the engine that {name} does not say where it answers")).hint(
            "it is still starting, or monitoring.prometheus.enabled is false: it has no page then; --at HOST:PORT names \
             another engine",
        ))
    }

    /// The database of its alerts.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn alerts(&self) -> Result<&Path, Error> {
        let (message, hint) = match (&self.database, &self.named) {
            (Some(database), _) if database.exists() => return Ok(database),
            (Some(_), _) => {
                let hint = "they are kept once `dsengine run` has run it, unless alerts.outbox.durability is memory; if \
                            its run had a --state DIR, name that";
                ("no alerts are kept for this configuration".to_owned(), hint)
            }
            (None, Named::File(_)) => {
                let hint = "name the one that `run` was given: --state DIR";
                ("there is no folder with alerts: HOME is not set".to_owned(), hint)
            }
            (None, Named::Address) => {
                let at = shown(self.address.as_deref().unwrap_or_default());
                let hint = "alerts are read on the machine of the engine: name the address that `run` prints, or \
                            --config FILE; and --state DIR if its run had one";
                (format!("no engine that runs with this state folder is at {at}"), hint)
            }
            (None, Named::Nothing) => {
                let message = "no engine runs with this state folder, and no configuration is named";
                (message.to_owned(), "name it: --config FILE, and --state DIR if its run had one")
            }
        };
        Err(Error::new(Code::Request, message).hint(hint))
    }
}

/// The refusal of a file that does not exist.
fn missing(file: &Path) -> Option<Error> {
    let is_missing = !file.exists();
    is_missing.then(|| {
        Error::new(Code::Request, format!("there is no file {}", file.display()))
            .hint("name the file that `run` was given, or leave it out and name the engine's address: --at HOST:PORT")
    })
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

    fn engine(address: Option<&str>) -> Engine {
        Engine { database: "/nowhere/alerts-c.db".into(), address: address.map(str::to_owned) }
    }

    #[test]
    fn an_engine_that_nothing_names_is_the_only_one_else_the_one_at_the_default_address() {
        let only = |running: &[&str]| Run::only(running.iter().map(|at| engine(Some(at))).collect());
        let at = |running: &[&str]| only(running).unwrap().engine().unwrap().to_owned();
        assert_eq!(at(&[]), AT);
        assert_eq!(at(&["http://127.0.0.1:8112/"]), "http://127.0.0.1:8112");
        assert_eq!(at(&["http://127.0.0.1:8112/", "http://127.0.0.1:8000/"]), "http://127.0.0.1:8000");
        let several = only(&["http://127.0.0.1:8112/", "http://127.0.0.1:8113/"]).unwrap_err().to_string();
        assert!(several.contains("8112/, ") && several.contains("8113/") && several.contains("--config"), "{several}");
        assert!(only(&[]).unwrap().alerts().unwrap_err().to_string().contains("no configuration is named"));
    }

    #[test]
    fn an_engine_without_a_page_is_not_taken_for_the_one_at_the_default_address() {
        let silent = Run::only(vec![engine(None)]).unwrap();
        assert!(silent.engine().unwrap_err().to_string().contains("does not say where it answers"));
        assert!(Run::only(vec![engine(None), engine(Some("http://127.0.0.1:8112/"))]).is_err());
    }

    #[test]
    fn an_address_has_the_alerts_of_the_engine_that_is_there_and_of_no_former_run() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("alerts-c.db");
        std::fs::write(&database, "").unwrap();
        let run = |at: Option<&str>| {
            Run::of_file(Path::new("/nowhere/c.yaml"), Some(database.clone()), at.map(str::to_owned))
        };
        assert_eq!(run(None).unwrap().alerts().unwrap(), database, "of a former run");
        let at = "127.0.0.1:8112";
        assert!(run(Some(at)).unwrap().alerts().unwrap_err().to_string().contains(at));
        let mut lock = StateLock::take(&database).unwrap();
        lock.note_address("http://127.0.0.1:8112/");
        assert_eq!(run(Some(at)).unwrap().alerts().unwrap(), database);
        assert_eq!(run(None).unwrap().engine().unwrap(), "http://127.0.0.1:8112");
        assert!(run(Some("127.0.0.1:8113")).unwrap_err().to_string().contains("not at 127.0.0.1:8113"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let which =
            Which { config: Some("/nowhere/c.yaml".into()), state: Some("/nowhere".into()), ..Which::default() };
        let error = which.find().unwrap_err();
        assert!(error.to_string().contains("there is no file /nowhere/c.yaml"), "{error}");
    }
}
