"""`latest` is the newest release: golden orders, the documentation's own tables, and the specifications' own rules."""

from __future__ import annotations

import json
import random
import sqlite3
from functools import cmp_to_key
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from packaging.version import Version

from storage.ordering import MAX_KEY_CHARS, PRE_RELEASE, RELEASE, UNNUMBERED, VersionOrder, order_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "version-order.md"
CORPUS = ROOT.parent / "shared" / "data" / "corpus" / "manifest.json"
RANKS = {"release": RELEASE, "pre-release": PRE_RELEASE, "no number": UNNUMBERED}


def key(version: str) -> str:
    return order_of(version).key


def sign(one: object, other: object) -> int:
    return int(one > other) - int(one < other)  # type: ignore[operator]  # both are of one ordered type


@given(
    st.sampled_from(["", "v", "V"]), st.lists(st.integers(0, 10**12).map(str) | st.sampled_from(["0", "00", "007"]), min_size=1)
)
@example("", ["9" * 5000])
@example("v", ["1"] * 200)
def test_the_short_way_for_plain_numbers_leads_where_the_general_way_does(v: str, parts: list[str]) -> None:
    text = ".".join(parts)
    assert order_of(v + text) == order_of(f"{v}0!{text}")  # the epoch that every version has is no plain number


# --- golden chains: each version strictly above the one before, by key alone ---

CHAINS = {
    "the life of a release": (
        "1.9.99 2.0.0.dev0 2.0.0.dev3 2.0.0a1.dev1 2.0.0a1 2.0.0-alpha.2 2.0.0-alpha.10 2.0.0-alpha.beta 2.0.0b1 2.0.0-M1 "
        "2.0.0-M2 2.0.0-next.4 2.0.0-nightly.20241011 2.0.0-preview.7 2.0.0rc1.dev1 2.0.0rc1 2.0.0-rc1-1 2.0.0rc1.post2 "
        "2.0.0rc2 2.0.0-SNAPSHOT 2.0.0 2.0.0+build.5 2.0.0+build.12 2.0.0+3 2.0.0-slim 2.0.0-1 2.0.0.post2.dev1 2.0.0.post2 "
        "2.0.1.dev1 2.0.1"
    ),
    "lines": "5.8 6.0.0-rc1 6 6.2.0 6.2.99 6.2.x-dev 6.2.x 6.9 6.99.99 6.x-dev 6.x 7.0.dev1 7.0 7.1 10.x 11.x",
    "lines from zero": "0.0.9 0.0.x 0.1 0.9.x 0.x 1.x",
    "leading zeros": "0.0.1 0.9 1.01 1.002 1.3 1.010 1.11",
    "dates with dashes": (
        "2023-12-31 2024-09-30 2024-10 2024-10-02 2024-10-11-preview 2024-10-11 2024-10-11T12:30:00Z 2024-10-11-1 2024-10-11-2 "
        "2024-11-01"
    ),
    "dates in a row": "20231231 20241011 20241011.1 20241012",
    "calendar versions": "2023.12 2024.1 2024.2.1 2024.10",
    "a year and a week or a revision": "2024-9 2024-10 2024-10-11 2024-13 2024-41 2024-101 2025-1",
    "words that begin like a line": "6.xenial 6.1 6.x",
    "ubuntu": "14.04-lts 20.04-lts 20.10 22.04-lts 22.10",
    "epochs": "9999.1 1!0.1 1!2.0rc1 1!2.0 2!0.1 3:0.0.1",
    "jdk": "jdk-9+181 jdk-11.0.2+7 jdk-11.0.2+9 jdk-21-ea+3 jdk-21-ea+20 jdk-21+35 jdk-21.0.1",
    "jdk 8": "8u91 8u402 8u402-b06 8u402-b10",
    "openssl": "OpenSSL_1_0_2k OpenSSL_1_1_1 OpenSSL_1_1_1a OpenSSL_1_1_1w openssl-3.0.0-alpha1 openssl-3.0.0 openssl-3.0.10",
    "postgresql": "REL9_6_24 REL_10_BETA1 REL_10_RC1 REL_10_0 REL_10_1 REL_16_2 REL_17_BETA1",
    "kubernetes interfaces": "v1alpha1 v1alpha2 v1beta1 v1 v2beta1 v2beta2 v2",
    "drupal": "8.x-1.0-beta2 8.x-1.0 8.x-1.2 8.x-1.10 8.x-2.0-alpha1",
    "debian": "1.0~~dev 1.0~git20240101 1.0.dev1 1.0~rc1-1 1.0~rc1-2 1.0 1.0-1 1.0-1ubuntu1 1.0-1ubuntu2 1.0-2 1.0.1~beta2 2:0.1",
    "maven": "5.1.0.Alpha2 5.1.0.Beta1-SNAPSHOT 5.1.0.Beta1 5.1.0.CR1 5.1.0.Final 5.1.0.SP1 5.1.1.Final",
    "numbers in the name": "k8s-1.29.1 k8s-1.30-rc1 k8s-1.30 k8s-1.31",
    "plain numbers": "r9 r123 r1000",
    "two digits, nine digits, ten digits": "1 99 999999999 1000000000 9999999999 10000000000",
}

