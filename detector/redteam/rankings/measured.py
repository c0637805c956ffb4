"""The table of rankings: what each defence costs thieves, and what it costs honest users.

For each defence, attack and budget a copy is trained on what the thief was told, and asked about histories of people whom
nobody has learned from. Its agreement at 10 is with the model that is defended, as it ranks without the defence; of a model
that was trained to be copied badly it is with that model. So the copy's own hit rate is given as well: that is what the thief
came for, whatever he agrees with.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table

from detector.errors import EndpointError
from detector.redteam.rankings.clients import ATTACKS, Recommend, Start, converse
from detector.redteam.rankings.copies import Honest, Worth, agreement, best_copy, worth
from detector.redteam.rankings.defences import Tell, first, swapped
from detector.redteam.rankings.gradient_based import hardened
from detector.redteam.rankings.recommender import SHOWN, Recommender, examples, trained
from detector.redteam.rankings.users import History, Shop, padded

__all__ = ["DEFENCES", "Defence", "Row", "Scene", "budgets", "markdown", "measure", "over_http", "scene", "served", "table"]

_USERS, _LENGTH = 500, 40  # whose walks the model is trained on
_OWNED, _HONEST, _SHORTER = 100, 60, 20
_STEPS: Final = 400
_ASKED: Final = 200
_KEY: Final = b"a key of the bench, not a secret"


class Scene(NamedTuple):
    """A model, what it was trained on, what thieves hold, and the honest users who measure; no walk is in two of them."""

    model: Recommender
    walks: list[History]
    owned: list[History]
    honest: Honest
    shop: Shop


def scene(seed: int, items: int = 300) -> Scene:
    """Train a recommender of so many items on simulated users; the same seed gives the same one."""
    shop = Shop.open(seed, items)
    rng = np.random.default_rng([seed, 3])
    walks = shop.walks(_USERS, _LENGTH, rng)
    owned = shop.walks(_OWNED, _SHORTER, rng)
    honest = Honest(*examples(shop.walks(_HONEST, _SHORTER, rng), items))
    return Scene(trained(walks, items, seed, _STEPS), walks, owned, honest, shop)


class Defence(NamedTuple):
    """A defence: what it makes of the model before it is served, by its scene and a seed, and what it tells of its rankings."""

    tell: Tell
    change: Callable[[Scene, int], Recommender] = lambda scene, _: scene.model


def _gradient_based(strength: float) -> Defence:
    return Defence(first(SHOWN), lambda scene, seed: hardened(scene.model, scene.walks, strength, seed))


DEFENCES: Final[dict[str, Defence]] = {
    "none": Defence(first(SHOWN)),
    "top 5": Defence(first(5)),
    "top 3": Defence(first(3)),
    "top 1": Defence(first(1)),
    "keyed swaps": Defence(swapped(_KEY)),
    "GRO 0.3": _gradient_based(0.3),
    "GRO 1": _gradient_based(1.0),
    "GRO 1.5": _gradient_based(1.5),
}


class Row(NamedTuple):
    """One defence, attack and budget; figures are means over the seeds, `spread` the largest agreement less the least.

    `agreement` is the copy's, at 10; `copy_hits` how often it has the next item of an honest user among its first ten.
    `hits` and `ndcg` are those of the rankings that honest users are told, at 10.
    """

    defence: str
    attack: str
    queries: int
    agreement: float
    spread: float
    copy_hits: float
    hits: float
    ndcg: float


def budgets(queries: int) -> list[int]:
    """Return the budgets that are measured: a tenth, a third and all of the queries.

    >>> budgets(1000), budgets(2)
    ([100, 333, 1000], [1, 2])
    """
    return sorted({max(queries // part, 1) for part in (10, 3, 1)})


def measure(
    queries: int,
    seeds: int,
    *,
    defences: Sequence[str] = tuple(DEFENCES),
    items: int = 300,
    note: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Return a row for each defence, attack and budget up to `queries`; every seed has its own shop, model and thieves."""
    found: dict[tuple[str, str, int], list[tuple[float, float, Worth]]] = {}
    for seed in range(seeds):
        note(f"seed {seed}: training the model")
        stage = scene(seed, items)
        for defence in defences:
            note(f"seed {seed}: {defence}")
            for key, figures in _defended(defence, stage, queries, seed).items():
                found.setdefault((defence, *key), []).append(figures)
    return [_row(*key, figures) for key, figures in found.items()]


