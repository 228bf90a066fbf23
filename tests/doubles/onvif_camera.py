"""An ONVIF camera on loopback, for tests only: it answers WS-Discovery and the questions for its streams, and has none.

onvif_camera.py OPTIONS ASKED.jsonl: prints the port of WS-Discovery and that of HTTP, then serves until it is killed.
It writes down each question. OPTIONS is a JSON object:
  group      whether it also listens to the multicast group, at port 3702; false
  user       with `password`: the login that it wants, by WS-Security's digest
  http       whether it wants HTTP digest (MD5), too; false
  skew       by how many seconds its clock is ahead; 0. A login from more than 10 s away is refused
  name       its name in its scopes
  xaddrs     its addresses instead of its own; {http} is its port
  media      the address of its media service instead of its own
  hosts      the host of the streams' addresses; 127.0.0.1
  answer     "endless" or "bomb": what it answers to GetProfiles instead
"""

import base64
import hashlib
import http.server
import json
import re
import socket
import struct
import sys
import threading
import time
from datetime import datetime, timezone
from xml.sax.saxutils import escape

options, asked = json.loads(sys.argv[1]), sys.argv[2]
lock = threading.Lock()
skew = options.get("skew", 0)


def note(what):
    with lock, open(asked, "a", encoding="utf-8") as out:
        out.write(json.dumps(what) + "\n")


def envelope(body, header=""):
    return (
        '<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" '
        'xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:ter="http://www.onvif.org/ver10/error" '
        'xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">'
        f"<SOAP-ENV:Header>{header}</SOAP-ENV:Header><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )


def field(text, name):
    found = re.search(rf"<(?:\w+:)?{name}(?:\s[^>]*)?>([^<]*)</", text)
    return found.group(1) if found else ""


def lets_in(question):
    """Whether the digest of WS-Security is right, and made at the camera's own time."""
    nonce, created = base64.b64decode(field(question, "Nonce")), field(question, "Created")
    wanted = hashlib.sha1(nonce + created.encode() + options["password"].encode()).digest()
    if field(question, "Username") != escape(options["user"]) or not created:
        return False
    made = datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp()
    return abs(made - time.time() - skew) < 10 and base64.b64encode(wanted).decode() == field(question, "Password")


def profile(token, name, size, fps):
    return (
        f'<trt:Profiles token="{token}" fixed="true"><tt:Name>{name}</tt:Name>'
        '<tt:VideoSourceConfiguration token="s"><tt:Name>source</tt:Name></tt:VideoSourceConfiguration>'
        f'<tt:VideoEncoderConfiguration token="e"><tt:Name>encoder</tt:Name><tt:Encoding>H264</tt:Encoding>'
        f"<tt:Resolution><tt:Width>{size[0]}</tt:Width><tt:Height>{size[1]}</tt:Height></tt:Resolution>"
        f"<tt:RateControl><tt:FrameRateLimit>{fps}</tt:FrameRateLimit></tt:RateControl>"
        "</tt:VideoEncoderConfiguration></trt:Profiles>"
    )


def answer(question):
    """The status and the body."""
    if "GetSystemDateAndTime" in question:
        now = datetime.fromtimestamp(time.time() + skew, timezone.utc)
        return 200, envelope(
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime>"
            f"<tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
            f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
            f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
            "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )
    if "user" in options and not lets_in(question):
        return 400, envelope(
            "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode>"
            "<SOAP-ENV:Value>ter:NotAuthorized</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code>"
            '<SOAP-ENV:Reason><SOAP-ENV:Text xml:lang="en">Sender not authorized</SOAP-ENV:Text></SOAP-ENV:Reason>'
            "</SOAP-ENV:Fault>"
        )
    if "GetDeviceInformation" in question:
        return 200, envelope(
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>Double</tds:Manufacturer>"
            "<tds:Model>D-1</tds:Model></tds:GetDeviceInformationResponse>"
        )
    if "GetCapabilities" in question:
        media = options.get("media", f"http://127.0.0.1:{web.server_port}/onvif/media")
        return 200, envelope(
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media>"
            f"<tt:XAddr>{media}</tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
        )
    if "GetProfiles" in question:
        if options.get("answer") == "bomb":
            entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "boom"}">' for n in range(10))
            return 200, f"<!DOCTYPE a [{entities}]><a>&e9;</a>"
        small, large = profile("sub", "Sub", (640, 360), 10), profile("main", "Main", (1920, 1080), 25)
        return 200, envelope(f"<trt:GetProfilesResponse>{small}{large}</trt:GetProfilesResponse>")
    if "GetStreamUri" in question:
        token, host = field(question, "ProfileToken"), options.get("hosts", "127.0.0.1")
        return 200, envelope(
            "<trt:GetStreamUriResponse><trt:MediaUri>"
            f"<tt:Uri>rtsp://who:C4n4ry@{host}:554/{token}?x=1&amp;y=2</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>"
        )
    return 404, "<html>not here</html>"


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        question = self.rfile.read(int(self.headers["Content-Length"])).decode()
        kind = re.search(r"Body><(?:\w+:)?(\w+)", question).group(1)
        note({"asked": kind, "path": self.path, "authorization": self.headers.get("Authorization")})
        if options.get("http") and not self.has_digest():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="cam"')
            self.send_header("WWW-Authenticate", 'Digest realm="cam", nonce="n1", qop="auth"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if options.get("answer") == "endless" and kind == "GetProfiles":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"<a>" * 20_000)
            except OSError:
                return note({"ended": kind})
        status, body = answer(question)
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def has_digest(self):
        fields = dict(re.findall(r'(\w+)="?([^",]+)', self.headers.get("Authorization") or ""))
        def md5(text):
            return hashlib.md5(text.encode()).hexdigest()
        who, what = md5(f"{options['user']}:cam:{options['password']}"), md5(f"POST:{self.path}")
        wanted = md5(f"{who}:n1:{fields.get('nc')}:{fields.get('cnonce')}:auth:{what}")
        return fields.get("response") == wanted

    def log_message(self, *_):
        pass


def discover(udp):
    while True:
        question, who = udp.recvfrom(65536)
        question = question.decode(errors="replace")
        if "Probe>" not in question:
            continue
        note({"asked": "Probe"})
        own = f"http://127.0.0.1:{web.server_port}/onvif/device_service"
        xaddrs = options.get("xaddrs", own).replace("{http}", str(web.server_port))
        name = options.get("name", "Double%20of%20a%20camera")
        udp.sendto(
            envelope(
                "<d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:1</wsa:Address>"
                "</wsa:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types>"
                f"<d:Scopes>onvif://www.onvif.org/type/video_encoder\nonvif://www.onvif.org/name/{name}</d:Scopes>"
                f"<d:XAddrs>{xaddrs}</d:XAddrs></d:ProbeMatch></d:ProbeMatches>",
                f"<wsa:RelatesTo>{field(question, 'MessageID')}</wsa:RelatesTo>",
            ).encode(),
            who,
        )


web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
threading.Thread(target=web.serve_forever, daemon=True).start()
direct = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
direct.bind(("127.0.0.1", 0))
sockets = [direct]
if options.get("group"):
    group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    group.bind(("", 3702))
    membership = struct.pack("4s4s", socket.inet_aton("239.255.255.250"), socket.inet_aton("127.0.0.1"))
    group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    sockets.append(group)
for udp in sockets:
    threading.Thread(target=discover, args=(udp,), daemon=True).start()
print(direct.getsockname()[1], web.server_port, flush=True)
threading.Event().wait()
