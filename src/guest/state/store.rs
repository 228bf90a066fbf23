//! The state of all guests, and which of it a later process gets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::GuestKind;
use super::Space;
use super::written::saved_unix_ms;
use crate::types::SourceId;

/// How long the state of a plugin that the configuration does not have is kept.
const UNCLAIMED_MS_MAX: u64 = 30 * 24 * 3600 * 1000;

/// The owner of a space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    plugin: String,
    kind: GuestKind,
    /// `None` for a handler, and for state over all sources.
    source: Option<SourceId>,
    /// Whether it is state over all sources.
    shared: bool,
}

impl Owner {
    fn of(plugin: &str, source: Option<&SourceId>) -> Self {
        let kind = if source.is_some() { GuestKind::Strategy } else { GuestKind::Handler };
        Self { plugin: plugin.to_owned(), kind, source: source.cloned(), shared: false }
    }

    fn shared(plugin: &str, kind: GuestKind) -> Self {
        Self { plugin: plugin.to_owned(), kind, source: None, shared: true }
    }

    /// The name under which the space is saved.
    fn saved_as(&self) -> Arc<str> {
        let kind = match (self.kind, self.shared) {
            (GuestKind::Strategy, false) => "strategy",
            (GuestKind::Strategy, true) => "strategy-shared",
            (GuestKind::Handler, false) => "handler",
            (GuestKind::Handler, true) => "handler-shared",
        };
        let source = self.source.as_ref().map_or("", SourceId::as_str);
        serde_json::json!([kind, self.plugin, source]).to_string().into()
    }
}

/// The kind, the plugin's and the source's name in the name of a saved space.
fn parts(saved_as: &str) -> Option<[String; 3]> {
    serde_json::from_str(saved_as).ok()
}

/// A space, shared by the store and each instance that writes to it.
type Shared = Arc<Mutex<Space>>;

#[derive(Debug, Default)]
struct Slot {
    space: Shared,
    /// Whether a later process gets it.
    kept: bool,
    /// The revision that was saved last.
    saved: u64,
}

/// An instance that has ended, in this process or in an earlier one, and whose state another one has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// The version that wrote last.
    pub version: Arc<str>,
    /// What it handed over; empty if its process was killed.
    pub handed: Vec<u8>,
}

/// The state of one plugin on one source, or over all sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StateStatus {
    /// The source; none for a handler, and for state over all sources.
    pub source: Option<String>,
    /// Whether it is state over all sources.
    pub shared: bool,
    /// The number of values.
    pub values: usize,
    /// Bytes in use.
    pub bytes: usize,
    /// The version of the plugin that wrote last; empty before the first write.
    pub version: String,
    /// Whether it survives a restart.
    pub kept: bool,
}

/// The state of all guests on a source at a moment.
pub struct Copies(Vec<(Shared, Space)>);

impl Copies {
    /// Makes the state so again.
    pub fn restore(self) {
        for (space, copy) in self.0 {
            let mut space = space.lock();
            let revision = space.revision + 1;
            *space = Space { revision, ..copy };
        }
    }
}

/// The state of all guests. One per engine; outlives the guests.
#[derive(Debug, Default)]
pub struct StateStore {
    slots: Mutex<HashMap<Owner, Slot>>,
    /// What an earlier process saved, or a source that was taken down has left, and nothing has asked for yet, by name.
    unclaimed: Mutex<BTreeMap<Arc<str>, Arc<str>>>,
    /// The names of those that are to be saved.
    unsaved: Mutex<BTreeSet<Arc<str>>>,
    /// Saved values to remove.
    gone: Mutex<Vec<Arc<str>>>,
    /// Whether the process ends.
    ends: AtomicBool,
}

impl StateStore {
    /// The space of `plugin` on `source`; the same one on each call.
    pub fn space(&self, plugin: &str, source: Option<&SourceId>) -> Arc<Mutex<Space>> {
        self.of(Owner::of(plugin, source))
    }

    /// The space of `plugin` shared by all its sources. A strategy and a handler may have the same name.
    pub fn shared(&self, plugin: &str, kind: GuestKind) -> Arc<Mutex<Space>> {
        self.of(Owner::shared(plugin, kind))
    }

    fn of(&self, owner: Owner) -> Shared {
        Arc::clone(&self.slots.lock().entry(owner).or_default().space)
    }

    /// Holds what an earlier process saved until its owner asks for it.
    pub fn restore(&self, saved: BTreeMap<Arc<str>, Arc<str>>) {
        self.unclaimed.lock().extend(saved);
    }

    /// Keeps the state of `plugin` on `source` for a later process, or no longer. State that an earlier process kept is
    /// then found.
    pub fn keep(&self, plugin: &str, source: Option<&SourceId>, wanted: bool) {
        let own = Owner::of(plugin, source);
        let shared = Owner::shared(plugin, own.kind);
        if wanted {
            self.claim(shared);
            self.claim(own);
        } else {
            self.leave(&own);
            if source.is_none() {
                self.leave(&shared);
            }
        }
    }

