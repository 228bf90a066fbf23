//! Taking the port, and naming who has it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Code, Error};

/// A listener on 127.0.0.1, ready for an async runtime, and its address.
pub(super) fn on_loopback(port: u16) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| cannot(port, &error))
}

/// The error for a port that cannot be had.
pub(super) fn cannot(port: u16, error: &io::Error) -> Error {
    let hint = "set monitoring.prometheus.port to another port, or to 0 for any free one";
    if error.kind() == io::ErrorKind::AddrInUse {
        let holder = holder(port).map_or(String::new(), |name| format!(" by {name}"));
        return Error::new(Code::Listen, format!("port {port} on 127.0.0.1 is in use{holder}")).hint(hint);
    }
    Error::new(Code::Listen, format!("cannot listen on 127.0.0.1:{port}: {error}")).hint(hint)
}

/// `name (pid N)` of the process that listens on `port`, where this user may see it.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket.as_str()));
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        holds.then(|| format!("{} (pid {pid})", name.trim()))
    })
}

/// The inode of the listening socket in one of the kernel's tables.
fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN)
            .then(|| fields.get(9).map(|i| (*i).to_owned()))?
    })
}
