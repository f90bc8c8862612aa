"""A wire between a program and a server, which can be cut and mended, or fall silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """Listens on a port of its own and carries bytes to `target`.

    down    nothing listens there, and what was connected is closed: the server is away
    silent  who connects is accepted, what is connected stays, and not a byte comes back: it hangs
    """

    def __init__(self, target: str, default_port: int) -> None:
        self._url = urlsplit(target)
        self._target = (self._url.hostname or "127.0.0.1", self._url.port or default_port)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._speaks = threading.Event()
        self._speaks.set()
        self._listener = self._bound(0)
        self.port: int = self._listener.getsockname()[1]
        self._is_up = False
        self.up()

    @property
    def url(self) -> str:
        """The server's address, by way of this wire."""
        user, at, _ = self._url.netloc.rpartition("@")
        return urlunsplit(self._url._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    @staticmethod
    def _bound(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def up(self) -> None:
        self._speaks.set()
        if not self._is_up:
            self._is_up = True
            self._listener.listen(64)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        self._is_up = False
        # Bound, not listening: connections are refused, and nobody else takes the port.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = self._bound(self.port)
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _close(end)
        self._speaks.set()

    def silence(self) -> None:
        self._speaks.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._speaks.wait()
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            _close(near)
            return
        far.settimeout(None)
        with self._lock:
            self._pairs.append((near, far))
        threading.Thread(target=self._carry, args=(near, far), daemon=True).start()
        self._carry(far, near)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                self._speaks.wait()
                sink.sendall(chunk)
        _close(source)
        _close(sink)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        self._listener.close()


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
