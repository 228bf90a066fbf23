//! The host's side of the API: the few functions that the prelude calls.
//!
//! They return problems as text instead of raising them, so that the prelude can raise them at the script's line.
//! None waits, and each is bounded by the limits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::{Lua, LuaString, Table, Value};

use super::convert;
use super::require::Modules;
use super::seat::Seat;
use crate::guest::{Entry, Home, Kept, Severity, size};
use crate::strategy::Edit;
use crate::types::{AlertDraft, BBox, Detection, Level};

/// Longest label a script may give: labels go into alerts, traces and metrics.
const LABEL_BYTES_MAX: usize = 256;

/// What host functions know.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) seat: Arc<Mutex<Seat>>,
    pub(super) modules: Arc<Mutex<Modules>>,
    pub(super) home: Home,
}

/// Locks; a panic elsewhere leaves values that are still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// The table the prelude is run with.
    pub(super) fn table(&self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        self.put_frame(lua, &table)?;
        self.put_verdict(lua, &table)?;
        self.put_state(lua, &table)?;
        let host = self.clone();
        table.raw_set(
            "log",
            lua.create_function(move |_, (level, text): (u8, LuaString)| {
                host.log(level, &text);
                Ok(())
            })?,
        )?;
        let host = self.clone();
        table.raw_set(
            "module",
            lua.create_function(move |lua, name: String| {
                let module = match lock(&host.modules).get(&name) {
                    Ok(module) => module,
                    Err(problem) => return Ok((Value::Nil, Some(problem))),
                };
                let chunk = lua.load(module.text).set_name(format!("@{}", module.file));
                match chunk.set_mode(mlua::chunk::ChunkMode::Text).into_function() {
                    Ok(function) => Ok((Value::Function(function), None)),
                    Err(error) => Ok((Value::Nil, Some(super::fault::line(&error)))),
                }
            })?,
        )?;
        Ok(table)
    }

    fn put_frame(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let seat = Arc::clone(&self.seat);
        table.raw_set(
            "inside",
            lua.create_function(move |_, zone: usize| {
                lock(&seat).mark_inside(zone - 1);
                Ok(())
            })?,
        )?;
        let seat = Arc::clone(&self.seat);
        table.raw_set(
            "age",
            lua.create_function(move |_, origin: usize| {
                let seat = lock(&seat);
                Ok(track(&seat, origin).map(|t| t.age_ns() as f64 * 1e-9))
            })?,
        )?;
        let seat = Arc::clone(&self.seat);
        table.raw_set(
            "dwell",
            lua.create_function(move |_, (origin, zone): (usize, usize)| {
                let seat = lock(&seat);
                let name = seat.zones.get(zone - 1).map(|z| z.name.as_str()).unwrap_or_default();
                Ok(track(&seat, origin).and_then(|t| t.dwell_ns(name)).map(|ns| ns as f64 * 1e-9))
            })?,
        )
    }

    fn put_verdict(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let seat = Arc::clone(&self.seat);
        table.raw_set(
            "edit",
            lua.create_function(move |_, (index, label, confidence): (u32, Option<String>, Option<f32>)| {
                let mut seat = lock(&seat);
                // One edit per detection and call at most doubles the frame's own size.
                if seat.verdict.edits.len() >= 4 * seat.boxes.len() {
                    return Ok(Some("frame:edit: more than four edits per detection in one call".to_owned()));
                }
                if let Some(problem) = wrong(label.as_deref(), confidence) {
                    return Ok(Some(format!("frame:edit: {problem}")));
                }
                seat.verdict.edits.push(Edit { index, label, confidence });
                Ok(None)
            })?,
        )?;
        let (seat, most) = (Arc::clone(&self.seat), self.home.limits.added_per_call);
        table.raw_set(
            "add",
            lua.create_function(
                move |_, (label, class_id, confidence, x, y, width, height): (String, u32, f32, f32, f32, f32, f32)| {
                    let mut seat = lock(&seat);
                    if seat.verdict.added.len() >= most {
                        return Ok(Some(format!("more than {most} detections added in one call")));
                    }
                    if let Some(problem) = wrong(Some(&label), Some(confidence)) {
                        return Ok(Some(problem));
                    }
                    let bbox = BBox { x, y, width, height };
                    if bbox.clamped().is_none() {
                        return Ok(Some(format!(
                            "nothing of the box {x}, {y}, {width}, {height} is in the picture (0..1)"
                        )));
                    }
                    seat.verdict.added.push(Detection::new(label, class_id, confidence, bbox));
                    Ok(None)
                },
            )?,
        )?;
        let (seat, limits) = (Arc::clone(&self.seat), self.home.limits.clone());
        table.raw_set(
            "alert",
            lua.create_function(
                move |_,
                      (rule, level, key, message, detections): (
                    LuaString,
                    Option<String>,
                    LuaString,
                    LuaString,
                    Vec<u32>,
                )| {
                    let mut seat = lock(&seat);
                    if seat.verdict.alerts.len() >= limits.alerts_per_call {
                        seat.alerts_dropped += 1;
                        return Ok(());
                    }
                    let mut text = |s: &LuaString| {
                        let (text, cut) = bounded(s, limits.message_bytes);
                        seat.messages_cut += u64::from(cut);
                        text
                    };
                    let (rule, key, message) = (text(&rule), text(&key), text(&message));
                    let level = level.and_then(|word| word.parse::<Level>().ok());
                    seat.verdict.alerts.push(AlertDraft { rule, level, key, message, detections });
                    Ok(())
                },
            )?,
        )
    }

    fn put_state(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let seat = Arc::clone(&self.seat);
        table.raw_set(
            "state_get",
            lua.create_function(move |lua, key: String| {
                let seat = lock(&seat);
                match seat.writes.get(&key) {
                    Some(Some(entry)) => kept(lua, &entry.value),
                    Some(None) => Ok(Value::Nil),
                    None => {
                        let space = lock(&seat.space);
                        space.get(&key, seat.pts_ns).map_or(Ok(Value::Nil), |v| kept(lua, v))
                    }
                }
            })?,
        )?;
        let (seat, most) = (Arc::clone(&self.seat), self.home.limits.state_bytes);
        table.raw_set(
            "state_set",
            lua.create_function(move |_, (key, value, ttl): (String, Value, Option<f64>)| {
                Ok(set(&mut lock(&seat), most, key, &value, ttl).err())
            })?,
        )?;
        let seat = Arc::clone(&self.seat);
        table.raw_set(
            "state_keys",
            lua.create_function(move |_, prefix: String| {
                let seat = lock(&seat);
                let mut keys: std::collections::BTreeSet<String> =
                    lock(&seat.space).keys(&prefix, seat.pts_ns).map(str::to_owned).collect();
                for (key, write) in seat.writes.iter().filter(|(k, _)| k.starts_with(&prefix)) {
                    match write {
                        Some(_) => drop(keys.insert(key.clone())),
                        None => drop(keys.remove(key)),
                    }
                }
                Ok(keys.into_iter().collect::<Vec<_>>())
            })?,
        )
    }

    fn log(&self, level: u8, text: &LuaString) {
        let severity = match level {
            1 => Severity::Debug,
            2 => Severity::Info,
            3 => Severity::Warn,
            _ => Severity::Error,
        };
        let now_ns = lock(&self.seat).pts_ns;
        self.home.log(severity, &String::from_utf8_lossy(&text.as_bytes()), now_ns);
    }
}

