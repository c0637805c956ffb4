"""Files: an exported configuration is the one that was tuned, and the service loads it."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import detector
from detector.config import Config, EngineSection, IngestSection, KafkaSection, ModelSection, PolicySection, TopicSection, load
from detector.errors import OutputError
from detector.offline import analysis

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
BUDGETS = st.floats(1e-9, 1000, exclude_min=True)


@given(
    models=st.dictionaries(NAMES, st.sets(st.integers(0, 99), max_size=3), max_size=3),
    never_block=st.lists(NAMES, max_size=3),
    budgets=st.tuples(BUDGETS, BUDGETS),
    shadow=st.booleans(),
    clients=st.integers(2, 2**40),
)
def test_what_was_exported_is_what_is_loaded(
    models: dict[str, set[int]], never_block: list[str], budgets: tuple[float, float], shadow: bool, clients: int
) -> None:
    """Whatever names and numbers it holds; the version, which stands in every alert, is the same."""
    config = Config(
        models={name: ModelSection(categorical=tuple(columns), dimension=100) for name, columns in models.items()},
        policy=PolicySection(
            shadow=shadow,
            trust_clients=None if shadow else True,
            never_block=never_block,
            false_alerts_per_1000=budgets[0],
            false_blocks_per_10000=budgets[1],
        ),
        engine=EngineSection(max_clients=clients, seed=7),
        ingest=IngestSection(envelope="kcat", topics={name: TopicSection(format="native") for name in models}),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tuned.toml"
        analysis.write_config(config, str(file))
        loaded = load(file)
    assert loaded == config
    assert loaded.version == config.version


def test_a_baseline_beside_the_file_moves_with_it(tmp_path: Path) -> None:
    """It is named relative to the file; one elsewhere by its full path."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "baseline").mkdir(parents=True)
    analysis.write_config(Config().with_baseline(here / "baseline"), here / "tuned.toml")
    assert detector.load_config(here / "tuned.toml").baseline.path == here / "baseline"
    shutil.move(here, there)
    assert detector.load_config(str(there / "tuned.toml")).baseline.path == there / "baseline"
    analysis.write_config(Config().with_baseline(tmp_path / "else"), there / "tuned.toml")
    assert detector.load_config(there / "tuned.toml").baseline.path == tmp_path / "else"


def test_connections_and_secrets_stay_out(tmp_path: Path) -> None:
    """An exported file can be shown to others."""
    kafka = KafkaSection(bootstrap_servers=("broker:9092",), username="u", password="hush")
    file = tmp_path / "tuned.toml"
    analysis.write_config(Config(kafka=kafka), file)
    assert "hush" not in file.read_text()
    assert "broker" not in file.read_text()
    assert load(file).version == Config(kafka=kafka).version


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Such as one in a folder that is not there."""
    with pytest.raises(OutputError, match="cannot write the configuration"):
        analysis.write_config(Config(), tmp_path / "gone" / "tuned.toml")


def test_a_simulation_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before anything is played."""
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write the simulation to .*taken"):
        analysis.simulate(tmp_path / "taken")
