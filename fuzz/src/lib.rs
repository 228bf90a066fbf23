//! What the targets share: a file to write an input to, and addresses to answer at.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A folder of this process, in memory where there is such a place.
pub fn folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder = parent.join(format!("dsengine-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder to work in");
    folder
}

/// A file with this content; the one before is overwritten.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, bytes).expect("a file to work with");
    path
}

/// A server that answers every request with the same bytes, whatever was asked.
pub struct Answerer {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Answerer {
    /// Listens on loopback, on a thread that ends with the process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("the port's number");
        let answer = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&shared);
                std::thread::spawn(move || answers(stream, &answer));
            }
        });
        Self { address, answer }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers from now on.
    pub fn set(&self, bytes: &[u8]) {
        *self.answer.lock().expect("nobody panics with it") = bytes.to_vec();
    }
}

/// One connection: an answer after each request, until the other side has enough.
fn answers(mut stream: TcpStream, answer: &Mutex<Vec<u8>>) {
    let mut request = [0; 4096];
    for _ in 0..8 {
        let Ok(1..) = stream.read(&mut request) else { return };
        let answer = answer.lock().expect("nobody panics with it").clone();
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Sends the bytes, ends its side, and reads what comes back until the other side ends.
///
/// # Panics
/// Where it is not over within a second: the other side waits for something that cannot come.
pub fn converse(address: SocketAddr, bytes: &[u8]) -> usize {
    let Ok(mut stream) = TcpStream::connect(address) else { return 0 };
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a duration above zero");
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let (mut chunk, mut total) = ([0; 4096], 0);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return total,
            Ok(read) => total += read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("a connection is open for a second after its request has ended")
            }
            Err(_) => return total,
        }
        if total > 1 << 20 {
            return total;
        }
    }
}
