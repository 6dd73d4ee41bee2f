"""What is a document and what is not, in memory and as a stream, plain and gzipped."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.documents import DocumentScanner, Identity, Limits, check_document, unpack
from storage.identity import FACT_CHARS
from strongroom.errors import DamagedGzip, DocumentTooLarge, EmptyDocument, InvalidDocument

LIMITS = Limits()
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"

Outcome = Identity | tuple[str, str]


def outcome(check: Callable[[], Identity]) -> Outcome:
    try:
        return check()
    except InvalidDocument as error:
        return error.code, error.message


def scan(data: bytes, limits: Limits, sizes: Iterator[int]) -> Identity:
    scanner = DocumentScanner(limits)
    at = 0
    while at < len(data):
        size = next(sizes)
        scanner.feed(memoryview(data)[at : at + size])
        at += size
    return scanner.finish()


def always(size: int) -> Iterator[int]:
    while True:
        yield size


def code_of(data: bytes, limits: Limits = LIMITS) -> str:
    """Return the code that both ways give, or 'accepted'."""
    whole = outcome(lambda: check_document(data, limits))
    cuts = (1, 2, 3, 7, len(data) or 1) if len(data) < 10_000 else (1021, 1 << 16, len(data))
    for size in cuts:
        assert outcome(lambda size=size: scan(data, limits, always(size))) == whole
    return "accepted" if isinstance(whole, Identity) else whole[0]


# Hostile and honest inputs

NOT_JSON = {
    "only white space": b" \n\t",
    "text": b"this is not json",
    "another file": b"%PDF-1.7\n%\xe2\xe3",
    "cut inside a string": b'{"a":"b',
    "cut inside a key": b'{"a',
    "cut behind a key": b'{"a"',
    "cut behind a colon": b'{"a":',
    "cut inside a literal": b'{"a":tru',
    "cut inside a number": b'{"a":-',
    "cut inside an escape": b'{"a":"\\u00',
    "cut behind half a pair": b'{"a":"\\ud800',
    "cut inside a character": '{"a":"文'.encode()[:-1],
    "cut before the last brace": b'{"a":{"b":1}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":Infinity}',
    "minus infinity": b'{"a":-Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "a byte order mark within": b'{"a":\xef\xbb\xbf1}',
    "utf-16": '{"a":1}'.encode("utf-16"),
    "utf-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "a stray continuation byte": b'{"a":"\x80"}',
    "an overlong character": b'{"a":"\xc0\xaf"}',
    "a surrogate in utf-8": b'{"a":"\xed\xa0\x80"}',
    "a character past unicode": b'{"a":"\xf4\x90\x80\x80"}',
    "invalid utf-8 in a key": b'{"\xff":1}',
    "invalid utf-8 behind the end": b"{}\xff",
    "latin-1": '{"a":"é"}'.encode("latin-1"),
    "a second document": b"{}{}",
    "trailing garbage": b"{} x",
    "a trailing NUL": b"{}\x00",
    "a trailing comma": b'{"a":1,}',
    "a trailing comma in a list": b'{"a":[1,]}',
    "a leading comma": b'{,"a":1}',
    "two commas": b'{"a":1,,"b":2}',
    "a missing comma": b'{"a":1 "b":2}',
    "a missing colon": b'{"a" 1}',
    "a missing value": b'{"a":}',
    "two colons": b'{"a"::1}',
    "the wrong bracket": b'{"a":[1}',
    "the other wrong bracket": b'{"a":{"b":1]}',
    "a bare key": b"{a:1}",
    "single quotes": b"{'a':1}",
    "a key that is a number": b"{1:1}",
    "a comment": b'{"a":1 /* one */}',
    "a line feed in a string": b'{"a":"b\nc"}',
    "a tab in a key": b'{"a\tb":1}',
    "a NUL in a string": b'{"a":"\x00"}',
    "an unknown escape": b'{"a":"\\x41"}',
    "an escaped quote at the end": b'{"a":"b\\"}',
    "a short escape": b'{"a":"\\u12"}',
    "an escape with no hex": b'{"a":"\\u12g4"}',
    "a leading zero": b'{"a":01}',
    "a leading zero behind a sign": b'{"a":-01}',
    "a plus": b'{"a":+1}',
    "no digit before the point": b'{"a":.5}',
    "no digit behind the point": b'{"a":1.}',
    "no digit between point and e": b'{"a":1.e5}',
    "no exponent": b'{"a":1e}',
    "a sign and no exponent": b'{"a":1e+}',
    "two points": b'{"a":1.2.3}',
    "hexadecimal": b'{"a":0x1F}',
    "underscores": b'{"a":1_000}',
    "a capital literal": b'{"a":True}',
    "a longer literal": b'{"a":nulls}',
    "half a literal and a value": b'{"a":trux1}',
    "a comma behind the last list": b'{"a":[[],]}',
    "a comma behind the last object": b'{"a":{},}',
    "a form feed": b'{"a":\x0c1}',
    "a no-break space": b'{"a":\xc2\xa01}',
    "a list cut short": b"[1",
    "words in brackets": b"[section]\nkey=value\n",
}
NOT_AN_OBJECT = {
    "a list": b"[1, 2]",
    "an empty list": b" []",
    "a string": b'"text"',
    "an integer": b"42",
    "a number": b"-1.5e3",
    "true": b"true",
    "null": b"null\n",
    "a list of objects": b'[{"library_id":"/a/b"}]',
}
DUPLICATE_KEY = {
    "at the top": b'{"a":1,"b":2,"a":3}',
    "equal values": b'{"a":1,"a":1}',
    "nested": b'{"x":[{"a":{"b":1,"c":[],"b":2}}]}',
    "spelled with an escape": b'{"a":1,"\\u0061":2}',
    "spelled with another escape": b'{"\\/":1,"/":2}',
    "hexadecimal in two cases": b'{"\\u00e9":1,"\\u00E9":2}',
    "a pair and its character": '{"\\ud83d\\ude00":1,"😀":2}'.encode(),
    "the empty key": b'{"":1,"":2}',
    "ending in a backslash": b'{"a\\\\":1,"a\\\\":2}',
    "ending in two backslashes": b'{"\\\\\\\\":1,"\\\\\\\\":2}',
    "beginning like the end of a key": b'{": 1":1,": 1":2}',
    "hidden by a string that looks like the end of a key": b'{"a":": 1","a":": 2"}',
    "white space before the colon": b'{"a" \n:1,"a"\t:2}',
    "long": b'{"%b":1,"%b":2}' % (b"k" * 5000, b"k" * 5000),
    "long, spelled in two ways": b'{"%b":1,"%b":2}' % (b"\\u006b" * 500, b"k" * 500),
    "objects as values": b'{"a":{},"a":{}}',
    "before a fault": b'{"a":1,"a":2,}',
}
LONE_SURROGATE = {
    "a high one": b'{"a":"\\ud800"}',
    "a low one": b'{"a":"\\udc00"}',
    "two high ones": b'{"a":"\\ud800\\ud800"}',
    "a low one first": b'{"a":"\\udc00\\ud800"}',
    "before an escape": b'{"a":"\\ud800\\n"}',
    "before a character": b'{"a":"\\uDBFFx"}',
    "before a bad escape": b'{"a":"\\ud800\\u00"}',
    "in a key": b'{"\\ud800":1}',
    "behind a pair": b'{"a":"\\ud83d\\ude00\\ude00"}',
    "in a fact": b'{"library_id":"\\ud800"}',
}
ACCEPTED = {
    "nothing in it": b"{}",
    "white space around": b" \t\r\n{ } \n",
    "all kinds of value": b'{"a":[1,-0,0.5,1e5,1E-5,true,false,null,"s",[],{},[[]],{"b":{}}]}',
    "all escapes": b'{"a":"\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0041 \\uFFFF \\ud83d\\ude00"}',
    "an escaped NUL": b'{"a":"\\u0000"}',
    "a delete character": b'{"a":"\x7f"}',
    "many scripts": '{"文档":"한국어 العربية ‎😀"}'.encode(),
    "a byte order mark in a string": b'{"a":"\xef\xbb\xbf"}',
    "a 5,000-digit integer": b'{"a":%b}' % (b"7" * 5000),
    "a 5,000-digit fraction": b'{"a":-0.%be-7,"b":1}' % (b"7" * 5000),
    "a number past any float": b'{"a":1e400,"b":-1E+400}',
    "a number past 64 bits": b'{"a":18446744073709551616,"b":-9223372036854775809}',
    "keys that differ in case or form": '{"a":1,"A":2,"é":3,"e\u0301":4}'.encode(),
    "one key in different objects": b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
    "a long key twice in different objects": b'{"%b":{"%b":1}}' % (b"k" * 5000, b"k" * 5000),
    "long keys that differ at the end": b'{"%b1":1,"%b2":2}' % (b"k" * 5000, b"k" * 5000),
    "a string that looks like the end of a key": b'{"a":": {}","b":":1"}',
    "a key that ends in a backslash": b'{"a\\\\":"b\\\\"}',
    "a backslash and a quote before a colon": b'{"a":"\\\\\\": 1"}',
    "512 brackets": b'{"a":' + b"[" * 511 + b"]" * 511 + b"}",
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON)
def test_what_breaks_the_grammar_is_not_json(data: bytes) -> None:
    assert code_of(data) == "not_json"


@pytest.mark.parametrize("data", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
def test_json_that_is_no_object_is_refused_as_that(data: bytes) -> None:
    assert code_of(data) == "not_an_object"


@pytest.mark.parametrize("data", DUPLICATE_KEY.values(), ids=DUPLICATE_KEY)
def test_a_key_that_stands_twice_in_an_object_is_refused(data: bytes) -> None:
    assert code_of(data) == "duplicate_key"


@pytest.mark.parametrize("data", LONE_SURROGATE.values(), ids=LONE_SURROGATE)
def test_half_a_surrogate_pair_is_refused(data: bytes) -> None:
    assert code_of(data) == "lone_surrogate"


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_what_keeps_the_rules_is_accepted(data: bytes) -> None:
    assert code_of(data) == "accepted"


@pytest.mark.parametrize("byte", range(0x20))
def test_no_control_character_stands_bare_in_a_string(byte: int) -> None:
    for spelled in (b'{"a":"%c"}', b'{"a%c":1}', b'{"a":["%c",1]}', b'{"a":"\\n%c"}'):
        assert code_of(spelled % byte) == "not_json"


def test_no_bytes_are_an_empty_document() -> None:
    assert code_of(b"") == "empty_document"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":[', b' [ {"b" : '], ids=["lists", "objects", "both", "spaced"])
def test_100000_brackets_are_refused_and_crash_nothing(opening: bytes) -> None:
    assert code_of(opening * 100_000) == "limit_exceeded"
    assert code_of(b'{"a":' + opening * 100_000 + b"1" + b"]" * 100_000 + b"}") == "limit_exceeded"


# Limits: equal to the limit is accepted, one more is not.


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def keyed(count: int) -> bytes:
    return json.dumps({f"k{number}": number for number in range(count)}).encode()


def test_the_depth_is_limited() -> None:
    assert code_of(nested(512)) == "accepted"
    assert code_of(nested(513)) == "limit_exceeded"
    assert code_of(b'{"a":[[1]]}', Limits(depth=3)) == "accepted"
    assert code_of(b'{"a":[[[]]]}', Limits(depth=3)) == "limit_exceeded"
    assert code_of(b'{"a":[[{}]]}', Limits(depth=3)) == "limit_exceeded"


def test_the_keys_of_an_object_are_limited() -> None:
    assert code_of(keyed(100_000)) == "accepted"
    assert code_of(keyed(100_001)) == "limit_exceeded"
    assert code_of(b'{"a":{"b":1},"c":[{"d":1},{"e":1}]}', Limits(object_keys=2)) == "accepted"


def test_the_keys_of_the_objects_open_at_one_place_are_limited() -> None:
    tight = Limits(open_keys=3)
    assert code_of(b'{"a":{"b":{"c":1}},"d":1,"e":1}', tight) == "accepted"
    assert code_of(b'{"a":{"b":{"c":{"d":1}}}}', tight) == "limit_exceeded"
    assert code_of(b'{"a":[{"b":1},{"b":1},{"b":1}]}', tight) == "accepted"


@pytest.mark.parametrize(
    ("spelled", "size"),
    [(b'"%b"', 20), (b'"\\u0041%b"', 14), (b"1%b", 19), (b"-0.1%b", 16), (b"[%b]", 20), (b'{"%b":1}', 20)],
    ids=["string", "escaped string", "integer", "fraction", "number in a list", "key"],
)
def test_the_length_of_a_scalar_is_limited_as_it_is_spelled(spelled: bytes, size: int) -> None:
    tight = Limits(scalar_bytes=20)
    assert code_of(b'{"a":' + spelled % (b"1" * size) + b"}", tight) == "accepted"
    assert code_of(b'{"a":' + spelled % (b"1" * (size + 1)) + b"}", tight) == "limit_exceeded"


def test_a_scalar_of_16_mib_is_accepted_and_one_byte_more_is_not() -> None:
    for opening, closing in ((b'{"a":"', b'"}'), (b'{"a":', b"}"), (b'{"', b'":1}')):
        for extra, expected in ((0, "accepted"), (1, "limit_exceeded")):
            data = opening + b"1" * (LIMITS.scalar_bytes + extra) + closing
            assert code_of(data) == expected


def test_the_size_of_a_document_is_limited() -> None:
    data = b'{"a":"bcdef"}'
    assert code_of(data, Limits(document_bytes=len(data))) == "accepted"
    assert code_of(data + b" ", Limits(document_bytes=len(data))) == "document_too_large"
    assert code_of('{"a":"文文文"}'.encode(), Limits(document_bytes=8)) == "document_too_large"


def test_a_fault_before_the_limit_is_told_before_the_size() -> None:
    assert code_of(b'{"a":1,"a":1}' + b" " * 100, Limits(document_bytes=20)) == "duplicate_key"


def test_a_message_says_where() -> None:
    def message(data: bytes) -> str:
        with pytest.raises(InvalidDocument) as caught:
            check_document(data, LIMITS)
        return caught.value.message

    assert "byte order mark" in message(b"\xef\xbb\xbf{}")
    assert "byte 7" in message(b'{"a":1,"a":2}')
    assert "'a'" in message(b'{"a":1,"\\u0061":2}')
    assert "byte 5" in message(b'{"a":NaN}')
    assert "byte 7" in message(b'{"a":"b\xff"}')
    assert "byte 7" in message('{"文":\x00}'.encode())
    assert len(message(b'{"%b":1,"%b":2}' % (b"k" * 5000, b"k" * 5000))) < 150
    assert "\x1b" not in message(b'{"\\u001b[2J":1,"\\u001b[2J":2}')


# What a document says about itself


def identity(document: dict[str, Any]) -> Identity:
    data = json.dumps(document).encode()
    whole = check_document(data, LIMITS)
    assert scan(data, LIMITS, always(3)) == whole
    return whole


def test_the_upstream_version_goes_before_the_id_of_the_download() -> None:
    found = identity(
        {"library_id": "/a/b", "library_info": {"library_id": "/c/d", "version": "3.1"}, "version_id": "v_1_2", "version": "9"}
    )
    assert (found.library_id, found.version) == ("/c/d", "3.1")


def test_without_library_info_the_root_tells() -> None:
    found = identity({"version_id": "v_1_2", "version": "9", "library_id": "/a/b", "chunks": [{"library_id": "/no/no"}]})
    assert (found.library_id, found.version) == ("/a/b", "v_1_2")
    assert identity({"version": "9"}) == Identity(None, "9")


@pytest.mark.parametrize("nothing", [None, "", 3.1, True, [], {"library_id": "/no/no", "version": "0"}])
def test_what_is_not_a_string_names_nothing(nothing: object) -> None:
    document = {"library_info": {"library_id": nothing, "version": nothing}, "library_id": nothing, "version_id": nothing}
    assert identity(document) == Identity(None, None)
    assert identity({**document, "library_id": "/a/b", "version": "1"}) == Identity("/a/b", "1")


def test_only_the_library_info_of_the_root_object_counts() -> None:
    info = {"library_id": "/no/no", "version": "0"}
    assert identity({"chunks": [{"library_info": info}], "x": {"library_info": info}}) == Identity(None, None)
    assert identity({"library_info": {"library_info": info}}) == Identity(None, None)
    assert identity({"library_info": {"n": {"version": "0"}, "version": "1"}}) == Identity(None, "1")
    assert identity({"library_info": [info]}) == Identity(None, None)


def test_facts_get_the_names_of_the_library_row() -> None:
    info = {"title": "B", "description": "d", "category": "c", "language": "l", "trust_score": 8, "stars": 5, "homepage": "h"}
    assert identity({"library_info": {**info, "source_repository": "a/b", "licence": "MIT", "topics": ["x"]}}).library == {
        "name": "B",
        "description": "d",
        "category": "c",
        "language": "l",
        "trust_score": 8.0,
        "star_count": 5,
        "homepage_url": "h",
        "repository_url": "a/b",
    }


def test_facts_that_no_column_can_hold_are_passed_over() -> None:
    info = {"name": "a\0b", "description": 5, "trust_score": "8", "stars": 2**63, "language": None, "category": ["c"]}
    assert identity({"library_info": info}).library == {}
    assert identity({"library_info": {"stars": -1, "trust_score": True}}).library == {}
    assert identity({"library_info": {"stars": 1.5}}).library == {}


def test_long_facts_are_cut() -> None:
    long = "\u6587\n" * 10_000
    found = identity({"library_info": {"description": long}, "library_id": long})
    assert found.library_id == long[:FACT_CHARS]
    assert found.library == {"description": long[:FACT_CHARS]}


@pytest.mark.parametrize("digits", [4094, 4095])
def test_both_ways_draw_the_same_line_at_long_numbers(digits: int) -> None:
    data = b'{"library_info":{"trust_score":0.%b}}' % (b"1" * digits)
    assert code_of(data) == "accepted"
    assert bool(check_document(data, LIMITS).library) is (digits == 4094)


def test_facts_are_read_through_escapes() -> None:
    data = b'{"library\\u005finfo":{"ver\\u0073ion":"1\\u002e0"},"library_id":"\\/a\\/b"}'
    assert code_of(data) == "accepted"
    assert check_document(data, LIMITS) == Identity("/a/b", "1.0")


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real documentation is not beside this checkout")
def test_every_document_of_the_corpus_names_its_library_and_version() -> None:
    entries = json.loads((CORPUS / "manifest.json").read_bytes())["entries"]
    assert len(entries) == 215
    for entry in entries:
        with (CORPUS / entry["file"]).open("rb") as source:
            data = b"".join(unpack(source, LIMITS))
        if len(data) > 12 * 1024**2:
            continue  # scanned in the tests of the scanner
        found = check_document(data, LIMITS)
        assert (found.library_id, found.version) == (entry["library_id"], entry["version"])
        assert found.library["name"] == entry["name"]


# Both ways give one answer, whatever the bytes and however they are cut.

KEYS = st.sampled_from(
    ["a", "b", "a\\", ":", ": 1", '"', '":', "\\", "é", "😀", "", "k" * 40, "library_info", "library_id", "version", "stars"]
)
TEXTS = KEYS | st.text(alphabet='a\\":{[,]} 1\n\t\0é文😀', max_size=8) | st.text(max_size=4)
NUMBERS = st.sampled_from(["0", "-0", "1", "-1.5e3", "10E+2", "1e400", "123456789012345678901234567890", "0.1"])


@st.composite
def strings(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Return a string in one of its spellings."""

    def spell(character: str) -> str:
        way = draw(st.integers(0, 5))
        units = character.encode("utf-16-be")
        escaped = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        if way == 0:
            return escaped
        if way == 1:
            return escaped.upper().replace("U", "u")
        return json.dumps(character, ensure_ascii=way == 2)[1:-1]

    return '"' + "".join(spell(character) for character in draw(texts)) + '"'