    /// The last instance of `plugin` on `source`, if it has ended and this is the first to take over from it.
    pub fn former(&self, plugin: &str, source: &SourceId) -> Option<Former> {
        let space = Arc::clone(&self.slots.lock().get(&Owner::of(plugin, Some(source)))?.space);
        space.lock().take_former()
    }

    /// Keeps a space, and fills it with what an earlier process saved.
    fn claim(&self, owner: Owner) {
        let space = {
            let mut slots = self.slots.lock();
            let slot = slots.entry(owner.clone()).or_default();
            slot.kept = true;
            Arc::clone(&slot.space)
        };
        let saved_as = owner.saved_as();
        let Some(text) = self.unclaimed.lock().remove(&saved_as) else { return };
        let was_saved = !self.unsaved.lock().remove(&saved_as);
        match Space::from_text(&text) {
            Ok(restored) => *space.lock() = Space { revision: u64::from(!was_saved), ..restored },
            Err(what) => {
                tracing::error!(plugin = owner.plugin, state = %saved_as, "its saved state cannot be read: {what}");
            }
        }
    }

    /// Keeps a space no longer.
    fn leave(&self, owner: &Owner) {
        let was_kept = self.slots.lock().get_mut(owner).is_some_and(|slot| {
            // Kept again later, it is to be saved although it is unchanged.
            slot.saved = u64::MAX;
            std::mem::take(&mut slot.kept)
        });
        let saved_as = owner.saved_as();
        let was_saved = self.unclaimed.lock().remove(&saved_as).is_some();
        if was_kept || was_saved {
            self.gone.lock().push(saved_as);
        }
    }

    /// Keeps the state of `plugin` over all its sources no longer.
    pub fn leave_shared(&self, plugin: &str) {
        self.leave(&Owner::shared(plugin, GuestKind::Strategy));
    }

    /// Records that the process ends: from now on an instance that ends has its successor in a later process.
    pub fn end(&self) {
        self.ends.store(true, Ordering::Release);
    }

    /// Whether the process ends.
    pub fn ends(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Whether a later process gets the state of `plugin` on `source`.
    pub fn is_kept(&self, plugin: &str, source: Option<&SourceId>) -> bool {
        self.slots.lock().get(&Owner::of(plugin, source)).is_some_and(|slot| slot.kept)
    }

    /// Records that an instance of this version has ended, and what it hands to its successor, in this process or in a
    /// later one.
    pub fn hand_over(&self, plugin: &str, source: &SourceId, version: &str, handed: Vec<u8>) {
        self.space(plugin, Some(source)).lock().leave(version, handed);
    }

    /// What to save now, by name, and what to remove: the spaces that have changed since the last call. Each is copied
    /// under its lock and becomes text after that.
    pub fn changed(&self, now_unix_ms: u64) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        let gone = std::mem::take(&mut *self.gone.lock());
        let mut all: Vec<_> = gone.into_iter().map(|saved_as| (saved_as, None)).collect();
        let unsaved = std::mem::take(&mut *self.unsaved.lock());
        {
            let unclaimed = self.unclaimed.lock();
            let waits = |saved_as| unclaimed.get(&saved_as).cloned().map(|text| (saved_as, Some(text)));
            all.extend(unsaved.into_iter().filter_map(waits));
        }
        let kept: Vec<(Owner, Shared, u64)> = {
            let slots = self.slots.lock();
            let kept = slots.iter().filter(|(_, slot)| slot.kept);
            kept.map(|(owner, slot)| (owner.clone(), Arc::clone(&slot.space), slot.saved)).collect()
        };
        for (owner, space, saved) in kept {
            let copy = {
                let space = space.lock();
                (space.revision != saved).then(|| space.clone())
            };
            let Some(copy) = copy else { continue };
            if let Some(slot) = self.slots.lock().get_mut(&owner) {
                slot.saved = copy.revision;
            }
            let text = (!copy.is_empty()).then(|| copy.to_text(now_unix_ms).into());
            all.push((owner.saved_as(), text));
        }
        all
    }

    /// Removes what nothing has asked for in a month.
    pub fn expire(&self, now_unix_ms: u64) {
        let is_old = |_: &Arc<str>, text: &mut Arc<str>| saved_unix_ms(text) + UNCLAIMED_MS_MAX < now_unix_ms;
        let old: Vec<_> = self.unclaimed.lock().extract_if(.., is_old).map(|(saved_as, _)| saved_as).collect();
        self.gone.lock().extend(old);
    }

