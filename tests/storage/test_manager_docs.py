"""The examples of docs/how-to/embed.md run, one after the other, and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "embed.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PRINTED = """\
{folder}/library/documentation/+pallets+flask/3.1.3/documentation.json.gz
/pallets/flask: 1 version, saved 95%
stored /pallets/click 8.2.0
stored /pallets/click 8.1.8
failed None None not_json
/pallets/flask 0.1 is not stored. `strongroom list` shows what is stored.
/pallets/flask 0.1 is not stored. `strongroom list` shows what is stored.
54 bytes, 2 versions in order
2 revisions out, 2 in
0 documents gone, 2 still held, left in []
"""


def test_the_examples_run_in_their_order_and_print_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    for example in EXAMPLE.finditer(page):
        line = page.count("\n", 0, example.start(1))
        exec(compile("\n" * line + example[1], str(PAGE), "exec"), {"__name__": "__main__"})
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    assert printed == PRINTED.format(folder=tmp_path)
    assert (tmp_path / "flask.json").read_bytes().startswith(b'{"title": "Flask"')
