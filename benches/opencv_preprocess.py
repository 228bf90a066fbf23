"""The other side of benches/preprocess.rs: OpenCV's way from a decoded 1080p picture to a network's input.

Reads "FORMAT REPEATS" lines, answers each with the CPU microseconds per picture; "save FORMAT PATH" writes the floats.
One thread; every step writes into memory that is there already. `cv2.dnn.blobFromImage`, which most scripts use, takes
several times as long as the split and scaling below, so it is not what we compare with.
"""
import sys
import time

import cv2
import numpy as np

WIDTH, HEIGHT, SIDE = 1920, 1080, 640
cv2.setNumThreads(1)

folder = sys.argv[1]
yuv = {f: np.fromfile(f"{folder}/frame.{f}", np.uint8).reshape(HEIGHT * 3 // 2, WIDTH) for f in ("i420", "nv12")}
rgb_picture = np.fromfile(f"{folder}/frame.rgb", np.uint8).reshape(HEIGHT, WIDTH, 3)
codes = {"i420": cv2.COLOR_YUV2RGB_I420, "nv12": cv2.COLOR_YUV2RGB_NV12}

height = HEIGHT * SIDE // WIDTH
margin = (SIDE - height) // 2
rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
small = np.empty((height, SIDE, 3), np.uint8)
padded = np.empty((SIDE, SIDE, 3), np.uint8)
channels = [np.empty((SIDE, SIDE), np.uint8) for _ in range(3)]
blob = np.empty((3, SIDE, SIDE), np.float32)


def prepare(form):
    picture = rgb_picture if form == "rgb" else cv2.cvtColor(yuv[form], codes[form], rgb)
    cv2.resize(picture, (SIDE, height), small, interpolation=cv2.INTER_LINEAR)
    cv2.copyMakeBorder(small, margin, margin, 0, 0, cv2.BORDER_CONSTANT, padded, (114, 114, 114))
    cv2.split(padded, channels)
    for channel, plane in zip(channels, blob):
        cv2.addWeighted(channel, 1 / 255, channel, 0, 0, plane, cv2.CV_32F)
    return blob


print("ready", cv2.__version__, flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "save":
        prepare(words[1]).tofile(words[2])
        print("saved", flush=True)
        continue
    form, repeats = words[0], int(words[1])
    start = time.thread_time_ns()
    for _ in range(repeats):
        prepare(form)
    print((time.thread_time_ns() - start) / 1e3 / repeats, flush=True)
