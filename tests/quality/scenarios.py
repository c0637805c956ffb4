"""The scenario table: every cell that is measured, by permanent id.

Ids are made of what is in them, as in ``digits-mlp.jbda.cover-75`` and ``digits-mlp.left-out.video``. Cells on digits, on
drawn loan applications, on texts put together from phrases and on breast cancer data need nothing but what ships with
scikit-learn; those on MNIST and Adult are measured where the reader has the files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from detector.redteam.registry import ATTACKS, profiles_of
from detector.redteam.sessions import Disguise
from tests.quality.goals import goal_for, limits_for
from tests.quality.scenario import Innocence, Scenario, Theft
from tests.quality.simulation import LABELS_ONLY, REAL, kind_of

COVERS = (0.5, 0.75, 0.9, 0.95)
ACCOUNTS = (5, 20, 100, 400)
LONG = 2000  # queries of a thief who hides most of them, or shares them among accounts
COVERED_IMAGE = (
    "jbda",
    "jbrand",
    "t_rnd",
    "line_search",
    "lowd_meek",
    "hopskipjump",
    "boundary",
    "sign_opt",
    "zoo",
    "finite_differences",
    "uniform",
    "generator_proxy",
    "knockoff_random",
    "active_k_center_outputs",
    "active_uncertainty",
)
COVERED_TABLE = ("one_feature_bisect", "line_search", "lowd_meek", "path_finding", "finite_differences", "uniform", "marginals")
SHARED = ("jbda", "line_search", "hopskipjump", "knockoff_random", "uniform")
SHARED_TABLE = ("one_feature_bisect", "line_search", "uniform")
SILENT = (
    "jbda",
    "line_search",
    "lowd_meek",
    "hopskipjump",
    "boundary",
    "sign_opt",
    "uniform",
    "copycat",
    "active_uncertainty",
)
LASTING = ("steady", "skewed", "video", "retries", "noisy_sensor", "sliders", "augmentation")
LASTING_TABLE = ("tab_steady", "tab_skewed", "tab_retries", "tab_what_if", "tab_numeric_noise", "tab_sliders")
DISGUISES = {
    "repeats-50": Disguise(repeats=0.5),
    "jitter-1": Disguise(jitter=0.01),
    "shift-1": Disguise(shift=1.0),
    "stretch-80": Disguise(stretch=0.8),
    "slow": Disguise(per_day=60.0),
    "cover-75-video": Disguise(cover=0.75, cover_profile="video"),
    "accounts-20-class": Disguise(accounts=20, split="class"),
    "accounts-20-region": Disguise(accounts=20, split="region"),
}
DISGUISED = ("jbda", "line_search")
NATURAL_ORDER = (
    "uniform",
    "adaptive_retraining",
    "line_search",
    "lowd_meek",
    "marginals",
    "finite_differences",
    "equation_solving",
)


def theft(data: str, victim: str, attack: str, disguise: Disguise | None = None, name: str = "") -> Theft:
    """A cell of an attack, with its goal; `name` is the last part of the id."""
    worn = disguise or Disguise()
    return Theft(
        id=".".join(part for part in (f"{data}-{victim}", attack, name) if part),
        data=data,
        victim=victim,
        attack=attack,
        goal=goal_for(kind_of(data), attack, worn, firm=data not in REAL and not victim.endswith(LABELS_ONLY)),
        disguise=worn,
        budget=LONG if worn.cover >= 0.9 or worn.accounts > 1 else 600,
    )


def covered(data: str, victim: str, attacks: tuple[str, ...]) -> Iterator[Theft]:
    """The attacks under each share of cover."""
    for attack in attacks:
        for cover in COVERS:
            yield theft(data, victim, attack, Disguise(cover=cover), f"cover-{100 * cover:.0f}")


def shared(data: str, victim: str, attacks: tuple[str, ...]) -> Iterator[Theft]:
    """The attacks dealt to each number of accounts."""
    for attack in attacks:
        for accounts in ACCOUNTS:
            yield theft(data, victim, attack, Disguise(accounts=accounts), f"accounts-{accounts}")


def innocents(data: str, victim: str, *, held_out: bool = False) -> Iterator[Innocence]:
    """Every profile that goes with the data, the known ones left out in turn as well; with `held_out` those that are, too."""
    for profile in profiles_of(kind_of(data)).values():
        if profile.wave == "held-out" and not held_out:
            continue
        cell = Innocence(
            id=f"{data}-{victim}.innocent.{profile.id}",
            data=data,
            victim=victim,
            profile=profile.id,
            part=profile.wave,
            limits=limits_for(profile.id, profile.wave, profile.data),
        )
        yield cell
        if profile.wave == "known":
            yield replace(
                cell,
                id=f"{data}-{victim}.left-out.{profile.id}",
                part="left-out",
                limits=limits_for(profile.id, "left-out", profile.data),
            )


def lasting(data: str, victim: str, profiles: tuple[str, ...]) -> Iterator[Innocence]:
    """Innocents who ask as much as a thief who hides."""
    for profile in profiles:
        limits = limits_for(profile, "known", kind_of(data))
        cell_id = f"{data}-{victim}.innocent.{profile}.long"
        yield Innocence(cell_id, data, victim, profile, "known", limits, budget=LONG, sessions=20)


def _digits() -> Iterator[Scenario]:
    yield from (theft("digits", "mlp", attack.id) for attack in ATTACKS.values() if "image" in attack.data)
    yield from covered("digits", "mlp", COVERED_IMAGE)
    yield from shared("digits", "mlp", SHARED)
    for attack in DISGUISED:
        yield from (theft("digits", "mlp", attack, disguise, name) for name, disguise in DISGUISES.items())
    yield from (theft("digits", "mlp-labels", attack) for attack in SILENT)
    yield from innocents("digits", "mlp")
    yield from lasting("digits", "mlp", LASTING)


def _tables() -> Iterator[Scenario]:
    tabular = [attack.id for attack in ATTACKS.values() if "tabular" in attack.data]
    yield from (theft("loans", "forest", attack) for attack in tabular)
    yield from (theft("loans", "tree", attack) for attack in ("path_finding", "path_finding_labels"))
    yield from (theft("loans", "linear", attack) for attack in ("equation_solving", "lowd_meek", "finite_differences"))
    yield from covered("loans", "forest", COVERED_TABLE)
    yield from shared("loans", "forest", SHARED_TABLE)
    yield from innocents("loans", "forest")
    yield from lasting("loans", "forest", LASTING_TABLE)
    yield from (theft("breast_cancer", "mlp", attack) for attack in NATURAL_ORDER)
    yield from (cell for cell in innocents("breast_cancer", "mlp") if cell.part == "known" and "categor" not in cell.profile)


def _texts() -> Iterator[Scenario]:
    yield from (theft("text", "linear", attack.id) for attack in ATTACKS.values() if "text" in attack.data)
    yield from innocents("text", "linear")


def _real() -> Iterator[Scenario]:
    yield from (theft("mnist", "mlp", attack) for attack in COVERED_IMAGE)
    yield from covered("mnist", "mlp", COVERED_IMAGE)
    yield from innocents("mnist", "mlp")
    yield from (theft("adult", "forest", attack) for attack in COVERED_TABLE)
    yield from covered("adult", "forest", COVERED_TABLE)
    yield from innocents("adult", "forest")


CELLS: tuple[Scenario, ...] = (*_digits(), *_tables(), *_texts(), *_real())
"""Every cell in the order of the table."""

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({cell.id: cell for cell in CELLS})
"""The cells by id."""
