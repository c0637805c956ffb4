"""What copies are judged by."""

import numpy as np
import pytest

from detector.engine.fitting.reference import fit_reference
from detector.engine.odometer.reference_set import SIZE, ReferenceSet, from_arrays, sample_reference_set, to_arrays
from detector.errors import BaselineError
from tests.engine.odometer.learned import judge, queries


def test_it_is_kept_as_arrays() -> None:
    """All comes back; older baselines have none; a damaged one is refused."""
    judging = judge()
    arrays = to_arrays(judging)
    again = from_arrays(arrays)
    assert again is not None
    assert (again.guess, again.classes) == (judging.guess, 4)
    np.testing.assert_array_equal(again.inputs, judging.inputs)
    assert from_arrays({}) is None
    with pytest.raises(BaselineError, match="lacks 'label'"):
        from_arrays({name: array for name, array in arrays.items() if name != "label"})
    with pytest.raises(BaselineError, match="damaged"):
        from_arrays(arrays | {"z": arrays["z"][:, 1:]})
    with pytest.raises(BaselineError, match="damaged"):
        from_arrays(arrays | {"label": arrays["label"][:, None]})


def test_no_client_gives_more_than_its_share() -> None:
    """A heavy client, and inputs that repeat, do not take over."""
    rng = np.random.default_rng(1)
    vectors = rng.random((6000, 64)).astype(np.float32)
    vectors[5000:] = vectors[4999]
    clients = ["heavy" if i < 3000 else f"client-{i % 40}" for i in range(6000)]
    label = (vectors[:, 0] > 0.5).astype(np.int32)
    reference = fit_reference(vectors[:1000], 2, seed=1)
    found = sample_reference_set(reference, vectors, label, clients, 7)
    assert found is not None
    assert len(found.label) == SIZE
    rows = {row.tobytes() for row in reference.reduce(vectors[:3000]).z}
    assert sum(row.tobytes() in rows for row in found.z) <= 4 * SIZE // 41
    assert len(np.unique(found.z, axis=0)) == SIZE
    again = sample_reference_set(reference, vectors, label, clients, 7)
    assert again is not None
    np.testing.assert_array_equal(again.z, found.z)
    assert sample_reference_set(reference, vectors, np.ones(6000, np.int32), clients, 7) is None
    assert sample_reference_set(reference, vectors[:50], label[:50], clients[:50], 7) is None


@pytest.mark.parametrize(("clients", "most"), [(40, 25), (10, 32), (8, 32), (7, 128), (2, 128)])
def test_few_clients_share_the_reference_inputs(clients: int, most: int) -> None:
    """One of eight clients or more gives an eighth at most, one of fewer half."""
    rng = np.random.default_rng(2)
    vectors = rng.random((2000, 64)).astype(np.float32)
    owner = np.where(np.arange(2000) < 1500, 0, np.arange(2000) % clients)
    label = (vectors[:, 0] > 0.5).astype(np.int32)
    reference = fit_reference(vectors, 2, seed=1)
    found = sample_reference_set(reference, vectors, label, [f"client-{i}" for i in owner], 7)
    assert found is not None
    rows = {row.tobytes() for row in reference.reduce(vectors[owner == 0]).z}
    assert sum(row.tobytes() in rows for row in found.z) == most


def test_labels_that_are_not_told_apart_are_no_guess() -> None:
    """Many rare labels count as one that nobody is right about; where they are more than a tenth there is no reference set."""
    z, c = queries(200, 3)
    label = np.concatenate([np.repeat(np.arange(60), 2), np.full(40, 60), np.arange(100, 140)]).astype(np.int32)
    judging = ReferenceSet(z, c, label, table=False)
    assert judging.classes == 65
    assert judging.guess == 40 / 200
    assert judging.agreement(judging.answers) == pytest.approx(163 / 200)
    assert judging.agreement(np.full(200, 64)) == 0.0
    rng = np.random.default_rng(2)
    vectors = rng.random((1000, 64)).astype(np.float32)
    reference = fit_reference(vectors, 2, seed=1)
    clients = [f"client-{i % 50}" for i in range(1000)]
    assert sample_reference_set(reference, vectors, np.arange(1000, dtype=np.int32), clients, 7) is None
    assert sample_reference_set(reference, vectors, (np.arange(1000) % 60).astype(np.int32), clients, 7) is not None
