//! A publisher that connects to the engine (WHIP), and publishes anew whenever its session has ended.

use std::time::Instant;

use super::rig::{CANARY, Peer};
use super::table::Fault;
use crate::webrtc::peer::{self, is_there};

/// See the module.
pub(super) struct Publisher {
    process: Option<peer::Peer>,
    url: String,
}

impl Publisher {
    pub(super) fn start() -> Option<Self> {
        is_there().then(|| Self { process: None, url: String::new() })
    }

    /// Starts its process, and waits until that asks the engine to take its stream.
    fn publish(&mut self, codec: &str) {
        let args = ["publish", &self.url, "--again", "--fps", "10", "--codec", codec, "--token", CANARY];
        let process = peer::Peer::start(&args);
        process.wait(|line| line["is"] == "offers");
        self.process = Some(process);
    }

    fn process(&mut self) -> &mut peer::Peer {
        self.process.as_mut().expect("it publishes")
    }
}

impl Peer for Publisher {
    fn source(&self, id: &str) -> String {
        format!("  - {{ id: {id}, type: webrtc, uri: 'whip:' }}\n")
    }

    fn meet(&mut self, page: &str, id: &str) {
        self.url = format!("http://{page}/whip/{id}");
        self.publish("VP8");
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Kill | Fault::Codec => self.process = None,
            Fault::Freeze => self.process().signal("STOP"),
            Fault::WrongSdp => self.process().tell("wrong-sdp"),
            Fault::Size => self.process().tell("size 480x368"),
            Fault::Silence => self.process().tell("freeze"),
            Fault::Garbage => self.process().tell("garbage"),
            Fault::Drip => self.process().tell("drip"),
            Fault::Loss(percent) => self.process().tell(&format!("loss {percent}")),
            Fault::Reset | Fault::Refuse | Fault::NoDns | Fault::Unauthorized | Fault::NotFound => {
                unreachable!("it means nothing for a publisher: {fault:?}")
            }
        }
    }

    fn end(&mut self, fault: Fault) -> Instant {
        match fault {
            Fault::Kill => self.publish("VP8"),
            Fault::Codec => self.publish("H264"),
            Fault::Freeze => self.process().signal("CONT"),
            Fault::WrongSdp => self.process().tell("right-sdp"),
            Fault::Silence => self.process().tell("thaw"),
            Fault::Garbage | Fault::Drip | Fault::Loss(_) => self.process().tell("perfect"),
            _ => {}
        }
        Instant::now()
    }
}
