"""Attacks of the adversarial-robustness-toolbox, turned into conversations.

An independent implementation is the best check on one's own. The toolbox calls a model where a conversation yields a
query, so its attack runs in a thread of its own and the two take turns: never do both run. It is an extra
(``pip install 'model-extraction-detector[art]'``), and takes seconds to import.
"""

import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from typing import Any

import numpy as np

from detector.distribution import install
from detector.errors import ConfigError
from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, draws
from detector.redteam.entries import attack
from detector.redteam.setting import Setting

MISSING = f"this attack needs the adversarial-robustness-toolbox: {install('art')}"


class _Ended(Exception):  # noqa: N818
    """The conversation was closed while the toolbox waited for an answer."""


@attack(
    id="art_hopskipjump",
    title="HopSkipJump of the robustness toolbox",
    family="decision based",
    source="Chen et al., IEEE S&P 2020",
    extra="art",
)
def art_hopskipjump(setting: Setting) -> Conversation:
    """The toolbox's HopSkipJump (Chen et al., IEEE S&P 2020), untargeted, from natural starting points. Labels suffice."""

    def make(evasion: Any, model: Any) -> Any:
        return evasion.HopSkipJump(model, max_iter=10, max_eval=1000, init_eval=100, verbose=False)

    return _conversation(make, setting, starts=True)


@attack(
    id="art_boundary",
    title="Boundary attack of the robustness toolbox",
    family="decision based",
    source="Brendel et al., ICLR 2018",
    extra="art",
)
def art_boundary(setting: Setting) -> Conversation:
    """The toolbox's Boundary attack (Brendel et al., ICLR 2018), untargeted, from natural starting points. Labels suffice."""

    def make(evasion: Any, model: Any) -> Any:
        return evasion.BoundaryAttack(model, targeted=False, max_iter=200, verbose=False)

    return _conversation(make, setting, starts=True)


@attack(
    id="art_sign_opt",
    title="Sign-OPT of the robustness toolbox",
    family="decision based",
    source="Cheng et al., ICLR 2020",
    extra="art",
)
def art_sign_opt(setting: Setting) -> Conversation:
    """The toolbox's Sign-OPT (Cheng et al., ICLR 2020), untargeted, from random directions. Labels suffice."""

    def make(evasion: Any, model: Any) -> Any:
        return evasion.SignOPTAttack(model, targeted=False, max_iter=20, num_trial=20, k=50, verbose=False)

    return _conversation(make, setting)


@attack(
    id="art_zoo",
    title="ZOO of the robustness toolbox",
    family="score based",
    source="Chen et al., AISec 2017",
    needs="probabilities",
    extra="art",
)
def art_zoo(setting: Setting) -> Conversation:
    """The toolbox's ZOO (Chen et al., AISec 2017), untargeted. Needs probabilities."""
    lo, hi = setting.value_range

    def make(evasion: Any, model: Any) -> Any:
        return evasion.ZooAttack(
            model,
            max_iter=20,
            binary_search_steps=1,
            nb_parallel=1,
            variable_h=0.01 * (hi - lo),
            use_resize=False,
            use_importance=False,
            verbose=False,
        )

    return _conversation(make, setting)


def _conversation(make: Callable[[Any, Any], Any], setting: Setting, *, starts: bool = False) -> Conversation:
    """Play the attack on one natural picture after another; raises `ConfigError` at the first query without the toolbox.

    With `starts` each walk begins at a natural picture of another label, asked for first; the toolbox's own random
    starts come from generators that cannot be seeded.

    The toolbox draws from NumPy's global generator and warns a lot. It gets a state of its own, seeded from `rng`, and
    silence for as long as it runs; whoever else uses the generator or the filters of warnings finds them untouched.
    """
    evasion, estimators = _toolbox()
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    questions: SimpleQueue[Array | BaseException] = SimpleQueue()
    answers: SimpleQueue[Answer | None] = SimpleQueue()

    def predict(X: Array) -> Array:
        responses = []
        for row in np.asarray(X, dtype=np.float64).reshape(len(X), -1):
            questions.put(np.clip(row, *value_range))
            answer = answers.get()
            if answer is None:
                raise _Ended
            responses.append(answer)
        return np.stack(responses)

    def work() -> None:
        try:
            if answers.get() is None:
                return
            model = estimators.BlackBoxClassifier(predict, (pool.shape[1],), setting.classes, clip_values=value_range)
            order = draws(len(pool), rng)
            for index in order:
                picture = pool[index][None].astype(np.float32)
                start = {}
                if starts:
                    label = predict(picture).argmax()
                    while predict(other := pool[next(order)][None].astype(np.float32)).argmax() == label:
                        pass
                    start = {"x_adv_init": other}
                make(evasion, model).generate(x=picture, **start)
        except _Ended:
            pass
        except BaseException as error:  # noqa: BLE001 - told to whoever plays the conversation
            questions.put(error)

    natural = {row.astype(np.float32).tobytes() for row in pool}
    thread = threading.Thread(target=work, name="borrowed attack", daemon=True)
    thread.start()
    theirs = np.random.RandomState(int(rng.integers(2**32))).get_state()
    message: Answer = np.empty(0)
    try:
        while True:
            ours = np.random.get_state()  # noqa: NPY002
            np.random.set_state(theirs)  # noqa: NPY002
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    answers.put(message)
                    asked = questions.get()
            finally:
                theirs = np.random.get_state()  # noqa: NPY002
                np.random.set_state(ours)  # noqa: NPY002
            if isinstance(asked, BaseException):
                raise asked
            message = yield AskedQuery(asked, synthetic=asked.astype(np.float32).tobytes() not in natural)
    finally:
        answers.put(None)
        thread.join()


def _toolbox() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Extras, slow, and without types.
            evasion = import_module("art.attacks.evasion")
            classification = import_module("art.estimators.classification")
    except ImportError as error:
        raise ConfigError(MISSING) from error
    return evasion, classification
