"""storage/diff: what people would say differs between two documents, whatever their shape."""

from __future__ import annotations

import copy
import gzip
import random
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.diff.compare import Change, Diff, Part, diff
from storage.diff.lines import TEXT_LINES, LineDiffs
from storage.diff.sections import MAX_SECTIONS
from strongroom.errors import LimitExceeded

Json = Any


def compared(before: Json, after: Json) -> Diff:
    return diff(lambda: before, lambda: after)


def paths(parts: tuple[Part, ...]) -> list[str]:
    return [one.path for one in parts]


def chunk(name: str, text: str, **more: Json) -> Json:
    return {"chunk_id": f"{name}_{random.random()}", "title": name, "content": text, **more}


def chunks(*some: Json, **more: Json) -> Json:
    return {"library_id": "/a/b", "version_id": str(random.random()), "chunks": list(some), **more}


def only(changes: tuple[Change, ...]) -> Change:
    (change,) = changes
    return change


def test_sections_are_found_by_their_name_wherever_they_stand() -> None:
    before = chunks(chunk("intro", "one\ntwo\n"), chunk("api", "call it"), chunk("old", "gone"))
    after = chunks(chunk("new", "come"), chunk("api", "call it"), chunk("intro", "one\n2\n"))
    found = compared(before, after)
    assert (paths(found.added), paths(found.removed), found.unchanged) == (["chunks[0]"], ["chunks[2]"], 1)
    change = only(found.changed)
    assert (change.before.title, change.before.path, change.after.path) == ("intro", "chunks[0]", "chunks[2]")
    assert change.text is not None
    assert change.text.lines == ("@@ -1,2 +1,2 @@", " one", "-two", "+2")
    assert (change.text.added, change.text.removed, change.before.words, change.fields) == (1, 1, 2, ())


def test_what_differs_from_download_to_download_does_not_count() -> None:
    before = chunks(chunk("a", "text", download_time=1, metadata={"task_id": "x", "tags": [1]}), downloaded_at="then")
    after = chunks(chunk("a", "text", download_time=2, metadata={"task_id": "y", "tags": [1]}), downloaded_at="now")
    assert compared(before, after).empty
    after["chunks"][0]["metadata"]["tags"] = [1, 2]
    change = only(compared(before, after).changed)
    assert change.text is None
    assert [(one.path, one.before, one.after) for one in change.fields] == [("metadata.tags[1]", None, "2")]


def test_a_folder_with_the_version_in_its_name_does_not_make_every_section_another() -> None:
    before, after = (
        chunks(*(chunk("same title", f"text {n}", metadata={"api_metadata": {"source_path": f"{v}/{n}.md"}}) for n in range(9)))
        for v in ("5.1", "7.4")
    )
    found = compared(before, after)
    assert (found.added, found.removed, len(found.changed)) == ((), (), 9)
    assert {one.path for change in found.changed for one in change.fields} == {"metadata.api_metadata.source_path"}


def test_a_version_in_a_link_does_not_count() -> None:
    before, after = ({"contexts": [{"url": f"hynek/structlog@{v}:README.rst", "content": "x"}]} for v in ("1.0", "2.0"))
    assert compared(before, after).empty


def test_a_section_under_another_name_is_moved() -> None:
    text = "The same text, which is long enough to be nobody else's."
    found = compared(chunks(chunk("a", text), chunk("b", "stays")), chunks(chunk("b", "stays"), chunk("c", text)))
    assert [(old.title, new.title) for old, new in found.moved] == [("a", "c")]
    assert (found.added, found.removed, found.changed) == ((), (), ())


def test_sections_without_names_are_found_by_what_they_hold() -> None:
    before = {"items": [{"x": 1}, {"x": 2}, {"x": 3}]}
    found = compared(before, {"items": [{"x": 0}, {"x": 1}, {"x": 2}, {"x": 3}]})
    assert (paths(found.added), found.unchanged) == (["items[0]"], 3)
    change = only(compared(before, {"items": [{"x": 1}, {"x": 5}, {"x": 3}]}).changed)
    assert (change.before.path, change.fields[0].before, change.fields[0].after) == ("items[1]", "2", "5")


def test_an_object_of_objects_holds_sections_and_everything_else_is_known_by_its_path() -> None:
    before = {"pages": {"/a b": {"text": "x"}, "c": {"text": "y"}}, "info": {"stars": 1, "tags": ["a"]}, "text": "hello"}
    after = {"pages": {"/a b": {"text": "z"}}, "info": {"stars": 2, "tags": ["a"]}, "text": "hello", "more": 1}
    found = compared(before, after)
    assert [one.after.path for one in found.changed] == ['pages["/a b"]', "info.stars"]
    assert (paths(found.removed), paths(found.added)) == (["pages.c"], ["more"])
    assert [one.kind for one in (*found.removed, *found.added)] == ["section", "field"]