SAME = [
    "1 1.0 1.0.0 v1 V1.0 version-1.0 release-1.0 Release/1.0.0 project-1 php-1.0 @a/b@1.0 1.0-final 1.0.GA 1.0.RELEASE 1.0-lts",
    "1.0-1 1.0.post1 1.0-r1 1.0.rev1",
    "2.0rc1 2.0-RC1 2.0.0-rc.1 2.0_rc_1 v2.0c1 2.0~rc1 2.0.CR1 2.0-candidate-1",
    "1.2.3 v1_2_3 REL_1_2_3",
    "1.0a0.dev1 1.0alpha.dev1",
    "1.0a0.post1 1.0alpha.post1",
    "1.0-alpha0-SNAPSHOT 1.0-alpha-SNAPSHOT",
    "1.0-alpha0~x 1.0-alpha~x",
    "3.13-slim 3.13-slim-lts",
    "6.x 6.* v6.x.x 6.X 6.x.0 release-6.x",
    "0 0.0 0.0.0",
    "1.0a0 1.0-alpha 1.0alpha0",
    "main master stable live-tree conceptual x.y",
]


@pytest.mark.parametrize("name", CHAINS)
def test_each_version_of_a_chain_stands_above_the_one_before(name: str) -> None:
    for lower, upper in pairwise(CHAINS[name].split()):
        assert key(lower) < key(upper), (lower, upper)


@pytest.mark.parametrize("spellings", SAME)
def test_spellings_of_one_version_stand_at_the_same_place(spellings: str) -> None:
    orders = {order_of(spelling) for spelling in spellings.split()}
    assert len(orders) == 1


RELEASES = (
    "1.0 v3.14.3 6.x 2024-10-11 20241011 22.04-lts 3.11-slim 1.0-1 1.0.post1 1.0+rc1 31.1-jre 1.1.1a 2024a 3.3b OpenSSL_1_0_2c "
    "1.0.0.Final next@14.0.0 next@v14 next-auth@4.24.7 b4000 jdk8u402-b06 v1.2.3-14-g2414721 dec2024 "
    "2024dec 1234567 2024-10-11T12:30:00Z"
)
PRE_RELEASES = (
    "1.0.dev1 1.0a1 1.0b2 1.0c3 1.0rc1 1.0-SNAPSHOT 1.0-M3 5.0.0-next.1 1.0.0-nightly 1.0.post1.dev2 22-ea+5 1.0~rc1 1.0~git2 "
    "beta2 nightly-2024-10-11 release-candidate-2 canary-v3 dev-1.0 6.x-dev 2024-10-11-preview 3.13-slim-rc1 1234567b1 "
    "0.0.0-experimental-1a project-nightly-2"
)
BARE = (
    "main master stable latest live-tree conceptual next nightly x * ... -- 文档 \u0661\u0662 9f86d08 "
    "d670460b4b4aece5915caf5c68d12f560a9fe3e4 v_1787258924_035491 V_1787258924_1"
)


