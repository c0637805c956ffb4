"""The checks, in the order in which they report. A new one is a file in `checks`, and a line here."""

from typing import Final

from detector.audit.check import Check
from detector.audit.checks.answers import Answers
from detector.audit.checks.baseline import BaselineAge
from detector.audit.checks.calibration import Calibration
from detector.audit.checks.enforcement import Enforcement
from detector.audit.checks.exempt import Exempt
from detector.audit.checks.identity import Identity
from detector.audit.checks.manual import Manual
from detector.audit.checks.marks import Marks
from detector.audit.checks.networks import Networks
from detector.audit.checks.rates import Rates
from detector.audit.checks.records import Records
from detector.audit.checks.shadow import Shadow

__all__ = ["CHECKS"]

CHECKS: Final[tuple[type[Check], ...]] = (
    Enforcement,
    Shadow,
    Manual,
    Exempt,
    Identity,
    Networks,
    Rates,
    Answers,
    Calibration,
    Marks,
    BaselineAge,
    Records,
)