SPACES = st.sampled_from(["", "", "", " ", "\n  ", "\t\r\n"])


@st.composite
def values(draw: st.DrawFn, depth: int = 4) -> str:
    """Return a JSON value; its objects may hold a key twice."""

    def spaced(text: str) -> str:
        return draw(SPACES) + text + draw(SPACES)

    kind = draw(st.integers(0, 7 if depth else 4))
    if kind >= 6:
        return spaced("[" + ",".join(draw(st.lists(values(depth - 1), max_size=4))) + draw(SPACES) + "]")
    if kind == 5:
        return draw(objects(depth - 1))
    scalars = [st.just("true"), st.just("null"), NUMBERS, strings(TEXTS), strings(TEXTS)]
    return spaced(draw(scalars[kind]))


@st.composite
def objects(draw: st.DrawFn, depth: int = 4) -> str:
    """Return a JSON object, most often with different keys."""
    distinct = draw(st.booleans())
    names = draw(st.lists(KEYS, max_size=5, unique=distinct))
    members = [f"{draw(strings(st.just(name)))}{draw(SPACES)}:{draw(values(depth))}" for name in names]
    return draw(SPACES) + "{" + ",".join(draw(SPACES) + member for member in members) + draw(SPACES) + "}" + draw(SPACES)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a document with up to three wounds."""
    data = bytearray(draw(objects()).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        wound = draw(st.integers(0, 4))
        if wound == 0:
            data[at : at + 1] = draw(st.binary(max_size=2))
        elif wound == 1:
            data[at : at + 1] = draw(
                st.sampled_from([b'"', b"\\", b":", b",", b"{", b"}", b"]", b"\\ud800", b"\xe6", b"1", b"-", b"e"])
            )
        elif wound == 2:
            del data[at : min(end, at + 6)]
        elif wound == 3:
            data[at:at] = data[at : min(end, at + 20)]
        else:
            del data[end:]
    return bytes(data)


LIMITS_TO_TRY = st.sampled_from(
    [
        LIMITS,
        Limits(depth=3, object_keys=3, open_keys=5),
        Limits(scalar_bytes=6),
        Limits(document_bytes=40),
        Limits(whole_bytes=20, scalar_bytes=3, depth=2),
    ]
)


@settings(max_examples=150, deadline=None)
@given(data=damaged(), limits=LIMITS_TO_TRY, seed=st.integers(0, 2**32))
@example(data=b'{"a":"\\ud800\\u0', limits=LIMITS, seed=0)
@example(data=b'{"a":1..1}', limits=Limits(scalar_bytes=2), seed=0)
@example(data='{"a":"12345文"}'.encode(), limits=Limits(scalar_bytes=6), seed=1)
def test_both_ways_give_one_answer_however_the_bytes_are_cut(data: bytes, limits: Limits, seed: int) -> None:
    whole = outcome(lambda: check_document(data, limits))
    chance = random.Random(seed)
    for longest in (1, 3, 40, 10_000):
        sizes = iter(lambda longest=longest: chance.randint(1, longest), 0)
        assert outcome(lambda sizes=sizes: scan(data, limits, sizes)) == whole


# Unpacking


def unpacked(data: bytes, limits: Limits = LIMITS) -> bytes:
    pieces = list(unpack(io.BytesIO(data), limits))
    assert all(0 < len(piece) <= 1024**2 for piece in pieces)
    return b"".join(pieces)


class Trickle(io.BytesIO):
    """A stream that gives one byte at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1 if size else 0)


