"""storage/retention.py: golden plans, each a file one can read; and what holds for every policy and every library.

A case is ``retention_cases/{what it shows}.txt``: policy, versions and the plan. `python -m tests.storage.test_retention` writes
the plans anew: read the difference before you commit it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from storage.ordering import order_of
from storage.policies import parse_policies, parse_policy
from storage.retention import Candidate, Policy, Revision, Verdict, keep_all, plan_library
from strongroom.errors import ConfigurationError

CASES = sorted((Path(__file__).parent / "retention_cases").glob("*.txt"))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_PLAN = "\nplan:\n"


def _candidate(line: str) -> Candidate:
    """Read ``version  day time [and day time]  [bytes]  [latest] [pinned] [label=name]``."""
    name, *words = line.split()
    times = [datetime.fromisoformat(word).replace(tzinfo=UTC) for word in words if word[:2] == "20"]
    size = next((int(word) for word in words if word.isdigit()), 100)
    labels = tuple(word.removeprefix("label=") for word in words if word.startswith("label="))
    order = order_of(name)
    revisions = tuple(Revision(number, at, size) for number, at in enumerate(times, 1))
    return Candidate("/a/b", name, (order.rank, order.key), revisions, "latest" in words, "pinned" in words, labels)


def _plan_of(told: str) -> str:
    policy, versions = told.split("\nversions:\n")
    rules = json.loads(policy.removeprefix("policy: "))
    verdicts = plan_library([_candidate(line) for line in versions.splitlines() if line], parse_policy(rules), NOW)
    return "".join(f"{_line(one)}\n" for one in verdicts)


def _line(one: Verdict) -> str:
    gone = f"  [without revision {', '.join(str(old.number) for old in one.revisions)}]" if one.keep and one.revisions else ""
    return f"{'keep' if one.keep else 'GO  '}  {one.version:8}  {one.reason}{gone}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_is_the_one_that_was_agreed_on(path: Path) -> None:
    told, _, plan = path.read_text("utf-8").partition(_PLAN)
    assert _plan_of(told) == plan


def test_there_are_cases_for_every_rule() -> None:
    policies = "".join(path.read_text("utf-8").splitlines()[0] for path in CASES)
    for rule in ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "within", "max_size", "keep_revisions"):
        assert f'"{rule}"' in policies


# --- what holds for all ---

SPAN = (datetime(2020, 1, 1), datetime(2027, 6, 1))  # noqa: DTZ001 - hypothesis adds the zone
times = strategies.datetimes(*SPAN, timezones=strategies.just(UTC))
sizes = strategies.integers(1, 1000)
counts = strategies.integers(0, 6)
policies = strategies.builds(
    Policy,
    keep_last=counts,
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
    within=strategies.none() | strategies.timedeltas(timedelta(hours=1), timedelta(days=900)),
    max_bytes=strategies.none() | strategies.integers(1, 6000),
    keep_revisions=strategies.none() | strategies.integers(1, 3),
).filter(lambda policy: not policy.is_empty)


@strategies.composite
def libraries(draw: Any) -> list[Candidate]:
    names = draw(strategies.lists(strategies.integers(0, 60), min_size=1, max_size=12, unique=True))
    latest = draw(strategies.sampled_from(names))
    found = []
    for number in names:
        stored = sorted(draw(strategies.lists(times, min_size=1, max_size=3, unique=True)))
        revisions = tuple(Revision(index, at, draw(sizes)) for index, at in enumerate(stored, 1))
        labels = draw(strategies.sampled_from(((), (), (), ("stable",))))
        pinned = draw(strategies.sampled_from((False, False, True)))
        found.append(Candidate("/a/b", f"1.{number}", (2, f"{number:04}"), revisions, number == latest, pinned, labels))
    return found


def _kept(versions: list[Candidate], policy: Policy) -> set[str]:
    return {one.version for one in plan_library(versions, policy, NOW) if one.keep}


@hypothesis.given(libraries(), policies)
def test_the_latest_the_pinned_and_the_labelled_are_never_removed(versions: list[Candidate], policy: Policy) -> None:
    plan = {one.version: one for one in plan_library(versions, policy, NOW)}
    assert len(plan) == len(versions)
    for one in versions:
        verdict = plan[one.version]
        assert verdict.reason
        assert verdict.keep or not one.is_protected
        if one.pinned or one.labels:
            assert verdict.revisions == ()
        if verdict.keep:
            assert one.revisions[-1] not in verdict.revisions, "the current revision of what is kept stays"
        else:
            assert verdict.revisions == one.revisions


@hypothesis.given(libraries(), policies, policies)
def test_a_larger_policy_keeps_a_superset(versions: list[Candidate], policy: Policy, more: Policy) -> None:
    rules = ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly")
    smaller = replace(policy, max_bytes=None, keep_last=policy.keep_last or 1)  # without any rule all is kept: nothing is larger
    larger = replace(smaller, **{rule: getattr(smaller, rule) + getattr(more, rule) for rule in rules})
    if smaller.within is not None and more.within is not None:
        larger = replace(larger, within=smaller.within + more.within)
    assert _kept(versions, smaller) <= _kept(versions, larger)


@hypothesis.given(libraries(), policies, strategies.integers(1, 6000), strategies.integers(0, 6000))
def test_a_larger_size_keeps_a_superset(versions: list[Candidate], policy: Policy, size: int, more: int) -> None:
    smaller, larger = replace(policy, max_bytes=size), replace(policy, max_bytes=size + more)
    assert _kept(versions, smaller) <= _kept(versions, larger)


@hypothesis.given(libraries(), policies)
def test_what_is_kept_fits_unless_it_is_protected(versions: list[Candidate], policy: Policy) -> None:
    limit = policy.max_bytes or 500
    by_name = {one.version: one for one in versions}
    kept = [one for one in plan_library(versions, replace(policy, max_bytes=limit), NOW) if one.keep]
    size = sum(old.size_bytes for one in kept for old in set(by_name[one.version].revisions) - set(one.revisions))
    assert size <= limit or all(by_name[one.version].is_protected for one in kept)


@hypothesis.given(libraries(), policies, strategies.randoms())
def test_the_order_of_the_input_does_not_matter(versions: list[Candidate], policy: Policy, random: Any) -> None:
    shuffled = list(versions)
    random.shuffle(shuffled)
    assert plan_library(shuffled, policy, NOW) == plan_library(versions, policy, NOW)


@hypothesis.given(libraries(), policies, strategies.timedeltas(timedelta(), timedelta(days=9000)))
def test_waiting_removes_nothing(versions: list[Candidate], policy: Policy, waited: timedelta) -> None:
    later = max(one.stored_at for one in versions) + waited
    assert plan_library(versions, policy, later) == plan_library(versions, policy, later + timedelta(days=365))


@hypothesis.given(libraries(), policies)
def test_a_second_plan_removes_nothing_more(versions: list[Candidate], policy: Policy) -> None:
    gone = {one.version: one for one in plan_library(versions, policy, NOW)}
    left = [
        replace(one, revisions=tuple(old for old in one.revisions if old not in gone[one.version].revisions))
        for one in versions
        if gone[one.version].keep
    ]
    again = plan_library(left, policy, NOW)
    assert all(one.keep and not one.revisions for one in again)


def test_a_version_of_the_future_does_not_make_everything_else_old() -> None:
    ahead = _candidate("9.0 2099-01-01T00:00:00 latest")
    today = _candidate("1.0 2026-11-20T00:00:00")
    assert {one.version for one in plan_library([ahead, today], Policy(within=timedelta(days=7)), NOW) if one.keep} == {
        "9.0",
        "1.0",
    }


def test_an_empty_policy_and_a_mixed_library_are_refused() -> None:
    one = _candidate("1.0 2026-11-20T00:00:00 latest")
    with pytest.raises(ValueError, match="empty policy"):
        plan_library([one], Policy(), NOW)
    with pytest.raises(ValueError, match="each library"):
        plan_library([one, replace(one, library_id="/c/d")], Policy(keep_last=1), NOW)


def test_without_a_policy_everything_is_kept() -> None:
    verdicts = keep_all([_candidate("1.0 2026-11-20T00:00:00"), _candidate("2.0 2026-11-20T00:00:00 latest")])
    assert [(one.version, one.keep, one.revisions) for one in verdicts] == [("2.0", True, ()), ("1.0", True, ())]


# --- as people set them ---


def test_the_most_exact_pattern_holds() -> None:
    told = {"*": {"keep_last": 5}, "/acme/*": {"keep_last": 2}, "/acme/legal": "all", "/acme/[x]": {"keep_last": 1}}
    found = parse_policies(told)
    assert found.of("/other/one") == Policy(keep_last=5)
    assert found.of("/acme/widget") == Policy(keep_last=2)
    assert found.of("/acme/legal") is None
    assert found.of("/acme/[x]") == Policy(keep_last=1), "a library that is called like a pattern"
    assert parse_policies({"/acme/*": {"keep_last": 2}}).of("/other/one") is None
    assert not parse_policies({})


def test_every_rule_is_read() -> None:
    told = {"keep_last": 1, "hourly": 2, "daily": 3, "weekly": 4, "monthly": 5, "yearly": 6, "within": "1y2w3d4h"}
    expected = Policy(1, 2, 3, 4, 5, 6, timedelta(days=365 + 14 + 3, hours=4), 2_000_000_000, 7)
    assert parse_policy({**told, "max_size": "2GB", "keep_revisions": 7}) == expected
    assert parse_policy({"max_size": 12345}).max_bytes == 12345


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"*": {}}, "the policy for '*' is empty"),
        ({"*": {"keep_last": 0}}, "keep_last must be a whole number from 1 on"),
        ({"*": {"keep_last": True}}, "keep_last must be"),
        ({"*": {"keep_last": "5"}}, "keep_last must be"),
        ({"*": {"keep_lats": 5}}, "has keep_lats, which says nothing"),
        ({"*": {"within": "90"}}, "within is no time span"),
        ({"*": {"within": 90}}, "within is no time span"),
        ({"*": {"within": "999999y"}}, "longer than a thousand years"),
        ({"*": {"max_size": "5 bananas"}}, "max_size is no size"),
        ({"*": {"max_size": 0}}, "max_size is no size"),
        ({"*": "none"}, "neither an object of rules nor 'all'"),
        ({"*": None}, "neither an object"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_and_named(told: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_policies(told)
    assert said in caught.value.message
    assert caught.value.message.startswith("STRONGROOM_RETENTION: the policy for '*'")
    assert caught.value.hint


if __name__ == "__main__":
    for case in CASES:
        told_here = case.read_text("utf-8").partition(_PLAN)[0]
        case.write_text(told_here + _PLAN + _plan_of(told_here), "utf-8")
