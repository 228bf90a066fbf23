//! Reads what stands at a web address, by its form, and gives it to the pipeline.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use url::Url;

use super::Progress;
use super::inlet::{Inlet, Kind, Player, Taken};
use super::parts::Parts;
use crate::backend::{Cause, WebCause};
use crate::config::{Form, Web};
use crate::gst::camera::Attempts;
use crate::outbound::{Part, Reader, Trouble};

/// Content types of playlists.
const PLAYLISTS: &[&str] =
    &["application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl"];
/// Where in a stream it broke off.
const MIDWAY: &str = "while it sent";

/// One source's reading.
pub(super) struct Job {
    pub(super) web: Web,
    pub(super) reader: Reader,
    pub(super) player: Player,
    pub(super) progress: Arc<Progress>,
    pub(super) attempts: Attempts,
}

/// An answer, and what it says of itself.
pub(super) struct Answer {
    pub(super) at: Url,
    content_type: String,
    length: Option<u64>,
    pub(super) response: Response<Incoming>,
}

/// How a copy ended.
pub(super) enum Copied {
    /// All of it is in the pipeline.
    Whole,
    /// The pipeline requests data from another byte on.
    Seek(u64),
    /// The pipeline has ended.
    Ended,
}

impl Job {
    /// Reads until the address fails or, for a clip, for ever: it may want bytes again after the end.
    pub(super) async fn play(mut self) -> Result<Infallible, Cause> {
        let place = self.web.location.clone();
        let answer = self.get(&place, None).await?;
        match form(&self.web, &answer.content_type)? {
            Form::Hls => self.hls(answer).await,
            Form::Mjpeg if !self.web.live => Err(Cause::Web(WebCause::NoEnd)),
            Form::Mjpeg => self.pictures(answer).await,
            Form::Stream | Form::Auto if self.web.live => self.stream(answer).await,
            Form::Stream | Form::Auto => self.clip(answer).await,
        }
    }

    /// Asks for what stands at an address. For a source that ends, what passes is waited for.
    pub(super) async fn get(&mut self, at: &Url, part: Option<Part>) -> Result<Answer, Cause> {
        loop {
            let trouble = match self.reader.get(at, part).await {
                Ok((at, response)) => {
                    self.progress.answered.store(true, Ordering::Release);
                    *self.progress.passing.lock() = None;
                    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
                    let content_type = header(CONTENT_TYPE).unwrap_or_default().to_owned();
                    let length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
                    return Ok(Answer { at, content_type, length, response });
                }
                Err(trouble) => trouble,
            };
            let cause = cause(trouble);
            if self.web.live || !cause.passes() {
                return Err(cause);
            }
            tracing::debug!(?cause, peer = self.web.peer(), "a clip is waited for");
            *self.progress.passing.lock() = Some(cause);
            tokio::time::sleep(self.attempts.pause).await;
        }
    }

    /// Opens the way into the pipeline.
    pub(super) fn inlet(&self, kind: Kind) -> Result<Inlet, Cause> {
        Inlet::open(&self.player, kind, self.web.buffer_bytes.into()).map_err(Cause::NoStream)
    }

    /// Copies JPEG pictures.
    async fn pictures(self, answer: Answer) -> Result<Infallible, Cause> {
        let inlet = self.inlet(Kind::Pictures)?;
        let mut parts = Parts::of(&answer.content_type);
        let mut body = answer.response.into_body();
        loop {
            let Some(bytes) = next(&mut body).await? else { return Err(Cause::HungUp(MIDWAY)) };
            self.progress.fed.store(true, Ordering::Release);
            for picture in parts.take(&bytes).map_err(|what| Cause::Damaged(what.to_owned()))? {
                if inlet.push(picture.into()).await == Taken::Ended {
                    return Err(Cause::HungUp(MIDWAY));
                }
            }
        }
    }

