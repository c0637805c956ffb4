import importlib.util
import re
import sys
import threading
import warnings

import numpy as np
import pytest

from detector.distribution import install
from detector.errors import ConfigError
from detector.redteam.attacks import borrowed
from detector.redteam.attacks.borrowed import MISSING, art_boundary, art_hopskipjump
from detector.redteam.conversation import converse
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim

INSTALLED = importlib.util.find_spec("art") is not None


@pytest.mark.skipif(not INSTALLED, reason=MISSING)
@pytest.mark.slow
def test_the_toolbox_finds_its_way_to_the_boundary(victim: Victim) -> None:
    """Within a walk of HopSkipJump the queries of another label come closer to the picture."""
    pool = victim.attacker
    client = art_hopskipjump(victim.setting(pool, np.random.default_rng(1)))
    vectors, answers, _ = converse(client, victim.predict, 1500)
    other = answers.argmax(axis=1) != answers[0].argmax()
    distance = np.linalg.norm(vectors - vectors[0], axis=1)[other]
    assert distance[-200:].min() < 0.7 * distance[:50].min()


@pytest.mark.skipif(not INSTALLED, reason=MISSING)
def test_no_thread_stays_and_the_global_generator_is_untouched(victim: Victim) -> None:
    """A closed conversation leaves neither a thread nor a trace in NumPy's generator or the filters of warnings."""
    pool = victim.attacker
    before = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002
    filters = list(warnings.filters)
    client = art_boundary(victim.setting(pool, np.random.default_rng(1)))
    assert len(converse(client, victim.predict, 40)[0]) == 40
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index] # noqa: NPY002
    assert list(warnings.filters) == filters
    assert "borrowed attack" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.skipif(not INSTALLED, reason=MISSING)
def test_an_error_in_the_toolbox_reaches_the_player(victim: Victim) -> None:
    """What goes wrong in the thread is raised where the conversation is played, not lost."""

    def make(evasion: object, model: object) -> object:
        del evasion, model
        raise RuntimeError("no such attack")

    client = borrowed._conversation(make, victim.setting(victim.attacker, np.random.default_rng(0)))
    with pytest.raises(RuntimeError, match="no such attack"):
        next(client)


def test_without_the_toolbox_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first query is an error with the command in it."""
    for name in ("art", "art.attacks.evasion", "art.estimators.classification"):
        monkeypatch.setitem(sys.modules, name, None)
    client = art_boundary(Setting(np.zeros((2, 4)), np.zeros(2, dtype=np.int64), np.random.default_rng(0)))
    with pytest.raises(ConfigError, match=re.escape(install("art"))):
        next(client)