@pytest.mark.parametrize(("rank", "versions"), [(RELEASE, RELEASES), (PRE_RELEASE, PRE_RELEASES), (UNNUMBERED, BARE)])
def test_the_rank_tells_releases_from_pre_releases_from_bare_names(rank: int, versions: str) -> None:
    assert [version for version in versions.split() if order_of(version).rank != rank] == []


def test_a_release_beats_a_later_pre_release_and_both_beat_a_store_time_and_that_a_branch() -> None:
    ascending = ["main", "v_1602443098_450781", "v_1787258924_9", "v_1787258924_035491", "3.0.0-rc1", "9.0.dev1", "1.0", "2.0"]
    assert all(order_of(lower) < order_of(upper) for lower, upper in combinations(ascending, 2))


# --- the page that explains it ---


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below the heading, without the back-ticks."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert len(rows) >= 5, f"the table under {heading!r} is gone"
    return rows


def test_the_documented_ranks_are_true() -> None:
    documented = [(version, RANKS[rank]) for version, rank, _ in table("Three ranks")]
    assert documented == [(version, order_of(version).rank) for version, _ in documented]


def test_the_documented_order_is_true() -> None:
    wrong = [(earlier, later) for earlier, later, _ in table("Order by number") if not key(earlier) < key(later)]
    assert not wrong


def test_the_documented_equals_are_equal() -> None:
    wrong = [(one, other) for one, other in table("Same place") if order_of(one) != order_of(other)]
    assert not wrong


def test_every_documented_word_makes_a_pre_release() -> None:
    sentence = PAGE.read_text(encoding="utf-8").split("Words that make a pre-release:", 1)[1].split(";", 1)[0]
    words = sentence.replace("insider(s)", "insider, insiders").replace("(", ", ").replace(")", "").replace("\n", " ").split(", ")
    assert len(words) > 20
    assert [word for word in words if order_of(f"1.0-{word.strip()}.1").rank != PRE_RELEASE] == []


# --- the real versions, in orders worked out by hand ---

BY_HAND = {
    "/MicrosoftDocs/PowerShell-Docs": "conceptual 5.1 7.4 7.5 7.6",
    "/aio-libs/aiohttp": "v0.10.2 v0.19.0 v2.1.0 v3.5.4 v3.14.2 v3.14.3",
    "/expressjs/express": "3.20.3 4.11.2 4.17.3 4.21.2 v5.2.0 v5.2.1",
    "/gin-gonic/gin": "v0.5 v1.2 v1.5.0 v1.8.2 v1.11.0 v1.12.0",
    "/gofiber/fiber": "v2.4.1 v2.15.0 v2.26.0 v2.36.0 v2.47.0 v3.4.0 v3.5.0",
    "/laravel/docs": "5.1 5.8 6.x 8.x 10.x 11.x 12.x",
    "/pydantic/pydantic": "v1.10.15 v2.0.3 v2.5.3 v2.10.6 v2.13.3 v2.13.4",
    "/redis/redis-py": "3.1.0 v4.2.2 v5.2.1 v6.4.0 v8.0.1 v8.1.0",
    "/simonw/sqlite-utils": "1.5 2.10.1 3.5 3.24 4.2 4.2.1",
    "/sveltejs/svelte": "v1.37.0 v3.10.1 5.1.17 5.56.9 5.56.10",
    "/Textualize/rich": "v3.4.1 v9.4.0 v10.7.0 v12.3.0 v14.3.2 v14.3.3",
    "/tiangolo/sqlmodel": "0.0.4 0.0.8 0.0.14 0.0.21 0.0.22",
    "/vitejs/vite": "v2.7.13 v3.2.11 v4.5.5 v5.4.21 v8.2.1 v8.2.2",
}