    /// Copies a container that has no end.
    async fn stream(self, answer: Answer) -> Result<Infallible, Cause> {
        if answer.length.is_some() {
            return Err(Cause::Web(WebCause::Ends));
        }
        let inlet = self.inlet(Kind::Live)?;
        let mut body = answer.response.into_body();
        while let Some(bytes) = next(&mut body).await? {
            self.progress.fed.store(true, Ordering::Release);
            if inlet.push(bytes).await == Taken::Ended {
                break;
            }
        }
        Err(Cause::HungUp(MIDWAY))
    }

    /// Copies a clip, and continues at the byte that the pipeline requests.
    async fn clip(mut self, answer: Answer) -> Result<Infallible, Cause> {
        let takes_parts = answer.response.headers().get(ACCEPT_RANGES).is_some_and(|value| value == "bytes");
        let kind = match answer.length {
            Some(length) if takes_parts => Kind::Seekable(length),
            _ => Kind::Stream,
        };
        let (inlet, at) = (self.inlet(kind)?, answer.at.clone());
        let (mut answer, mut from) = (Some(answer), 0);
        loop {
            let end = match self.copy(&inlet, &at, Part { from, to: None }, answer.take()).await? {
                Copied::Seek(to) => Some(to),
                Copied::Whole => None,
                Copied::Ended => std::future::pending().await,
            };
            from = match end {
                Some(to) => to,
                None => inlet.end().await,
            };
        }
    }

    /// Copies the bytes of `part`, from an answer to it where there is one. For a source that ends, goes on where it
    /// was interrupted.
    pub(super) async fn copy(
        &mut self,
        inlet: &Inlet,
        at: &Url,
        part: Part,
        answer: Option<Answer>,
    ) -> Result<Copied, Cause> {
        let (mut answer, mut from) = (answer, part.from);
        loop {
            let rest = Part { from, ..part };
            let is_all = rest == Part { from: 0, to: None };
            if rest.to.is_some_and(|to| to < from) {
                return Ok(Copied::Whole);
            }
            let Answer { response, length, .. } = match answer.take() {
                Some(answer) => answer,
                None => match self.get(at, (!is_all).then_some(rest)).await {
                    // Everything was there when it was interrupted.
                    Err(Cause::Status(416, _)) if from > part.from => return Ok(Copied::Whole),
                    answer => answer?,
                },
            };
            // A server without parts sends all of it again.
            let mut skipped = if is_all || response.status() == 206 { 0 } else { from };
            let mut left = rest.to.map(|to| to - from + 1);
            let mut body = response.into_body();
            let broken = loop {
                let mut bytes = match next(&mut body).await {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break None,
                    Err(cause) => break Some(cause),
                };
                self.progress.fed.store(true, Ordering::Release);
                let over = usize::try_from(skipped).unwrap_or(usize::MAX).min(bytes.len());
                skipped -= over as u64;
                bytes = bytes.split_off(over);
                if let Some(left) = &mut left {
                    bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= bytes.len() as u64;
                }
                let length = bytes.len() as u64;
                if length > 0 {
                    match inlet.push(bytes).await {
                        Taken::Yes => from += length,
                        Taken::Seek(to) => return Ok(Copied::Seek(to)),
                        Taken::Ended => return Ok(Copied::Ended),
                    }
                }
                if left == Some(0) {
                    return Ok(Copied::Whole);
                }
            };
            match broken {
                None => return Ok(Copied::Whole),
                Some(cause) if self.web.live || length.is_none() => return Err(cause),
                Some(cause) => {
                    tracing::debug!(?cause, from, peer = self.web.peer(), "interrupted; going on from there");
                    tokio::time::sleep(self.attempts.pause).await;
                }
            }
        }
    }
}

