//! WebRTC through `webrtcbin`: publishers of a source (WHIP) and its viewers (WHEP).
//!
//! A [`Door`] is the WebRTC side of one source: it answers offers, on the caller's thread. A publisher's pipeline then
//! goes to the source's own thread (`publisher`), which pulls its frames as those of any source; a viewer has a thread
//! of its own (`viewer`). `pull` fetches a source from a server. `sdp` checks what peers send before GStreamer sees it.
//! The elements and the library are looked up at run time, so a host without them starts. Read `door` next.

mod abi;
mod addresses;
mod connection;
mod door;
mod http;
mod publisher;
mod pull;
mod sdp;
mod viewer;

pub(super) use door::{Door, Sessions};
pub(super) use publisher::Reception;
pub(super) use pull::Pulling;
