//! Plays HLS: reads a playlist again and again, and its segments in order.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gstreamer::prelude::*;
use http_body_util::{BodyExt as _, Limited};
use tokio::time::Instant;
use url::Url;

use super::copy::{Answer, Copied, Job};
use super::inlet::{Inlet, Kind};
use super::playlist::{Header, Media, Playlist, Segment, best};
use crate::backend::{Cause, WebCause};
use crate::outbound::Part;

/// Bytes of a playlist.
const PLAYLIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lists of variants that lead to one another.
const LISTS_MAX: usize = 3;
/// The shortest time between two readings of a playlist.
const RELOAD_MIN: Duration = Duration::from_millis(500);

/// What has been played.
#[derive(Default)]
struct Played {
    /// The number of the segment that is next.
    next: Option<u64>,
    header: Option<Header>,
}

impl Job {
    /// Plays a playlist.
    pub(super) async fn hls(mut self, answer: Answer) -> Result<Infallible, Cause> {
        let (mut at, mut media) = self.media(answer).await?;
        // A server that stands still has the segments on which the last attempt ended.
        while self.web.live && self.has_played(&media) {
            self.progress.stands.store(true, Ordering::Release);
            tokio::time::sleep(media.target.max(RELOAD_MIN)).await;
            (at, media) = self.reload(&at).await?;
        }
        self.progress.stands.store(false, Ordering::Release);
        match (media.has_end, self.web.live) {
            (true, true) => return Err(Cause::Web(WebCause::Ends)),
            (false, false) => return Err(Cause::Web(WebCause::NoEnd)),
            _ => {}
        }
        if let Some(sink) = self.player.sink.upgrade().filter(|_| self.web.live) {
            // A whole segment comes at once; its frames are due one after the other.
            sink.set_property("sync", true);
        }
        let inlet = self.inlet(Kind::Stream)?;
        let mut played = Played::default();
        loop {
            let loaded = Instant::now();
            let is_new = self.segments(&inlet, &at, &media, &mut played).await?;
            if media.has_end {
                inlet.end().await;
            }
            // After a change the next one is due in a target duration, else soon (RFC 8216, section 6.3.4).
            let pause = if is_new { media.target } else { media.target / 2 };
            tokio::time::sleep_until(loaded + pause.max(RELOAD_MIN)).await;
            media = self.reload(&at).await?.1;
        }
    }

    /// Plays the segments that have not been played; returns whether there were any.
    async fn segments(
        &mut self,
        inlet: &Inlet,
        place: &Url,
        media: &Media,
        played: &mut Played,
    ) -> Result<bool, Cause> {
        let after = media.first.saturating_add(media.segments.len() as u64);
        let begin = match played.next {
            None if media.has_end => 0,
            None => media.live_edge().max(self.after_played(media)),
            // Its server has begun to count anew.
            Some(next) if next > after => media.live_edge(),
            Some(next) => {
                let missed = media.first.saturating_sub(next);
                if missed > 0 {
                    tracing::warn!(missed, peer = self.web.peer(), "segments were gone before they were read");
                }
                usize::try_from(next.saturating_sub(media.first)).unwrap_or(usize::MAX)
            }
        };
        let segments = media.segments.get(begin..).unwrap_or_default();
        for (at, segment) in segments.iter().enumerate() {
            self.segment(inlet, place, segment, played).await?;
            let at = begin + at;
            played.next = Some(number(media, at).saturating_add(1));
            *self.attempts.played.lock() = Some((number(media, at), segment.uri.clone()));
        }
        Ok(!segments.is_empty())
    }

    /// Whether the last segment of a playlist was the last one played.
    fn has_played(&self, media: &Media) -> bool {
        let last = media.segments.last().map(|last| (number(media, media.segments.len() - 1), last.uri.clone()));
        last.is_some() && last == *self.attempts.played.lock()
    }

    /// The index after the last segment that was played; 0 if that is not in the playlist.
    fn after_played(&self, media: &Media) -> usize {
        let last = self.attempts.played.lock().clone();
        let is_last = |(at, segment): (usize, &Segment)| last == Some((number(media, at), segment.uri.clone()));
        media.segments.iter().enumerate().position(is_last).map_or(0, |at| at + 1)
    }

    async fn segment(&mut self, inlet: &Inlet, at: &Url, segment: &Segment, played: &mut Played) -> Result<(), Cause> {
        if segment.header != played.header || segment.is_new {
            played.header = None;
            if let Some(header) = &segment.header {
                self.part(inlet, at, &header.uri, header.part).await?;
                played.header = Some(header.clone());
            }
        }
        self.part(inlet, at, &segment.uri, segment.part).await
    }

    /// Copies what a playlist names.
    async fn part(&mut self, inlet: &Inlet, at: &Url, uri: &str, part: Option<Part>) -> Result<(), Cause> {
        let to = join(at, uri)?;
        match self.copy(inlet, &to, part.unwrap_or(Part { from: 0, to: None }), None).await? {
            Copied::Whole => Ok(()),
            Copied::Seek(_) | Copied::Ended => Err(Cause::HungUp("while it sent")),
        }
    }

    /// The playlist at an address, which is requested a second time if the connection breaks.
    async fn reload(&mut self, at: &Url) -> Result<(Url, Media), Cause> {
        match self.load(at).await {
            Err(Cause::HungUp(_)) => self.load(at).await,
            loaded => loaded,
        }
    }

    async fn load(&mut self, at: &Url) -> Result<(Url, Media), Cause> {
        let answer = self.get(at, None).await?;
        self.media(answer).await
    }

    /// The playlist with the segments, and its address.
    async fn media(&mut self, answer: Answer) -> Result<(Url, Media), Cause> {
        let mut answer = answer;
        for _ in 0..LISTS_MAX {
            let Answer { at, response, .. } = answer;
            let body = Limited::new(response.into_body(), PLAYLIST_BYTES_MAX).collect().await;
            let bytes = body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => playlist("it is too long"),
                false => Cause::HungUp("while it sent its playlist"),
            })?;
            match Playlist::read(&String::from_utf8_lossy(&bytes.to_bytes())).map_err(playlist)? {
                Playlist::Media(media) => return Ok((at, media)),
                Playlist::Variants(variants) => {
                    let variant = best(&variants).ok_or(Cause::NoVideo)?;
                    let to = join(&at, &variant.uri)?;
                    answer = self.get(&to, None).await?;
                }
            }
        }
        Err(playlist("it names lists, and none of them segments"))
    }
}

/// The cause where a playlist cannot be played.
fn playlist(why: &'static str) -> Cause {
    Cause::Web(WebCause::Playlist(why))
}

/// The number of a segment.
fn number(media: &Media, at: usize) -> u64 {
    media.first.saturating_add(at as u64)
}

/// An address in a playlist, as seen from the playlist's own.
fn join(at: &Url, uri: &str) -> Result<Url, Cause> {
    at.join(uri).map_err(|_| playlist("an address in it cannot be read"))
}