/// What stands at an address, by the setting, its path and the server's content type.
fn form(web: &Web, content_type: &str) -> Result<Form, Cause> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_playlist = PLAYLISTS.contains(&&*kind);
    let form = match web.form {
        Form::Auto if is_playlist || (web.is_playlist() && kind != "text/html") => Form::Hls,
        Form::Auto if kind == "multipart/x-mixed-replace" => Form::Mjpeg,
        Form::Auto => Form::Stream,
        told => told,
    };
    // A playlist may come as plain text, a stream of pictures as anything.
    let is_other = match form {
        Form::Stream | Form::Auto => {
            is_playlist
                || ["text/", "image/", "multipart/", "font/"].iter().any(|other| kind.starts_with(other))
                || ["application/json", "application/xml", "application/xhtml+xml"].contains(&&*kind)
        }
        Form::Mjpeg | Form::Hls => ["text/html", "application/json"].contains(&&*kind),
    };
    if is_other { Err(Cause::Web(WebCause::NotVideo(kind))) } else { Ok(form) }
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Cause> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Cause::HungUp(MIDWAY)),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// The cause of a request's trouble.
pub(super) fn cause(trouble: Trouble) -> Cause {
    match trouble {
        Trouble::UnknownName => Cause::UnknownName,
        Trouble::NoNameServer(why) => Cause::NoNameServer(why),
        Trouble::Refused => Cause::Refused,
        Trouble::Unreachable(why) => Cause::Unreachable(why),
        Trouble::NoConnection => Cause::NoConnection,
        Trouble::HungUp => Cause::HungUp("before it answered"),
        Trouble::NoTls => Cause::Web(WebCause::NoTls),
        Trouble::Certificate(why) => Cause::Certificate(why),
        Trouble::NotHttp => Cause::Web(WebCause::NotHttp),
        Trouble::Proxy(why) => Cause::Web(WebCause::Proxy(why)),
        Trouble::Unauthorized { given } => Cause::Unauthorized { given },
        Trouble::Status(401, _) => Cause::Unauthorized { given: true },
        Trouble::Status(403, _) => Cause::Forbidden,
        Trouble::Status(404 | 410, _) => Cause::NotFound,
        Trouble::Status(407, _) => {
            Cause::Web(WebCause::Proxy("the proxy requires a user: write it into the variable".into()))
        }
        Trouble::Status(503, _) => Cause::Busy,
        Trouble::Status(code, phrase) => Cause::Status(code.into(), phrase),
        Trouble::Redirected(to) | Trouble::NotAllowed(to) => Cause::Web(WebCause::Elsewhere(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_from_the_setting_the_path_and_the_content_type() {
        let of = |uri: &str, told: Form, content_type: &str| {
            let mut web = Web::read(uri).unwrap();
            web.form = told;
            form(&web, content_type)
        };
        let (clip, list) = ("http://h/a.mp4", "http://h/a.m3u8");
        assert_eq!(of(clip, Form::Auto, "video/mp4"), Ok(Form::Stream));
        assert_eq!(of(clip, Form::Auto, ""), Ok(Form::Stream));
        assert_eq!(of(list, Form::Auto, "text/plain"), Ok(Form::Hls));
        assert_eq!(of(clip, Form::Auto, "Application/X-MpegURL; charset=utf-8"), Ok(Form::Hls));
        assert_eq!(of("http://h/", Form::Auto, "multipart/x-mixed-replace;boundary=x"), Ok(Form::Mjpeg));
        assert_eq!(of("http://h/", Form::Mjpeg, "application/octet-stream"), Ok(Form::Mjpeg));
        for (told, kind) in [
            (Form::Auto, "text/html"),
            (Form::Auto, "image/jpeg"),
            (Form::Stream, "application/vnd.apple.mpegurl"),
            (Form::Stream, "multipart/x-mixed-replace"),
            (Form::Hls, "text/html"),
            (Form::Mjpeg, "text/html"),
        ] {
            assert_eq!(
                of(list, told, kind).err().or(of(clip, told, kind).err()),
                Some(Cause::Web(WebCause::NotVideo(kind.into())))
            );
        }
    }
}
