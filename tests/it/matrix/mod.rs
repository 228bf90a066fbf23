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
mod reconnects;
mod rig;
mod table;

use rig::{Engine, Peer};
use table::{Cell, Kind, ORDINARY};

use crate::harness::soak;

/// Cells that run beside each other in the long run: what else the machine does is measured, too.
const AT_ONCE: usize = 4;

/// Runs cells beside each other on one engine, says what was measured, and gives back what went wrong. Nothing runs
/// where there is no camera.
fn run(test: &str, cells: &[Cell]) -> Vec<String> {
    let mut peers = Vec::new();
    for cell in cells {
        let Some(peer) = Peer::start(test, cell) else { return Vec::new() };
        peers.push(peer);
    }
    let protocol = |kind: Kind| if kind == Kind::RtspUdp { "udp" } else { "tcp" };
    let line = |(cell, peer): (&Cell, &Peer)| {
        let (id, uri, protocol) = (cell.id(), peer.uri(), protocol(cell.kind));
        format!("  - {{ id: {id}, type: rtsp, uri: '{uri}', parameters: {{ protocol: {protocol} }} }}\n")
    };
    let engine = Engine::start(&cells.iter().zip(&peers).map(line).collect::<String>(), "");
    let (page, events) = (engine.page.as_str(), &engine.events);
    let results: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let started =
            cells.iter().zip(&mut peers).map(|(cell, peer)| scope.spawn(move || cell::run(cell, peer, page, events)));
        let started: Vec<_> = started.collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("the test panicked".into()))).collect()
    });
    for (cell, result) in cells.iter().zip(&results) {
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
    // With the limits of a busy machine where all are asked for without the long run.
    if !soak() && std::env::var_os("DSENGINE_TEST_ALL_CELLS").is_none() {
        return;
    }
    for kind in Kind::ALL {
        if let Some(why) = kind.unbuilt() {
            println!("matrix: {kind:?}: {why}");
        }
    }
    let run = |cells: &[Cell]| run("matrix::every_cell", cells);
    let wrong: Vec<String> = table::cells().chunks(AT_ONCE).flat_map(run).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
