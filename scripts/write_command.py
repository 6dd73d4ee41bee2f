"""Write .venv/bin/strongroom: the command runs from this checkout, wherever it is called from.

Not an entry point of the wheel: the wheel is for producers, the command needs the application.
"""

from __future__ import annotations

import sys
from pathlib import Path

checkout = Path(__file__).resolve().parents[1]
command = Path(sys.executable).parent / "strongroom"
command.write_text(
    f"""#!{sys.executable}
import sys

sys.path[0] = {str(checkout)!r}

try:
    from workers import garbage

    garbage.hold()
    from workers.cli import main

    garbage.resume()
    main()
except KeyboardInterrupt:
    sys.exit(130)
""",
    encoding="utf-8",
)
command.chmod(0o755)
