//! `dsengine plugin list|reload|promote`: asking a running engine.

use std::time::Duration;

use dsengine::error::{Code, Error};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::cli::exit::{Exit, failed};

/// Longest wait for an answer: a component is compiled meanwhile, for a minute at most, and every lane swaps.
const ANSWER_MAX: Duration = Duration::from_secs(90);
/// Largest answer read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

#[derive(clap::Args)]
pub(crate) struct Server {
    /// Address of the engine's page, as `run` prints it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Print JSON, as the engine answers
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Named {
    /// The strategy's or handler's name in the configuration
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn list(server: &Server) -> Exit {
    let plugins = match ask(server, &Method::GET, "/api/v1/plugins") {
        Ok((200, Value::Array(plugins))) => plugins,
        Ok((status, body)) => return refused(server, status, &body),
        Err(error) => return failed(&error),
    };
    if server.json {
        println!("{:#}", Value::Array(plugins));
        return Exit::Fine;
    }
    if plugins.is_empty() {
        println!("the engine runs no plugin");
        return Exit::Fine;
    }
    println!("{:<20} {:<9} {:<5} {:>10} {:>7}  {:<14} FILE", "NAME", "KIND", "LANG", "GENERATION", "SOURCES", "STATE");
    for plugin in &plugins {
        let text = |key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
        let state = match plugin["shadow_of"].as_str() {
            Some(active) => format!("shadow of {active}"),
            None if plugin["degraded"] == true => "degraded".to_owned(),
            None if plugin["on_probation"] == true => "on probation".to_owned(),
            None => "active".to_owned(),
        };
        println!(
            "{:<20} {:<9} {:<5} {:>10} {:>7}  {state:<14} {}",
            text("name"),
            text("kind"),
            text("language"),
            plugin["generation"].as_u64().unwrap_or(0),
            plugin["sources"].as_u64().unwrap_or(0),
            text("module")
        );
        if let Some(error) = plugin["last_error"].as_str() {
            println!("  last error: {error}");
        }
    }
    Exit::Fine
}

pub(crate) fn change(named: &Named, what: &str) -> Exit {
    let Named { name, server } = named;
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    let done = match ask(server, &Method::POST, &format!("/api/v1/plugins/{name}/{what}")) {
        Ok((200, done)) => done,
        Ok((status, body)) => return refused(server, status, &body),
        Err(error) => return failed(&error),
    };
    if server.json {
        println!("{done:#}");
        return Exit::Fine;
    }
    let names: Vec<&str> = done["plugins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (generation, lanes, tried) = (&done["generation"], &done["lanes"], &done["tried"]);
    if done["changed"] == false {
        println!("{}: the file is what runs already, generation {generation}", names.join(", "));
    } else {
        println!(
            "{}: generation {generation} judges on {lanes} lanes, tried on {tried} remembered frames before",
            names.join(", ")
        );
    }
    if what == "promote" {
        let active = names.first().copied().unwrap_or_default();
        let file = module(server, active).unwrap_or_else(|| "the shadow's".to_owned());
        println!("until the restart; to keep it, set {active}'s `module` to {file} and remove the shadow");
    }
    Exit::Fine
}

/// The file that a plugin runs.
fn module(server: &Server, name: &str) -> Option<String> {
    let (_, plugins) = ask(server, &Method::GET, "/api/v1/plugins").ok()?;
    let plugin = plugins.as_array()?.iter().find(|plugin| plugin["name"] == name)?;
    Some(plugin["module"].as_str()?.to_owned())
}

/// The engine said no.
fn refused(server: &Server, status: u16, body: &Value) -> Exit {
    if server.json {
        println!("{body:#}");
    }
    match (body["code"].as_str(), body["message"].as_str()) {
        (Some(code), Some(message)) => {
            let hint = body["hint"].as_str().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            eprintln!("error: [{code}] {message}{hint}");
        }
        _ => eprintln!("error: {} answered {status}; is it a dsengine of this version?", server.url),
    }
    Exit::Failed
}

/// One request; the status and the body, where it is JSON.
fn ask(server: &Server, method: &Method, path: &str) -> Result<(u16, Value), Error> {
    let base = server.url.trim_end_matches('/');
    let uri: Uri = format!("{base}{path}")
        .parse()
        .ok()
        .filter(|uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some())
        .ok_or_else(|| {
            Error::new(Code::Io, format!("{base} is no address of an engine")).hint("write it as http://127.0.0.1:8000")
        })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Code::Io, format!("cannot start a runtime: {e}")))?;
    runtime.block_on(async {
        match tokio::time::timeout(ANSWER_MAX, exchange(uri, method.clone(), base)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(Code::Io, format!("{base} has not answered within {} s", ANSWER_MAX.as_secs()))),
        }
    })
}

async fn exchange(uri: Uri, method: Method, base: &str) -> Result<(u16, Value), Error> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::new(Empty::new());
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    let answer = client.request(request).await.map_err(|error| {
        if error.is_connect() {
            Error::new(Code::Io, format!("nothing listens at {base}")).hint(
                "start the engine (dsengine run), or give the address that it printed: --url http://127.0.0.1:PORT",
            )
        } else {
            Error::new(Code::Io, format!("{base} broke off: {error}"))
        }
    })?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|e| Error::new(Code::Io, format!("the answer of {base} broke off: {e}")))?;
    Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null)))
}
