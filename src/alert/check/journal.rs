//! The conformance check for journals.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{alert, rule};
use crate::alert::{Entry, Journal, JournalError, Pending, Saved, SavedKind, Settlement};
use crate::types::{Alert, AlertId};

/// Alerts in the long run.
const ALERTS: u64 = 300;
/// When the alerts are accepted.
const AT_MS: u64 = 1_800_000_000_123;
/// Nothing failed so far.
const WELL: Settlement = Settlement::Delivered;
/// Entries per batch in the long run: not a divisor of the entries per alert.
const BATCH: usize = 7;

/// Checks a journal. `make` creates a new, empty medium each time, and returns a function that opens a journal on it;
/// that function is called again after each journal ends. Journals end by being dropped or uncleanly, simulated by
/// `std::mem::forget`: a journal that locks its medium against a second opening in the same process cannot be checked
/// this way.
///
/// # Errors
/// The rule that it breaks.
pub fn check_journal<J, Open>(make: impl Fn() -> Open) -> Result<(), String>
where
    J: Journal,
    Open: Fn() -> Result<J, JournalError>,
{
    for (name, check) in [
        ("a new medium", empty as fn(&Open) -> Result<(), String>),
        ("order and handlers", order),
        ("what is settled", settled),
        ("what is written twice", twice),
        ("any text", hostile),
        ("many batches", long),
        ("values for a later process", saved),
    ] {
        check(&make()).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

fn accepted(alert: &Arc<Alert>, handlers: &[&str]) -> Entry {
    let handlers = handlers.iter().map(|name| Arc::from(*name)).collect();
    Entry::Accepted { alert: alert.clone(), handlers, at_ms: AT_MS }
}

fn settlement(id: &AlertId, handler: &str, how: Settlement) -> Entry {
    Entry::Settled { id: id.clone(), handler: handler.into(), how }
}

fn pending(alert: &Arc<Alert>, handlers: &[&str], worst: Settlement) -> Pending {
    let handlers = handlers.iter().map(|name| Arc::from(*name)).collect();
    Pending { alert: alert.clone(), handlers, worst, accepted_ms: AT_MS }
}

fn recover<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(J, Vec<Pending>), String> {
    let mut journal = open().map_err(|e| format!("it cannot be opened: {e}"))?;
    let found = journal.recover().map_err(|e| format!("it cannot recover: {e}"))?;
    Ok((journal, found))
}

/// Writes `batches`, ends the journal, cleanly or not, and returns what the next one recovers.
fn after<J: Journal>(
    open: &impl Fn() -> Result<J, JournalError>,
    batches: &[&[Entry]],
    clean: bool,
) -> Result<Vec<Pending>, String> {
    let (mut journal, _) = recover(open)?;
    for batch in batches {
        journal.write(batch).map_err(|e| format!("a working medium is not written: {e}"))?;
    }
    if !clean {
        std::mem::forget(journal);
    }
    Ok(recover(open)?.1)
}

fn same(found: &[Pending], want: &[Pending]) -> Result<(), String> {
    rule(found == want, &format!("recovers {} instead of {}", shown(found), shown(want)))
}

fn shown(pending: &[Pending]) -> String {
    let one = |p: &Pending| format!("{}→{:?} {} at {}", p.alert.seq, p.handlers, p.worst.as_str(), p.accepted_ms);
    let most = pending.iter().take(10).map(one).collect::<Vec<_>>().join(", ");
    format!("{} [{most}]", pending.len())
}

fn empty<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    same(&recover(open)?.1, &[])?;
    same(&after(open, &[&[]], true)?, &[])
}

fn order<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    // In order of acceptance, not by time or id.
    let [a, b, c] = [5, 2, 9].map(|number| alert(number, "m"));
    let first = [accepted(&a, &["x", "y"]), accepted(&b, &["y"])];
    let found = after(open, &[&first], false)?;
    same(&found, &[pending(&a, &["x", "y"], WELL), pending(&b, &["y"], WELL)])?;
    let found = after(open, &[&[accepted(&c, &["z", "x"])]], true)?;
    same(&found, &[pending(&a, &["x", "y"], WELL), pending(&b, &["y"], WELL), pending(&c, &["z", "x"], WELL)])
}

fn settled<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    let [a, b, c, d] = [1, 2, 3, 4].map(|number| alert(number, "m"));
    let batch = [
        accepted(&a, &["x", "y"]),
        settlement(&a.id, "x", Settlement::QueueFull),
        accepted(&b, &["x", "y"]),
        accepted(&c, &["x"]),
        // Without handlers.
        accepted(&d, &[]),
    ];
    let next = [settlement(&b.id, "y", Settlement::Delivered), settlement(&c.id, "x", Settlement::GivenUp)];
    let found = after(open, &[&batch, &next], false)?;
    same(&found, &[pending(&a, &["y"], Settlement::QueueFull), pending(&b, &["x"], WELL)])?;
    // By a later process, and for an unknown alert.
    let last = [
        settlement(&a.id, "y", Settlement::Delivered),
        settlement(&alert(99, "m").id, "x", Settlement::Delivered),
        settlement(&b.id, "x", Settlement::HandlerRemoved),
    ];
    same(&after(open, &[&last], true)?, &[])
}

