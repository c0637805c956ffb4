"""Data of more kinds than the first table had, with the wire that a real client of each uses.

All of it ships with packages that the project has anyway. Half of the worlds are held out (`HELD_OUT`): they are measured, and
nobody looks at them while a channel is changed.
"""

from collections.abc import Callable

from tests.quality import embedding_worlds, picture_worlds, table_worlds
from tests.quality.examples import Examples

WORLDS: dict[str, Callable[[int], Examples]] = {
    "digits_8bit": picture_worlds.digits_8bit,
    "patches": picture_worlds.patches,
    "photographs": picture_worlds.photographs,
    "colour": picture_worlds.colour,
    "features": embedding_worlds.features,
    "bananas": table_worlds.bananas,
    "phishing": table_worlds.phishing,
    "wide": table_worlds.wide,
    "fraud": table_worlds.fraud,
    "machines": table_worlds.machines,
    "shuttle": table_worlds.shuttle,
    "yeast": table_worlds.yeast,
    "portrait": picture_worlds.portrait,
    "scan": picture_worlds.scan,
    "colour_portrait": picture_worlds.colour_portrait,
    "terrain": picture_worlds.terrain,
    "docstrings": embedding_worlds.docstrings,
    "features_portrait": embedding_worlds.features_portrait,
    "segments": table_worlds.segments,
    "solar": table_worlds.solar,
    "many": table_worlds.many,
    "visits": table_worlds.visits,
    "customers": table_worlds.customers,
}
"""Worlds by name: those that anybody may look at, then those that are held out."""

VICTIMS: dict[str, str] = {
    "digits_8bit": "mlp",
    "patches": "mlp",
    "photographs": "mlp",
    "colour": "mlp",
    "features": "mlp",
    "bananas": "boosting",
    "phishing": "forest",
    "wide": "linear",
    "fraud": "forest",
    "machines": "mlp_sure",
    "shuttle": "mlp",
    "yeast": "forest-labels",
    "portrait": "mlp",
    "scan": "mlp",
    "colour_portrait": "mlp",
    "terrain": "mlp-labels",
    "docstrings": "linear",
    "features_portrait": "linear",
    "segments": "boosting",
    "solar": "tree",
    "many": "mlp",
    "visits": "mlp_unsure",
    "customers": "forest",
}
"""Which model is served in each world; see `tests.quality.simulation`."""

HELD_OUT = frozenset(
    {
        "portrait",
        "scan",
        "colour_portrait",
        "terrain",
        "docstrings",
        "features_portrait",
        "segments",
        "solar",
        "many",
        "visits",
        "customers",
    }
)

PICTURES = frozenset({"digits_8bit", "patches", "photographs", "colour", "portrait", "scan", "colour_portrait", "terrain"})
EMBEDDINGS = frozenset({"features", "docstrings", "features_portrait"})
