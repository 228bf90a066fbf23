"""A web server on loopback with logins, parts, cuts, redirects and TLS. A double, for tests only.

It prints its port, then each request: method, path, and the user that it came with (`-` without one).
"""

import argparse
import base64
import hashlib
import http.server
import os
import re
import ssl
import sys
import urllib.parse

args = argparse.ArgumentParser()
args.add_argument("root")
args.add_argument("--login", choices=["basic", "md5", "sha-256", "old-md5"])
args.add_argument("--user", default="")
args.add_argument("--password", default="")
args.add_argument("--tls")
args = args.parse_args()

TYPES = {".mp4": "video/mp4", ".ts": "video/mp2t", ".m3u8": "application/vnd.apple.mpegurl"}
cut = set()


def digest(text):
    return (hashlib.sha256 if args.login == "sha-256" else hashlib.md5)(text.encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def is_let_in(self):
        given = self.headers.get("Authorization", "")
        if args.login is None:
            return True
        if args.login == "basic":
            return given == "Basic " + base64.b64encode(f"{args.user}:{args.password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?((?:[^",\\]|\\.)*)"?', given))
        unquoted = {key: re.sub(r"\\(.)", r"\1", value) for key, value in fields.items()}
        if [unquoted.get(key) for key in ("username", "uri", "nonce")] != [args.user, self.path, "n0nce"]:
            return False
        secret, asked = digest(f"{args.user}:cam:{args.password}"), digest(f"GET:{self.path}")
        middle = "n0nce"
        if args.login != "old-md5":
            middle += f":{fields['nc']}:{unquoted['cnonce']}:auth"
        return fields.get("response") == digest(f"{secret}:{middle}:{asked}")

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        given = self.headers.get("Authorization", "-").split(" ")[0]
        print("GET", self.path, given, flush=True)
        if not self.is_let_in():
            quality = "" if args.login == "old-md5" else ', qop="auth"'
            name = "MD5" if args.login == "old-md5" else args.login.upper()
            digest = f'Digest realm="cam", nonce="n0nce", algorithm={name}{quality}'
            asked = 'Basic realm="cam"' if args.login == "basic" else digest
            return self.answer(401, [("WWW-Authenticate", asked)])
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith("/to/"):
            return self.answer(302, [("Location", urllib.parse.unquote(url.path[4:]))])
        try:
            with open(os.path.join(args.root, url.path.lstrip("/")), "rb") as file:
                body = file.read()
        except OSError:
            return self.answer(404)
        kind = TYPES.get(os.path.splitext(url.path)[1], "application/octet-stream")
        headers, status, whole = [("Content-Type", kind), ("Accept-Ranges", "bytes")], 200, len(body)
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part:
            first, last = int(part[1]), int(part[2] or whole - 1)
            body, status = body[first : last + 1], 206
            headers.append(("Content-Range", f"bytes {first}-{last}/{whole}"))
        limit = dict(urllib.parse.parse_qsl(url.query)).get("cut")
        if limit and len(body) > int(limit) and len(cut) < 3:
            # It says how long it is, and hangs up before.
            cut.add(len(cut))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: int(limit)])
            self.wfile.flush()
            self.close_connection = True
            return None
        return self.answer(status, headers, body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if args.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
# A client may hang up at any time.
server.handle_error = lambda *_: None
print(server.server_address[1], flush=True)
sys.stdin.close()
server.serve_forever()
