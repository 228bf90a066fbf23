"""A camera of another maker's code: plays an H.264 MP4 over and over by rtsp-rs, over UDP only.

rtsp_rs.py PORT CLIP: rtsp://127.0.0.1:PORT/stream
"""

import sys
import time

import av
import rtsp

port, clip = sys.argv[1:]
server = rtsp.Server(f"127.0.0.1:{port}")
server.start()
due = time.monotonic()
while True:
    with av.open(clip) as container:
        stream = container.streams.video[0]
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            for out in annexb.filter(packet):
                server.send_frame(bytes(out), int(90_000 / stream.average_rate))
                # After a stop it goes on at its own pace.
                due = max(due + 1 / float(stream.average_rate), time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))
