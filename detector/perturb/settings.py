"""The configuration as a policy."""

from detector.config import PerturbSection
from detector.perturb.modes import How, mode_of
from detector.perturb.telling import Policy

__all__ = ["how_of", "policy_of"]


def how_of(section: PerturbSection) -> tuple[How, str | None]:
    """Return how answers are perturbed, and a warning where the mode is the name of one that is not used.

    Raises `ConfigError` where the key cannot be read, or is too short.
    """
    mode, warning = mode_of(section.mode)
    secret = section.secret()
    return How(mode, section.decimals, None if secret is None else secret.encode()), warning


def policy_of(section: PerturbSection) -> tuple[Policy, str | None]:
    """Return the policy, and a warning as `how_of` does."""
    how, warning = how_of(section)
    return Policy(how, section.unknown, section.max_body_bytes), warning
