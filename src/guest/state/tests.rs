//! What is saved of a state, and what comes back.

use parking_lot::Mutex;

use super::*;
use crate::guest::GuestKind;
use crate::types::SourceId;

fn entry(value: impl Into<Value>, expires_ns: Option<u64>) -> Write {
    Some(Entry { value: Kept::Json(value.into()), expires_ns })
}

#[test]
fn values_expire_and_their_bytes_are_freed() {
    let mut space = Space::default();
    let mut writes = BTreeMap::from([
        ("a.1".to_owned(), entry("text", Some(10))),
        ("a.2".to_owned(), entry(7, None)),
        ("b".to_owned(), entry(true, None)),
    ]);
    space.commit(&mut writes);
    assert_eq!(space.get("a.1", 9), Some(&Kept::Json(Value::from("text"))));
    assert_eq!(space.get("a.1", 10), None);
    assert_eq!(space.keys("a.", 10).collect::<Vec<_>>(), ["a.2"]);
    let full = space.bytes();
    space.sweep(10);
    assert_eq!(full - space.bytes(), KEY_BYTES + 3 + size_of::<Entry>() + 4);
    space.commit(&mut BTreeMap::from([("a.2".to_owned(), None), ("b".to_owned(), None)]));
    assert_eq!(space.bytes(), 0);
}

#[test]
fn a_state_is_full_exactly_at_its_limit() {
    let (mut space, mut writes) = (Space::default(), Writes::default());
    let entry = |bytes: usize, expires_ns| Entry { value: Kept::Bytes(vec![0; bytes].into()), expires_ns };
    // With a one-letter key, as large as two of them may be together.
    let one = 1_000 - KEY_BYTES - 1 - size_of::<Entry>();
    let set = |writes: &mut Writes, space: &mut Space, key: &str, expires_ns| {
        writes.set(space, key.to_owned(), entry(one, expires_ns), 2_000, 50)
    };
    assert!(set(&mut writes, &mut space, "a", None) && set(&mut writes, &mut space, "b", Some(10)));
    assert!(!set(&mut writes, &mut space, "c", None));
    writes.commit(&mut space);
    assert_eq!(space.bytes(), 2_000);
    // Replacing itself; again; replacing a deleted entry; and evicting an expired one.
    assert!(set(&mut writes, &mut space, "a", None) && set(&mut writes, &mut space, "a", None));
    writes.delete(&space, "a".to_owned());
    writes.delete(&space, "unknown".to_owned());
    assert!(set(&mut writes, &mut space, "c", None));
    assert!(set(&mut writes, &mut space, "d", None), "b has expired");
    assert!(!set(&mut writes, &mut space, "e", None));
    writes.delete(&space, "d".to_owned());
    assert!(set(&mut writes, &mut space, "e", None));
    assert_eq!(writes.keys(&space, "", 50), ["c", "e"]);
    writes.commit(&mut space);
    assert_eq!((space.bytes(), space.keys("", 50).collect::<Vec<_>>()), (2_000, vec!["c", "e"]));
}

#[test]
fn a_value_counts_as_what_it_takes() {
    let of = |value: Value| size("k", &Kept::Json(value));
    let empty = of(Value::Null);
    assert!(empty > KEY_BYTES + VALUE_BYTES, "{empty}");
    let (many, text) = (1_000, Value::from("abc"));
    assert_eq!(of(vec![Value::Null; many].into()) - empty, many * VALUE_BYTES);
    let map: serde_json::Map<_, _> = [("key".to_owned(), text)].into_iter().collect();
    assert_eq!(of(map.into()) - empty, KEY_BYTES + 3 + VALUE_BYTES + 3);
    assert!(size("k", &Kept::Bytes(vec![0; 10].into())) >= KEY_BYTES + 1 + 10);
}

#[test]
fn spaces_belong_to_one_plugin_on_one_source() {
    let store = StateStore::default();
    let (a, b) = (SourceId::from("a"), SourceId::from("b"));
    let (a, b) = (Some(&a), Some(&b));
    store.space("p", a).lock().commit(&mut BTreeMap::from([("k".to_owned(), entry(1, None))]));
    assert!(store.space("p", a).lock().get("k", 0).is_some());
    assert!(store.space("p", b).lock().get("k", 0).is_none());
    assert!(store.space("q", a).lock().get("k", 0).is_none());
    let (strategy, handler) = (store.shared("p", GuestKind::Strategy), store.shared("p", GuestKind::Handler));
    assert!(strategy.lock().get("k", 0).is_none());
    strategy.lock().commit(&mut BTreeMap::from([("k".to_owned(), entry(1, None))]));
    assert!(handler.lock().get("k", 0).is_none());
    a.into_iter().for_each(|a| store.forget(a));
    assert!(store.space("p", a).lock().get("k", 0).is_none());
}

