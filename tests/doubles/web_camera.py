"""A camera on the web that is not GStreamer: pictures one after the other, a container without an end, or HLS.

    web_camera.py [--port N] [--path /P] [--codec mjpeg|h264|hevc] [--size WxH] [--fps N]
                  [--user NAME --password WORD]

Prints its port, and ends when its standard input closes. At the path: JPEG pictures as `multipart/x-mixed-replace`, or
MPEG-TS for the other codecs, then with a live playlist of segments of one second at the path and `.m3u8`. A line
`size WxH` on its standard input is the size of the next pictures. A picture is due by the clock on the wall: a camera
that stood still goes on with the picture that is due then.
"""

import argparse
import base64
import fractions
import http.server
import sys
import threading
import time

import av

# Segments, or pictures, that are kept.
KEPT = 7
ENCODERS = {
    "mjpeg": ("mjpeg", "yuvj420p", {}),
    "h264": ("libx264", "yuv420p", {"preset": "ultrafast", "tune": "zerolatency"}),
    "hevc": ("libx265", "yuv420p", {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}),
}

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--path", default="/cam")
parser.add_argument("--codec", choices=ENCODERS, default="mjpeg")
parser.add_argument("--size", default="320x240")
parser.add_argument("--fps", type=int, default=10)
parser.add_argument("--user")
parser.add_argument("--password", default="")
args = parser.parse_args()


class Stream:
    """What is sent: chunks, of which some begin with a key frame."""

    def __init__(self):
        self.chunks, self.first, self.begins, self.more = [], 0, [], threading.Condition()
        # No segment has a number that one had before a restart.
        self.number = int(time.time())

    def add(self, chunk, is_key):
        with self.more:
            if is_key:
                self.begins.append(self.first + len(self.chunks))
            if len(self.begins) > KEPT:
                del self.begins[0]
                del self.chunks[: self.begins[0] - self.first]
                self.first = self.begins[0]
                self.number += 1
            self.chunks.append(chunk)
            self.more.notify_all()

    def follow(self):
        """Every chunk from the last key frame on; a viewer that is too slow misses some."""
        with self.more:
            self.more.wait_for(lambda: self.begins)
            at = self.begins[-1]
        while True:
            with self.more:
                self.more.wait_for(lambda: at < self.first + len(self.chunks))
                at = at if at >= self.first else self.begins[-1]
                chunk = self.chunks[at - self.first]
            at += 1
            yield chunk

    def playlist(self, name):
        with self.more:
            self.more.wait_for(lambda: len(self.begins) > 1)
            lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{self.number}"]
            for number in range(self.number, self.number + len(self.begins) - 1):
                lines += ["#EXTINF:1.0,", f"{name}-{number}.ts"]
            return ("\n".join(lines) + "\n").encode()

    def segment(self, number):
        with self.more:
            at = number - self.number
            if not 0 <= at < len(self.begins) - 1:
                return None
            return b"".join(self.chunks[self.begins[at] - self.first : self.begins[at + 1] - self.first])


class Sink:
    """What the muxer has written."""

    def __init__(self):
        self.bytes = b""

    def write(self, data):
        self.bytes += bytes(data)
        return len(data)

    def take(self):
        taken, self.bytes = self.bytes, b""
        return taken


def picture(n, width, height, form):
    """A bright bar that moves over a dark ground."""
    frame = av.VideoFrame(width, height, form)
    luma = frame.planes[0]
    rows = bytearray(b"\x20" * luma.buffer_size)
    left = (n * 4) % (width - 40)
    for row in range(height // 4, height * 3 // 4):
        at = row * luma.line_size + left
        rows[at : at + 40] = b"\xe0" * 40
    luma.update(bytes(rows))
    for plane in frame.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)
    frame.pts, frame.time_base = n, fractions.Fraction(1, args.fps)
    return frame


def encoder(size):
    name, form, options = ENCODERS[args.codec]
    made = av.CodecContext.create(name, "w")
    made.width, made.height = map(int, size.split("x"))
    made.pix_fmt, made.time_base, made.framerate = form, fractions.Fraction(1, args.fps), args.fps
    made.gop_size, made.max_b_frames, made.options = args.fps, 0, options
    return made


def film(stream):
    sink, muxer = Sink(), None
    if args.codec != "mjpeg":
        flags = {"mpegts_flags": "pat_pmt_at_frames", "flush_packets": "1"}
        muxer = av.open(sink, "w", format="mpegts", options=flags)
        track = muxer.add_stream(ENCODERS[args.codec][0], rate=args.fps)
        track.width, track.height = map(int, args.size.split("x"))
        track.pix_fmt, track.options = "yuv420p", ENCODERS[args.codec][2]
    start, n, size, codec = time.time(), 0, args.size, encoder(args.size)
    while True:
        time.sleep(max(0, start + n / args.fps - time.time()))
        n = max(n, int((time.time() - start) * args.fps))
        if size != args.size:
            size = args.size
            codec = encoder(size)
        for packet in codec.encode(picture(n, codec.width, codec.height, codec.pix_fmt)):
            is_key = packet.is_keyframe
            if muxer is None:
                stream.add(bytes(packet), True)
                continue
            packet.stream = track
            muxer.mux(packet)
            stream.add(sink.take(), is_key)
        n += 1


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body or b"")

    def do_GET(self):
        user = "Basic " + base64.b64encode(f"{args.user}:{args.password}".encode()).decode()
        name = args.path.rsplit("/", 1)[-1]
        if args.user and self.headers.get("Authorization") != user:
            return self.answer(401, "text/plain", b"", [("WWW-Authenticate", 'Basic realm="cam"')])
        if self.path == args.path:
            return self.stream()
        if args.codec != "mjpeg" and self.path == args.path + ".m3u8":
            return self.answer(200, "application/vnd.apple.mpegurl", stream.playlist(name))
        number = self.path.removeprefix(args.path + "-").removesuffix(".ts")
        segment = stream.segment(int(number)) if number.isdigit() else None
        if segment is None:
            return self.answer(404, "text/plain", b"")
        return self.answer(200, "video/mp2t", segment)

    def stream(self):
        is_pictures = args.codec == "mjpeg"
        self.answer(200, "multipart/x-mixed-replace; boundary=cam" if is_pictures else "video/mp2t", None)
        self.close_connection = True
        for chunk in stream.follow():
            if is_pictures:
                head = f"--cam\r\nContent-Type: image/jpeg\r\nContent-Length: {len(chunk)}\r\n\r\n"
                chunk = head.encode() + chunk + b"\r\n"
            self.wfile.write(chunk)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A viewer may hang up at any time."""


stream = Stream()
server = Server(("127.0.0.1", args.port), Handler)
threading.Thread(target=film, args=[stream], daemon=True).start()
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
for line in sys.stdin:
    args.size = line.removeprefix("size ").strip()
