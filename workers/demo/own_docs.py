"""The project's own documentation in several versions: from git's history where there is one, else grown section by section."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from workers.demo.document import Entry

OLDER = 3
"""How many versions before the present one."""

_HEADING = re.compile(r"^(?=#{1,3} )", re.MULTILINE)
Pages = Mapping[str, str]
"""Markdown by path."""


def own_versions(checkout: Path) -> list[tuple[str, list[Entry]]]:
    """Return the documentation's versions with what they say, oldest first; the last is the release in the checkout."""
    release = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    now = _sections(_pages(checkout))
    history = [(number, _sections(pages)) for number, pages in _from_git(checkout)]
    older = [(number, entries) for number, entries in history if entries and entries != now]
    if len(older) < OLDER:
        older = _grown(now)
    return [*((f"{release}.dev{number}", entries) for number, entries in older[-OLDER:]), (release, now)]


def _pages(checkout: Path) -> Pages:
    paths = [*checkout.glob("*.md"), *(checkout / "docs").rglob("*.md")]
    return {path.relative_to(checkout).as_posix(): path.read_text("utf-8", "replace") for path in sorted(paths)}


def _sections(pages: Pages) -> list[Entry]:
    texts = [(path, part) for path, page in sorted(pages.items()) for part in _HEADING.split(page) if part.strip()]
    return [Entry(part.splitlines()[0].lstrip("# "), path, part) for path, part in texts]


def _grown(sections: list[Entry]) -> list[tuple[int, list[Entry]]]:
    """Return documentation as it may have grown. Versions 9 to 11: an order by the alphabet would show itself."""
    share = len(sections) / (OLDER + 1)
    return [(9 + number, sections[: max(1, round(share * (number + 1)))]) for number in range(OLDER)]


def _from_git(checkout: Path) -> list[tuple[int, Pages]]:
    """Return the pages of the last commits that changed them, each with the commit's number among those; [] without git."""
    commits = _git(checkout, "log", "--reverse", "--format=%H", "--", "*.md").decode("ascii", "replace").split()
    numbered = list(enumerate(commits, start=1))[-OLDER - 1 :]
    return [(number, _archived(_git(checkout, "archive", "--format=tar", commit))) for number, commit in numbered]


def _archived(archive: bytes) -> Pages:
    pages: dict[str, str] = {}
    if archive:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                path = Path(member.name)
                file = tar.extractfile(member) if member.isfile() and path.suffix == ".md" else None
                if file is not None and path.parts[0] in {"docs", path.name}:
                    pages[member.name] = file.read().decode("utf-8", "replace")
    return pages


def _git(checkout: Path, *arguments: str) -> bytes:
    try:
        answer = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, timeout=10.0, check=True)
    except (OSError, subprocess.SubprocessError):
        return b""  # no git, no repository, or one of somebody else's
    return answer.stdout