/// Nanoseconds in a second, and a capture time.
const S: u64 = 1_000_000_000;
const NOON: u64 = 1_700_000_000 * S;

fn write(space: &Mutex<Space>, key: &str, value: Kept, expires_ns: Option<u64>, version: &str) {
    let mut space = space.lock();
    space.commit(&mut BTreeMap::from([(key.to_owned(), Some(Entry { value, expires_ns }))]));
    space.stamp(&version.into());
}

/// A store in a later process, with what `store` has saved.
fn later(store: &StateStore) -> StateStore {
    let next = StateStore::default();
    let saved = store.changed(1).into_iter().filter_map(|(name, text)| Some((name, text?)));
    next.restore(saved.collect());
    next
}

/// Keeps the state of `p` on `a`; returns the instance to take over from.
fn kept(store: &StateStore) -> Option<Former> {
    let a = SourceId::from("a");
    store.keep("p", Some(&a), true);
    store.former("p", &a)
}

#[test]
fn kept_state_is_found_by_its_owner_in_a_later_process_and_expires_on_capture_time() {
    let (store, a) = (StateStore::default(), SourceId::from("a"));
    assert_eq!(kept(&store), None);
    let space = store.space("p", Some(&a));
    // Captured at noon, five seconds into the stream; kept for ten.
    space.lock().observe(5 * S, NOON);
    write(&space, "n", Value::from(7.25).into(), None, "2");
    write(&space, "bytes", Kept::Bytes([0, 255].as_slice().into()), Some(15 * S), "2");
    write(&store.shared("p", GuestKind::Strategy), "all", Value::Null.into(), None, "2");
    write(&store.space("other", Some(&a)), "n", Value::from(1).into(), None, "1");
    let next = later(&store);
    let former = kept(&next).unwrap();
    assert_eq!((&*former.version, former.handed.len()), ("2", 0));
    next.keep("other", Some(&a), true);
    assert_eq!(next.former("other", &a), None, "it was not kept");
    let restored = next.space("p", Some(&a));
    let get = |key: &str, now_ns| restored.lock().get(key, now_ns).cloned();
    assert_eq!(get("n", 0), Some(Value::from(7.25).into()));
    assert_eq!(restored.lock().bytes(), space.lock().bytes());
    assert!(next.shared("p", GuestKind::Strategy).lock().get("all", 0).is_some());
    // Four seconds later by the clock, and at the start of a stream: six are left.
    restored.lock().observe(S / 10, NOON + 4 * S);
    assert_eq!(get("bytes", S / 10 + 6 * S - 1), Some(Kept::Bytes([0, 255].as_slice().into())));
    assert_eq!(get("bytes", S / 10 + 6 * S), None);
    // A third process finds the same end.
    write(&restored, "n", Value::from(8).into(), None, "2");
    let third = later(&next);
    kept(&third).unwrap();
    third.space("p", Some(&a)).lock().observe(0, NOON + 10 * S);
    assert_eq!(third.space("p", Some(&a)).lock().get("bytes", 0), None);
}

#[test]
fn only_what_changed_is_saved_and_what_is_gone_is_removed() {
    let (store, a) = (StateStore::default(), SourceId::from("a"));
    store.keep("p", Some(&a), true);
    assert!(store.changed(1).is_empty());
    let space = store.space("p", Some(&a));
    write(&space, "n", Value::from(1).into(), None, "1");
    assert_eq!(store.changed(1).len(), 1);
    assert!(store.changed(1).is_empty());
    // No longer kept, and kept again: it is saved again although it is unchanged.
    store.keep("p", Some(&a), false);
    assert!(store.changed(1).iter().all(|(_, text)| text.is_none()));
    store.keep("p", Some(&a), true);
    assert!(store.changed(1).iter().any(|(_, text)| text.is_some()));
    // What an instance hands over is for one successor.
    store.hand_over("p", &a, "1", b"{}".to_vec());
    let next = later(&store);
    assert_eq!(kept(&next).map(|former| former.handed), Some(b"{}".to_vec()));
    let again = later(&next);
    assert_eq!(kept(&again).map(|former| former.handed), Some(Vec::new()));
    let removed = |store: &StateStore| store.changed(1).into_iter().all(|(_, text)| text.is_none());
    assert_eq!(again.clear("p"), 1);
    assert!(removed(&again) && again.space("p", Some(&a)).lock().get("n", 0).is_none());
    store.forget_strategy("p");
    let gone = store.changed(1);
    assert!(!gone.is_empty() && gone.iter().all(|(_, text)| text.is_none()), "{gone:?}");
}

