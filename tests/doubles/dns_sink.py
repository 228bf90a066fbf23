"""A name server on loopback that knows nothing: it writes down which names are asked for. A double, for tests only."""

import socket
import sys

asked, ready = sys.argv[1:]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
open(ready, "w").close()
while True:
    query, peer = server.recvfrom(4096)
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    with open(asked, "a") as out:
        out.write(".".join(labels) + "\n")
    # The same query, as an answer: no such name.
    server.sendto(query[:2] + b"\x81\x83" + query[4:], peer)
