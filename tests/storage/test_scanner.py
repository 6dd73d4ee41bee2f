"""The streaming check: the same rules as the standard library's parser plus ours, in constant memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.documents import unpack
from storage.identity import Identity
from storage.limits import Limits
from storage.scanner import DocumentScanner
from strongroom.errors import InvalidDocument, LimitExceeded, StorageError

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "data" / "corpus"


def scan(data: bytes, limits: Limits = Limits(), size: int = 1 << 20) -> Identity:  # noqa: B008 - frozen
    scanner = DocumentScanner(limits)
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    return scanner.finish()


# Against a reference that shares no line with the scanner


class Refused(Exception):
    """The reference does not accept the document."""


def reference(data: bytes) -> dict[str, Any]:
    """Return the document as the standard library reads it, by our rules; numbers stay as they are spelled."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Refused
        return dict(pairs)

    def refuse(_constant: str) -> NoReturn:
        raise Refused

    try:
        document = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=refuse, parse_int=str, parse_float=str)
        json.dumps(document, ensure_ascii=False).encode()  # no lone surrogate
    except ValueError as error:
        raise Refused from error
    if not isinstance(document, dict):
        raise Refused
    return document


TOKENS = [
    *'{}[],:"',
    '"a"',
    '"b"',
    '"a\\\\"',
    '"\\u0061"',
    '":1"',
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    '"文"',
    '""',
    "1",
    "-0",
    "1.5E+3",
]
TOKENS += ["01", "1.", "true", "null", "NaN", "tru", " ", "\n", "\t", "\\", "\\u00e9", "\ufeff", "\0", "e", "-", "1e400", "🦊"]


@st.composite
def soups(draw: st.DrawFn) -> bytes:
    """Return tokens in any order: most are no JSON, some nearly."""
    return "".join(draw(st.lists(st.sampled_from(TOKENS), max_size=12))).encode()


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """Return an object around a soup that often is valid."""
    values = st.sampled_from(
        ["1", "-0.5e-3", "true", '"x\\n"', '"\\ud83d\\ude00"', "[]", "{}", '[{"a":1},{"a":1}]', '{"a":{"a":"文"}}']
    )
    names = st.sampled_from(
        ['"a"', '"b"', '"c"', '"\\u0061"', '"a\\\\"', '"a\\""', '":"', '"😀"', '"\\uD83D\\uDE00"', f'"{"k" * 33}"']
    )
    pairs = draw(
        st.lists(st.tuples(names, values), max_size=5, unique_by=draw(st.sampled_from([lambda pair: pair, lambda pair: pair[0]])))
    )
    text = bytearray(("{" + ",".join(f"{name} : {value}" for name, value in pairs) + "}").encode())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=1) | soups())
    return bytes(text)


@settings(max_examples=100, deadline=None)
@given(data=soups() | members() | members(), size=st.integers(1, 40))
@example(data=b'{"a":"\\ud83d\\ude00","\\ud83d\\ude00":1}', size=1)
@example(data=b'{"a":[1,2,3 , 4],"b":[true,null ]}', size=40)
def test_it_accepts_what_the_standard_library_accepts_by_our_rules(data: bytes, size: int) -> None:
    try:
        reference(data)
    except Refused:
        with pytest.raises(InvalidDocument):
            scan(data, size=size)
    else:
        scan(data, size=size)


@settings(max_examples=100, deadline=None)
@given(
    info=st.dictionaries(
        st.sampled_from(["library_id", "version", "name", "stars"]), st.text(max_size=9) | st.integers() | st.none()
    ),
    root=st.dictionaries(st.sampled_from(["library_id", "version_id", "version", "chunks"]), st.text(max_size=9) | st.booleans()),
    size=st.integers(1, 9),
)
def test_it_finds_the_identity_wherever_it_stands(info: dict[str, Any], root: dict[str, Any], size: int) -> None:
    def text(members: dict[str, Any], *keys: str) -> str | None:
        return next((members[key] for key in keys if isinstance(members.get(key), str) and members[key]), None)

    document = dict(sorted({**root, "library_info": info}.items()))
    found = scan(json.dumps(document, ensure_ascii=size % 2 == 0).encode(), size=size)
    assert found.library_id == (text(info, "library_id") or text(root, "library_id"))
    assert found.version == (text(info, "version") or text(root, "version_id", "version"))


# Cuts and large scalars


