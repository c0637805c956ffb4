"""The configuration that is proposed is TOML, whatever the names in a log are."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detector.offline.inspection.toml import written

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = TEXTS | st.booleans() | st.integers(-(2**60), 2**60) | st.lists(TEXTS, min_size=1, max_size=3)
TABLES = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3)
DOCUMENTS = st.dictionaries(
    TEXTS, TABLES | st.lists(TABLES, min_size=1, max_size=3) | st.dictionaries(TEXTS, TABLES, min_size=1), max_size=4
)


@given(content=DOCUMENTS, note=TEXTS)
def test_it_is_read_back(content: dict[str, Any], note: str) -> None:
    """Texts with quotes, control characters and ends of lines; comments do not end early."""
    notes = dict.fromkeys(content, note) | {
        f"{name}.{key}": note for name, table in content.items() for key in table if isinstance(table, dict)
    }
    assert tomllib.loads("\n".join(written(content, notes)) + "\n") == content


def test_half_a_character_is_replaced() -> None:
    """A lone surrogate, which JSON may hold, is no text of TOML."""
    (line,) = written({"a": "x\ud800"}, {})
    assert tomllib.loads(line) == {"a": "x?"}
