"""Stores of every kind, each with what was acknowledged before it: what crash and fault tests run at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.documents import Limits
from storage.engine import Engine, Options
from storage.intake import Incoming
from tests.support.archive import body, document, large_body

SMALL_LIMITS = Limits(whole_bytes=4096)
OPTIONS = Options(limits=SMALL_LIMITS)
"""Documents of more than 4 KiB are streamed: small test data takes the way of large documents."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is stored before, without any accident, and what is stored while things go wrong."""

    name: str
    before: Callable[[], Sequence[Incoming]]
    then: Callable[[], Sequence[Incoming]]
    tree: bool = False
    damage: bool = False

    def prepare(self, engine: Engine) -> None:
        """Store and show what is acknowledged."""
        for one in self.before():
            engine.store([one])
        if self.damage:
            segment = engine.folder.segment(engine.find("/old/library", "1.0").place.segment_sha256)
            segment.write_bytes(b"\0" + segment.read_bytes()[1:])
        else:
            engine.tree.catch_up()

    def run(self, engine: Engine) -> None:
        """Do what is to survive everything."""
        receipts = engine.store(self.then())
        assert all(one.status != "failed" for one in receipts), receipts
        if self.tree:
            engine.show(receipts[:1])
            engine.tree.catch_up()


def _old() -> list[Incoming]:
    return [document("/old/library", "1.0", body(old=1)), document("/old/library", "2.0", body(old=2))]


SCENARIOS = [
    Scenario("one document", _old, lambda: [document("/new/library", "1.0", body(new=1))]),
    Scenario(
        "a batch with one version twice",
        _old,
        lambda: [
            document("/new/library", "1.0", body(new=1)),
            document("/new/library", "1.1", body(new=2)),
            document("/other/library", "1.0", body(new=3)),
            document("/new/library", "1.0", body(new=4)),
        ],
    ),
    Scenario("known content, which the journal tells of", _old, lambda: [document("/copy/library", "1.0", body(old=1))]),
    Scenario("a large document", _old, lambda: [document("/large/library", "1.0", large_body(100_000))]),
    Scenario(
        "large and small, new and known",
        lambda: [*_old(), document("/large/library", "0.9", large_body(20_000, seed=2))],
        lambda: [
            document("/new/library", "1.0", body(new=1)),
            document("/large/library", "1.0", large_body(30_000)),
            document("/large/copy", "0.9", large_body(20_000, seed=2)),
        ],
        tree=True,
    ),
    Scenario("a new revision, shown", _old, lambda: [document("/old/library", "2.0", body(new=1))], tree=True),
    Scenario("a version that becomes the latest, shown", _old, lambda: [document("/old/library", "3.0", body(new=1))], tree=True),
    Scenario("damaged content, stored again", _old, lambda: _old()[:1], damage=True),
]