def test_a_cut_through_any_byte_of_a_long_document_makes_no_difference() -> None:
    body = {"chunks": [{"id": n, "text": 'a\\b"c\n😀文' * 3, "numbers": [1.5e-7, -0, 123456]} for n in range(20)], "version": "1"}
    for ascii_only in (True, False):
        data = json.dumps(body, ensure_ascii=ascii_only, indent=1).encode()
        for at in range(len(data)):
            scanner = DocumentScanner(Limits())
            scanner.feed(data[:at])
            scanner.feed(memoryview(data)[at:])
            assert scanner.finish().version == "1"


@pytest.mark.parametrize("unit", ["x", "\\n", "\\ud83d\\ude00", "文", "\\u0000"])
def test_a_string_of_many_pieces_is_read(unit: str) -> None:
    text = unit * 200_000
    data = f'{{"a":"{text}","library_id":"/a/b"}}'.encode()
    assert scan(data).library_id == "/a/b"
    with pytest.raises(InvalidDocument):
        scan(data.replace(b'","lib', b'\n","lib'))


def test_a_number_of_many_pieces_is_read() -> None:
    data = b'{"a":-12%b.%be+%b,"b":[%b,0]}' % ((b"7" * 600_000,) * 4)
    for size in (1000, 1 << 20):
        assert scan(data, size=size) == Identity(None, None)
        with pytest.raises(InvalidDocument):
            scan(data.replace(b"e+", b"e+-"), size=size)
        with pytest.raises(InvalidDocument):
            scan(data.replace(b"e+", b"."), size=size)
        with pytest.raises(LimitExceeded):
            scan(data, Limits(scalar_bytes=1_800_004), size=size)
    scan(data, Limits(scalar_bytes=1_800_006))


def test_a_long_key_of_many_pieces_is_known_again() -> None:
    key = "k文" * 200_000
    for other in (key, "".join(f"\\u{ord(character):04x}" for character in key)):
        with pytest.raises(StorageError) as caught:
            scan(f'{{"{key}":1,"{other}":2}}'.encode())
        assert caught.value.code == "duplicate_key"
    scan(f'{{"{key}1":1,"{key}2":2}}'.encode())


def test_the_end_of_an_unfinished_document_says_what_was_open() -> None:
    for data, word in ((b'{"a":"b', "string"), (b'{"a":[', "2 open brackets"), (b'{"a":"\xe6\x96', "character")):
        with pytest.raises(InvalidDocument, match=word):
            scan(data, size=1)


# Memory

MEASURE = """
import json, resource, sys
from storage.documents import DocumentScanner, Limits

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def stream(kind):
    if kind == "chunks":  # 200 MB
        text = "Text with \\\\ and \\n and \\" and 文. " * 2000
        chunk = json.dumps({"id": "x", "content": text, "metadata": {"n": [1, 2.5]}}, ensure_ascii=False)
        piece = (chunk + ",").encode() * 8
        yield b'{"chunks":['
        for _ in range(200_000_000 // len(piece)):
            yield piece
        yield b'{}],"library_id":"/a/b"}'
    elif kind == "strings":  # 12 of 15 MB
        piece = b"x" * 1_000_000
        yield b'{"chunks":["'
        for _ in range(12):
            for _ in range(15):
                yield piece
            yield b'","'
        yield b'"],"library_id":"/a/b"}'
    elif kind == "number":  # 15 MB
        yield b'{"a":1'
        for _ in range(150):
            yield b"1" * 100_000
        yield b',"library_id":"/a/b"}'
    else:  # as many keys as are allowed
        yield b'{"library_id":"/a/b","a":{"a":0'
        for number in range(99_990):
            yield b',"some key number %d":"some value"' % number
        yield b"}}"

scanner = DocumentScanner(Limits())
scanner.feed(b" ")
before = peak()
for piece in stream(sys.argv[1]):
    scanner.feed(piece)
assert scanner.finish().library_id == "/a/b"
print(peak() - before)
"""


@pytest.mark.parametrize("kind", ["chunks", "strings", "number", "keys"])
def test_memory_does_not_grow_with_the_document(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, kind], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 16 * 1024**2


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real documentation is not beside this checkout")
def test_the_largest_document_of_the_corpus_names_its_library_and_version() -> None:
    entry = max(json.loads((CORPUS / "manifest.json").read_bytes())["entries"], key=lambda entry: int(entry["bytes"]))
    scanner = DocumentScanner(Limits())
    with (CORPUS / entry["file"]).open("rb") as source:
        for piece in unpack(source, Limits()):
            scanner.feed(piece)
    found = scanner.finish()
    assert (found.library_id, found.version) == (entry["library_id"], entry["version"])