/// What is kept, as a Lua value; a component's bytes as a text.
fn kept(lua: &Lua, value: &Kept) -> mlua::Result<Value> {
    match value {
        Kept::Json(value) => convert::to_lua(lua, value, false),
        Kept::Bytes(bytes) => lua.create_string(bytes).map(Value::String),
    }
}

fn track(seat: &Seat, origin: usize) -> Option<&crate::track::Track> {
    let id = seat.track_ids.get(origin).copied().flatten()?;
    seat.tracks.as_ref()?.get(id)
}

/// The text up to `most` bytes, and whether that cut it.
fn bounded(text: &LuaString, most: usize) -> (String, bool) {
    let bytes = text.as_bytes();
    let cut = bytes.len() > most;
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    if cut {
        text.push('…');
    }
    (text, cut)
}

/// What `strategy::apply` would refuse, said at the script's own line.
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

/// Notes a write; it takes effect when the call has succeeded.
fn set(seat: &mut Seat, most: usize, key: String, value: &Value, ttl: Option<f64>) -> Result<(), String> {
    if seat.loading {
        return Err("while the script loads, state can only be read; set it from detect on".to_owned());
    }
    if value.is_nil() {
        seat.writes.insert(key, None);
        return Ok(());
    }
    let mut budget = most;
    let value = Kept::Json(convert::from_lua(value, &mut budget)?);
    let pending: usize =
        seat.writes.iter().filter(|(k, _)| **k != key).filter_map(|(k, w)| w.as_ref().map(|e| size(k, &e.value))).sum();
    let mut space = lock(&seat.space);
    if space.bytes() + pending + size(&key, &value) > most {
        space.sweep(seat.pts_ns);
    }
    let kept = space.bytes() - space.bytes_of(&key);
    if kept + pending + size(&key, &value) > most {
        return Err(format!("the state is full: {most} bytes per source"));
    }
    drop(space);
    // Casting saturates: a time to live beyond all frame time means "stays".
    let expires_ns = ttl.map(|seconds| seat.pts_ns.saturating_add((seconds * 1e9) as u64));
    seat.writes.insert(key, Some(Entry { value, expires_ns }));
    Ok(())
}
