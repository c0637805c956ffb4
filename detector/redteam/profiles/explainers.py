"""Innocent clients that ask why: explanations of single pictures, by asking about many altered ones.

An explainer needs dozens to hundreds of neighbours of one picture and what the model says of each; to a detector it
looks like a thief that works on one seed. The profiles are frozen, as those of `profiles.devices`, and keep to the
conventions of `profiles.benign`. What is simulated is the queries; the explanation itself is computed only where
the next query depends on it.
"""

from functools import partial
from math import comb

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation, Labels, draws
from detector.redteam.entries import profile
from detector.redteam.pictures import cells_of, side_of
from detector.redteam.setting import Setting

habit = partial(profile, family="explainer", wave="frozen", arrival="bursty")


@habit(id="lime", title="LIME", source="Ribeiro et al., KDD 2016, section 3")
def lime(setting: Setting) -> Conversation:
    """LIME: the picture, then 30 to 100 versions in which half of its cells, at random, are blanked.

    Cells are squares, 3 to 5 across, in place of superpixels, which pictures of few pixels have not; blank is the cell's
    mean or the darkest value (Ribeiro, Singh, Guestrin, KDD 2016, sections 3.3 and 3.4).
    """
    pool, rng = setting.pool, setting.rng
    side = side_of(pool.shape[1])
    cells = cells_of(side, int(rng.integers(3, 6)))
    samples, by_mean = int(rng.integers(30, 101)), bool(rng.random() < 0.5)
    for index in draws(len(pool), rng):
        picture = pool[index]
        blank = _cell_means(picture, cells) if by_mean else np.full(picture.size, setting.value_range[0])
        yield AskedQuery(picture)
        for _ in range(samples):
            kept = rng.random(int(cells.max()) + 1) < 0.5
            yield AskedQuery(np.where(kept[cells], picture, blank))


@habit(id="kernel_shap", title="Kernel SHAP", source="Lundberg & Lee, NeurIPS 2017, theorem 2")
def kernel_shap(setting: Setting) -> Conversation:
    """Kernel SHAP: coalitions of cells, and their complements, over a background of the mean of some pictures.

    Sizes of coalitions are drawn by the Shapley kernel (Lundberg & Lee, NeurIPS 2017, theorem 2); 30 to 120 a picture.
    """
    pool, rng = setting.pool, setting.rng
    side = side_of(pool.shape[1])
    cells = cells_of(side, int(rng.integers(3, 6)))
    count, pairs = int(cells.max()) + 1, int(rng.integers(15, 61))
    order = draws(len(pool), rng)
    background = pool[[next(order) for _ in range(20)]].mean(axis=0)
    sizes = np.arange(1, count)
    weight = np.array([comb(count, s) * (count - 1) / (comb(count, s) * s * (count - s)) for s in sizes.tolist()])
    for index in order:
        yield AskedQuery(pool[index])
        for _ in range(pairs):
            inside = rng.permutation(count) < rng.choice(sizes, p=weight / weight.sum())
            yield AskedQuery(np.where(inside[cells], pool[index], background))
            yield AskedQuery(np.where(inside[cells], background, pool[index]))


@habit(id="occlusion_map", title="A grey square slid over the picture", source="Zeiler & Fergus, ECCV 2014")
def occlusion_map(setting: Setting) -> Conversation:
    """An occlusion map: a grey square slides over the picture, position after position (Zeiler & Fergus, ECCV 2014).

    The square is a fifth to a third of the side, its step one pixel or half the square, its grey the client's.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    side = side_of(pool.shape[1])
    width = max(1, round(side * rng.uniform(0.2, 0.34)))
    step = 1 if rng.random() < 0.5 else max(1, width // 2)
    grey = rng.uniform(lo, hi)
    for index in draws(len(pool), rng):
        yield AskedQuery(pool[index])
        for top in range(0, side - width + 1, step):
            for left in range(0, side - width + 1, step):
                covered = pool[index].reshape(side, side).copy()
                covered[top : top + width, left : left + width] = grey
                yield AskedQuery(covered.ravel())


@habit(
    id="integrated_gradients",
    title="The path from a blank picture to the real one",
    source="Sundararajan et al., ICML 2017, section 5",
)
def integrated_gradients(setting: Setting) -> Conversation:
    """Integrated gradients: 16 to 50 equal steps from a blank picture to the real one.

    What the server's log shows of it are the points of the path (Sundararajan, Taly, Yan, ICML 2017, section 5); the blank
    is black, grey, or the mean of some pictures.
    """
    pool, rng = setting.pool, setting.rng
    lo, hi = setting.value_range
    steps = int(rng.integers(16, 51))
    order = draws(len(pool), rng)
    mean = pool[[next(order) for _ in range(20)]].mean(axis=0)
    blank = (np.full_like(mean, lo), np.full_like(mean, (lo + hi) / 2.0), mean)[int(rng.integers(3))]
    for index in order:
        for share in np.arange(1, steps + 1) / steps:
            yield AskedQuery(blank + share * (pool[index] - blank))


@habit(id="patch_recourse", title="Counterfactuals by exchanged patches", source="Goyal et al., ICML 2019, section 3.2")
def patch_recourse(setting: Setting) -> Conversation:
    """A counterfactual by patches: the parts of another picture that would make the model see its class here.

    Round after round every cell not yet exchanged is tried, and the one that helps most is kept, until the label is that of
    the other picture (Goyal et al., ICML 2019, section 3.2). Needs the model's answers; two pictures of one label are skipped.
    """
    pool, rng = setting.pool, setting.rng
    side = side_of(pool.shape[1])
    cells = cells_of(side, int(rng.integers(3, 5)))
    order = draws(len(pool), rng)
    while True:
        picture, other = pool[next(order)], pool[next(order)]
        here = int(np.argmax((yield AskedQuery(picture))))
        wanted = int(np.argmax((yield AskedQuery(other))))
        left = set(range(int(cells.max()) + 1)) if here != wanted else set()
        while left:
            tried = []
            for cell in sorted(left):
                answer = yield AskedQuery(np.where(cells == cell, other, picture))
                tried.append((float(answer[wanted]), int(np.argmax(answer)), cell))
            _, label, best = max(tried)
            picture = np.where(cells == best, other, picture)
            left = left - {best} if label != wanted else set()


def _cell_means(picture: Array, cells: Labels) -> Array:
    """The picture with each cell filled with its mean."""
    return np.asarray((np.bincount(cells, picture) / np.bincount(cells))[cells])
