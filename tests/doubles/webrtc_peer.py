"""A WebRTC peer that is not GStreamer: publishes a moving picture (WHIP), plays a source (WHEP), or serves one.

    webrtc_peer.py publish URL [--codec H264|VP8] [--token TOKEN] [--fps N] [--relay] [--again]
    webrtc_peer.py play URL [--token TOKEN]
    webrtc_peer.py serve /PATH [--codec H264|VP8] [--token TOKEN]

Prints one JSON object a line: {"is": "answered", "status": 201, ...}, {"is": "state", ...}, {"is": "frame", "n": ...,
"at": ...}; a server {"is": "listens", "port": ...} first. Reads commands, one a line: `freeze` stops sending pictures,
`thaw` goes on, `size WxH` is that of the next pictures, `bye` ends the session by DELETE, `quit` ends without a word.

A publisher with `--again` publishes anew, half a second after its session has ended or was refused. It spoils what it
sends: `loss N` loses so many of a hundred RTP packets, `garbage` sends noise in their place, `drip` sends one a second,
`perfect` ends all of it. `wrong-sdp` ends the session, and its offers name no media until `right-sdp`.
"""

import argparse
import asyncio
import fractions
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import aioice.ice
import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import is_rtcp

# Between the end of a session and the next.
PAUSE_S = 0.5

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def say(**what):
    print(json.dumps(what), flush=True)


