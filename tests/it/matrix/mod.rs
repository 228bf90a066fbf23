//! What goes wrong at sources, through the program itself: a table of faults and kinds, each cell with what is expected
//! of it; and what faults must not cost.
//!
//! Times are measured from outside: a listener to the event log has its own clock. The product's bounds are asserted by
//! `./dev soak matrix`; the ordinary suite asserts the order of events, with limits for a machine with other work.

mod cell;
mod changes;
mod endings;
mod events;
mod flapping;
mod networks;
mod peers;
mod publisher;
mod reconnects;
mod rig;
mod served;
mod table;

use rig::{Engine, Peer};
use table::{Cell, ORDINARY};

use crate::harness::soak;

/// Cells that run beside each other in the long run: what else the machine does is measured, too.
const AT_ONCE: usize = 4;

/// Runs cells beside each other on one engine, says what was measured, and gives back what went wrong. Cells without a
/// peer here are left out.
fn run(test: &str, cells: &[Cell]) -> Vec<String> {
    let with_peer = |cell: &Cell| Some((*cell, rig::start(test, cell)?));
    let mut cells: Vec<(Cell, Box<dyn Peer>)> = cells.iter().filter_map(with_peer).collect();
    if cells.is_empty() {
        return Vec::new();
    }
    let sources: Vec<String> = cells.iter().map(|(cell, peer)| peer.source(&cell.id())).collect();
    let engine = Engine::start(&sources.concat(), "");
    cells.iter_mut().for_each(|(cell, peer)| peer.meet(&engine.page, &cell.id()));
    let (page, events) = (engine.page.as_str(), &engine.events);
    let results: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let started: Vec<_> = cells
            .iter_mut()
            .map(|(cell, peer)| scope.spawn(move || cell::run(cell, peer.as_mut(), page, events)))
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("the test panicked".into()))).collect()
    });
    for ((cell, _), result) in cells.iter().zip(&results) {
        println!("matrix: {}: {}", cell.id(), result.as_ref().unwrap_or_else(|why| why));
    }
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if !wrong.is_empty() {
        println!("{}", engine.run.seen.join("\n"));
    }
    engine.end_without_a_secret();
    wrong
}

#[test]
fn ten_cells_are_noticed_and_back_and_show_no_password() {
    let wrong = run("matrix::ten_cells", &ORDINARY.map(table::cell));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_cell_keeps_the_bounds_on_a_quiet_machine() {
    // With the limits of a busy machine where all are asked for without the long run, or those with a word in their id.
    let wanted = std::env::var("DSENGINE_TEST_ALL_CELLS").ok();
    if !soak() && wanted.is_none() {
        return;
    }
    let is_wanted = |cell: &Cell| wanted.as_ref().is_none_or(|word| word == "1" || cell.id().contains(word));
    let cells: Vec<Cell> = table::cells().into_iter().filter(is_wanted).collect();
    let wrong: Vec<String> = cells.chunks(AT_ONCE).flat_map(|cells| run("matrix::every_cell", cells)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
