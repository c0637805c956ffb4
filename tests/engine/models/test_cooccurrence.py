"""Co-occurrence: what is kept of it."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.fitting.reference import fit_reference
from detector.engine.models import reference
from detector.engine.models.cooccurrence import from_arrays, to_arrays
from detector.errors import BaselineError
from detector.redteam.loans import CATEGORICAL, applications

Floats = npt.NDArray[np.float32]


def loans(n: int = 3000, seed: int = 3) -> Floats:
    return applications(n, np.random.default_rng(seed))[0].astype(np.float32)


def clients(n: int, each: int = 100) -> list[str]:
    return [f"client-{i // each}" for i in range(n)]


def test_it_is_kept_with_the_reference() -> None:
    """Whatever is learned comes back from the arrays; a reference of an older kind is refused, naming what is missing."""
    learned = fit_reference(loans(1200), 2, seed=1, categorical=CATEGORICAL, clients=clients(1200))
    assert not learned.cooccurrence.silent
    arrays = reference.to_arrays(learned)
    assert reference.from_arrays(arrays).fingerprint == learned.fingerprint
    back = from_arrays(to_arrays(learned.cooccurrence))
    assert (back.edited, back.mixes, back.usual) == (
        learned.cooccurrence.edited,
        learned.cooccurrence.mixes,
        learned.cooccurrence.usual,
    )
    np.testing.assert_array_equal(back.table, learned.cooccurrence.table)
    del arrays["cooccurrence.table"]
    with pytest.raises(BaselineError, match=r"lacks 'cooccurrence\.table'"):
        reference.from_arrays(arrays)
