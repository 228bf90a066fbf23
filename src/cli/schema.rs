//! `dsengine schema`: prints the JSON Schema with which editors check configurations.

use super::exit::Exit;

pub(crate) fn run() -> Exit {
    println!("{:#}", dsengine::config::schema());
    Exit::Fine
}
