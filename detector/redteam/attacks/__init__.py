"""The attacks, each declared beside its function (`detector.redteam.entries.attack`).

`MODULES` is the one list of their modules. Its order is the order in which attacks are published, so a new module goes to the
end.
"""

from importlib import import_module

MODULES = (
    "uniform",
    "adaptive_retraining",
    "equation_solving",
    "functionally_equivalent",
    "path_finding",
    "line_search",
    "lowd_meek",
    "one_feature",
    "jbda",
    "targeted",
    "color",
    "best",
    "knockoff",
    "data_free",
    "active_thief",
    "hopskipjump",
    "boundary",
    "sign_opt",
    "zoo",
    "finite_differences",
    "borrowed",
    "natural_mixes",
    "augmented",
)

for _name in MODULES:
    import_module(f"{__name__}.{_name}")
