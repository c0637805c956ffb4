"""The controls that findings name, as two published standards number them.

OWASP AISVS 1.0 (2026) and OWASP ASVS 5.0.0 (2025). Numbers of drafts of AISVS differ: its 1.0 has extraction in C11.2 and
C11.3, where drafts had it in C11.5. What the controls say is put in our words here.
"""

from typing import Final, NamedTuple

__all__ = ["CONTROLS", "STANDARDS", "Control"]

STANDARDS: Final = {"AISVS": "OWASP AISVS 1.0", "ASVS": "OWASP ASVS 5.0.0"}


class Control(NamedTuple):
    """What a control asks for, and its level from 1 (everybody) to 3."""

    about: str
    level: int


CONTROLS: Final[dict[str, Control]] = {
    "AISVS v1.0-C5.2.1": Control("access to endpoints by explicit allow-lists, denied by default", 2),
    "AISVS v1.0-C11.2.2": Control("rate limits per principal and overall, sized to the extraction threat", 1),
    "AISVS v1.0-C11.2.3": Control("outputs calibrated against overconfidence", 2),
    "AISVS v1.0-C11.3.1": Control("analysis of query patterns feeds a detector of extraction", 1),
    "AISVS v1.0-C11.3.2": Control("raw outputs not exposed; answers fitted to the risk of extraction", 2),
    "AISVS v1.0-C11.3.3": Control("watermarks or fingerprints, so that copies can be identified", 3),
    "AISVS v1.0-C11.3.4": Control("suspected extraction triggers a response", 3),
    "AISVS v1.0-C12.1.1": Control("interactions are logged with their context", 1),
    "AISVS v1.0-C12.1.3": Control("inference events follow a structured schema", 2),
    "AISVS v1.0-C12.3.1": Control("drift of the inputs is monitored", 1),
    "AISVS v1.0-C12.4.3": Control("automated response can block malicious users", 2),
    "AISVS v1.0-C12.5.3": Control("overrides and kill switches are logged", 2),
    "ASVS v5.0.0-2.4.1": Control("automation that leads to exfiltration or exhausted quotas is limited", 2),
    "ASVS v5.0.0-8.2.4": Control("access adapts to where and how a consumer asks", 3),
    "ASVS v5.0.0-8.3.1": Control("authorization does not rely on what a consumer can forge", 1),
    "ASVS v5.0.0-8.3.2": Control("changes of authorization apply at once", 3),
    "ASVS v5.0.0-16.2.1": Control("each log entry says when, where, who and what", 2),
    "ASVS v5.0.0-16.2.2": Control("clocks of what logs are synchronised", 2),
    "ASVS v5.0.0-16.2.4": Control("logs can be read and correlated", 2),
}
