"""``python -m brokerkit``: the same as the ``brokerkit`` command."""

import sys
from pathlib import Path

if not sys.flags.safe_path and sys.path and sys.path[0] and Path(sys.path[0]) == Path.cwd():
    # ``-m`` puts the current directory first, the installed command does not; --app-dir alone decides (both default to
    # it). Where brokerkit itself lies there its package still finds its modules.
    del sys.path[0]

from brokerkit.cli import main

main()
