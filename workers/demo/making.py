"""The documents of the demo, as files: one library for each installed package, and the project's own in several versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import Distribution
from pathlib import Path

from workers.demo.document import Made, write_document
from workers.demo.installed import package_entries
from workers.demo.own_docs import own_versions

OWN_LIBRARY = "/strongroom/docs"
LIVE = "live-tree"
"""A second name of the newest docs: the same bytes once more, sent last of all."""


def make_documents(folder: Path, checkout: Path, packages: list[Distribution]) -> Iterator[Made]:
    """Write each document when it is asked for, and yield it.

    The project's own come first, the newest version before the older ones, so that the order of their arrival tells nothing.
    """
    own = [write_document(folder, OWN_LIBRARY, version, entries) for version, entries in reversed(own_versions(checkout))]
    yield from own
    for package in packages:
        yield write_document(folder, f"/python/{package.name}", package.version, package_entries(package))
    yield replace(own[0], version=LIVE, renamed=True)
