"""The command ``strongroom``, forked from a process that has imported everything already: half a second less each time.

``python -m tests.support.warm SOCKET`` is that process. ``make_command`` writes a command that has it run what it is called
with: in the caller's folder and environment, on its own standard input, output and error, with its exit code for an answer.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from tests.support.command import be_the_command
from tests.support.processes import CHECKOUT, ENVIRON, await_that

_COMMAND = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as warm:
    warm.connect({address!r})
    said = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode("utf-8", "surrogateescape")
    socket.send_fds(warm, [b"x"], [0, 1, 2])
    warm.sendall(said)
    warm.shutdown(socket.SHUT_WR)
    sys.exit(int(warm.recv(16) or 70))
"""


def make_command(path: Path, address: Path) -> None:
    """Write the command."""
    path.write_text(_COMMAND.format(python=os.path.realpath(sys.executable), address=str(address)), "utf-8")
    path.chmod(0o755)


@contextmanager
def warm_process(address: Path) -> Iterator[None]:
    """Have the process listen on a socket of this name until the block is left."""
    process = subprocess.Popen([sys.executable, "-m", "tests.support.warm", str(address)], cwd=CHECKOUT, env=ENVIRON)
    try:
        await_that(address.exists, "it has imported everything")
        yield
    finally:
        process.kill()
        process.wait()


def serve(address: str) -> NoReturn:
    """Fork for each that connects."""
    import storage.engine  # noqa: F401
    import strongroom.client  # noqa: F401  # what commands would import when they are called

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # none of them is waited for
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while True:
            caller, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(caller)
            caller.close()


def _answer(caller: socket.socket) -> NoReturn:
    """Be the command that somebody called."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(caller, 1, 3)
    words, folder, environ = json.loads(b"".join(iter(lambda: caller.recv(1 << 16), b"")))
    sys.modules["__main__"].__package__ = None  # click asks whether it was called as `python -m`
    code = be_the_command(words, folder, environ, streams)
    caller.sendall(b"%d" % code)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