#[test]
fn unread_state_is_dropped_when_it_is_not_wanted_or_after_a_month() {
    let (store, a) = (StateStore::default(), SourceId::from("a"));
    store.keep("p", Some(&a), true);
    write(&store.space("p", Some(&a)), "n", Value::from(1).into(), None, "1");
    let saved: BTreeMap<_, _> =
        store.changed(1_000).into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    let day_ms = 24 * 3600 * 1000;
    for (now_ms, gone) in [(1_000 + 29 * day_ms, false), (1_000 + 31 * day_ms, true)] {
        let next = StateStore::default();
        next.restore(saved.clone());
        next.expire(now_ms);
        assert_eq!(!next.changed(now_ms).is_empty(), gone);
    }
    let next = StateStore::default();
    next.restore(saved.clone());
    next.keep("p", Some(&a), false);
    assert_eq!(next.changed(1).len(), 1);
    assert_eq!(kept(&next), None);
    // A form that this program does not read is no state.
    let newer: BTreeMap<_, Arc<str>> =
        saved.iter().map(|(name, text)| (name.clone(), text.replace("\"schema\":1", "\"schema\":2").into())).collect();
    let next = StateStore::default();
    next.restore(newer);
    assert_eq!(kept(&next), None);
    assert!(next.space("p", Some(&a)).lock().get("n", 0).is_none());
}

#[test]
fn a_change_that_failed_leaves_saved_state_for_the_next() {
    let (store, a) = (StateStore::default(), SourceId::from("a"));
    store.keep("p", Some(&a), true);
    write(&store.space("p", Some(&a)), "n", Value::from(1).into(), None, "1");
    let next = later(&store);
    kept(&next).unwrap();
    next.give_back("p", GuestKind::Strategy, 2);
    assert!(next.changed(3).is_empty());
    assert!(kept(&next).is_some());
    assert!(next.space("p", Some(&a)).lock().get("n", 0).is_some());
}

#[test]
fn a_source_that_is_built_anew_goes_on_and_its_values_expire_on_capture_time() {
    let (store, a) = (StateStore::default(), SourceId::from("a"));
    kept(&store);
    let space = store.space("p", Some(&a));
    space.lock().observe(1_000 * S, NOON);
    write(&space, "n", Value::from(1).into(), Some(1_010 * S), "1");
    assert_eq!(store.former("p", &a), None, "its instance runs");
    store.hand_over("p", &a, "1", b"{}".to_vec());
    let copies = store.copies(&a);
    assert_eq!(kept(&store).map(|former| former.handed), Some(b"{}".to_vec()));
    write(&space, "n", Value::from(2).into(), None, "2");
    // The change failed.
    copies.restore();
    let former = store.former("p", &a).unwrap();
    assert_eq!((&*former.version, &*former.handed), ("1", &b"{}"[..]));
    // Frame time begins anew, four seconds later: six are left.
    space.lock().observe(0, NOON + 4 * S);
    let get = |now_ns| space.lock().get("n", now_ns).cloned();
    assert_eq!((get(6 * S - 1), get(6 * S)), (Some(Value::from(1).into()), None));
}

#[test]
fn the_state_of_a_source_that_is_switched_off_waits_for_it_and_goes_away_with_it() {
    let (store, a) = (StateStore::default(), SourceId::from("a"));
    for _ in 0..2 {
        kept(&store);
        write(&store.space("p", Some(&a)), "n", Value::from(1).into(), None, "1");
        store.hand_over("p", &a, "1", b"{}".to_vec());
        store.park(&a, 1);
        assert_eq!(store.space("p", Some(&a)).lock().get("n", 0), None, "it is away");
    }
    // In this process and, once it is saved, in a later one.
    let next = later(&store);
    for store in [&store, &next] {
        assert_eq!(kept(store).map(|former| former.handed), Some(b"{}".to_vec()));
        assert!(store.space("p", Some(&a)).lock().get("n", 0).is_some());
    }
    // Taken up before it was saved: it is saved then.
    store.park(&a, 1);
    kept(&store);
    assert!(store.changed(1).iter().any(|(_, text)| text.is_some()));
    // Removed while it is off.
    store.park(&a, 1);
    store.forget(&a);
    let saved = store.changed(1);
    assert!(!saved.is_empty() && saved.iter().all(|(_, text)| text.is_none()), "{saved:?}");
    assert_eq!(kept(&store), None);
    // Its rule is removed while it is off.
    write(&store.space("p", Some(&a)), "n", Value::from(1).into(), None, "1");
    store.park(&a, 1);
    store.forget_strategy("p");
    assert!(store.changed(1).iter().all(|(_, text)| text.is_none()));
    assert_eq!(kept(&store), None);
}
