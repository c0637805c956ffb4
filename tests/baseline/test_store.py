"""Keeping and refusing baselines."""

import io
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.baseline.sealing import seal, unseal
from detector.baseline.store import SEED, Baseline, load, save, seed_in, version_of
from detector.errors import BaselineError, ConfigError, OutputError


def test_save_and_load_give_the_same_baseline(digits_baseline: Baseline, tmp_path: Path) -> None:
    """The folder holds everything; a second save replaces the first."""
    save(digits_baseline, tmp_path / "new" / "folder")
    save(digits_baseline, tmp_path / "new" / "folder")
    again = load(tmp_path / "new" / "folder")
    assert again.version == digits_baseline.version
    assert again.models["digits"].reference.fingerprint == digits_baseline.models["digits"].reference.fingerprint
    assert again.notes["digits"]["queries"] == 1200
    for file in (tmp_path / "new" / "folder").iterdir():
        assert b"pickle" not in file.read_bytes()


def test_the_reference_inputs_are_no_part_of_the_version(digits_baseline: Baseline, tmp_path: Path) -> None:
    """No verdict depends on them, so a baseline with and without them has one version, and older detectors read both."""
    known = digits_baseline.models["digits"]
    assert known.reference_set is not None
    without = {"digits": replace(known, reference_set=None)}
    assert version_of(without) == digits_baseline.version
    save(replace(digits_baseline, models=without), tmp_path)
    assert "odometer" not in json.loads((tmp_path / "baseline.json").read_bytes())
    assert load(tmp_path).models["digits"].reference_set is None


