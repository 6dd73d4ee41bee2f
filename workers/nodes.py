"""Names of the workers' nodes: one for each part and data folder, so that services side by side on one broker stay apart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def node_name(part: str, data: Path) -> str:
    """Return the node name of a worker part, such as ``short-1f3a9c02@%h`` (Celery puts the host in)."""
    folder = hashlib.sha256(os.fsencode(data)).hexdigest()[:8]
    return f"{part.removeprefix('worker-')}-{folder}@%h"


def part_of(node: str) -> str:
    """Return the part that a node name was made for."""
    return "worker-" + node.partition("@")[0].rpartition("-")[0]