NEWEST_BY_HAND = {
    "/MicrosoftDocs/PowerShell-Docs/all": "live-tree", "/ant-design/ant-design": "6.6.1", "/axios/axios": "v1.7.9",
    "/borgbackup/borg": "1.4.5", "/celery/kombu": "v5.6.2", "/celery/pytest-celery": "v1.3.0", "/coleifer/huey": "3.3.0",
    "/encode/httpx": "0.28.1", "/fastapi/fastapi": "0.141.1", "/grantjenks/python-diskcache": "v5.6.3",
    "/huggingface/diffusers": "v0.40.0", "/hynek/structlog": "26.1.0", "/jd/tenacity": "9.1.4", "/kopia/kopia": "v0.23.1",
    "/mher/flower": "v2.1.0", "/pallets/click": "8.4.2", "/pallets/flask": "3.1.3", "/pallets/jinja": "3.1.6",
    "/procrastinate-org/procrastinate": "3.9.0", "/prometheus/prometheus": "v3.14.0", "/psf/requests": "v2.34.2",
    "/pytest-dev/pytest": "9.1.1", "/reduxjs/redux": "v5.0.1", "/restic/restic": "v0.19.1", "/scrapy/scrapy": "2.18.0",
    "/sqlalchemy/sqlalchemy": "2.0.52", "/treeverse/lakeFS": "v1.84.0",
}  # fmt: skip


@pytest.mark.parametrize("library", BY_HAND)
def test_real_versions_sort_as_worked_out_by_hand(library: str) -> None:
    expected = BY_HAND[library].split()
    shuffled = random.Random(1).sample(expected, len(expected))
    assert sorted(shuffled, key=order_of) == sorted(shuffled, key=key) == expected


@pytest.fixture(scope="module")
def corpus() -> dict[str, dict[str, str]]:
    """Version to store-time id, of each library."""
    if not CORPUS.exists():
        pytest.skip("CORPUS ABSENT: ../shared/data/corpus/manifest.json is not there, so no version of it was checked")
    libraries: dict[str, dict[str, str]] = {}
    for entry in json.loads(CORPUS.read_text(encoding="utf-8"))["entries"]:
        libraries.setdefault(entry["library_id"], {})[entry["version"]] = entry["version_id"]
    return libraries


def test_the_corpus_sorts_as_worked_out_by_hand(corpus: dict[str, dict[str, str]]) -> None:
    assert {library: " ".join(sorted(corpus[library], key=order_of)) for library in BY_HAND} == BY_HAND


def test_latest_is_right_for_every_library_of_the_corpus(corpus: dict[str, dict[str, str]]) -> None:
    newest = {library: max(versions, key=order_of) for library, versions in corpus.items()}
    assert newest == NEWEST_BY_HAND | {library: versions.split()[-1] for library, versions in BY_HAND.items()}


def test_no_two_versions_of_a_corpus_library_share_a_place(corpus: dict[str, dict[str, str]]) -> None:
    for library, versions in corpus.items():
        assert len({order_of(version) for version in versions}) == len(versions), library


def test_the_store_time_ids_of_the_corpus_order_by_time(corpus: dict[str, dict[str, str]]) -> None:
    ids = [stamp for versions in corpus.values() for stamp in versions.values()]
    assert sorted(ids, key=order_of) == sorted(ids, key=lambda stamp: tuple(map(int, stamp.split("_")[1:])))


# --- agreement with the specifications ---

small = st.integers(0, 3) | st.integers(0, 12) | st.integers(0, 10**12)


@st.composite
def pep440(draw: st.DrawFn) -> str:
    """Return a PEP 440 version in any of its spellings, but for those that the page says are read otherwise."""
    separator = st.sampled_from(["", ".", "-", "_"])

    def part(words: list[str], number: st.SearchStrategy[str]) -> str:
        # alphadev and postdev are one word to everybody but PEP 440.
        between = separator.filter(bool) if text[-1].isalpha() else separator
        return draw(between) + draw(st.sampled_from(words)) + draw(number)

    counted = st.builds("{}{}".format, separator, small)
    text = draw(st.sampled_from(["", "v", "V"])) + draw(st.sampled_from(["", "", "", "1!", "12!"]))
    text += ".".join(map(str, draw(st.lists(small, min_size=1, max_size=4))))
    if draw(st.booleans()):
        text += (
            part(["a", "b", "c", "A"], counted)
            if draw(st.booleans())
            else part(["alpha", "beta", "rc", "RC"], counted | st.just(""))
        )
    if draw(st.booleans()):
        text += (
            f"-{draw(small)}" if draw(st.booleans()) and text[-1].isdigit() else part(["post", "rev", "r"], counted | st.just(""))
        )
    if draw(st.booleans()):
        text += part(["dev", "DEV"], counted | st.just(""))
    if draw(st.booleans()):
        label = st.integers(0, 20).map(str) | st.text("abz019", min_size=1, max_size=3)
        text += "+" + draw(st.sampled_from([".", "-", "_"])).join(draw(st.lists(label, min_size=1, max_size=3)))
    return text


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[str, str]:
    """Return two PEP 440 versions, often with the same release, so that what stands behind it decides."""
    one, other = draw(pep440()), draw(pep440())
    if draw(st.booleans()):
        base = Version(one).base_version
        other = base + str(Version(other)).removeprefix(Version(other).base_version)
    return one, other


