//! `dsengine schema`: the JSON Schema an editor checks configurations with.

use super::exit::Exit;

pub(crate) fn run() -> Exit {
    println!("{:#}", dsengine::config::schema());
    Exit::Fine
}
