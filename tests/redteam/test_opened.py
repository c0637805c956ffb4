"""Whatever a model is, it is opened in one way and answers in one form; what cannot be understood names its input."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from detector.errors import ConfigError, EndpointError, ModelError
from detector.redteam.conversation import Array
from detector.redteam.opened import OpenedModel, Opening, open_model
from detector.redteam.targets import Target, named
from tests.servers.model_server import serving

OWN = """
import numpy as np
def proba(X):
    p = 1 / (1 + np.exp(-X.sum(axis=1)))
    return np.column_stack([1 - p, p])
def score(X):
    return proba(X)[:, 1]
def column(X):
    return proba(X)[:, 1:]
def words(X):
    return np.where(X.sum(axis=1) > 0, "yes", "no")
def numbers(X):
    return [int(row.sum() > 0) * 2 for row in X]
def constant(X):
    return np.zeros(len(X), dtype=int)
def surprising(X):
    return ["maybe" if row[0] == 9 else "yes" if row.sum() > 0 else "no" for row in X]
def throws(X):
    if (X[:, 0] == 9).any():
        raise RuntimeError("nine")
    return proba(X)
def fewer(X):
    return proba(X)[:1]
def logits(X):
    return np.where(X[:, :1] == 9, 7.0, 0.5) * np.ones((len(X), 2))
def ragged(X):
    return [[0.5, 0.5, 0.0][: 3 if row[0] == 9 else 2] for row in X]
def spoils(X):
    X -= X.mean()
    return proba(X)
class Estimator:
    def predict_proba(self, X):
        return proba(X)
model = Estimator()
number = 3
def leaves(X):
    raise SystemExit(0)
def talks(X):
    print("asked")
    return proba(X)
def nested(X):
    return [[0.5, [0.5]], [0.5]] * len(X)
"""


@pytest.fixture(name="X")
def inputs() -> Array:
    return np.random.default_rng(0).normal(size=(12, 3))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module in the current folder."""
    (tmp_path / "ownmodel.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield "ownmodel"
    sys.modules.pop("ownmodel", None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


@pytest.fixture(scope="module")
def digits() -> Target:
    return named("digits")


@pytest.mark.parametrize("name", ["proba", "score", "column", "model"])
def test_functions_and_estimators_of_the_current_folder(own: str, X: Array, name: str) -> None:
    """A score is the probability of the second class."""
    opened = open_model(f"{own}:{name}", X)
    p = 1.0 / (1.0 + np.exp(-X.sum(axis=1)))
    np.testing.assert_allclose(opened.predict(X), np.column_stack([1.0 - p, p]))
    assert (opened.form, opened.local, opened.labels_only, opened.classes) == ("function", True, False, 2)


@pytest.mark.parametrize(("name", "classes"), [("words", 2), ("numbers", 3)])
def test_labels_become_certainties(own: str, X: Array, name: str, classes: int) -> None:
    """Names are sorted; numbers count from 0, whatever is seen of them."""
    opened = open_model(f"{own}:{name}", X)
    assert (opened.labels_only, opened.classes) == (True, classes)
    assert np.array_equal(opened.predict(X).argmax(axis=1), (X.sum(axis=1) > 0) * (classes - 1))
    assert set(opened.predict(X).ravel().tolist()) == {0.0, 1.0}


def test_how_many_classes_there_are_is_not_guessed(own: str, X: Array) -> None:
    """One label says nothing of the others."""
    with pytest.raises(ConfigError, match="--classes"):
        open_model(f"{own}:constant", X)
    assert open_model(f"{own}:constant", X, Opening(classes=4)).predict(X).shape == (12, 4)
    with pytest.raises(ConfigError, match="tells 2 classes, not 4"):
        open_model(f"{own}:proba", X, Opening(classes=4))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("throws", "failed at input 7: RuntimeError: nine"),
        ("logits", "answered input 7 with .*no probabilities"),
        ("surprising", "answered input 7 with the label 'maybe'; known are: no, yes"),
        ("ragged", r"answered input 7 in the shape \(3,\)"),
    ],
)
def test_what_cannot_be_understood_names_its_input(own: str, X: Array, name: str, said: str) -> None:
    """Among many inputs, the one that it was."""
    opened = open_model(f"{own}:{name}", X)
    asked = X.copy()
    asked[7, 0] = 9.0
    with pytest.raises(ModelError, match=said) as caught:
        opened.predict(asked)
    assert caught.value.row == 7


