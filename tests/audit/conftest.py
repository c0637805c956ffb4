"""An audit in a folder of its own."""

from functools import partial
from pathlib import Path

import pytest

from tests.audit.logs import Audited, audit_of


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    """Audit events under decisions; the events may be several logs."""
    return partial(audit_of, tmp_path)