SOME = random.Random(1).randbytes(300_000) + b"documentation " * 100_000


def test_a_plain_stream_comes_out_as_it_is() -> None:
    for data in (b"{}", b"x", b"\x1f", SOME):
        assert unpacked(data) == data


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_gzip_stream_comes_out_unpacked(level: int) -> None:
    for data in (b"{}", SOME, b"\0" * 5 * 1024**2, b"\0" * (256 * 1024), b"\0" * (512 * 1024 + 1)):
        assert unpacked(gzip.compress(data, level)) == data


def test_members_come_out_one_after_the_other() -> None:
    members = [gzip.compress(part) for part in (b"a", b"", SOME, b"b", b"")]
    assert unpacked(b"".join(members)) == b"a" + SOME + b"b"
    assert unpacked(gzip.compress(b"") * 50_000 + gzip.compress(b"{}")) == b"{}"


def test_a_stream_that_trickles_comes_out_whole() -> None:
    packed = gzip.compress(b'{"a":1}') + gzip.compress(b" ")
    assert b"".join(unpack(Trickle(packed), LIMITS)) == b'{"a":1} '
    assert b"".join(unpack(Trickle(b'{"a":1}'), LIMITS)) == b'{"a":1}'


def with_header(parts: int, longest: int) -> bytes:
    """Return a gzip stream whose header has the parts that the flags name (RFC 1952)."""
    plain = gzip.compress(b'{"a":1}', mtime=0)
    header = plain[:3] + bytes([parts]) + plain[4:10]
    header += longest.to_bytes(2, "little") + b"e" * longest if parts & 4 else b""
    header += b"n" * longest + b"\0" if parts & 8 else b""
    header += b"c" * longest + b"\0" if parts & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if parts & 2 else b""
    return header + plain[10:]


