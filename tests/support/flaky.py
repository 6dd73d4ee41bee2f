"""A network that fails: a proxy on loopback that cuts connections, loses answers and says that it is busy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Flaky:
    """Passes on to a port, with the trouble that its fields ask for; each is counted down when it happens."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        """Connections that are cut after ``cut_after`` bytes of what is in the answers, heads aside."""
        self.cut_after = 0
        self.stalls = 0
        """Connections that stay, and on which nothing comes after that."""
        self.losses = 0
        """Requests with a body that are passed on and carried out, and whose answer is not."""
        self.busy = 0
        """Connections on which everything is answered by 503."""
        self.calls_left: int | None = None
        """How many more answers there are before the other side is gone; None: any number."""
        self.pause_s = 0.0
        """How long each 64 KiB of a request take."""
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more, and end what stalls."""
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._to) as server:
            if self.busy:
                self.busy -= 1
                client.recv(65536)
                client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            thread = threading.Thread(target=self._pass_on, args=(client, server), daemon=True)
            thread.start()
            self._answer(server, client)
            for one in (client, server):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        if self.pause_s:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # or the system takes megabytes at once
        with suppress(OSError):
            while data := client.recv(65536):
                self._closed.wait(self.pause_s)
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        while data := server.recv(65536):
            if self.losses and b" 200 " in data[:20]:
                self.losses -= 1
                return
            head = data.find(b"\r\n\r\n") + 4 if data.startswith(b"HTTP/1.1 ") else 0
            left = self.cut_after - passed
            if self.cuts and len(data) - head > left:
                self.cuts -= 1
                client.sendall(data[: head + left])
                return
            if self.stalls and len(data) - head > left:
                self.stalls -= 1
                client.sendall(data[: head + left])
                self._closed.wait()
                return
            if self.calls_left is not None and data.startswith(b"HTTP/1.1 "):
                if self.calls_left == 0:
                    return
                self.calls_left -= 1
            client.sendall(data)
            passed += len(data) - head


@contextmanager
def flaky(port: int) -> Iterator[Flaky]:
    """Yield a proxy before a port of this machine."""
    proxy = Flaky(port)
    try:
        yield proxy
    finally:
        proxy.close()
