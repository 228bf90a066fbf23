//! What must hold at the end of a day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::Settlement;
use super::clock::SECOND;
use super::world::{CRITICAL, HANDLERS, Life, World};
use crate::types::{Alert, AlertId, Level};

const MINUTE: u64 = 60 * SECOND;

pub(super) fn day(world: &World) -> Result<(), String> {
    if world.disk.is_open() {
        return Err("the disk has alerts that are still open".into());
    }
    let decided: BTreeMap<&AlertId, (usize, &Arc<Alert>)> = world
        .lives
        .iter()
        .flat_map(|life| &life.decided)
        .enumerate()
        .map(|(number, (_, alert))| (&alert.id, (number, alert)))
        .collect();
    for handler in 0..HANDLERS.len() {
        arrived(world, handler)?;
        in_order(world, handler, &decided)?;
    }
    for life in &world.lives {
        limited(life, world.plan.max_per_minute as usize)?;
        told_once(life, world.plan.throttle.as_nanos() as u64)?;
        if life.is_whole {
            named(life)?;
        }
    }
    Ok(())
}

/// Each accepted alert arrived, or it is known why not; and nothing arrived that was not accepted, or twice for no
/// reason.
fn arrived(world: &World, handler: usize) -> Result<(), String> {
    let receiver = &world.receivers[handler];
    let mut got: BTreeMap<&AlertId, u32> = BTreeMap::new();
    receiver.got.iter().for_each(|alert| *got.entry(&alert.id).or_default() += 1);
    let settled: BTreeMap<&AlertId, Settlement> = world
        .disk
        .settled
        .iter()
        .filter(|(_, name, _)| name == HANDLERS[handler])
        .map(|(id, _, how)| (id, *how))
        .collect();
    for alert in world.accepted.lock().iter() {
        match settled.get(&alert.id) {
            None => return Err(format!("{} was accepted, and {} never did it", alert.id, HANDLERS[handler])),
            Some(Settlement::Delivered) if !got.contains_key(&alert.id) => {
                return Err(format!("{} counts as delivered, and did not arrive", alert.id));
            }
            Some(_) => {}
        }
    }
    let most = |id| 1 + receiver.unanswered.get(id).copied().unwrap_or_default() + world.crashes;
    match got.iter().find(|(id, times)| **times > most(id)) {
        Some((id, times)) => Err(format!("{id} arrived {times} times")),
        None => Ok(()),
    }
}

/// The alerts of a source arrive in order of acceptance, the critical ones in an order of their own; each with its id.
fn in_order(world: &World, handler: usize, decided: &BTreeMap<&AlertId, (usize, &Arc<Alert>)>) -> Result<(), String> {
    let mut last: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for alert in &world.receivers[handler].got {
        let Some((number, sent)) = decided.get(&alert.id) else {
            return Err(format!("{} arrived, and nobody sent it", alert.id));
        };
        if *sent != alert {
            return Err(format!("{} arrived as another alert", alert.id));
        }
        let is_late = world.given_up.contains(&(HANDLERS[handler].to_owned(), alert.id.clone()));
        if !seen.insert(&alert.id) || is_late {
            continue;
        }
        let line = (alert.source.as_str(), alert.level == Level::Critical);
        if let Some(former) = last.insert(line, *number)
            && former > *number
        {
            return Err(format!("{} arrived after a later alert of its source", alert.id));
        }
    }
    Ok(())
}

/// Never more than the limit in any minute.
fn limited(life: &Life, limit: usize) -> Result<(), String> {
    let running = &life.decided[..life.running.unwrap_or(life.decided.len())];
    let sent: Vec<&(u64, Arc<Alert>)> = running.iter().filter(|(_, alert)| alert.level != Level::Critical).collect();
    match sent.windows(limit + 1).find(|window| window[limit].0 - window[0].0 < MINUTE) {
        Some(window) => {
            let one = |(at_ns, alert): &&(u64, Arc<Alert>)| {
                format!(
                    "{}.{:03} s {} {} {:?}",
                    at_ns / SECOND,
                    at_ns / 1_000_000 % 1_000,
                    alert.source,
                    alert.rule,
                    alert.digest
                )
            };
            Err(format!(
                "more than {limit} alerts in a minute: {}",
                window.iter().map(one).collect::<Vec<_>>().join(", ")
            ))
        }
        None => Ok(()),
    }
}

/// The times at which a condition was raised, by what identifies it.
fn raised(life: &Life) -> BTreeMap<(&str, &str, &str), Vec<u64>> {
    let mut raised: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for draft in &life.raised {
        raised.entry((draft.source.as_str(), &*draft.rule, &*draft.key)).or_default().push(draft.pts_ns);
    }
    raised
}

/// A condition that lasts is told once, and a critical one is told at once.
fn told_once(life: &Life, window_ns: u64) -> Result<(), String> {
    let told: BTreeSet<_> = life
        .decided
        .iter()
        .filter(|(_, alert)| alert.digest.is_none())
        .map(|(_, alert)| (alert.source.as_str(), &*alert.rule, &*alert.key, alert.pts_ns, alert.level))
        .collect();
    for ((source, rule, key), times) in raised(life) {
        let level = if key == CRITICAL { Level::Critical } else { Level::Medium };
        let (mut is_told, mut last_ns) = (false, None);
        for (at, time_ns) in times.iter().enumerate() {
            let lasts = last_ns.is_some_and(|last_ns| time_ns - last_ns < window_ns);
            // Twice on one frame is once.
            let is_again = at > 0 && times[at - 1] == *time_ns;
            let is_here = told.contains(&(source, rule, key, *time_ns, level)) && !is_again;
            if lasts && is_told && is_here {
                return Err(format!("{source} {rule} {key} lasts, and was told again at {time_ns} ns"));
            }
            if !lasts && level == Level::Critical && !is_here {
                return Err(format!("{source} {rule} {key} is critical, and was not told at {time_ns} ns"));
            }
            is_told = is_here || lasts && is_told;
            last_ns = Some(*time_ns);
        }
    }
    Ok(())
}

/// Whatever was raised was sent, or is named in a digest.
fn named(life: &Life) -> Result<(), String> {
    let mut named = BTreeSet::new();
    for (_, alert) in &life.decided {
        let keys = alert.digest.iter().flat_map(|digest| &digest.keys).chain([&alert.key]);
        named.extend(keys.map(|key| (alert.source.as_str(), &*alert.rule, &**key)));
    }
    match raised(life).keys().find(|key| !named.contains(*key)) {
        Some((source, rule, key)) => Err(format!("{source} {rule} {key} was raised, and nobody was told")),
        None => Ok(()),
    }
}
