"""An HTTP server over sockets, which behaves as slow networks and firewalls do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "e"\r\n\r\n'


@contextmanager
def served(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server; `serve` handles each connection in a thread of its own."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def read_request(connection: socket.socket, pause: float = 0.0) -> bool:
    """Read one request; False at the end of the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part:
            return False
        head += part
    header, _, rest = head.partition(b"\r\n\r\n")
    length = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    left = length - len(rest)
    while left > 0:
        sleep(pause)
        left -= len(connection.recv(min(left, 16_384)))
    return True
