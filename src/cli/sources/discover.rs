//! `dsengine sources discover`: finds ONVIF cameras of this network, and prints what to write into a configuration.
//!
//! Any device can answer the multicast, so no answer is trusted: answers are bounded in number, size and time, XML has
//! no entities, and only the address that answered is asked.

mod camera;
mod paste;
mod search;
mod soap;
mod token;
mod xml;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use dsengine::error::{Code, Error};
use dsengine::types::count;

use self::camera::Camera;
use self::soap::Login;
use crate::cli::exit::{Exit, failed};
use crate::cli::run::time;

/// Most cameras that are asked for their streams.
const CAMERAS_MAX: usize = 64;

#[derive(clap::Args)]
pub(super) struct Args {
    /// How long answers are waited for
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "3")]
    timeout: Duration,
    /// This machine's address in the cameras' network, where it has several
    #[arg(long, value_name = "ADDR")]
    interface: Option<Ipv4Addr>,
    /// Ask this machine alone: a camera in a network that multicast does not reach
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "interface")]
    host: Option<String>,
    /// The user of the cameras: most name their streams to a user only
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the user's password from this file; else from the variable DSENGINE_CAMERA_PASSWORD
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let cameras = match find(args) {
        Ok(cameras) => cameras,
        Err(error) => return failed(&error),
    };
    if args.json {
        println!("{:#}", serde_json::json!(cameras));
    } else {
        for camera in &cameras {
            println!("{camera}");
        }
        if let Some(block) = paste::block(&cameras, args.user.is_some()) {
            println!("\n{block}");
        }
    }
    if cameras.is_empty() {
        let hint = "cameras may be in another network (--interface ADDR, --host HOST), or have ONVIF switched off";
        eprintln!("error: no camera answered within {:.0} s\n  hint: {hint}", args.timeout.as_secs_f64());
        return Exit::Failed;
    }
    if !args.json {
        eprintln!("note: {} answered", count(cameras.len(), "camera"));
    }
    Exit::Fine
}

/// Finds the cameras and asks each for its streams.
fn find(args: &Args) -> Result<Vec<Camera>, Error> {
    let login = login(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::Io, format!("cannot start a runtime: {error}")))?;
    runtime.block_on(async {
        let mut found = search::search(args.interface, args.host.as_deref(), args.timeout).await?;
        found.truncate(CAMERAS_MAX);
        let mut asked = tokio::task::JoinSet::new();
        for (place, found) in found.into_iter().enumerate() {
            let login = login.clone();
            asked.spawn(async move { (place, camera::ask(found, login).await) });
        }
        let mut cameras = asked.join_all().await;
        cameras.sort_by_key(|(place, _)| *place);
        Ok(cameras.into_iter().map(|(_, camera)| camera).collect())
    })
}

/// The user and the password, if a user is given.
fn login(args: &Args) -> Result<Option<Login>, Error> {
    let Some(user) = args.user.clone() else { return Ok(None) };
    let password = match &args.password_file {
        Some(file) => {
            let unread =
                |why: String| Error::new(Code::Io, format!("{}: the password cannot be read: {why}", file.display()));
            let bytes = std::fs::read(file).map_err(|error| unread(error.to_string()))?;
            let text = dsengine::text::decode(&bytes).map_err(|error| unread(error.to_string()))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => std::env::var("DSENGINE_CAMERA_PASSWORD").unwrap_or_default(),
    };
    Ok(Some(Login { user, password }))
}
