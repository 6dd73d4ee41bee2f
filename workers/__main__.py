"""``python -m workers`` is the command line."""

from __future__ import annotations

import sys

try:
    from workers import garbage

    garbage.hold()
    from workers.cli import main

    garbage.resume()
    main()
except KeyboardInterrupt:  # while modules were being imported; later the command line sees to it
    sys.exit(130)
