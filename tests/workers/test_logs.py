from __future__ import annotations

from pathlib import Path

from workers.console import Console, Loudness
from workers.logs import PartLog, tail


def test_a_log_past_its_cap_goes_on_in_an_empty_file_and_keeps_the_previous_one(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "beat.log", cap_bytes=1000)
    with log.open() as part:
        part.write(b"x" * 999 + b"\n")
        part.flush()
        log.cap()
        assert log.path.stat().st_size == 1000, "not yet"
        part.write(b"y\n")
        part.flush()
        log.cap()
        part.write(b"z\n")
        part.flush()
    assert log.path.read_bytes() == b"z\n"
    assert (tmp_path / "beat.log.1").read_bytes() == b"x" * 999 + b"\ny\n"


def test_lines_are_followed_whole_and_from_now_on(tmp_path: Path) -> None:
    (tmp_path / "beat.log").write_text("of yesterday\n")
    log = PartLog(tmp_path / "beat.log", cap_bytes=50)
    with log.open() as part:
        part.write(b"first\nsec")
        part.flush()
        assert list(log.new_lines()) == ["first"]
        part.write("ond: \N{SNOWMAN}\n".encode() + b"\xff broken\n")
        part.flush()
        assert list(log.new_lines()) == ["second: \N{SNOWMAN}", "\ufffd broken"]
        assert list(log.new_lines()) == []
        part.write(b"a" * 60 + b"\n")
        part.flush()
        assert list(log.new_lines()) == ["a" * 60]
        log.cap()
        part.write(b"after the cap\n")
        part.flush()
        assert list(log.new_lines()) == ["after the cap"]


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "flower.log").write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert tail(tmp_path / "flower.log", 2) == ["line 99998", "line 99999"]
    assert tail(tmp_path / "no.log") == []


def test_the_terminal_shows_what_matters() -> None:
    lines = {
        "INFO": "2026-11-22 [info     ] stored",
        "text": "2026-11-22 [error    ] it broke",
        "json": '{"event": "it broke", "level": "error"}',
        "celery": "[2026-11-22: ERROR/MainProcess] it broke",
    }
    assert {name for name, line in lines.items() if Console(Loudness.NORMAL).shows(line)} == {"text", "json", "celery"}
    assert all(Console(Loudness.VERBOSE).shows(line) for line in lines.values())
    assert not any(Console(Loudness.QUIET).shows(line) for line in lines.values())
