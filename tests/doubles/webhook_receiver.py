"""A receiver of webhooks that verifies their signatures with the library of Standard Webhooks.

Usage: webhook_receiver.py SECRET CERTIFICATE KEY. Says its port, then a line of JSON for each request.
"""

import http.server
import json
import ssl
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET, CERTIFICATE, KEY = sys.argv[1:]


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told = {"id": self.headers["webhook-id"], "key": self.headers["idempotency-key"]}
        try:
            told["alert"] = Webhook(SECRET).verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            told["error"] = str(error)
        self.send_response(400 if "error" in told else 204)
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps(told), flush=True)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