def test_models_that_answer_too_little_or_spoil_their_inputs(own: str, X: Array) -> None:
    """The number of answers is checked, and inputs stay as they are."""
    with pytest.raises(ModelError, match="asked about 12 inputs and gave 1 answers"):
        open_model(f"{own}:fewer", X).predict(X)
    before = X.copy()
    open_model(f"{own}:spoils", X).predict(X)
    assert np.array_equal(X, before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:model", "cannot import nowhere"),
        ("ownmodel:absent", "there is no 'absent'"),
        ("ownmodel:number", "neither a function"),
        ("forest", "there is no model 'forest'; models are: module:function"),
        ("http://example.org/v1/models/m:predict", "--i-own-this"),
        ("http://10.0.0.1/v1/models/m:predict", "--i-own-this"),
        ("absent.onnx", "no such file"),
    ],
)
def test_what_is_no_model_is_refused(own: str, X: Array, name: str, said: str) -> None:
    """Before anything is asked."""
    assert own
    with pytest.raises(ConfigError, match=said):
        open_model(name, X)
    with pytest.raises(ConfigError, match="--data"):
        open_model("ownmodel:proba")


def test_a_model_that_ends_the_program_fails(own: str, X: Array, tmp_path: Path) -> None:
    """With status 0 it would have passed every gate; so would a module or a pickle that does."""
    with pytest.raises(ModelError, match=r"failed at input 0: RuntimeError: it called sys.exit\(0\)"):
        open_model(f"{own}:leaves", X)
    (tmp_path / "leavesatonce.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="fails when it is imported: SystemExit"):
        open_model("leavesatonce:model", X)

    class Leaving:
        def __reduce__(self) -> tuple[object, tuple[int]]:
            return sys.exit, (0,)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Leaving()))
    with pytest.raises(ConfigError, match="cannot be loaded: SystemExit"):
        open_model(str(tmp_path / "model.pkl"), X, Opening(trust_pickle=True))