def test_numbers_beyond_64_bits_and_deep_documents_are_compared() -> None:
    def deep(number: int) -> Json:
        value: Json = number
        for _ in range(250):
            value = {"below": [value]}
        return {"items": [value]}

    assert compared(deep(10**5000), deep(10**5000)).empty
    assert not compared(deep(10**5000), deep(10**5000 + 1)).empty
    assert compared(deep(1), deep(1)).empty
    assert not compared(deep(1), deep(2)).empty
    assert not compared({"items": [{"n": 10**5000}]}, {"items": [{"n": 10**5000 + 1}]}).empty


def test_too_many_sections_are_refused() -> None:
    with pytest.raises(LimitExceeded):
        compared({"items": [{}] * (MAX_SECTIONS + 1)}, {})


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
SECTION = st.dictionaries(
    st.sampled_from(["id", "title", "content", "url", "path", "n"]), st.text("ab\n", max_size=4), max_size=4
)
DOCUMENT = st.dictionaries(
    st.sampled_from(["chunks", "pages", "text", "info"]),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    )
    | st.lists(SECTION, max_size=6)
    | st.dictionaries(st.text("abc", max_size=2), SECTION, max_size=4),
    max_size=4,
)


@settings(max_examples=50)
@given(DOCUMENT)
def test_a_document_does_not_differ_from_itself(document: Json) -> None:
    assert compared(document, copy.deepcopy(document)).empty


@settings(max_examples=70)
@given(DOCUMENT, DOCUMENT)
def test_the_other_way_round_what_was_added_is_removed(before: Json, after: Json) -> None:
    there, back = compared(before, after), compared(after, before)
    assert sorted(paths(there.added)) == sorted(paths(back.removed))
    assert sorted(paths(there.removed)) == sorted(paths(back.added))
    assert sorted((one.before.path, one.after.path) for one in there.changed) == sorted(
        (one.after.path, one.before.path) for one in back.changed
    )
    assert there.unchanged == back.unchanged


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_the_lines_of_a_diff_make_the_old_text_the_new_one(before: list[str], after: list[str]) -> None:
    found = LineDiffs().of("\n".join(before), "\n".join(after))
    assert found.lines is not None
    assert _patched(before, found.lines) == after
    assert found.added - found.removed == len(after) - len(before)


def _patched(before: list[str], lines: tuple[str, ...]) -> list[str]:
    after: list[str] = []
    at = 0
    for line in lines:
        if line.startswith("@@"):
            start = int(line.split(",")[0][4:]) - 1
            after, at = after + before[at:start], start
        elif line[0] == "+":
            after.append(line[1:])
        else:
            assert before[at] == line[1:]
            after, at = after + before[at : at + 1] * (line[0] == " "), at + 1
    return after + before[at:]


def test_texts_over_a_bound_are_counted_and_not_shown() -> None:
    before, after = ("\n".join(f"{word} {n}" for n in range(TEXT_LINES + 1)) for word in ("old", "new"))
    found = LineDiffs().of(before, after)
    assert (found.lines, found.added, found.removed) == (None, TEXT_LINES + 1, TEXT_LINES + 1)
    assert "lines" in found.omitted
    few = LineDiffs(lines=5)
    assert [few.of("a\nb", "c\nd").lines is None for _ in range(3)] == [False, False, True]


def test_two_documents_of_25_megabytes_are_compared_in_seconds() -> None:
    texts = random.Random(1)
    some = [chunk(f"section {n}", " ".join(str(texts.random()) for _ in range(900))) for n in range(1500)]
    before, after = (
        chunks(*some),
        chunks(*(one | {"content": f"{one['content']}\nmore"} if n % 50 == 0 else one for n, one in enumerate(some))),
    )
    assert len(orjson.dumps(before)) > 25e6
    started = time.process_time()
    found = compared(before, after)
    assert time.process_time() - started < 5
    assert (len(found.changed), found.unchanged) == (30, 1470)


def test_real_documents_of_every_shape_differ_in_few_sections_from_patch_to_patch(corpus: list[dict[str, Any]]) -> None:
    pairs = {
        "/pydantic/pydantic": ("v2.13.3", "v2.13.4"),
        "/coleifer/huey": ("3.2.1", "3.3.0"),
        "/hynek/structlog": ("25.5.0", "26.1.0"),
    }
    for library, versions in pairs.items():
        files = [
            next(one["path"] for one in corpus if (one["library_id"], one["version"]) == (library, name)) for name in versions
        ]
        before, after = (orjson.loads(gzip.decompress(file.read_bytes())) for file in files)
        found = compared(before, after)
        assert (found.added, found.removed) == ((), ()), library
        assert 0 < len([one for one in found.changed if one.after.kind == "section"]) < 25
        assert found.unchanged > 10
        assert all(one.text and one.text.lines for one in found.changed if one.after.kind == "section")