fn twice<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    let [a, b] = [1, 2].map(|number| alert(number, "m"));
    let batch = [accepted(&a, &["x", "y"]), settlement(&a.id, "x", Settlement::Delivered), accepted(&b, &["x"])];
    let done = [settlement(&b.id, "x", Settlement::Delivered)];
    let found = after(open, &[&batch, &batch, &done, &done], true)?;
    same(&found, &[pending(&a, &["y"], WELL)])?;
    // A recording that is replayed.
    let found = after(open, &[&[accepted(&b, &["x"])]], false)?;
    same(&found, &[pending(&a, &["y"], WELL), pending(&b, &["x"], WELL)])
}

fn hostile<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    let text = "\0\n\r\t\x1b[2J\u{2028}🚶\"'\\{}; -- ".repeat(500);
    let mut odd = (*alert(1, &text)).clone();
    (odd.key, odd.rule) = (text.clone(), "r\"\n'".into());
    let odd = Arc::new(odd);
    let names = ["x\n\"'", "ünïcode 🚶"];
    let found = after(open, &[&[accepted(&odd, &names)]], false)?;
    same(&found, &[pending(&odd, &names, WELL)])
}

/// Compares the open alerts during many batches, over several unclean ends.
fn long<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    let handlers = ["x", "y", "z"];
    let mut entries = Vec::new();
    for number in 0..ALERTS {
        let new = alert(number, "m");
        entries.push(accepted(&new, &handlers));
        // Settled some alerts later, by some of the handlers.
        for (at, handler) in handlers.iter().enumerate().filter(|_| number >= 5) {
            if !(number as usize + at).is_multiple_of(4) {
                let how = if number.is_multiple_of(5) { Settlement::GivenUp } else { Settlement::Delivered };
                entries.push(settlement(&alert(number - 5, "m").id, handler, how));
            }
        }
    }
    let mut want: BTreeMap<u64, Pending> = BTreeMap::new();
    let (mut journal, _) = recover(open)?;
    for (count, batch) in entries.chunks(BATCH).enumerate() {
        journal.write(batch).map_err(|e| format!("a working medium is not written: {e}"))?;
        batch.iter().for_each(|entry| note(&mut want, entry));
        if count % 40 == 39 {
            std::mem::forget(journal);
            let (next, found) = recover(open)?;
            journal = next;
            same(&found, &want.values().cloned().collect::<Vec<_>>())?;
        }
    }
    drop(journal);
    same(&recover(open)?.1, &want.into_values().collect::<Vec<_>>())
}

/// A journal returns the last value of each name, or none at all.
fn saved<J: Journal>(open: &impl Fn() -> Result<J, JournalError>) -> Result<(), String> {
    let value = |kind, name: &str, contents: Option<&str>| {
        Entry::Saved(Saved { kind, name: name.into(), contents: contents.map(Arc::from) })
    };
    let (state, silence) = (SavedKind::State, SavedKind::Silence);
    let first = [value(state, "a", Some("1")), value(state, "b", Some("2")), value(silence, "a", Some("\0\n\"'"))];
    let next = [value(state, "a", Some("3")), value(state, "b", None)];
    let batches: [&[Entry]; 4] = [&first, &first, &next, &next];
    after(open, &batches, false)?;
    let (mut journal, _) = recover(open)?;
    let mut found = journal.saved().map_err(|e| format!("it cannot be read: {e}"))?;
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let want = [value(silence, "a", Some("\0\n\"'")), value(state, "a", Some("3"))];
    let found: Vec<Entry> = found.into_iter().map(Entry::Saved).collect();
    rule(found.is_empty() || found == want, &format!("returns {found:?} instead of {want:?} or nothing"))
}

/// The expected result, kept in a map: this check numbers its alerts in order of acceptance.
fn note(open: &mut BTreeMap<u64, Pending>, entry: &Entry) {
    match entry {
        Entry::Accepted { alert, handlers, at_ms } => {
            let (alert, handlers, worst) = (alert.clone(), handlers.clone(), Settlement::Delivered);
            open.insert(alert.seq, Pending { alert, handlers, worst, accepted_ms: *at_ms });
        }
        Entry::Settled { id, handler, how } => {
            open.values_mut().filter(|pending| pending.alert.id == *id).for_each(|pending| {
                pending.handlers.retain(|name| name != handler);
                pending.worst = pending.worst.max(*how);
            });
            open.retain(|_, pending| !pending.handlers.is_empty());
        }
        Entry::Reopened { .. } | Entry::Attempted { .. } | Entry::Decided(_) | Entry::Saved(_) => {}
    }
}