@pytest.mark.parametrize("parts", [2, 4, 8, 16, 12, 24, 28, 30])
def test_a_header_of_many_parts_does_no_harm_wherever_it_is_cut(parts: int) -> None:
    for longest in (5, 20_000, 60_000):
        assert unpacked(with_header(parts, longest)) == b'{"a":1}'
    assert b"".join(unpack(Trickle(with_header(parts, 5)), LIMITS)) == b'{"a":1}'
    assert b"".join(unpack(Trickle(gzip.compress(b" ") + with_header(parts, 5)), LIMITS)) == b' {"a":1}'


@pytest.mark.parametrize(
    "packed", [gzip.compress(SOME[:300]), gzip.compress(b" ") + gzip.compress(SOME[:300])], ids=["one", "two"]
)
def test_a_gzip_stream_cut_anywhere_is_damaged(packed: bytes) -> None:
    for length in set(range(2, len(packed))) - {len(gzip.compress(b" "))}:
        with pytest.raises(DamagedGzip):
            unpacked(packed[:length])


def test_no_flipped_bit_changes_what_comes_out() -> None:
    plain = b'{"a":"%b"}' % (b"documentation" * 20)
    packed = gzip.compress(plain, mtime=0)
    found = 0
    for at in range(2, len(packed)):
        for bit in range(8):
            broken = bytearray(packed)
            broken[at] ^= 1 << bit
            try:
                assert unpacked(bytes(broken)) == plain  # the header's time, for one, means nothing
            except DamagedGzip:
                found += 1
    assert found > 8 * (len(packed) - 10)


