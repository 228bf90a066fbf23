// Plays one source at a time over WebRTC (WHEP): its own H.264 stream, below the picture's boxes. Where that is
// refused, the MJPEG pictures stay.

// Longest wait for the connection's addresses.
const GATHER_MS = 2000;
// After a refusal or a loss, the next try.
const AGAIN_MS = 10000;

let current = null;

// Plays the source in this video, or nothing; `shown` is called with whether its pictures are seen.
export function play(id, video, shown) {
  if (current?.id === id) return;
  current?.end();
  current = id === null ? null : begin(id, video, shown);
}

function begin(id, video, shown) {
  const session = { id, over: false, peer: null, place: null, timer: 0 };
  session.end = () => {
    session.over = true;
    clearTimeout(session.timer);
    lose();
  };
  const lose = () => {
    shown(false);
    video.srcObject = null;
    session.peer?.close();
    session.peer = null;
    if (session.place) fetch(session.place, { method: "DELETE", keepalive: true }).catch(() => {});
    session.place = null;
  };
  const again = () => {
    lose();
    if (!session.over) session.timer = setTimeout(attempt, AGAIN_MS);
  };
  const attempt = async () => {
    try {
      const peer = (session.peer = new RTCPeerConnection());
      peer.addTransceiver("video", { direction: "recvonly" });
      peer.addEventListener("track", ({ streams, track }) => {
        video.srcObject = streams[0] ?? new MediaStream([track]);
      });
      peer.addEventListener("connectionstatechange", () => {
        if (peer === session.peer && ["failed", "disconnected"].includes(peer.connectionState)) again();
      });
      await peer.setLocalDescription(await peer.createOffer());
      await gathered(peer);
      const answer = await fetch(`/whep/${encodeURIComponent(id)}`, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: peer.localDescription.sdp,
      });
      if (answer.status !== 201) throw new Error("refused");
      session.place = answer.headers.get("Location");
      const sdp = await answer.text();
      if (session.over) return lose();
      await peer.setRemoteDescription({ type: "answer", sdp });
    } catch {
      again();
    }
  };
  video.onplaying = () => shown(!session.over);
  attempt();
  return session;
}

function gathered(peer) {
  return new Promise((done) => {
    const look = () => peer.iceGatheringState === "complete" && done();
    peer.addEventListener("icegatheringstatechange", look);
    setTimeout(done, GATHER_MS);
    look();
  });
}
