//! Cameras behind networks of thirteen kinds: what can be seen is seen, the rest is said, and all come back.

use std::time::{Duration, Instant};

use super::events::Told;
use super::rig::{Engine, LIMIT, source};
use crate::fault_proxy::{FaultProxy, Link, PROFILES, Profile, Protocol};
use crate::harness::{bar, soak};
use crate::sources::Camera;

/// How long each network is tried.
const TRIED: Duration = Duration::from_secs(30);
const FPS: usize = 10;
const BACK: Duration = Duration::from_secs(12);
/// Networks with more loss than this need not deliver.
const LOSS_MAX: f64 = 0.03;

#[test]
fn cameras_behind_thirteen_networks_deliver_or_are_said_to_be_lost() {
    if !soak() {
        return;
    }
    for profiles in PROFILES.chunks(5) {
        let args = ["--fps", "10", "--key-frames", "10", "--size", "160x120", "--transport", "udp"];
        let Some(camera) = Camera::start("matrix::networks", 0, &args) else { return };
        let proxies: Vec<FaultProxy> = (0..)
            .zip(profiles)
            .map(|(seed, profile)| {
                let proxy = FaultProxy::start(Protocol::Rtsp, camera.port, seed);
                proxy.follow(profile.timeline(seed));
                proxy
            })
            .collect();
        let line = |(profile, proxy): (&Profile, &FaultProxy)| {
            let (name, port) = (profile.name, proxy.port);
            format!("  - {{ id: {name}, uri: 'rtsp://127.0.0.1:{port}/cam', parameters: {{ protocol: udp }} }}\n")
        };
        let engine = Engine::start(&profiles.iter().zip(&proxies).map(line).collect::<String>(), "");
        std::thread::park_timeout(TRIED);
        let until = engine.events.len();
        for (profile, proxy) in profiles.iter().zip(&proxies) {
            let told = engine.events.of_source(profile.name, 0);
            let frames = told.iter().filter(|told| told.is_frame()).count();
            let losses = told.iter().filter(|told| told.is_loss()).count();
            println!("matrix: {}: {frames} frames in {TRIED:?}, {losses} losses said", profile.name);
            let good = profile.link.loss <= LOSS_MAX && !profile.has_outages();
            assert!(!good || (frames > TRIED.as_secs() as usize * FPS / 2 && losses == 0), "{}", profile.name);
            assert!(frames > 0 || losses > 0, "{}: {}", profile.name, source(&engine.page, profile.name));
            proxy.set(Link::PERFECT);
        }
        let over = Instant::now();
        for profile in profiles {
            let of = |told: &Told| told.source == profile.name && told.is_frame() && told.at > over;
            let (_, frame) = engine.events.wait(until, LIMIT, of).unwrap_or_else(|| panic!("{} is back", profile.name));
            assert!(frame.at - over <= bar(BACK), "{}: back after {:?}", profile.name, frame.at - over);
        }
    }
}
