"""A headless Chromium with a fake camera: opens a page, and runs a script in it.

    browser.py URL SCRIPT_FILE

The script is the body of an async function; what it returns is printed as JSON: {"returned": ...}, or {"failed": ...}.
Spoken to over a pipe (Chrome DevTools Protocol), so no port and no other package is needed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
]


class Pipe:
    def __init__(self, write, read):
        self.write, self.read, self.last, self.rest = write, read, 0, b""

    def call(self, method, session=None, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
                return answer["result"]

    def next(self):
        while b"\0" not in self.rest:
            read = os.read(self.read, 65536)
            if not read:
                raise RuntimeError("the browser has ended")
            self.rest += read
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def wait(self, method):
        while self.next().get("method") != method:
            pass


def main():
    url, script = sys.argv[1], open(sys.argv[2]).read()
    profile = tempfile.mkdtemp()
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    # The browser reads at descriptor 3 and writes at 4.
    flags = " ".join([*FLAGS, "--user-data-dir=" + profile])
    start = f"exec 3<&{theirs_in} 4>&{theirs_out}; exec chromium {flags} about:blank"
    browser = subprocess.Popen(["bash", "-c", start], pass_fds=[theirs_in, theirs_out], stderr=subprocess.DEVNULL)
    os.close(theirs_in), os.close(theirs_out)
    try:
        pipe = Pipe(ours_out, ours_in)
        targets = pipe.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        session = pipe.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        pipe.call("Page.enable", session)
        pipe.call("Page.navigate", session, url=url)
        pipe.wait("Page.loadEventFired")
        made = f"(async () => {{ {script} }})()"
        answer = pipe.call("Runtime.evaluate", session, expression=made, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            print(json.dumps({"failed": details.get("exception", {}).get("description") or details["text"]}))
        else:
            print(json.dumps({"returned": answer["result"].get("value")}))
    finally:
        browser.kill()
        browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


main()