@given(neighbours())
@example(("1.0", "1.0.0"))
@example(("1.0.dev1", "1.0a1"))
@example(("1.0a1.post1.dev1", "1.0a1.post1"))
@example(("1.0+abc", "1.0.post0.dev0"))
@example(("1.0+1", "1.0+abc"))
@example(("1.0rc1-1", "1.0rc1.post0"))
def test_pep_440_versions_order_as_packaging_orders_them(versions: tuple[str, str]) -> None:
    one, other = versions
    # 2024-10 is a month here and a revision there.
    assume(
        not any(len(Version(version).release) == 1 and "-" in version and Version(version).major >= 1000 for version in versions)
    )
    assert sign(key(one), key(other)) == sign(Version(one), Version(other))
    assert (order_of(one).rank == PRE_RELEASE) == Version(one).is_prerelease


words = st.sampled_from(["alpha", "beta", "canary", "milestone", "next", "nightly", "pre", "preview", "rc"])
Identifiers = list[int | str]
pre_releases: st.SearchStrategy[Identifiers] = st.one_of(
    st.just([]),
    st.builds(
        lambda first, more: [first, *more],
        words,
        st.lists(small | words | st.sampled_from(["x", "foo", "fo", "zeta"]), max_size=3),
    ),
)
semvers = st.tuples(st.lists(small, min_size=3, max_size=3), pre_releases)


def semver_precedence(one: Identifiers, other: Identifiers) -> int:
    """Compare pre-release identifiers by semver.org, 2.0.0, sections 11.3 and 11.4."""
    if not one or not other:
        return sign(not one, not other)
    for left, right in zip(one, other, strict=False):
        if left != right:
            return sign((isinstance(left, str), left), (isinstance(right, str), right))
    return sign(len(one), len(other))


@given(st.lists(small, min_size=3, max_size=3), pre_releases, semvers, st.booleans())
def test_semantic_versions_order_by_semver_precedence(
    core: list[int], pre: Identifiers, second: tuple[list[int], Identifiers], same: bool
) -> None:
    first = (core, pre)
    if same:
        second = (core, second[1])
    spelled = [".".join(map(str, numbers)) + ("-" + ".".join(map(str, ids)) if ids else "") for numbers, ids in (first, second)]
    # The page: a bare word is the word with number 0, as PEP 440 has it.
    (core_a, pre_a), (core_b, pre_b) = ((numbers, [*ids, 0] if len(ids) == 1 else ids) for numbers, ids in (first, second))
    expected = sign(core_a, core_b) or semver_precedence(pre_a, pre_b)
    assert sign(key(spelled[0]), key(spelled[1])) == expected
    assert order_of(spelled[0]).rank == (PRE_RELEASE if pre else RELEASE)


def test_the_example_of_the_semver_specification_holds() -> None:
    versions = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    assert all(key(f"1.0.0-{lower}") < key(f"1.0.0-{upper}") for lower, upper in combinations(versions, 2))
    assert key("1.0.0-rc.1") < key("1.0.0")


# --- properties of any input ---

numbers = st.lists(small, min_size=1, max_size=5)
anything = st.one_of(st.text(max_size=40), st.text("019.xvrcabdev-_+~!:* @文", max_size=60), pep440())