def served(defence: str, stage: Scene, seed: int) -> Recommend:
    """Return the recommender of a scene as clients meet it under a defence, by its name."""
    tell, change = DEFENCES[defence]
    return _answering(tell, change(stage, seed))


def _answering(tell: Tell, model: Recommender) -> Recommend:
    def recommend(history: History) -> History:
        return tuple(tell(model, padded([history], model.items))[0].tolist())

    return recommend


def over_http(recommend: Recommend, items: int, queries: int, seed: int) -> dict[str, float]:
    """Return the agreement at 10 of the copy of each attack that needs no histories of people, after so many queries.

    It is measured on `_ASKED` more histories, which the model's own recommendations wrote: nothing is known of its users.
    Raises what `recommend` raises, and `EndpointError` where it recommends nothing.
    """
    asked = converse(ATTACKS["autoregressive"].begin(Start(items, [], np.random.default_rng([seed, 5]))), recommend, _ASKED)
    asked = [(history, ranking) for history, ranking in asked if len(ranking) >= SHOWN]
    if not asked:
        raise EndpointError(f"no answer names {SHOWN} items of the catalogue, so no copy can be compared with it")
    windows = padded([history for history, _ in asked], items)
    own = np.array([ranking[:SHOWN] for _, ranking in asked])
    found = {}
    for number, (attack, client) in enumerate(ATTACKS.items()):
        if attack != "natural":
            heard = converse(client.begin(Start(items, [], np.random.default_rng([seed, 4, number]))), recommend, queries)
            copy = best_copy(heard, own, windows, items, seed)
            found[attack] = round(agreement(copy.rankings(windows), own), 4)
    return found


def _defended(defence: str, stage: Scene, queries: int, seed: int) -> dict[tuple[str, int], tuple[float, float, Worth]]:
    tell, change = DEFENCES[defence]
    model, windows = change(stage, seed), stage.honest.windows
    own, told = model.rankings(windows), worth(tell(model, windows), stage.honest)
    recommend = _answering(tell, model)

    found = {}
    for number, (attack, client) in enumerate(ATTACKS.items()):
        start = Start(model.items, stage.owned, np.random.default_rng([seed, 4, number]))
        heard = converse(client.begin(start), recommend, queries)
        for budget in budgets(queries):
            copy = best_copy(heard[:budget], own, windows, model.items, seed)
            ranked = copy.rankings(windows)
            found[attack, budget] = agreement(ranked, own), worth(ranked, stage.honest).hits, told
    return found


def _row(defence: str, attack: str, queries: int, figures: list[tuple[float, float, Worth]]) -> Row:
    agreements = [one for one, _, _ in figures]
    means = [
        float(np.mean(part))
        for part in (
            agreements,
            [copied for _, copied, _ in figures],
            [told.hits for _, _, told in figures],
            [told.ndcg for _, _, told in figures],
        )
    ]
    agreed, copied, hits, ndcg = (round(mean, 4) for mean in means)
    return Row(defence, attack, queries, agreed, round(max(agreements) - min(agreements), 4), copied, hits, ndcg)


_HEADS: Final = ("defence", "queries", *ATTACKS, "copy's hit rate", "hit rate", "NDCG")


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.defence, row.queries), []).append(row)
    lines = []
    for (defence, queries), group in groups.items():
        agreements = {row.attack: f"{row.agreement:.0%}" for row in group}
        best = max(row.copy_hits for row in group)
        figures = (f"{best:.1%}", f"{group[0].hits:.1%}", f"{group[0].ndcg:.3f}")
        lines.append([defence, str(queries), *(agreements.get(attack, "-") for attack in ATTACKS), *figures])
    return lines


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [_HEADS, ["---"] * len(_HEADS), *_lines(rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table for the terminal."""
    shown = Table(
        box=None,
        pad_edge=False,
        caption="Under each attack: agreement at 10 of the copy. Copy's hit rate: of the best copy, for honest users. "
        "Hit rate and NDCG at 10: of what honest users are told.",
        caption_justify="left",
    )
    for head in _HEADS:
        shown.add_column(head)
    for line in _lines(rows):
        shown.add_row(*line)
    return shown