    /// Clears the state of `plugin`, in this process and for later ones. Returns the number of values.
    pub fn clear(&self, plugin: &str) -> usize {
        self.drop_unclaimed(|[_, name, _]| *name == plugin);
        self.spaces_of(plugin).iter().map(|(_, space, _)| space.lock().clear()).sum()
    }

    /// Clears the state of `plugin` on one source.
    pub fn reset(&self, plugin: &str, source: &SourceId) {
        self.space(plugin, Some(source)).lock().clear();
    }

    /// The state of `plugin`, by source.
    pub fn status(&self, plugin: &str) -> Vec<StateStatus> {
        let status = |(owner, space, kept): &(Owner, Shared, bool)| {
            let space = space.lock();
            StateStatus {
                source: owner.source.as_ref().map(|source| source.as_str().to_owned()),
                shared: owner.shared,
                values: space.entries.len(),
                bytes: space.bytes(),
                version: space.version.to_string(),
                kept: *kept,
            }
        };
        let mut all: Vec<_> = self.spaces_of(plugin).iter().map(status).collect();
        all.retain(|status| !status.shared || status.values > 0);
        all.sort_by(|a, b| (a.shared, &a.source).cmp(&(b.shared, &b.source)));
        all
    }

    fn spaces_of(&self, plugin: &str) -> Vec<(Owner, Shared, bool)> {
        let slots = self.slots.lock();
        let its = slots.iter().filter(|(owner, _)| owner.plugin == plugin);
        its.map(|(owner, slot)| (owner.clone(), Arc::clone(&slot.space), slot.kept)).collect()
    }

    /// Removes what nothing has asked for, by its kind, plugin and source.
    fn drop_unclaimed(&self, is_meant: impl Fn(&[String; 3]) -> bool) {
        let is_its = |saved_as: &Arc<str>, _: &mut Arc<str>| parts(saved_as).as_ref().is_some_and(&is_meant);
        let dropped: Vec<_> = self.unclaimed.lock().extract_if(.., is_its).map(|(saved_as, _)| saved_as).collect();
        self.gone.lock().extend(dropped);
    }

    /// Removes the state of the removed strategy `name`, also on sources that are switched off.
    pub fn forget_strategy(&self, name: &str) {
        self.remove(|owner| owner.plugin == name && owner.kind == GuestKind::Strategy);
        self.drop_unclaimed(|[kind, plugin, _]| plugin == name && kind.starts_with("strategy"));
    }

    /// Removes the state of a strategy or handler that was added by a change that failed; what an earlier process saved
    /// waits for it again.
    pub fn give_back(&self, name: &str, kind: GuestKind, now_unix_ms: u64) {
        for (owner, slot) in self.take(|owner| owner.plugin == name && owner.kind == kind) {
            let copy = slot.space.lock().clone();
            if slot.kept && !copy.is_empty() {
                self.unclaimed.lock().insert(owner.saved_as(), copy.to_text(now_unix_ms).into());
            }
        }
    }

    /// Holds the state of a source that was taken down until the source is there again, in this process or in a later
    /// one.
    pub fn park(&self, source: &SourceId, now_unix_ms: u64) {
        for (owner, slot) in self.take(|owner| owner.source.as_ref() == Some(source)) {
            if !slot.kept {
                continue;
            }
            let (saved_as, copy) = (owner.saved_as(), slot.space.lock().clone());
            if copy.is_empty() {
                self.gone.lock().push(saved_as);
            } else {
                self.unclaimed.lock().insert(Arc::clone(&saved_as), copy.to_text(now_unix_ms).into());
                self.unsaved.lock().insert(saved_as);
            }
        }
    }

    /// Removes the state of the removed `source`.
    pub fn forget(&self, source: &SourceId) {
        self.remove(|owner| owner.source.as_ref() == Some(source));
        self.drop_unclaimed(|[.., of]| *of == source.as_str());
    }

    /// The state on a source that was stopped, as it is now.
    pub fn copies(&self, source: &SourceId) -> Copies {
        let slots = self.slots.lock();
        let its = slots.iter().filter(|(owner, _)| owner.source.as_ref() == Some(source));
        let its: Vec<Shared> = its.map(|(_, slot)| Arc::clone(&slot.space)).collect();
        drop(slots);
        Copies(its.into_iter().map(|space| (Arc::clone(&space), space.lock().clone())).collect())
    }

    fn remove(&self, is_gone: impl Fn(&Owner) -> bool) {
        let saved = self.take(is_gone).into_iter().filter(|(_, slot)| slot.kept).map(|(owner, _)| owner.saved_as());
        self.gone.lock().extend(saved);
    }

    fn take(&self, is_meant: impl Fn(&Owner) -> bool) -> Vec<(Owner, Slot)> {
        self.slots.lock().extract_if(|owner, _| is_meant(owner)).collect()
    }
}
