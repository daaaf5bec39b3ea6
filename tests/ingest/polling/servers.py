"""Servers that do what no proper one does: they stop in the middle, dawdle, never end."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Talk = Callable[[socket.socket], None]


@contextmanager
def server(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server that, once a request has been read, leaves the connection to `talk`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve, args=(listening, talk, tls), daemon=True).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}/items"
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, talk: Talk, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, talk, tls), daemon=True).start()


def _answer(connection: socket.socket, talk: Talk, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError), connection:
        wrapped = tls.wrap_socket(connection, server_side=True) if tls else connection
        with wrapped:
            read = b""
            while b"\r\n\r\n" not in read:
                more = wrapped.recv(65_536)
                if not more:
                    return
                read += more
            talk(wrapped)


def says(*pieces: bytes) -> Talk:
    """Send the pieces, then close."""

    def talk(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return talk


def endless(first: bytes, piece: bytes, pause: float, most: int = 10**9) -> Talk:
    """Send the first, then the same piece again and again."""
    quiet = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(most):
            quiet.wait(pause)
            connection.sendall(piece)

    return talk
