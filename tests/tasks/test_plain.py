from __future__ import annotations

import pytest

from tasks.plain import AT_MOST, plain


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/vercel/next.js 15.0", "/vercel/next.js 15.0"),
        ("文档 é", "文档 é"),
        ("a\0b", "a\\x00b"),
        ("a\nb", "a\\nb"),
        ("a\ud800b", "a\\ud800b"),
        ("", ""),
    ],
)
def test_what_is_printable_stays_and_the_rest_is_written_out(text: str, kept: str) -> None:
    assert plain(text) == kept
    plain(text).encode()


def test_a_novel_is_cut() -> None:
    assert len(plain("x" * 10_000)) == AT_MOST
    assert plain("four", 2) == "fo"
