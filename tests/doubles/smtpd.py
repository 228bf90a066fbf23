"""A mail server on loopback that does as it is told, and writes down what it gets. A double, for tests only.

smtpd.py OPTIONS MAILS.jsonl: prints its port, then serves until it is killed. OPTIONS is a JSON object:
  tls        "none", "starttls" or "tls"; with a certificate in `cert` and its key in `key`
  user       with `password`: the login that it wants
  login      what it answers to a wrong login; {secret} is what the client sent
  greeting   what it greets with
  host       where it listens; 127.0.0.1
  answers    by what comes ("MAIL", "DATA", or a receiver's address): the answers to the first of them, in order
"""

import base64
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

options, mails = json.loads(sys.argv[1]), sys.argv[2]
tls = options.get("tls", "none")
answers = options.get("answers", {})


def note(record):
    with open(mails, "a", encoding="utf-8") as out:
        out.write(json.dumps(record) + "\n")


def answer(to):
    left = answers.get(to, [])
    return left.pop(0) if left else None


def parts(message):
    walked = [part for part in message.walk() if not part.is_multipart()]
    def text(part):
        content = part.get_content()
        return base64.b64encode(content).decode() if isinstance(content, bytes) else content

    return [
        {"type": part.get_content_type(), "name": part.get_filename(), "text": text(part)} for part in walked
    ]


class Peer:
    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        refused = answer("MAIL")
        if refused:
            return refused
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        refused = answer(address)
        if refused:
            return refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        said = answer("DATA") or "250 OK"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        note(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "answer": said,
                "tls": server.transport.get_extra_info("ssl_object") is not None,
                "user": session.login_data.decode() if session.login_data else None,
                "hello": session.host_name,
                "headers": {name.lower(): str(value) for name, value in message.items()},
                "names": [name.lower() for name in message.keys()],
                "parts": parts(message),
                "defects": [str(defect) for part in message.walk() for defect in part.defects],
                "longest_line": max(len(line) for line in envelope.content.split(b"\r\n")),
                "bytes": len(envelope.content),
            }
        )
        return said


def authenticate(server, session, envelope, mechanism, data):
    right = LoginPassword(options["user"].encode(), options["password"].encode())
    is_right = isinstance(data, LoginPassword) and data == right
    note({"login": data.login.decode(), "mechanism": mechanism, "right": is_right})
    if is_right:
        return AuthResult(success=True, auth_data=data)
    said = options.get("login", "535 5.7.8 Authentication credentials invalid")
    # `handled` False has the server send the message.
    return AuthResult(success=False, handled=False, message=said.replace("{secret}", data.password.decode()))


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(options["cert"], options["key"])
    return made


class Server(SMTP):
    async def push(self, status):
        if not self.has_greeted:
            status = options.get("greeting", status)
        self.has_greeted = True
        await super().push(status)

    has_greeted = False


def make():
    keys = {"hostname": "mail.test", "enable_SMTPUTF8": True, "timeout": 60}
    if tls == "starttls":
        keys |= {"tls_context": context(), "require_starttls": True}
    if "user" in options:
        keys |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": tls == "starttls"}
    return Server(Peer(), **keys)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, options.get("host", "127.0.0.1"), 0, ssl=context() if tls == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
