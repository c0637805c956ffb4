"""The configuration as a policy."""

from detector.config import OwnershipSection, PerturbSection
from detector.errors import ConfigError
from detector.perturb.committed import read_committed
from detector.perturb.keys import master_key
from detector.perturb.marks import Marks, Who, subjects_of
from detector.perturb.modes import How, mode_of
from detector.perturb.telling import Policy
from detector.perturb.toldlog import ToldLog

__all__ = ["how_of", "marks_of", "policy_of"]


def how_of(section: PerturbSection) -> tuple[How, str | None]:
    """Return how answers are perturbed, and a warning where the mode is the name of one that is not used.

    Raises `ConfigError` where the key cannot be read, or is too short.
    """
    mode, warning = mode_of(section.mode)
    secret = section.secret()
    return How(mode, section.decimals, None if secret is None else secret.encode()), warning


def marks_of(section: OwnershipSection) -> Marks | None:
    """Return what marks answers, None where nobody's are marked.

    Raises `ConfigError` where the commitment, the key or the log cannot be used, or strength or rate were changed since the
    commitment.
    """
    if section.mark == "off" or section.commitment is None:
        return None
    committed = read_committed(section.commitment)
    asked = {"epoch": section.epoch, "dawn_rate": section.dawn_rate}
    if section.strength is not None:
        if committed.gauge is not None:
            raise ConfigError(
                f"[ownership] strength is {section.strength}, but {section.commitment} committed to one for each key, by its "
                "gauge: commit anew under another epoch, or leave strength out"
            )
        asked["strength"] = section.strength
    for name, value in asked.items():
        if getattr(committed, name) != value:
            raise ConfigError(
                f"[ownership] {name} is {value}, but {section.commitment} committed to {getattr(committed, name)}: "
                "commit anew under another epoch, or set it back"
            )
    log = None if section.told_log is None else ToldLog(section.told_log)
    who = Who(
        section.client_header,
        section.organization_header if section.subject == "organization" else None,
        subjects_of(section.subjects_file),
    )
    return Marks(committed, master_key(section.secret()), section.mark, who, log)


def policy_of(section: PerturbSection, ownership: OwnershipSection | None = None) -> tuple[Policy, str | None]:
    """Return the policy, and a warning as `how_of` does; with marks where `ownership` says so, as `marks_of` makes them."""
    how, warning = how_of(section)
    marks = None if ownership is None else marks_of(ownership)
    return Policy(how, section.unknown, section.max_body_bytes, marks=marks), warning
