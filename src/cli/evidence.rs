//! `dsengine sources evidence`: a clip or a picture of what a running engine keeps of a camera's encoded stream.

use std::path::{Path, PathBuf};

use dsengine::engine::SystemClock;
use dsengine::error::{Code, Error};
use dsengine::types::{Clock as _, TimeZone, rfc3339};
use serde_json::Value;

use super::client::{Client, segment};
use super::exit::{Exit, failed, refused};
use super::files::place;
use super::moment;

/// Maximum size of a clip: more than an engine may be told to keep of one camera.
const CLIP_BYTES_MAX: usize = 1_100_000_000;

/// What is wanted.
#[derive(clap::Args)]
pub(crate) struct Evidence {
    /// The source
    #[arg(value_name = "ID")]
    id: String,
    /// The file to write: a clip, .mp4, or a picture, .jpg
    #[arg(long, short, value_name = "FILE", value_parser = kind)]
    output: (PathBuf, &'static str),
    /// Around this time: 2026-01-31T14:30:00Z, -30s (ago); the newest picture where it is left out
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<String>,
    /// Around the moment of this alert
    #[arg(long, value_name = "ALERT", conflicts_with = "time")]
    alert: Option<String>,
    /// Seconds of a clip before the moment; 10 where it is left out
    #[arg(long, value_name = "SECONDS")]
    before: Option<f64>,
    /// Seconds of a clip after it
    #[arg(long, value_name = "SECONDS")]
    after: Option<f64>,
    #[command(flatten)]
    client: Client,
}

/// Reads the name of a file; its ending says what is wanted.
fn kind(text: &str) -> Result<(PathBuf, &'static str), String> {
    let path = PathBuf::from(text);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "mp4" => Ok((path, "evidence.mp4")),
        "jpg" | "jpeg" => Ok((path, "evidence.jpg")),
        _ => Err("expected a name that ends in .mp4 or .jpg".to_owned()),
    }
}

impl Evidence {
    /// Requests it and writes the file.
    pub(crate) fn run(&self) -> Exit {
        let query = match self.query() {
            Ok(query) => query,
            Err(exit) => return exit,
        };
        let (path, what) = &self.output;
        let asked = format!("/api/v1/sources/{}/{what}?{query}", segment(&self.id));
        let (bytes, shown) = match self.client.fetch(&asked, CLIP_BYTES_MAX, "x-evidence") {
            Ok(answer) => answer,
            Err(exit) => return exit,
        };
        if let Err(error) = place(path, &bytes) {
            return failed(&error);
        }
        let shown: Value = shown.and_then(|shown| serde_json::from_str(&shown).ok()).unwrap_or(Value::Null);
        if self.client.json {
            println!("{shown:#}");
        } else {
            println!("{}", said(path, bytes.len(), &shown));
        }
        Exit::Fine
    }

    fn query(&self) -> Result<String, Exit> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(time) = &self.time {
            let now_ms = SystemClock::new().unix_ns() / 1_000_000;
            let at_ms = moment::parse(time, now_ms, &TimeZone::utc());
            let at_ms = at_ms.map_err(|error| refused(&Error::new(Code::Request, error)))?;
            query.append_pair("at", &rfc3339(at_ms));
        }
        if let Some(alert) = &self.alert {
            query.append_pair("alert", alert);
        }
        let is_clip = self.output.1.ends_with("mp4");
        for (key, seconds) in [("before", self.before), ("after", self.after)] {
            if let Some(seconds) = seconds {
                if !is_clip {
                    let message = format!("--{key} is for a clip: a picture is of one moment");
                    return Err(refused(&Error::new(Code::Request, message)));
                }
                query.append_pair(key, &seconds.to_string());
            }
        }
        Ok(query.finish())
    }
}

/// What a source's status says of its evidence; `None` if nothing is kept.
pub(crate) fn line(evidence: &Value) -> Option<String> {
    let stream = evidence["stream"].as_str()?;
    let number = |key: &str| evidence[key].as_f64().unwrap_or_default();
    let state = evidence["state"].as_str().map(|state| format!(" is {state}")).unwrap_or_default();
    let (seconds, mb) = (number("seconds"), number("bytes") / 1e6);
    let mut line = format!("evidence: stream {stream}{state}, {seconds:.1} s, {mb:.1} MB");
    if let Some(format) = evidence["format"].as_str() {
        line += &format!(", {format}");
    }
    if let Some(error) = evidence["error"].as_str() {
        line += &format!("; error: {error}");
    }
    Some(line)
}

/// What was written, and which time it shows.
fn said(path: &Path, bytes: usize, shown: &Value) -> String {
    let text = |key: &str| shown[key].as_str().unwrap_or("?").to_owned();
    let pictures = shown["pictures"].as_u64().unwrap_or_default();
    let time =
        if pictures == 1 { text("from") } else { format!("{} to {}, {pictures} pictures", text("from"), text("to")) };
    let offset = shown["offset_ms"].as_f64().unwrap_or_default();
    let by = text("offset_by").replace('_', " ");
    format!("{}: {bytes} bytes, {time}; offset to the analysed stream {offset:.0} ms, by {by}", path.display())
}
