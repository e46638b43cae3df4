from pathlib import Path

import pytest

from tests.cli.programs import write_shop


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with an app."""
    return write_shop(tmp_path)
