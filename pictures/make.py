#!/usr/bin/env python3
"""Makes the pictures of README from a real run of our own scene: the page and a terminal. `./dev pictures` runs it.

Needs chromium. The page is looked at over the browser's pipe, so that the picture is taken when there is one to see.
"""

import base64
import html
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
ENGINE = os.environ.get("DSENGINE", str(ROOT / "target/release/dsengine"))
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]

CONFIG = """\
name: demo street
sources:
  - id: street
    type: scene
    uri: scene:street?live=true&loop=true
    zones:
      gate: [[0.30, 0.50], [0.70, 0.50], [0.70, 0.95], [0.30, 0.95]]
detection:
  confidence_threshold: 0.4
  strategies:
    - { name: objects, model_path: models/street.onnx }
    - { name: intrusion, module: scripts/intrusion.lua, config: { zone: gate, min_confidence: 0.4 } }
alerts: { min_confidence: 0.4, throttle_seconds: 10, handlers: [console] }
monitoring: { prometheus: { port: 0 } }
"""


class Browser:
    """A browser without a window, spoken to over two pipes."""

    def __init__(self):
        program = next((path for path in map(shutil.which, BROWSERS) if path), None)
        if program is None:
            sys.exit("error: there is no chromium\n  hint: apt-get install chromium")
        self.profile = tempfile.TemporaryDirectory()
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        flags = f"--headless=new --no-sandbox --hide-scrollbars --remote-debugging-pipe --user-data-dir={self.profile.name}"
        line = f'exec "{program}" {flags} about:blank 3<&{theirs_in} 4>&{theirs_out} 2>/dev/null'
        self.process = subprocess.Popen(["bash", "-c", line], pass_fds=(theirs_in, theirs_out))
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.read = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self.count = 0
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def call(self, method, params=None, session=None):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        self.out.write(json.dumps(message).encode() + b"\0")
        self.out.flush()
        while True:
            text = bytearray()
            while (byte := self.read.read(1)) != b"\0":
                if not byte:
                    sys.exit("error: the browser has ended")
                text += byte
            answer = json.loads(text)
            if answer.get("id") == self.count:
                if "error" in answer:
                    sys.exit(f"error: {method}: {answer['error']}")
                return answer["result"]

    def page(self, method, params=None):
        return self.call(method, params, self.session)

    def run(self, script):
        return self.page("Runtime.evaluate", {"expression": script, "returnByValue": True})["result"].get("value")

    def open(self, url, width, height, dark=False, scale=1):
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.page("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.page("Emulation.setEmulatedMedia", {"features": scheme})
        self.page("Page.navigate", {"url": url})

    def wait(self, script, seconds=30):
        until = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > until:
                sys.exit(f"error: never true: {script}")
            time.sleep(0.2)

    def shoot(self, path, width, height):
        how = {"format": "jpeg", "quality": 85} if path.suffix == ".jpg" else {"format": "png"}
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.page("Page.captureScreenshot", {**how, "clip": clip})["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        self.call("Browser.close")
        self.process.wait(10)
        self.profile.cleanup()


def engine(folder):
    """Starts the demo street; returns the process and the page's address."""
    config = pathlib.Path(folder, "pictures.yaml")
    config.write_text(CONFIG)
    run = subprocess.Popen([ENGINE, "run", "--config", str(config)], cwd=ROOT, text=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for line in run.stderr:
        if line.startswith("page: "):
            return run, line.split()[1]
    sys.exit("error: the engine does not start")


def make_page(browser, folder):
    run, address = engine(folder)
    try:
        browser.open(address, 1280, 720)
        seen = "document.querySelectorAll('#alerts .high').length > 1 && !!document.querySelector('canvas.seen')"
        browser.wait(seen, 60)
        time.sleep(1)
        browser.shoot(HERE / "page.jpg", 1280, 720)
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(10)


# What is typed; the configuration is the one above, on a scene that ends.
COMMANDS = ["dsengine validate street.yaml", "dsengine run --config street.yaml"]


def make_terminal(browser, folder):
    config = CONFIG.replace("?live=true&loop=true", "").replace("models/", f"{ROOT}/models/").replace("scripts/", f"{ROOT}/scripts/")
    pathlib.Path(folder, "street.yaml").write_text(config)
    text = ""
    for command in COMMANDS:
        words = [ENGINE, *command.split()[1:]]
        env = {**os.environ, "NO_COLOR": "1"}
        out = subprocess.run(words, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text += f"$ {command}\n{out.stdout}"
    lines = text.replace(f"{ROOT}/", "").splitlines()
    if len(lines) > 34:
        lines = [*lines[:22], "…", *lines[-10:]]
    body = "\n".join(f"<b>{html.escape(line)}</b>" if line.startswith("$ ") else html.escape(line) for line in lines)
    style = ("body{margin:0;background:#0e1116;color:#c9d1d9}b{color:#7ee787}"
             "pre{display:inline-block;margin:0;padding:18px 22px;font:13px/1.5 'DejaVu Sans Mono',monospace;"
             "white-space:pre-wrap;width:956px;overflow-wrap:anywhere}")
    page = pathlib.Path(folder, "terminal.html")
    page.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style><pre>{body}</pre>")
    browser.open(page.as_uri(), 1000, 900)
    browser.wait("!!document.querySelector('pre')")
    height = browser.run("document.querySelector('pre').offsetHeight")
    browser.shoot(HERE / "terminal.png", 1000, height)


def main():
    browser = Browser()
    with tempfile.TemporaryDirectory() as folder:
        make_terminal(browser, folder)
        make_page(browser, folder)
    browser.close()
    for name in ["page.jpg", "terminal.png"]:
        print(f"pictures/{name}: {(HERE / name).stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
