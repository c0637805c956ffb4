"""The page on perturbation, and what it must name."""

import re
from pathlib import Path

from detector.perturb.modes import ART_NAMES

ROOT = Path(__file__).parents[2]


def test_the_page_names_every_mode_and_reason() -> None:
    """Reasons of the code are explained, and modes of others that are understood."""
    page = (ROOT / "docs" / "pages" / "perturbation.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "detector" / "perturb").glob("*.py"))
    reasons = set(re.findall(r'(?:UnknownBodyError|without_answer)\("([a-z_]+)"', code))
    assert len(reasons) > 8
    for name in reasons | set(ART_NAMES) | {"top1", "label", "mislead"}:
        assert f"`{name}`" in page, name
