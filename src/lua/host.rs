//! The host functions that our own Luau code calls. This file has those for the frame and its verdict; the others are
//! in `ambient`, `pixels` and `http`.
//!
//! They return problems as text instead of raising them, so that the prelude can raise them at the script's line. They
//! do not block, and the limits bound each.

use std::sync::Arc;

use mlua::{Lua, LuaString, Table};
use parking_lot::Mutex;

use super::call_state::CallState;
use super::files::Files;
use super::http::Network;
use super::require::Modules;
use crate::guest::GuestContext;
use crate::strategy::Edit;
use crate::types::{AlertDraft, BBox, Detection, Level, LocalTime, Resolve, wrong_tag};

/// Maximum length of a label from a script: labels go into alerts, traces and metrics.
const LABEL_BYTES_MAX: usize = 256;
/// Maximum bytes of all pictures that one call gives to its alerts.
const PICTURES_BYTES_MAX: usize = 8 << 20;

/// An alert from a script, and the line that raised it: rule, level, key, message, detections, tags, picture, seconds
/// until it expires, file, line.
type AlertArguments = (
    LuaString,
    Option<String>,
    LuaString,
    LuaString,
    Vec<u32>,
    Vec<LuaString>,
    Option<LuaString>,
    Option<u32>,
    Option<LuaString>,
    Option<u32>,
);

/// The data of host functions.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) call_state: Arc<Mutex<CallState>>,
    pub(super) modules: Arc<Mutex<Modules>>,
    pub(super) files: Arc<Mutex<Files>>,
    pub(super) context: GuestContext,
    /// A handler's network access; a strategy has none.
    pub(super) network: Option<Network>,
}

impl Host {
    /// The table that is passed to our own Luau code.
    pub(super) fn table(&self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        self.put_trial(lua, &table)?;
        self.put_ambient(lua, &table)?;
        match &self.network {
            Some(network) => self.put_http(lua, &table, network)?,
            None => {
                self.put_frame(lua, &table)?;
                self.put_places(lua, &table)?;
                self.put_local_time(lua, &table)?;
                self.put_verdict(lua, &table)?;
                self.put_pixels(lua, &table)?;
            }
        }
        Ok(table)
    }

    /// Adds the functions that record a script's lookups; only in a trial.
    fn put_trial(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let Some(trial) = &self.context.trial else { return Ok(()) };
        let noted = Arc::clone(trial);
        table.raw_set("asks", lua.create_function(move |_, labels: Vec<String>| Ok(noted.look_up(&labels).err()))?)?;
        let noted = Arc::clone(trial);
        table.raw_set(
            "breaks",
            lua.create_function(move |_, ()| {
                // What it was called with may be of an answer that nobody gave.
                if !noted.has_answer() {
                    noted.breaks();
                }
                Ok(())
            })?,
        )
    }

