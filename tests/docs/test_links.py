"""What a page names exists: the pages it links to, the commands, options and make targets it mentions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from scripts.reference.cli import commands, options_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

OPTIONS = {tuple(words.split()): options_of(command) for words, command in commands()}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def links_of(text: str) -> Iterator[str]:
    """Yield the targets of a page's links; code is no link."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    inside = [link for link in links_of(page.read_text("utf-8")) if not link.startswith(("http:", "https:"))]
    return [link for link in inside if not leads_somewhere(page, link)]


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / unquote(path)) if path else page
    return target.exists() and (not anchor or anchor in anchors_of(target))


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield the words of each call of strongroom that a page shows, in code of any kind."""
    for line in code_of(text):
        for call in re.findall(r"(?<![\w/.-])strongroom((?: +[^\s|;&><()`#]+)*)", line):
            words = call.split()
            if words and (words[0].startswith("-") or words[0].isalpha()):
                yield words


def code_of(text: str) -> Iterator[str]:
    for block in re.findall(r"^```(?:console|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^    (\S.*)$", prose, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", prose)


def unknown_words(words: list[str]) -> list[str]:
    """Return what of a call does not exist: the command, or its options."""
    path = ("strongroom",)
    while words and (*path, words[0]) in OPTIONS:
        path, words = (*path, words[0]), words[1:]
    path = (*path, "plan") if (*path, "plan") in OPTIONS else path  # which need not be named (workers/cli/cleanup.py)
    if path == ("strongroom",) and words and words[0].islower() and not words[0].startswith("-"):
        return [words[0]]
    return [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in OPTIONS[path]]


@by_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@by_page
def test_the_commands_of_a_page_exist_and_take_these_options(page: Path) -> None:
    calls = list(commands_in(page.read_text("utf-8")))
    assert [(words, wrong) for words in calls if (wrong := unknown_words(words))] == []


@by_page
def test_the_make_targets_of_a_page_exist(page: Path) -> None:
    named = {target for line in code_of(page.read_text("utf-8")) for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert named <= TARGETS


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A Title\n\n[a](page.md#a-title) [b](#b) [c](absent.md) `[d](no-link)`\n", "utf-8")
    assert broken_links(page) == ["#b", "absent.md"]
    text = (
        "`strongroom stor F` `strongroom store --wiat F` `strongroom jobs show ID --json`\n\n    strongroom up --detach | cat\n"
    )
    assert [unknown_words(words) for words in commands_in(text)] == [[], ["stor"], ["--wiat"], []]
