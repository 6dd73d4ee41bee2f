"""Parsed documents against the standard library, whose numbers are exact."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.parsing import MAX_INTEGER_DIGITS, parse_document
from strongroom.errors import LimitExceeded

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"


def exact(plain: bytes) -> Any:
    return json.loads(plain, parse_int=lambda digits: int(Decimal(digits)))


def same(one: object, other: object) -> bool:
    """Equality that tells 1 from 1.0 and 0.0 from -0.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return type(one) is type(other) and one == other


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(2**63 - 3, 2**63 + 3).map(str),
    st.integers(2**64 - 3, 2**64 + 3).map(str),
    st.integers(-(2**63) - 3, -(2**63) + 3).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
BLANKS = st.text(" \t\r\n", max_size=2)


@given(st.lists(NUMBERS, min_size=1, max_size=5), BLANKS, BLANKS, st.text(max_size=20))
@example(["1" * 5000, "-" + "9" * 5001], "", "", "")
@example(["18446744073709551616"], "", "", "1, 12345678901234567890, 2")
@example(["9223372036854775808", "-9223372036854775809", "1e300"], "", "", "")
@example(["1e400", "-1e400", "-0", "-0.0", "1e-400"], " ", "", "")
def test_numbers_come_out_as_the_standard_library_reads_them(numbers: list[str], before: str, after: str, text: str) -> None:
    values = ",".join(before + number + after for number in numbers)
    plain = f'{{"text":{json.dumps(text)},"list":[{values}],"last":{before}{numbers[0]}{after}}}'.encode()
    assert same(parse_document(plain), exact(plain))


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_at_the_limit_is_exact_and_one_digit_more_is_refused(sign: str) -> None:
    digits = "1234567890" * (MAX_INTEGER_DIGITS // 10)
    limit = digits if not sign else sign + digits[1:]
    parsed = parse_document(f'{{"n": {limit}}}'.encode())["n"]
    assert parsed == int(Decimal(limit))
    with pytest.raises(LimitExceeded) as caught:
        parse_document(f'{{"n": {limit}0}}'.encode())
    assert "stream_documentation" in caught.value.hint


def test_a_document_as_deep_as_documents_may_be_is_parsed_and_a_deeper_one_has_a_typed_error() -> None:
    def nested(depth: int) -> bytes:
        return b'{"n": 12345678901234567890123, "a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert parse_document(nested(512))["n"] == 12345678901234567890123
    with pytest.raises(LimitExceeded, match="deeper"):
        parse_document(nested(100_000))


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real documentation is not beside this checkout")
def test_real_documents_come_out_as_the_standard_library_reads_them() -> None:
    entries = json.loads((CORPUS / "manifest.json").read_bytes())["entries"]
    for entry in entries[::9]:
        plain = gzip.decompress((CORPUS / entry["file"]).read_bytes())
        assert same(parse_document(plain), exact(plain)), entry["file"]