    fn put_frame(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "inside",
            lua.create_function(move |_, zone: usize| {
                call_state.lock().mark_inside(zone - 1);
                Ok(())
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "age",
            lua.create_function(move |_, origin: usize| {
                let call_state = call_state.lock();
                Ok(track(&call_state, origin).map(|t| t.age_ns() as f64 * 1e-9))
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "dwell",
            lua.create_function(move |_, (origin, zone): (usize, usize)| {
                let call_state = call_state.lock();
                let name = call_state.zones.get(zone - 1).map(|z| z.name.as_str()).unwrap_or_default();
                Ok(track(&call_state, origin).and_then(|t| t.dwell_ns(name)).map(|ns| ns as f64 * 1e-9))
            })?,
        )
    }

    /// Zones and tracks by name and id.
    fn put_places(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "contains",
            lua.create_function(move |_, (zone, x, y, width, height): (usize, f32, f32, f32, f32)| {
                let bbox = BBox { x, y, width, height };
                Ok(call_state.lock().zones.get(zone - 1).is_some_and(|z| z.polygon.contains(bbox.bottom_center())))
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "polygon",
            lua.create_function(move |lua, zone: usize| {
                let corners = lua.create_table()?;
                for point in call_state.lock().zones.get(zone - 1).map_or(&[][..], |z| z.polygon.points()) {
                    corners.raw_push(lua.create_table_from([("x", point.x), ("y", point.y)])?)?;
                }
                Ok(corners)
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "track",
            lua.create_function(move |lua, id: f64| {
                let call_state = call_state.lock();
                let Some(track) = living(&call_state, id) else { return Ok(None) };
                let BBox { x, y, width, height } = track.bbox;
                let bbox = lua.create_table_from([("x", x), ("y", y), ("width", width), ("height", height)])?;
                let table = lua.create_table_with_capacity(0, 5)?;
                table.raw_set("id", id)?;
                table.raw_set("label", &*track.label)?;
                table.raw_set("bbox", bbox)?;
                table.raw_set("first", track.first_ns as f64 * 1e-9)?;
                table.raw_set("last", track.last_ns as f64 * 1e-9)?;
                Ok(Some(table))
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "dwell_of",
            lua.create_function(move |_, (id, zone): (f64, usize)| {
                let call_state = call_state.lock();
                let name = call_state.zones.get(zone - 1).map(|z| z.name.as_str()).unwrap_or_default();
                Ok(living(&call_state, id).and_then(|t| t.dwell_ns(name)).map(|ns| ns as f64 * 1e-9))
            })?,
        )
    }

    /// The capture time of the frame, in the configured zone; nil before the first frame.
    fn put_local_time(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let (call_state, zone) = (Arc::clone(&self.call_state), self.context.timezone.clone());
        table.raw_set(
            "local_time",
            lua.create_function(move |lua, ()| {
                let Some(captured_unix_ns) = call_state.lock().captured_unix_ns else { return Ok(None) };
                let LocalTime { year, month, day, hour, minute, second, weekday, yday, offset_minutes } =
                    zone.at(captured_unix_ns);
                let table = lua.create_table_with_capacity(0, 10)?;
                table.raw_set("year", year)?;
                table.raw_set("month", month)?;
                table.raw_set("day", day)?;
                table.raw_set("hour", hour)?;
                table.raw_set("minute", minute)?;
                table.raw_set("second", second)?;
                table.raw_set("weekday", weekday.as_str())?;
                table.raw_set("yday", yday)?;
                table.raw_set("offset_minutes", offset_minutes)?;
                table.raw_set("zone", zone.name())?;
                Ok(Some(table))
            })?,
        )
    }

    fn put_verdict(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "edit",
            lua.create_function(move |_, (index, label, confidence): (u32, Option<LuaString>, Option<f32>)| {
                let mut call_state = call_state.lock();
                // An overall bound on edits, in proportion to the frame's size.
                if call_state.verdict.edits.len() >= 4 * call_state.boxes.len() {
                    return Ok(Some("frame:edit: more than four edits per detection in one call".to_owned()));
                }
                let label = match label.as_ref().map(utf8).transpose() {
                    Ok(label) => label,
                    Err(problem) => return Ok(Some(format!("frame:edit: {problem}"))),
                };
                if let Some(problem) = wrong(label.as_deref(), confidence) {
                    return Ok(Some(format!("frame:edit: {problem}")));
                }
                call_state.verdict.edits.push(Edit { index, label, confidence, ..Edit::default() });
                Ok(None)
            })?,
        )?;
        self.put_attributes(lua, table)?;
        let (call_state, most) = (Arc::clone(&self.call_state), self.context.limits.added_per_call);
        table.raw_set(
            "add",
            lua.create_function(
                move |_, (label, class_id, confidence, x, y, w, h): (LuaString, u32, f32, f32, f32, f32, f32)| {
                    let mut call_state = call_state.lock();
                    if call_state.verdict.added.len() >= most {
                        return Ok(Some(format!("more than {most} detections added in one call")));
                    }
                    let label = match utf8(&label) {
                        Ok(label) => label,
                        Err(problem) => return Ok(Some(problem)),
                    };
                    if let Some(problem) = wrong(Some(&label), Some(confidence)) {
                        return Ok(Some(problem));
                    }
                    let bbox = BBox { x, y, width: w, height: h };
                    if bbox.clamped().is_none() {
                        return Ok(Some(format!("nothing of the box {x}, {y}, {w}, {h} is in the picture (0..1)")));
                    }
                    call_state.verdict.added.push(Detection::new(label, class_id, confidence, bbox));
                    Ok(None)
                },
            )?,
        )?;
        self.put_alert(lua, table)?;
        self.put_resolve(lua, table)
    }

    fn put_alert(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let (call_state, limits) = (Arc::clone(&self.call_state), self.context.limits.clone());
        table.raw_set(
            "alert",
            lua.create_function(move |_, arguments: AlertArguments| {
                let (rule, level, key, message, detections, tags, picture, expires_seconds, file, line) = arguments;
                let mut call_state = call_state.lock();
                let tags = match tags.iter().map(tag).collect::<Result<Vec<_>, String>>() {
                    Ok(tags) => tags,
                    Err(problem) => return Ok(Some(problem)),
                };
                if call_state.verdict.alerts.len() >= limits.alerts_per_call {
                    call_state.alerts_dropped += 1;
                    return Ok(None);
                }
                let picture = match taken(&call_state, picture) {
                    Ok(picture) => picture,
                    Err(problem) => return Ok(Some(problem)),
                };
                let mut text = |s: &LuaString| {
                    let (text, cut) = bounded(s, limits.message_bytes);
                    call_state.messages_cut += u64::from(cut);
                    text
                };
                let (rule, key, message) = (text(&rule), text(&key), text(&message));
                let level = level.and_then(|word| word.parse::<Level>().ok());
                call_state.verdict.alerts.push(AlertDraft {
                    rule,
                    level,
                    key,
                    message,
                    detections,
                    tags,
                    picture,
                    expires_seconds,
                });
                call_state.note_line(file.as_ref().map(|file| file.as_bytes()).as_deref(), line);
                Ok(None)
            })?,
        )
    }

    fn put_resolve(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let (call_state, limits) = (Arc::clone(&self.call_state), self.context.limits.clone());
        table.raw_set(
            "resolve",
            lua.create_function(move |_, (rule, key): (LuaString, Option<LuaString>)| {
                let verdict = &mut call_state.lock().verdict;
                // As many as alerts: those beyond have no effect.
                if verdict.resolved.len() < limits.alerts_per_call {
                    // As an alert's own, so that both are the same text.
                    let text = |text: &LuaString| bounded(text, limits.message_bytes).0;
                    let (rule, key, after) = (text(&rule), key.as_ref().map(text), verdict.alerts.len());
                    verdict.resolved.push(Resolve { rule, key, after });
                }
                Ok(())
            })?,
        )
    }
}

fn track(call_state: &CallState, origin: usize) -> Option<&crate::track::Track> {
    let id = call_state.track_ids.get(origin).copied().flatten()?;
    call_state.tracks.as_ref()?.get(id)
}

/// The track with this id, if the number is a valid id.
fn living(call_state: &CallState, id: f64) -> Option<&crate::track::Track> {
    if id < 0.0 || id.fract() != 0.0 {
        return None;
    }
    call_state.tracks.as_ref()?.get(id as u64)
}

/// A copy of a picture, if those of the call have room for it.
fn taken(call_state: &CallState, picture: Option<LuaString>) -> Result<Option<Arc<[u8]>>, String> {
    let Some(picture) = picture else { return Ok(None) };
    let others = call_state.verdict.alerts.iter().filter_map(|alert| alert.picture.as_ref());
    let bytes = picture.as_bytes().len() + others.map(|jpeg| jpeg.len()).sum::<usize>();
    if bytes > PICTURES_BYTES_MAX {
        return Err(format!("the pictures of one call have more than {} MiB", PICTURES_BYTES_MAX >> 20));
    }
    Ok(Some(picture.as_bytes().to_vec().into()))
}

/// The text up to `most` bytes, and whether it was truncated.
fn bounded(text: &LuaString, most: usize) -> (String, bool) {
    let bytes = text.as_bytes();
    let cut = bytes.len() > most;
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    if cut {
        text.push('…');
    }
    (text, cut)
}

/// A tag, or why it is none.
fn tag(tag: &LuaString) -> Result<String, String> {
    let tag = tag.to_str().map_err(|_| "a tag is not UTF-8".to_owned())?;
    wrong_tag(&tag).map_or(Ok(tag.to_owned()), Err)
}

fn utf8(label: &LuaString) -> Result<String, String> {
    label.to_str().map(|text| text.to_owned()).map_err(|_| "the label is not UTF-8".to_owned())
}

/// Checks what `strategy::apply` would reject, for an error at the script's own line.
fn wrong(label: Option<&str>, confidence: Option<f32>) -> Option<String> {
    match (label, confidence) {
        (Some(""), _) => Some("the label is empty".to_owned()),
        (Some(label), _) if label.len() > LABEL_BYTES_MAX => {
            Some(format!("a label of more than {LABEL_BYTES_MAX} bytes"))
        }
        (_, Some(confidence)) if !(0.0..=1.0).contains(&confidence) => {
            Some(format!("the confidence {confidence} is not within 0..1"))
        }
        _ => None,
    }
}
