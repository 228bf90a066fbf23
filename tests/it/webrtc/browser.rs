//! A browser: it publishes its fake camera, and plays a source on the page.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Engine;
use super::peer::is_there;
use crate::harness::{root, skip, write};

/// Runs a script on the engine's page (`tests/doubles/browser.py`); `None`, with a loud skip, without a browser.
fn browse(engine: &Engine, script: &str) -> Option<Value> {
    let found = Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip("webrtc::browser", "chromium is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = write(dir.path(), "script.js", &format!("{SHARED}\n{script}"));
    let double = root().join("tests/doubles/browser.py");
    let answer = Command::new("python3").arg(double).arg(engine.url("/")).arg(script).output().unwrap();
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(answer["failed"].is_null(), "{answer}");
    Some(answer["returned"].clone())
}

/// What the scripts have in common.
const SHARED: &str = r#"
const LIMIT_MS = 40000;
async function until(what, isSo) {
  const end = Date.now() + LIMIT_MS;
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
async function open(path, peer) {
  await peer.setLocalDescription(await peer.createOffer());
  await until("addresses", () => peer.iceGatheringState === "complete");
  const headers = { "Content-Type": "application/sdp" };
  const answer = await fetch(path, { method: "POST", headers, body: peer.localDescription.sdp });
  const sdp = await answer.text();
  if (answer.status !== 201) throw new Error(sdp);
  await peer.setRemoteDescription({ type: "answer", sdp });
}
async function publish(path, stream, codec) {
  const peer = new RTCPeerConnection();
  const transceiver = peer.addTransceiver(stream.getVideoTracks()[0], { direction: "sendonly" });
  const all = RTCRtpSender.getCapabilities("video").codecs;
  transceiver.setCodecPreferences(all.filter((c) => c.mimeType === codec));
  await open(path, peer);
  await until("connected", () => peer.connectionState === "connected");
  return peer;
}
"#;

#[test]
fn a_browser_publishes_its_camera() {
    if !is_there() {
        return;
    }
    let engine = Engine::start("- {id: yard, type: webrtc, uri: 'whip:'}", "");
    let script = r#"
const peer = await publish("/whip/yard", await navigator.mediaDevices.getUserMedia({ video: true }), "video/VP8");
let source = {};
const look = async () => (source = (await (await fetch("/api/v1/sources/yard")).json()).status);
for (const end = Date.now() + LIMIT_MS; (source.frames ?? 0) < 20 && Date.now() < end; ) await look();
peer.close();
return source;
"#;
    let Some(source) = browse(&engine, script) else { return };
    assert!(source["state"] == "running" && source["frames"].as_u64() >= Some(20), "{source}");
    engine.wait("yard", "waiting");
}

/// A page that publishes a picture with the time in it, and plays it as the engine passes it on: sixteen bars, of which
/// each is a bit of the time in tens of milliseconds.
#[test]
fn the_page_plays_a_source_as_it_comes_and_it_is_live_below_a_second() {
    if !is_there() {
        return;
    }
    let engine = Engine::start("- {id: yard, type: webrtc, uri: 'whip:'}", "");
    let script = r##"
const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
const g = canvas.getContext("2d");
const stamp = () => Math.floor(Date.now() / 10) & 0xffff;
setInterval(() => {
  const now = stamp();
  for (let bit = 0; bit < 16; bit++) {
    g.fillStyle = (now >> bit) & 1 ? "#fff" : "#000";
    g.fillRect(bit * 40, 0, 40, 360);
  }
}, 33);
await publish("/whip/yard", canvas.captureStream(30), "video/H264");
await until("the page plays it", () => {
  const video = document.querySelector(".card video");
  return video && !video.hidden && video.videoWidth > 0;
});
const video = document.querySelector(".card video");
const read = Object.assign(document.createElement("canvas"), { width: 640, height: 360 });
const r = read.getContext("2d", { willReadFrequently: true });
const late = [];
await new Promise((done) => {
  const end = Date.now() + LIMIT_MS;
  const look = () => {
    r.drawImage(video, 0, 0, 640, 360);
    let seen = 0;
    for (let bit = 0; bit < 16; bit++) {
      const [light] = r.getImageData(bit * 40 + 20, 180, 1, 1).data;
      if (light > 128) seen |= 1 << bit;
    }
    late.push(((stamp() - seen) & 0xffff) * 10);
    if (late.length < 60 && Date.now() < end) video.requestVideoFrameCallback(look);
    else done();
  };
  video.requestVideoFrameCallback(look);
});
late.sort((a, b) => a - b);
return { shown: late.length, p50: late[Math.floor(late.length / 2)] };
"##;
    let Some(seen) = browse(&engine, script) else { return };
    println!("WHEP in a browser: {seen}");
    assert!(seen["shown"].as_u64() >= Some(60), "{seen}");
    assert!(seen["p50"].as_u64() <= Some(if crate::harness::soak() { 1_000 } else { 3_000 }), "{seen}");
}
