"""A name on disk stands for exactly one identifier, wherever the data folder is copied to."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.paths import MAX_COMPONENT_BYTES, check_identifier, decode_component, encode_component
from strongroom.errors import InvalidIdentifier

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "NFKD")

KNOWN = [
    ("/vercel/next.js", "+vercel+next.js"),
    ("/MicrosoftDocs/PowerShell-Docs", "+^microsoft^docs+^power^shell-^docs"),
    ("/a/b", "+a+b"),
    ("a_b", "a_b"),
    ("/a_b", "+a_b"),
    ("a b", "a%20b"),
    ("/x/文档", "+x+%e6%96%87%e6%a1%a3"),
    ("..", "%2e%2e"),
    (".", "%2e"),
    ("...", "%2e.%2e"),
    (".hidden", "%2ehidden"),
    ("1.0.", "1.0%2e"),
    ("../../etc/passwd", "%2e.+..+etc+passwd"),
    ("latest", "%6catest"),
    ("Latest", "^latest"),
    ("latest.", "latest%2e"),
    ("metadata.json", "%6detadata.json"),
    ("CON", "^c^o^n"),
    ("a:b", "a%3ab"),
    ("a+b^c%d~e", "a%2bb%5ec%25d%7ee"),
    ("\0", "%00"),
    ("v3.14.3", "v3.14.3"),
    ("1!2.0+local", "1%212.0%2blocal"),
]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
ids = st.one_of(
    texts,
    st.sampled_from([identifier for identifier, _ in KNOWN]),
    st.text("aAbB./+^%~-_ é\u0301ß\u017f\u212aİ\u0131文latest", min_size=1, max_size=12),
    st.text("/.aA文%", min_size=60, max_size=1100),
)


def folded(component: str) -> set[str]:
    """Return what file systems that fold case or normalise Unicode may make of the name."""
    return {unicodedata.normalize(form, component).casefold() for form in FORMS}


@pytest.mark.parametrize(("identifier", "component"), KNOWN)
def test_a_known_identifier_has_the_name_that_is_on_disk_already(identifier: str, component: str) -> None:
    assert encode_component(identifier) == component
    assert decode_component(component) == identifier


@given(ids)
def test_a_name_leads_back_to_its_identifier_unless_it_was_shortened(identifier: str) -> None:
    component = encode_component(identifier)
    assert decode_component(component) == (None if "~" in component else identifier)


@given(ids)
@example("é" * 512)
@example("A" * 101)
@example("/" * 1024)
def test_a_name_is_one_plain_component_that_fits_everywhere(identifier: str) -> None:
    component = encode_component(identifier)
    assert re.fullmatch(r"[a-z0-9%^+_-]|[a-z0-9%^+_-][a-z0-9._+^%~-]*[a-z0-9+_-]", component)
    assert 1 <= len(component.encode()) <= MAX_COMPONENT_BYTES < 255
    assert component not in {"latest", "metadata.json"}


@given(ids)
def test_folding_case_or_normalising_leaves_a_name_as_it_is(identifier: str) -> None:
    assert folded(encode_component(identifier)) == {encode_component(identifier)}


@given(st.data())
def test_two_identifiers_never_share_a_name_however_the_file_system_folds_it(data: st.DataObject) -> None:
    one = data.draw(ids)
    twins = [one.upper(), one.lower(), one.casefold(), one.replace("/", "_"), one.replace("/", "+"), encode_component(one)]
    twins += [unicodedata.normalize(form, one) for form in FORMS] + [one + ".", "." + one, one + " ", one[:-1] or "x"]
    other = data.draw(st.one_of(ids, st.sampled_from(twins)))
    shared = folded(encode_component(one)) & folded(encode_component(other))
    assert bool(shared) == (one == other)


@given(st.text("aA/.文%~", min_size=150, max_size=1024))
def test_a_long_identifier_becomes_whole_escapes_and_its_own_digest(identifier: str) -> None:
    component = encode_component(identifier)
    prefix, _, digest = component.partition("~")
    assert re.fullmatch(r"(?:[a-z0-9._+-]|\^[a-z]|%[0-9a-f]{2})+", prefix)
    if digest:
        assert digest == hashlib.sha256(identifier.encode()).hexdigest()
        assert len(prefix) >= MAX_COMPONENT_BYTES - 65 - 2


def test_the_name_is_whole_up_to_200_bytes_and_shortened_at_201() -> None:
    assert encode_component("a" * 200) == "a" * 200
    assert encode_component("a" * 201) == "a" * 135 + "~" + hashlib.sha256(b"a" * 201).hexdigest()
    assert encode_component("a" * 134 + "文" * 40).startswith("a" * 134 + "~")


def test_folders_made_of_hostile_identifiers_all_stand_side_by_side_in_the_root(tmp_path: Path) -> None:
    root = tmp_path / "documentation"
    root.mkdir()
    hostile = [identifier for identifier, _ in KNOWN] + ["/etc/passwd", "a\\..\\b", "-rf", "~"]
    hostile += ["/x" * 500, "é" * 512, "e\u0301" * 300]
    for identifier in hostile:
        (root / encode_component(identifier)).mkdir()
    assert [folder.name for folder in tmp_path.iterdir()] == ["documentation"]
    assert sum(1 for _ in root.rglob("*")) == len(hostile)
    assert {(root / encode_component(identifier)).resolve().parent for identifier in hostile} == {root.resolve()}


FOREIGN = [
    "",
    ".",
    "..",
    "latest",
    "metadata.json",
    ".tmp",
    "A",
    "%41",
    "%2E%2e",
    "%61",
    "%",
    "%zz",
    "^",
    "^1",
    "a/b",
    "a b",
    "文",
]
FOREIGN += ["a.", "%ff", "a~b", "a\n", "\ud800", "a" * 201]
FOREIGN += ["a" * length + "~" + "0" * digits for length, digits in [(1, 64), (132, 64), (136, 64), (135, 63)]]


@pytest.mark.parametrize("component", FOREIGN)
def test_a_name_that_was_not_made_here_is_not_guessed_at(component: str) -> None:
    with pytest.raises(InvalidIdentifier):
        decode_component(component)


@pytest.mark.parametrize("identifier", ["", "\ud800", "a\udfffb"])
def test_a_text_without_utf8_has_no_name(identifier: str) -> None:
    with pytest.raises(InvalidIdentifier):
        encode_component(identifier)


GOOD = ["/vercel/next.js", "a_b", "/a/b", "/x/文档", "a b", "CON", "a:b", "...", "..a", "/a/..b/c", "6.x", "~", "v_1_2"]
GOOD += ["a" * 1024, "é" * 512]


@pytest.mark.parametrize("value", GOOD)
@pytest.mark.parametrize("what", ["library id", "version"])
def test_an_identifier_of_the_trade_is_returned_as_it_is(value: str, what: str) -> None:
    assert check_identifier(value, what) is value


BAD = [
    ("", "empty"),
    ("  ", "blank"),
    ("\u3000", "blank"),
    ("a" * 1025, "more than the 1,024 bytes"),
    ("é" * 513, "more than the 1,024 bytes"),
    ("x" * 10_000, "more than the 1,024 bytes"),
    ("a\0b", "control"),
    ("a\nb", "control"),
    ("a\x1b[2Jb", "control"),
    ("a\x7f", "control"),
    ("a\x85b", "control"),
    ("a\x9f", "control"),
    ("\ud800", "surrogate"),
    ("..", "step"),
    (".", "step"),
    ("../../etc/passwd", "step"),
    ("/a/../b", "step"),
    ("/a/.", "step"),
    ("a/..", "step"),
]


@pytest.mark.parametrize(("value", "reason"), BAD)
@pytest.mark.parametrize("what", ["library id", "version"])
def test_a_hostile_identifier_is_refused_with_a_short_printable_reason(value: str, reason: str, what: str) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        check_identifier(value, what)
    message = str(caught.value)
    assert what in message
    assert reason in message
    assert len(message) < 200
    assert message.isprintable()
    assert caught.value.hint


def test_latest_is_an_alias_and_so_no_version_but_may_be_a_library() -> None:
    assert check_identifier("latest", "library id") == "latest"
    with pytest.raises(InvalidIdentifier, match="latest") as caught:
        check_identifier("latest", "version")
    assert "alias" in caught.value.hint


@given(st.text(max_size=40))
def test_whatever_the_gate_lets_through_has_a_name(value: str) -> None:
    try:
        check_identifier(value, "library id")
    except InvalidIdentifier:
        return
    assert encode_component(value)
