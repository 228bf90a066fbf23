//! A client of a running engine: its address, the token, one request, and the output of a refusal.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use dsengine::config::Loaded;
use dsengine::error::{Code, Error};
use dsengine::telemetry::redact;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::exit::{Exit, failed};
use super::which::{Run, Which, shown};

/// Response timeout: compiling a component may take a minute, and every lane must swap.
const ANSWER_MAX: Duration = Duration::from_secs(90);
/// Maximum size of a response.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A response: its status, its headers and its body.
type Answer = (u16, HeaderMap, Bytes);

/// The flags of every command that asks a running engine.
#[derive(Clone, clap::Args)]
pub(crate) struct Client {
    #[command(flatten)]
    which: Which,
    /// The token, where the engine wants one. Other users of this machine see flags: prefer the variable or the file
    #[arg(long, value_name = "TOKEN", env = "DSENGINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON, as the engine answers
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not say which engine answered, if nothing names it
    #[arg(long, short)]
    quiet: bool,
    #[arg(skip)]
    run: OnceLock<Run>,
    #[arg(skip)]
    told: OnceLock<()>,
}

impl Client {
    /// The configuration that the flags name, with its saved edits.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn configuration(&self) -> Result<Loaded, Error> {
        self.which.load()
    }

    /// The run that is meant; it is looked for once.
    ///
    /// # Errors
    /// See [`Which::find`].
    pub(crate) fn run(&self) -> Result<&Run, Error> {
        match self.run.get() {
            Some(run) => Ok(run),
            None => self.which.find().map(|run| self.run.get_or_init(|| run)),
        }
    }

    /// Says, once, which engine answered, if nothing names it.
    fn say_who(&self) {
        let is_named = self.run.get().is_some_and(Run::is_named);
        if is_named || self.json || self.quiet || self.told.set(()).is_err() {
            return;
        }
        let name = self.send(&Method::GET, "/health", None).ok().and_then(|(_, status)| {
            let name = status["name"].as_str()?;
            Some(format!("`{name}` "))
        });
        let name = name.unwrap_or_default();
        eprintln!("note: the engine {name}at {} answered; --config FILE or --at ADDR names another", self.shown());
    }

    /// Sends a GET request; returns the JSON of a 2xx response, which `--json` prints. Prints a refusal.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Exit> {
        self.ask(&Method::GET, path, None)
    }

    /// See [`Client::get`].
    pub(crate) fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, Exit> {
        let (status, answer) = self.answer(method, path, body).map_err(|error| failed(&error))?;
        let answer = self.accepted(status, answer)?;
        if self.json {
            println!("{answer:#}");
        }
        Ok(answer)
    }

    /// The JSON of a 2xx response. Prints a refusal.
    pub(crate) fn accepted(&self, status: u16, answer: Value) -> Result<Value, Exit> {
        if (200..=299).contains(&status) { Ok(answer) } else { Err(self.refused(status, &answer)) }
    }

    /// Prints that the engine wants a token, or another one than was given.
    pub(crate) fn wants_token(&self, level: &str, why: &str) {
        let hint = "give it with --token-file, --token or DSENGINE_TOKEN";
        eprintln!("{level}: the engine at {} wants a token, or another one{why}\n  hint: {hint}", self.shown());
    }

    /// Prints the refusal of a request about an alert that is on the disk; `by` says for which handler.
    pub(crate) fn refused_of_kept(&self, status: u16, answer: &Value, id: &str, by: &str) -> Exit {
        if status != 404 || answer["code"] != Code::NoAlert.as_str() {
            return self.refused(status, answer);
        }
        let message = format!("alert '{id}'{by} is on the disk, but the engine does not show it to this token");
        let hint = "its token may be for other sources; or it is too old for the engine's memory, and is changed on the \
                    disk while no engine runs";
        failed(&Error::new(Code::NoAlert, message).hint(hint))
    }

    /// Prints a refusal.
    pub(crate) fn refused(&self, status: u16, body: &Value) -> Exit {
        if self.json && !body.is_null() {
            println!("{body:#}");
        }
        let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
        match (status, text(body, "message")) {
            (401, _) => self.wants_token("error", ""),
            (_, Some(message)) => {
                let code = text(body, "code").map(|code| format!("[{code}] ")).unwrap_or_default();
                eprintln!("error: {code}{}", placed(body, &message));
                for problem in body["problems"].as_array().into_iter().flatten() {
                    let of_it = text(problem, "message").unwrap_or_default();
                    if of_it != message {
                        eprintln!("  {}", placed(problem, &of_it).replace('\n', "\n  "));
                    }
                    if let Some(hint) = text(problem, "hint").filter(|hint| text(body, "hint").as_ref() != Some(hint)) {
                        eprintln!("    hint: {hint}");
                    }
                }
                if let Some(hint) = text(body, "hint") {
                    eprintln!("  hint: {hint}");
                }
            }
            (403, None) => eprintln!("error: the engine at {} does not allow this with this token", self.shown()),
            _ => eprintln!("error: {} answered {status}; is it a dsengine of this version?", self.shown()),
        }
        Exit::Failed
    }

    /// The status and the body, if it is JSON. Finds the engine first, and says which it is if nothing names it.
    pub(crate) fn answer(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), Error> {
        let answer = self.send(method, path, body)?;
        self.say_who();
        Ok(answer)
    }

    /// The bytes of a 2xx response of at most so many, and one of its headers. Prints a refusal.
    pub(crate) fn fetch(&self, path: &str, bytes_max: usize, header: &str) -> Result<(Bytes, Option<String>), Exit> {
        let answer = self.exchange(&Method::GET, path, None, bytes_max).map_err(|error| failed(&error))?;
        self.say_who();
        let (status, headers, bytes) = answer;
        if !(200..=299).contains(&status) {
            return Err(self.refused(status, &serde_json::from_slice(&bytes).unwrap_or(Value::Null)));
        }
        Ok((bytes, headers.get(header).and_then(|value| value.to_str().ok()).map(str::to_owned)))
    }

    fn send(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), Error> {
        let (status, _, bytes) = self.exchange(method, path, body, ANSWER_BYTES_MAX)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    fn exchange(&self, method: &Method, path: &str, body: Option<&Value>, bytes_max: usize) -> Result<Answer, Error> {
        let at = self.run()?.engine()?;
        let base = if at.contains("://") { at.to_owned() } else { format!("http://{at}") };
        let engine = redact::uri(&base);
        let uri: Uri = format!("{base}{path}")
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some())
            .ok_or_else(|| {
                Error::new(Code::Io, format!("{} is no address of an engine", self.shown()))
                    .hint("write it as http://127.0.0.1:8000 or 127.0.0.1:8000")
            })?;
        let mut request = Request::new(Full::new(Bytes::new()));
        (*request.method_mut(), *request.uri_mut()) = (method.clone(), uri);
        if let Some(token) = self.token()? {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Full::new(body.to_string().into());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::new(Code::Io, format!("cannot start a runtime: {e}")))?;
        runtime.block_on(async {
            match tokio::time::timeout(ANSWER_MAX, exchange(request, &engine, bytes_max)).await {
                Ok(answer) => answer,
                Err(_) => {
                    Err(Error::new(Code::Io, format!("{engine} has not answered within {} s", ANSWER_MAX.as_secs())))
                }
            }
        })
    }

    /// The address of the engine that answered, without a password.
    fn shown(&self) -> String {
        self.run.get().and_then(|run| run.engine().ok()).map(shown).unwrap_or_default()
    }

    /// The header with the token.
    fn token(&self) -> Result<Option<HeaderValue>, Error> {
        let token = match &self.token_file {
            Some(file) => {
                let unread =
                    |why: String| Error::new(Code::Io, format!("{}: the token cannot be read: {why}", file.display()));
                // It may be a pipe from a program that keeps secrets.
                let bytes = std::fs::read(file).map_err(|error| unread(error.to_string()))?;
                Some(dsengine::text::decode(&bytes).map_err(|error| unread(error.to_string()))?.into_owned())
            }
            None => self.token.clone(),
        };
        let Some(token) = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Error::new(Code::Io, "the token has characters that no token has"))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

/// A message prefixed with its location, unless it contains it.
fn placed(value: &Value, message: &str) -> String {
    match value["place"].as_str() {
        Some(place) if !message.contains(place) => format!("{place}: {message}"),
        _ => message.to_owned(),
    }
}

/// A name as a path segment.
pub(crate) fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

async fn exchange(request: Request<Full<Bytes>>, engine: &str, bytes_max: usize) -> Result<Answer, Error> {
    let client: Http<HttpConnector, Full<Bytes>> = Http::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.map_err(|error| {
        if error.is_connect() {
            Error::new(Code::Io, format!("nothing listens at {engine}"))
                .hint("start the engine (dsengine run), or name it: --config FILE, or --at 127.0.0.1:PORT")
        } else {
            Error::new(Code::Io, format!("{engine} broke off: {error}"))
        }
    })?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = Limited::new(answer.into_body(), bytes_max)
        .collect()
        .await
        .map_err(|e| Error::new(Code::Io, format!("the answer of {engine} broke off: {e}")))?;
    Ok((status, headers, body.to_bytes()))
}
