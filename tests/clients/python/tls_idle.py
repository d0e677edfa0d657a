"""TLS connections that idle, by the Python standard library. Arguments: port, how many, CA file.
Shakes hands on each, asks once on each, prints "idle" and holds them until standard input ends. Then
asks on the last one again."""

import resource
import socket
import ssl
import sys

port, count, authority = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
context = ssl.create_default_context(cafile=authority)
request = b"GET /files/projects/small HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ask(stream):
    stream.sendall(request)
    text = b""
    while not text.endswith(b"small body"):
        got = stream.recv(4096)
        assert got, text
        text += got
    assert text.startswith(b"HTTP/1.1 200"), text


held = []
for at in range(count):
    # Four addresses: limits for each of them must not be what is tested.
    plain = socket.create_connection(
        ("127.0.0.1", port), 20, source_address=(f"127.0.1.{at % 4 + 1}", 0)
    )
    stream = context.wrap_socket(plain, server_hostname="localhost")
    ask(stream)
    held.append(stream)
print("idle", flush=True)
sys.stdin.read()
ask(held[-1])
print("well", flush=True)
