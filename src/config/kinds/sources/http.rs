//! `http`: a stream or file at a web address.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use super::fingerprint::sha256;
use crate::config::plan::{self, Input, Web};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Http {
    /// http: what stands there: hls, a playlist; mjpeg, pictures one after the other; stream, a clip or a stream in a
    /// container; auto: hls if the path ends with .m3u8, else by the server's content type. Default auto.
    /// Example: mjpeg.
    pub(super) form: Option<Form>,
    /// http: whether it has no end and comes at its own pace.
    pub(super) live: Option<bool>,
    /// http: more hosts that a playlist or a redirect may name, as host or host:port; user and password are for the
    /// address's own. Default none. Example: [cdn.example].
    #[schemars(length(max = 32))]
    pub(super) hosts: Option<Vec<String>>,
    /// Authorities whose certificates are trusted beside the machine's, PEM, for https://.
    pub(super) ca_file: Option<PathBuf>,
    /// The SHA-256 of the certificate that an https:// server shows.
    pub(super) fingerprint: Option<String>,
    /// Size of the receive buffer. Unit: KiB. Range 1–1048576.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(super) buffer_size: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    Auto,
    Stream,
    Mjpeg,
    Hls,
}

impl Type for Http {
    const OF: SourceType = SourceType::Http;
    const SCHEMES: &'static [&'static str] = &["http", "https"];

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { form, live, hosts, ca_file, fingerprint, buffer_size } = self;
        let mut web = Web::read(uri)?;
        web.form = match form {
            None | Some(Form::Auto) => plan::Form::Auto,
            Some(Form::Stream) => plan::Form::Stream,
            Some(Form::Mjpeg) => plan::Form::Mjpeg,
            Some(Form::Hls) => plan::Form::Hls,
        };
        let has_no_end = web.form == plan::Form::Mjpeg;
        web.live = live.unwrap_or(web.live || has_no_end);
        if has_no_end && !web.live {
            let label = "leave parameters.live out: pictures one after the other have no end";
            return Err(("an mjpeg source cannot be one that ends".to_owned(), label.to_owned()));
        }
        for host in hosts.iter().flatten() {
            if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
                let label = "write the host alone, as cdn.example or cdn.example:8080";
                return Err(("`parameters.hosts` has an entry that is not a host".to_owned(), label.to_owned()));
            }
        }
        web.hosts = hosts.unwrap_or_default();
        if !web.tls && (ca_file.is_some() || fingerprint.is_some()) {
            let label = "write https://, or leave parameters.ca_file and parameters.fingerprint out";
            return Err(("an http:// server shows no certificate".to_owned(), label.to_owned()));
        }
        web.ca_file = ca_file.map(|file| find(&file.to_string_lossy()));
        web.fingerprint = fingerprint.as_deref().map(sha256).transpose()?;
        web.buffer_bytes = buffer_size.map_or(Web::BUFFER_BYTES, |kib| kib.saturating_mul(1024));
        Ok(Parsed::once(Input::Web(Box::new(web))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(uri: &str, parameters: &str) -> Result<Parsed, Refusal> {
        serde_json::from_str::<Http>(parameters).unwrap().plan(uri, &|path| path.into())
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (uri, parameters, said) in [
            ("http://h/s", r#"{"form": "mjpeg", "live": false}"#, "cannot be one that ends"),
            ("http://h/s", r#"{"ca_file": "ca.pem"}"#, "no certificate"),
            ("http://h/s", r#"{"hosts": ["http://h/"]}"#, "not a host"),
            ("http://h/s", r#"{"hosts": [""]}"#, "not a host"),
        ] {
            let (what, _) = plan(uri, parameters).unwrap_err();
            assert!(what.contains(said), "{parameters}: {what}");
        }
        let ends = |uri: &str, parameters: &str| match plan(uri, parameters) {
            Ok(Parsed { input, .. }) => !input.is_live(),
            other => panic!("{other:?}"),
        };
        assert!(ends("http://h/clip.mp4", "{}") && ends("http://h/l.m3u8", r#"{"live": false}"#));
        assert!(!ends("http://h/l.m3u8", "{}") && !ends("http://h/clip.mp4", r#"{"form": "mjpeg"}"#));
    }
}