def test_a_missing_baseline_is_named(tmp_path: Path) -> None:
    """No folder, an empty folder, a folder without the arrays: the error names folder and file."""
    with pytest.raises(BaselineError, match=r"nowhere: no baseline here .baseline\.json"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(BaselineError, match="file"):
        load(tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_named(digits_baseline: Baseline, tmp_path: Path) -> None:
    """A file where the folder should be is an output error."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        save(digits_baseline, tmp_path / "taken")


def opened(folder: Path) -> dict[str, Any]:
    """Return the arrays of the first model, as whoever has the seed can read them."""
    seed = seed_in(folder)
    assert seed is not None
    with np.load(io.BytesIO(unseal((folder / "model-0.sealed").read_bytes(), seed))) as stored:
        return dict(stored)


def closed(folder: Path, arrays: dict[str, Any]) -> None:
    """Put other arrays in their place."""
    seed = seed_in(folder)
    assert seed is not None
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    (folder / "model-0.sealed").write_bytes(seal(buffer.getvalue(), seed))


def damage(folder: Path, kind: str) -> None:
    about, arrays = folder / "baseline.json", folder / "model-0.sealed"
    content = json.loads(about.read_bytes())
    if kind == "no json":
        about.write_bytes(b"{")
    elif kind == "not utf-8":
        about.write_bytes(b"\xff\xfe")
    elif kind == "a list":
        about.write_bytes(b"[]")
    elif kind == "no models":
        del content["models"]
        about.write_text(json.dumps(content))
    elif kind == "other version":
        about.write_text(json.dumps(content | {"version": "0" * 12}))
    elif kind == "no arrays":
        arrays.unlink()
    elif kind == "cut arrays":
        arrays.write_bytes(arrays.read_bytes()[:-200])
    elif kind == "empty arrays":
        arrays.write_bytes(b"")
    elif kind == "changed arrays":
        changed = opened(folder)
        changed["norms.usual"] = changed["norms.usual"] + 1
        closed(folder, changed)
    elif kind == "changed reference inputs":
        changed = opened(folder)
        changed["odometer.z"] = changed["odometer.z"] + 1
        closed(folder, changed)
    elif kind == "lost reference inputs":
        closed(folder, {name: array for name, array in opened(folder).items() if not name.startswith("odometer.")})
    elif kind == "lost digest":
        about.write_text(json.dumps({name: value for name, value in content.items() if name != "odometer"}))
    elif kind == "lost array":
        changed = opened(folder)
        del changed["norms.usual"]
        closed(folder, changed)
    elif kind == "pickled":
        closed(folder, {"feature_names": np.array([{}], object)})
    elif kind == "no seed":
        (folder / SEED).unlink()
    elif kind == "another seed":
        (folder / SEED).write_text("6\n")
    elif kind == "no number for a seed":
        (folder / SEED).write_text(f"{2**63}\n")
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "no json",
        "not utf-8",
        "a list",
        "no models",
        "other version",
        "no arrays",
        "cut arrays",
        "empty arrays",
        "changed arrays",
        "changed reference inputs",
        "lost reference inputs",
        "lost digest",
        "lost array",
        "pickled",
        "no seed",
        "another seed",
        "no number for a seed",
    ],
)
def test_damage_is_found(digits_baseline: Baseline, tmp_path: Path, kind: str) -> None:
    """Whatever happened to the files, loading ends in a baseline error that names the folder."""
    save(digits_baseline, tmp_path)
    damage(tmp_path, kind)
    with pytest.raises(BaselineError, match=str(tmp_path)):
        load(tmp_path)


def test_other_formats_and_features_ask_for_a_new_fit(digits_baseline: Baseline, tmp_path: Path) -> None:
    """A baseline of another version of this program is refused with what to do."""
    save(digits_baseline, tmp_path)
    about = tmp_path / "baseline.json"
    kept = about.read_text()
    about.write_text(json.dumps(json.loads(kept) | {"format": 99}))
    with pytest.raises(BaselineError, match=r"format 99.*fit it again"):
        load(tmp_path)
    about.write_text(kept)
    changed = opened(tmp_path)
    changed["feature_names"] = changed["feature_names"][::-1]
    closed(tmp_path, changed)
    with pytest.raises(BaselineError, match="other features"):
        load(tmp_path)


def test_every_flipped_byte_is_found_or_harmless(generated_baseline: Baseline, tmp_path: Path) -> None:
    """A byte changed anywhere in the arrays either raises a baseline error or leaves the version what it was."""
    save(generated_baseline, tmp_path)
    arrays = tmp_path / "model-0.sealed"
    original = arrays.read_bytes()
    for at in range(0, len(original), max(len(original) // 60, 1)):
        arrays.write_bytes(original[:at] + bytes([original[at] ^ 0x55]) + original[at + 1 :])
        try:
            assert load(tmp_path).version == generated_baseline.version
        except BaselineError:
            continue


def test_the_files_tell_neither_columns_nor_clients(digits_baseline: Baseline, tmp_path: Path) -> None:
    """Without the seed nothing is in clear: no array under any name, no id of a client; with it, all of it is there."""
    save(digits_baseline, tmp_path)
    reference = digits_baseline.models["digits"].reference
    everything = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name != SEED)
    for secret in (reference.sampled, reference.projection, reference.planes, reference.kinship, reference.c_variance):
        assert secret.tobytes()[:32] not in everything
    assert b"reader-" not in everything
    assert b"sampled" not in everything
    assert b"PK" not in (tmp_path / "model-0.sealed").read_bytes()[:4]
    assert set(opened(tmp_path)) > {"reference.sampled", "reference.projection"}
    assert load(tmp_path).notes == digits_baseline.notes


def test_a_baseline_needs_its_own_seed(digits_baseline: Baseline, tmp_path: Path) -> None:
    """Copied without its seed it is refused with what to do; the seed may be given, and only the right one opens it."""
    save(digits_baseline, tmp_path / "a")
    assert seed_in(tmp_path / "a") == digits_baseline.seed == 5
    shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns(SEED))
    with pytest.raises(BaselineError, match=r"seed is missing: copy the file 'seed' along.*seed_file"):
        load(tmp_path / "b")
    assert load(tmp_path / "b", 5).version == digits_baseline.version
    for folder in ("a", "b"):
        with pytest.raises(ConfigError, match=r"not the one that the baseline in .* was fitted with"):
            load(tmp_path / folder, 6)
    (tmp_path / "b" / SEED).write_text("6")
    with pytest.raises(BaselineError, match="belongs to another baseline"):
        load(tmp_path / "b")
    assert "seed=" not in repr(digits_baseline)


def test_only_the_owner_can_read_a_baseline(digits_baseline: Baseline, tmp_path: Path) -> None:
    """Whatever the mask, and also where files that others could read were there before."""
    before = os.umask(0)
    try:
        (tmp_path / "new").mkdir(mode=0o755)
        (tmp_path / "new" / SEED).write_text("6")
        (tmp_path / "new" / "baseline.json").write_text("{}")
        for folder in (tmp_path / "new", tmp_path / "made" / "here"):
            save(digits_baseline, folder)
            assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
        assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "made" / "here").stat().st_mode) == 0o700
    finally:
        os.umask(before)