class Picture(VideoStreamTrack):
    """A bright bar that moves over a dark ground."""

    def __init__(self, fps):
        super().__init__()
        self.period, self.n, self.start, self.going = 1 / fps, 0, time.time(), asyncio.Event()
        self.going.set()
        self.width, self.height = 320, 240

    async def recv(self):
        await self.going.wait()
        # What was due meanwhile is not sent late.
        self.n = max(self.n, int((time.time() - self.start) / self.period))
        due = self.start + self.n * self.period
        await asyncio.sleep(max(0, due - time.time()))
        width, height = self.width, self.height
        frame = av.VideoFrame(width, height, "yuv420p")
        luma = bytearray(b"\x20" * (width * height))
        left = (self.n * 4) % (width - 40)
        for row in range(height // 4, height * 3 // 4):
            luma[row * width + left : row * width + left + 40] = b"\xe0" * 40
        frame.planes[0].update(bytes(luma))
        for plane in frame.planes[1:]:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = int(self.n * self.period * 90000), fractions.Fraction(1, 90000)
        self.n += 1
        return frame


def ask(method, url, token, body=None):
    headers = {"Content-Type": "application/sdp"} if body else {}
    if token:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(url, data=body and body.encode(), headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers.get("Location"), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, None, error.read().decode()


class Link:
    """What becomes of the RTP packets that a publisher sends; RTCP passes."""

    def __init__(self):
        self.form, self.lost, self.dripped = "perfect", 0.0, 0.0
        self.chance = random.Random(7)

    def set(self, form, percent="0"):
        self.form, self.lost = form, int(percent) / 100

    def spoil(self, transport):
        send = transport._send_rtp

        async def spoilt(data):
            if not is_rtcp(data):
                data = self.passed(data)
            if data is not None:
                await send(data)

        transport._send_rtp = spoilt

    def passed(self, data):
        if self.form == "loss" and self.chance.random() < self.lost:
            return None
        if self.form == "drip":
            if time.time() < self.dripped + 1:
                return None
            self.dripped = time.time()
        if self.form == "garbage":
            head = 12 + 4 * (data[0] & 15)
            if data[0] & 16:
                head += 4 + 4 * int.from_bytes(data[head + 2 : head + 4], "big")
            return data[:head] + os.urandom(len(data) - head)
        return data


class Publisher:
    """Publishes, once or again and again."""

    def __init__(self, args, picture):
        self.args, self.picture, self.link = args, picture, Link()
        self.is_right, self.peer, self.location = True, None, None

    async def run(self):
        while True:
            self.peer, over = RTCPeerConnection(RTCConfiguration(iceServers=[])), asyncio.Event()
            if await publish(self, self.peer, over):
                await over.wait()
            await self.peer.close()
            if not self.args.again:
                return
            await asyncio.sleep(PAUSE_S)

    async def obey(self, line):
        word, *rest = line.split()
        if word in ("loss", "garbage", "drip", "perfect"):
            self.link.set(word, *rest)
        elif word in ("wrong-sdp", "right-sdp"):
            self.is_right = word == "right-sdp"
            if not self.is_right and self.peer:
                await self.peer.close()
        elif word == "bye":
            session = urllib.parse.urljoin(self.args.url, self.location)
            status = (await asyncio.to_thread(ask, "DELETE", session, self.args.token))[0]
            say(**{"is": "deleted", "status": status})
        return await obey(line, self.picture)


async def publish(publisher, peer, over):
    """Makes one session; `over` is set when it ends and another is to follow. Whether it was accepted."""
    args = publisher.args

    @peer.on("connectionstatechange")
    def changed():
        say(**{"is": "state", "state": peer.connectionState})
        if args.again and peer.connectionState in ("failed", "closed"):
            over.set()

    transceiver = peer.addTransceiver(publisher.picture, direction="sendonly")
    wanted = "video/" + args.codec
    chosen = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() == wanted.lower()]
    transceiver.setCodecPreferences(chosen)
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    if not publisher.is_right:
        offer = offer.replace("\r\nm=", "\r\nx=")
    say(**{"is": "offers"})
    try:
        status, publisher.location, body = await asyncio.to_thread(ask, "POST", args.url, args.token, offer)
    except urllib.error.URLError as error:
        status, body = 0, str(error)
    say(**{"is": "answered", "status": status, "location": publisher.location, "body": body})
    if status != 201:
        return False
    if args.relay:
        lines = body.split("\r\n")
        body = "\r\n".join(l for l in lines if not l.startswith("a=candidate:") or " typ relay" in l)
    publisher.link.spoil(transceiver.sender.transport)
    await peer.setRemoteDescription(RTCSessionDescription(body, "answer"))
    return True


async def obey(line, picture):
    if line == "freeze":
        picture.going.clear()
    elif line == "thaw":
        picture.going.set()
    elif line.startswith("size "):
        picture.width, picture.height = map(int, line.removeprefix("size ").split("x"))
    return line == "quit"


async def commands(on_line):
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if await on_line(line.decode().strip()):
            return


async def serve(args, picture):
    """A WHEP server for one viewer after the other."""
    peers = {}

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        method, path = head.split(" ")[:2]
        length = int(head.split("content-length: ")[1].split("\r\n")[0]) if "content-length: " in head else 0
        offer = (await reader.readexactly(length)).decode()
        allowed = not args.token or "authorization: bearer " + args.token.lower() + "\r\n" in head
        status, headers, body = 401 if not allowed else 404, "", ""
        if allowed and method == "post" and path == args.url:
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.on("connectionstatechange", lambda: say(**{"is": "state", "state": peer.connectionState}))
            # As a DTLS client, this library takes ECDSA certificates only; GStreamer has an RSA one.
            offer = offer.replace("a=setup:actpass", "a=setup:active")
            await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            transceiver = peer.getTransceivers()[0]
            transceiver.direction = "sendonly"
            transceiver.sender.replaceTrack(picture)
            wanted = "video/" + args.codec.lower()
            capabilities = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([c for c in capabilities if c.mimeType.lower() == wanted])
            await peer.setLocalDescription(await peer.createAnswer())
            name = str(len(peers))
            peers[name] = peer
            status, body = 201, peer.localDescription.sdp
            headers = f"Location: {args.url}/{name}\r\nContent-Type: application/sdp\r\n"
        elif allowed and method == "delete" and path.rsplit("/", 1)[-1] in peers:
            await peers.pop(path.rsplit("/", 1)[-1]).close()
            status = 200
        say(**{"is": "asked", "method": method, "status": status})
        headers += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        writer.write(f"HTTP/1.1 {status} X\r\n{headers}\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    say(**{"is": "listens", "port": server.sockets[0].getsockname()[1]})


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["publish", "play", "serve"])
    parser.add_argument("url")
    parser.add_argument("--codec", default="VP8")
    parser.add_argument("--token")
    parser.add_argument("--fps", type=float, default=20)
    parser.add_argument("--relay", action="store_true", help="use the answer's relayed addresses only")
    parser.add_argument("--again", action="store_true", help="publish anew when the session has ended")
    args = parser.parse_args()

    picture = Picture(args.fps)
    if args.what == "serve":
        await serve(args, picture)
        await commands(lambda line: obey(line, picture))
        return
    if args.what == "publish":
        if args.again:
            # The engine is gone once it has not answered for some seconds, not for thirty.
            aioice.ice.CONSENT_INTERVAL, aioice.ice.CONSENT_FAILURES = 1, 3
        publisher = Publisher(args, picture)
        running = asyncio.ensure_future(publisher.run())
        listening = asyncio.ensure_future(commands(publisher.obey))
        ended, _ = await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
        return [task.result() for task in ended]
    await play(args)


async def play(args):
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.on("connectionstatechange", lambda: say(**{"is": "state", "state": peer.connectionState}))
    peer.addTransceiver("video", direction="recvonly")

    @peer.on("track")
    def on_track(track):
        async def drain():
            n = 0
            while True:
                frame = await track.recv()
                n += 1
                luma = frame.planes[0]
                begin = luma.line_size * (frame.height // 2)
                middle = bytes(luma)[begin : begin + frame.width : max(1, frame.width // 16)]
                say(**{"is": "frame", "n": n, "at": time.time(), "width": frame.width, "height": frame.height,
                       "row": middle.hex()})
        asyncio.ensure_future(drain())

    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    status, location, body = await asyncio.to_thread(ask, "POST", args.url, args.token, offer)
    say(**{"is": "answered", "status": status, "location": location, "body": body})
    if status != 201:
        await peer.close()
        return
    await peer.setRemoteDescription(RTCSessionDescription(body, "answer"))

    async def on_line(line):
        if line == "bye":
            session = urllib.parse.urljoin(args.url, location)
            say(**{"is": "deleted", "status": (await asyncio.to_thread(ask, "DELETE", session, args.token))[0]})
        return line == "quit"

    await commands(on_line)


asyncio.run(main())
