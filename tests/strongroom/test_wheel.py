"""The wheel holds strongroom/ alone, and a producer with packages of the service's names works with nothing but it."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCER = """
import sys
import config, models, storage, tasks, workers          # the producer's own
assert config.WHOSE == models.WHOSE == storage.WHOSE == tasks.WHOSE == workers.WHOSE == "the producer's"
import strongroom
from strongroom import Client, Ok, Outgoing

inbox, broker_url, checkout = sys.argv[1:]
assert not any(entry.startswith(checkout) and "site-packages" not in entry for entry in sys.path), sys.path
with Client(inbox=inbox, broker_url=broker_url) as client:
    match client.store_many([Outgoing({"library_id": "/a", "version_id": "1"}), Outgoing(b"{}", library_id="/b", version="1")]):
        case Ok([ticket]):
            print(strongroom.__file__, ticket.request_id)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def producer(tmp_path: Path, wheel: Path) -> Path:
    """A project with the wheel unpacked beside it, in a folder that knows nothing of the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    for name in ("config", "models", "storage", "tasks", "workers"):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "__init__.py").write_text('WHOSE = "the producer\'s"\n')
    (tmp_path / "project" / "main.py").write_text(PRODUCER)
    return tmp_path


def test_the_wheel_holds_strongroom_alone_and_no_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"strongroom"}
    assert not any(name.endswith("entry_points.txt") for name in names)
    packed = {name for name in names if name.endswith(".py")}
    assert packed == {str(path.relative_to(ROOT)) for path in (ROOT / "strongroom").rglob("*.py")}
    assert "strongroom/py.typed" in names


def test_the_wheel_asks_for_nothing_of_the_service(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert {line.split()[1].split("[")[0].split(">")[0].split("<")[0] for line in needed} == {"celery", "kombu", "pydantic"}


def test_a_producer_with_packages_of_the_same_names_enqueues_with_the_wheel_alone(
    producer: Path, inbox: Path, broker: Any
) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(producer / "installed"), *site_packages()])}
    # -S and -E aside, nothing of this process reaches the other: no .pth file of the environment can bring the checkout in.
    command = [sys.executable, "-S", str(producer / "project" / "main.py"), str(inbox), broker.url, str(ROOT)]
    done = subprocess.run(command, cwd=producer / "project", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, request_id = done.stdout.split()
    assert Path(file).is_relative_to(producer / "installed")
    (message,) = broker.all()
    assert message.headers["task"] == "strongroom.store"
    assert message.fields == {"contract": 1, "request_id": request_id, "inbox": f"{request_id}.inbox", "receipt": True}
    body = (inbox / message.fields["inbox"]).read_bytes()
    assert body.startswith(b'{"library_id":"/a","version_id":"1"}{}')
    manifest = json.loads(body[36 + 2 : -48])
    assert [document.get("library_id") for document in manifest["documents"]] == [None, "/b"]


def site_packages() -> list[str]:
    return [sysconfig.get_path("purelib"), *(path for path in site.getsitepackages() if Path(path).is_dir())]
