"""Uses a key before a fork, in both processes at once, and after.

fork.py PORT KEY: KEY.pem, KEY.ref and ca.pem are in the working directory; the server at PORT shows
whose certificate it got.
"""

import os
import socket
import ssl
import sys

port, key = sys.argv[1:]
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain(key + ".pem", key + ".ref")


def connect():
    with socket.create_connection(("127.0.0.1", int(port)), 20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            page = b"".join(iter(lambda: stream.recv(65536), b""))
            assert b"device-" + key.encode() in page, page


connect()
child = os.fork()
for _ in range(5):  # both at once
    connect()
if child == 0:
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
connect()
