"""The package itself: its public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import strongroom

HEAVY = ("celery", "kombu", "redis", "pydantic", "asyncio")


def loaded_after(program: str) -> set[str]:
    script = f"{program}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import strongroom").isdisjoint(HEAVY)


def test_the_results_and_errors_come_without_pydantic() -> None:
    assert loaded_after("from strongroom import Ok, Err, Problem, StorageError").isdisjoint(HEAVY)


def test_a_client_that_sends_nothing_loads_no_broker_library() -> None:
    program = "from strongroom import Client\nClient(inbox='/nowhere', broker_url='redis://127.0.0.1:1/0').close()"
    assert loaded_after(program).isdisjoint({"celery", "kombu", "redis", "asyncio"})


def test_sending_loads_no_celery() -> None:
    program = "from strongroom import Client\nClient(inbox='/nowhere', broker_url='redis://127.0.0.1:1/0').store(b'{}')"
    loaded = loaded_after(program)
    assert "kombu" in loaded
    assert "celery" not in loaded


@pytest.mark.parametrize("name", strongroom.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(strongroom, name) is not None
    assert name in dir(strongroom)


def test_an_unknown_name_is_an_attribute_error_like_any_other() -> None:
    with pytest.raises(AttributeError, match="Cleint"):
        strongroom.Cleint  # noqa: B018 # the access is the test
    with pytest.raises(ImportError):
        from strongroom import Cleint  # noqa: F401 # likewise