@pytest.mark.parametrize("garbage", [b"x", b"\0" * 512, b"{}", b"\x1f", b"\x1f\x8b", b"PK\x03\x04"])
def test_whatever_follows_a_gzip_stream_and_is_none_is_damage(garbage: bytes) -> None:
    with pytest.raises(DamagedGzip, match=r"Behind the end|cut short"):
        unpacked(gzip.compress(b"{}") + garbage)


@pytest.mark.parametrize("data", [b"", gzip.compress(b""), gzip.compress(b"") * 3], ids=["plain", "gzip", "members"])
def test_nothing_is_an_empty_document(data: bytes) -> None:
    with pytest.raises(EmptyDocument):
        unpacked(data)


def test_a_bomb_ends_at_the_limit() -> None:
    bomb = io.BytesIO(gzip.compress(b"\0" * 64 * 1024**2, 9) * 160)  # 10 MB that unpack to 10 GB
    limits, seen = Limits(document_bytes=100 * 1024**2), 0
    with pytest.raises(DocumentTooLarge):  # noqa: PT012 - what was yielded before counts
        for piece in unpack(bomb, limits):
            seen += len(piece)
    assert limits.document_bytes - 1024**2 <= seen <= limits.document_bytes
    assert bomb.tell() < 200_000


def test_a_document_of_exactly_the_limit_is_unpacked() -> None:
    limits = Limits(document_bytes=1000)
    for data in (b"a" * 1000, gzip.compress(b"a" * 1000)):
        assert unpacked(data, limits) == b"a" * 1000
    for data in (b"a" * 1001, gzip.compress(b"a" * 1001)):
        with pytest.raises(DocumentTooLarge):
            unpacked(data, limits)