@given(anything)
@example("9" * 1024)
@example("1." * 512)
@example("1-" * 512)
@example("1" + "文" * 341)
@example("1.0+" + "a." * 500)
@example("x" * 10_000)
@example("1.0-\u0661\u0662+\u0663")
@example("1" * 10_000)
@example("\ud800 1.0-\udfff")
def test_any_text_has_a_place_and_a_short_ascii_key(version: str) -> None:
    order = order_of(version)
    assert order.rank in {UNNUMBERED, PRE_RELEASE, RELEASE}
    assert order.key.isascii()
    assert order.key == "" or order.key.isprintable()
    assert len(order.key) <= MAX_KEY_CHARS
    assert order == order_of(version)


@given(st.lists(anything, max_size=12), st.randoms())
def test_the_order_does_not_depend_on_the_order_of_arrival_and_a_database_agrees(
    versions: list[str], chance: random.Random
) -> None:
    orders = [order_of(version) for version in versions]
    shuffled = chance.sample(orders, len(orders))
    assert sorted(shuffled) == sorted(orders) == sorted(orders, key=cmp_to_key(sign))
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE version (rank INTEGER, sort_key TEXT)")
        database.executemany("INSERT INTO version VALUES (?, ?)", [(order.rank, order.key) for order in shuffled])
        rows = database.execute("SELECT rank, sort_key FROM version ORDER BY rank, sort_key").fetchall()
    database.close()
    assert [VersionOrder(*row) for row in rows] == sorted(orders)


@given(
    numbers,
    numbers,
    st.sampled_from(["", "v", "V", "release-", "version-", "go", "jdk-", "php-", "r", "Project ", "@scope/name@"]),
)
def test_numbers_order_as_numbers_whatever_stands_in_front(one: list[int], other: list[int], prefix: str) -> None:
    def trimmed(parts: list[int]) -> list[int]:
        while parts and parts[-1] == 0:
            parts = parts[:-1]
        return parts

    spelled = [prefix + ".".join(map(str, parts)) for parts in (one, other)]
    assert sign(key(spelled[0]), key(spelled[1])) == sign(trimmed(one), trimmed(other))


@given(numbers, st.integers(0, 10**6), st.sampled_from(["", ".0", ".99", ".99.99", "rc1", ".post1", "+x", "-slim", ".x"]))
def test_a_line_is_above_all_that_it_holds_and_below_the_next(start: list[int], number: int, tail: str) -> None:
    line = ".".join(map(str, start))
    following = ".".join(map(str, [*start[:-1], start[-1] + 1]))
    assert key(f"{line}.{number}{tail}") < key(f"{line}.x") < key(f"{following}.dev0") < key(following)


@given(numbers, words, small)
def test_a_pre_release_stands_just_below_its_release(start: list[int], word: str, number: int) -> None:
    release = ".".join(map(str, start))
    assert key(f"{release}-{word}.{number}") < key(release)
    assert sign(key(f"{release}-{word}.{number}"), key("2.1.0")) == (sign(key(release), key("2.1.0")) or -1)


@given(st.integers(10**8, 10**12 - 1), st.integers(0, 999_999), st.integers(10**8, 10**12 - 1), st.integers(0, 999_999))
def test_store_time_ids_order_by_time(unix: int, micro: int, other_unix: int, other_micro: int) -> None:
    one, other = order_of(f"v_{unix}_{micro:06d}"), order_of(f"v_{other_unix}_{other_micro}")
    assert sign(one, other) == sign((unix, micro), (other_unix, other_micro))
    assert order_of("main") < one < order_of("0.dev0")


def test_numbers_of_300_digits_order_by_length_and_then_by_their_first_digits() -> None:
    ascending = ["9" * 33, "1" + "0" * 33, "9" * 299, "1" + "0" * 299, "1" + "1" * 299, "9" * 300, "1" + "0" * 999]
    assert [key(version) for version in ascending] == sorted({key(version) for version in ascending})


@given(st.integers(90, 160), numbers, numbers, st.sampled_from(["", "rc1", ".post1", "-slim"]))
def test_cutting_a_key_never_reverses_two_versions(length: int, one: list[int], other: list[int], tail: str) -> None:
    long, longer = (".".join(map(str, [1] * length + parts + [1])) for parts in (one, other))
    assert sign(key(long + tail), key(longer + tail)) in {0, sign([*one, 1], [*other, 1])}
    assert key(long) < key("1.2") < key("2")