def test_what_a_model_prints_is_no_answer_of_ours(own: str, X: Array, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is JSON for scripts."""
    assert open_model(f"{own}:talks", X).predict(X).shape == (12, 2)
    said = capsys.readouterr()
    assert (said.out, "asked" in said.err) == ("", True)
    with pytest.raises(ModelError, match="of no table"):
        open_model(f"{own}:nested", X)


def test_a_fork_of_a_model_does_not_go_on(tmp_path: Path) -> None:
    """Two benches would write the same files."""
    code = (
        "import os, numpy as np\n"
        "def forks(X):\n    os.fork()\n    return np.full((len(X), 2), .5)\n"
        "if __name__ == '__main__':\n"
        "    from detector.redteam.opened import open_model\n"
        "    open_model('forking:forks', np.zeros((3, 2)))\n"
        "    print('went on', flush=True)\n"
    )
    (tmp_path / "forking.py").write_text(code, encoding="utf-8")
    folder = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "forking.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("went on") == 1


def test_this_machine_is_asked_without_a_proxy(digits: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the proxy, 127.0.0.1 would be itself."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(digits.predict) as served:
        _agrees(open_model(served.v1, digits.test), digits)


@pytest.mark.parametrize(
    "name",
    [
        "http://127.0.0.1@example.org/x",
        "http://example.org#@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http://localhost.example.org/",
        "http://[::ffff:93.184.216.34]/",
        "http://0.0.0.0:80/",
    ],
)
def test_no_address_passes_for_this_machine(X: Array, name: str) -> None:
    """However it is written."""
    with pytest.raises(ConfigError, match=r"not this machine|address"):
        open_model(name, X)


def test_a_named_model_brings_its_examples() -> None:
    """No sample is needed."""
    opened = open_model("tree:iris")
    assert opened.target is not None
    assert opened.predict(opened.target.test).shape == (len(opened.target.test), 3)


def _agrees(opened: OpenedModel, digits: Target) -> None:
    np.testing.assert_allclose(opened.predict(digits.test), digits.predict(digits.test), atol=1e-6)
    assert (opened.form, opened.local, opened.labels_only, opened.classes) == ("http", False, False, 10)


def test_servers_of_both_protocols_of_kserve(digits: Target) -> None:
    """V2 is asked in the name, type and shape that the server told; many inputs go into a request."""
    with serving(digits.predict) as served:
        for url in (served.v1, served.v2):
            _agrees(open_model(url, digits.test), digits)
        assert served.rows == 2 * (len(digits.test) + 2)
        assert len(served.requests) < 12
    with serving(digits.predict, labels=True) as served:
        opened = open_model(served.v2, digits.test, Opening(classes=10))
        assert opened.labels_only
        assert np.array_equal(opened.predict(digits.test).argmax(axis=1), digits.predict(digits.test).argmax(axis=1))
        with pytest.raises(ConfigError, match="--classes"):
            open_model(served.v2, digits.test)


def test_servers_in_the_style_of_openai(digits: Target) -> None:
    """Classification, and a language model whose token is the class."""
    with serving(digits.predict) as served:
        few = digits.test[:5]
        for path, opening in (("classify", Opening()), ("v1/chat/completions", Opening(classes=10, model="m"))):
            opened = open_model(f"{served.root}/{path}", few, opening)
            np.testing.assert_allclose(opened.predict(few), digits.predict(few), atol=2e-3)


def test_refusals_for_haste_slow_down_and_are_counted(digits: Target) -> None:
    """The answers come all the same."""
    with serving(digits.predict, too_many=3) as served:
        opened = open_model(served.v1, digits.test)
        _agrees(opened, digits)
    assert opened.traffic is not None
    assert (opened.traffic.too_many, opened.traffic.repeated) == (3, 3)
    assert opened.traffic.waited_s > 0.3


def test_a_server_that_refuses_an_input_or_never_answers(digits: Target) -> None:
    """The input is found among many; silence ends after the time that was given."""

    def picky(X: Array) -> Array:
        if (X < 0.0).any():
            raise ValueError("negative pixels")
        return digits.predict(X)

    asked = digits.test[:9].copy()
    asked[4, 0] = -1.0
    with serving(picky) as served:
        opened = open_model(served.v1, digits.test)
        with pytest.raises(EndpointError, match=r"400 Bad Request.*negative pixels") as caught:
            opened.predict(asked)
    assert caught.value.row == 4
    with (
        serving(digits.predict, until=threading.Event()) as silent,
        pytest.raises(EndpointError, match="cannot be reached: timed out"),
    ):
        open_model(silent.v1, digits.test, Opening(timeout=0.05, attempts=1))


def test_pickles_run_code_and_are_opened_only_where_trusted(tmp_path: Path, X: Array) -> None:
    """The message says what to do."""
    path = tmp_path / "model.pkl"
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(ConfigError, match="--trust-pickle"):
        open_model(str(path), X)
    opened = open_model(str(path), X, Opening(trust_pickle=True))
    np.testing.assert_allclose(opened.predict(X), model.predict_proba(X))
    path.write_bytes(b"no pickle")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_model(str(path), X, Opening(trust_pickle=True))


def softmax_onnx(path: Path, weights: Array, batch: int | str = "n") -> None:
    """Write a softmax regression without biases as an ONNX file."""
    dimension, classes = weights.shape
    nodes = [helper.make_node("MatMul", ["X", "W"], ["Z"]), helper.make_node("Softmax", ["Z"], ["P"], axis=1)]
    graph = helper.make_graph(
        nodes,
        "softmax",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [batch, dimension])],
        [helper.make_tensor_value_info("P", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weights.astype(np.float32), "W")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("batch", ["n", 1])
def test_onnx_files(tmp_path: Path, X: Array, batch: int | str) -> None:
    """Also those that take one input at a time."""
    weights = np.random.default_rng(1).normal(size=(3, 4))
    path = tmp_path / "model.onnx"
    softmax_onnx(path, weights, batch)
    opened = open_model(str(path), X)
    logits = np.exp(X @ weights)
    np.testing.assert_allclose(opened.predict(X), logits / logits.sum(axis=1, keepdims=True), atol=1e-5)
    assert (opened.form, opened.local, opened.classes) == ("onnx", True, 4)
    with pytest.raises(ModelError, match="failed at input 0"):
        opened.predict(X[:, :2])
    path.write_bytes(b"no onnx")
    with pytest.raises(ConfigError, match="is no ONNX model"):
        open_model(str(path), X)
