//! Binds the port, and names the process that holds it.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::error::{Code, Error};
use crate::own;

/// The key of the page's port.
pub(super) const PORT_KEY: &str = "monitoring.prometheus.port";

/// Binds a non-blocking listener; returns it with its address. Waits for a port whose holder was killed and is about to
/// end. `key` is the key of its port, for errors.
pub(super) fn on(address: SocketAddr, key: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = own::retry_while_ending(|| match TcpListener::bind(address) {
        // Not of another user, or of one of which only threads are left: it may be ending.
        Err(error) if is_in_use(&error) => Err(holder(address.port()).is_none_or(|(pid, _)| own::is_ending(pid))),
        bound => Ok(bound),
    });
    let bound = bound.unwrap_or_else(|| TcpListener::bind(address)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| cannot(address, &error, key))
}

/// The error for an address that is not available.
pub(super) fn cannot(address: SocketAddr, error: &io::Error, key: &str) -> Error {
    let (ip, port) = (address.ip(), address.port());
    let hint = match key {
        PORT_KEY => format!("name another with --port, or 0 for any free one; in a configuration: {key}"),
        key => format!("set {key} to another port"),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder(port).map_or(String::new(), |(pid, name)| format!(" by {name} (pid {pid})"));
            Error::new(Code::Listen, format!("port {port} on {ip} is in use{holder}")).hint(hint)
        }
        io::ErrorKind::AddrNotAvailable => Error::new(Code::Listen, format!("{ip} is not an address of this machine"))
            .hint("set monitoring.listen to one that `ip addr` lists, or to 0.0.0.0 for all"),
        _ => Error::new(Code::Listen, format!("cannot listen on {address}: {error}")).hint(hint),
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// The id and the name of the process that listens on `port`, if this user may see it.
fn holder(port: u16) -> Option<(u32, String)> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket.as_str()));
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        holds.then(|| (pid, name.trim().to_owned()))
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
