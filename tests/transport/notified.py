"""In systemd's place: notified.py SOCKET FILE writes what services say to FILE, a line each."""

import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
    listener.bind(sys.argv[1])
    while True:
        text = listener.recv(4096).decode()
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(text + "\n")
