"""The notebooks: stored without outputs, over the public names alone, and they run from the first cell to the last."""

import ast
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from typer.testing import CliRunner

import detector
from detector.cli import app
from detector.config import load
from detector.offline import analysis

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
OURS = {"detector"}
OTHERS = {"IPython", "matplotlib", "numpy", "pandas"}
STANDARD = set(sys.stdlib_module_names)
FOLDER = "detector-notebook"
PATIENCE = 900  # seconds for one cell; all of them take about twenty
LARGEST = 30_000

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def _code(path: Path) -> list[ast.Module]:
    return [ast.parse(cell.source) for cell in _read(path).cells if cell.cell_type == "code"]


def _run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=PATIENCE, startup_timeout=PATIENCE, kernel_name="python3", resources=resources).execute()


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, nbformat.NotebookNode]]]:
    """Run every notebook in a folder of its own; returns the folder and the notebook with its outputs, by name."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this environment, not one of the user's
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        for path in NOTEBOOKS:
            folder = tmp_path_factory.mktemp(path.stem)
            notebook = _read(path)
            _run(notebook, folder)
            found[path.stem] = (folder, notebook)
        yield found


def test_the_notebooks_are_there() -> None:
    """Tuning and investigating."""
    assert [path.stem for path in NOTEBOOKS] == ["investigate_alert", "tune_detectors"]


@each
def test_they_are_stored_without_outputs(path: Path) -> None:
    """So that a change shows what was changed, and no log of somebody's is published by accident."""
    notebook = _read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert path.stat().st_size < LARGEST


@each
def test_they_use_public_names_alone(path: Path) -> None:
    """Nothing else is imported from inside the package, and nothing with an underscore is touched."""
    public = {"detector": set(detector.__all__), "analysis": set(analysis.__all__)}
    used: dict[str, set[str]] = {module: set() for module in public}
    for cell in _code(path):
        for node in ast.walk(cell):
            if isinstance(node, ast.Import):
                assert all(alias.name.partition(".")[0] in OURS | OTHERS | STANDARD for alias in node.names)
                assert all(alias.name == "detector" for alias in node.names if alias.name.startswith("detector"))
            if isinstance(node, ast.ImportFrom):
                ours = [alias.name for alias in node.names] == ["analysis"] and node.module == "detector.offline"
                assert ours or str(node.module).partition(".")[0] in OTHERS | STANDARD
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")
                if isinstance(node.value, ast.Name) and node.value.id in public:
                    used[node.value.id].add(node.attr)
    assert {"fit_baseline", "replay"} <= used["detector"]
    assert "open_logs" in used["analysis"]
    for module, names in used.items():
        assert names <= public[module]


@each
def test_the_first_cell_of_code_is_the_one_to_change(path: Path) -> None:
    """It holds nothing but settings, the log and the format among them, and the first text says that it is the one."""
    cells = _read(path).cells
    assert "change the first cell of code, and no other" in cells[0].source
    settings = ast.parse(next(cell.source for cell in cells if cell.cell_type == "code")).body
    assert all(isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant) for line in settings)
    names = {line.targets[0].id: line.value.value for line in settings}
    assert {"LOG", "HISTORY", "FORMAT", "CONFIG"} <= names.keys()
    assert {name for name, value in names.items() if value is not None} == {"FORMAT"}


@each
def test_every_plot_names_its_axes(path: Path) -> None:
    """A cell that shows a figure labels both of its axes, or hides them."""
    shown = 0
    for cell in _code(path):
        called = {
            node.func.attr for node in ast.walk(cell) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        if "show" in called:
            shown += 1
            assert {"set_xlabel", "set_ylabel"} <= called or called & {"set_axis_off", "imshow"}
    assert shown >= 4


@pytest.mark.slow
@each
def test_they_run(executed: dict[str, tuple[Path, nbformat.NotebookNode]], path: Path) -> None:
    """From the first cell to the last, and every plot is there."""
    _, notebook = executed[path.stem]
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert cell.execution_count is not None
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert ("plt.show()" in cell.source) == ("image/png" in kinds)


def _as_apisix(line: bytes) -> bytes:
    """Return a native event as APISIX logs the call that it came from."""
    event = json.loads(line)
    answer = {"label": event["output"].get("label"), "probabilities": event["output"].get("probabilities")}
    entry = {
        "start_time": event["time"],
        "service_id": event["model"]["id"],
        "server": {"hostname": "gateway"},
        "consumer": {"username": event["client"]["id"]},
        "request": {
            "uri": "/predict",
            "headers": {"x-request-id": event["event_id"]},
            "body": json.dumps({"instances": [event["input"]["vector"]]}),
        },
        "response": {"status": 200, "body": json.dumps({"predictions": [answer]})},
    }
    return json.dumps(entry).encode()


@pytest.mark.slow
@each
def test_they_run_on_logs_of_another_format(
    executed: dict[str, tuple[Path, nbformat.NotebookNode]], path: Path, tmp_path: Path
) -> None:
    """With one cell changed: the logs of a gateway, compressed, whose format is recognised."""
    folder, simulated = executed[path.stem]
    with gzip.open(folder / FOLDER / "history.jsonl.gz") as history, gzip.open(tmp_path / "history.json.gz", "wb") as written:
        written.writelines(_as_apisix(line) + b"\n" for line in history)
    lines = (folder / FOLDER / "log.jsonl").read_bytes().splitlines()
    (tmp_path / "log.json").write_bytes(b"[" + b",".join(map(_as_apisix, lines)) + b"]")
    notebook = _read(path)
    own = next(cell for cell in notebook.cells if cell.cell_type == "code")
    own.source += '\nLOG, HISTORY = "log.json", "history.json.gz"\n'
    _run(notebook, tmp_path)
    said, expected = (
        next(
            output.text
            for cell in each.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "<Results: " in output.get("text", "")
        )
        for each in (notebook, simulated)
    )
    events_and_clients = expected.split(" clients, ")[0]
    assert said.startswith(f"{events_and_clients} clients, ")
    assert "0 alerts" not in said
    assert ", 0 invalid>" in said


@pytest.mark.slow
def test_what_was_tuned_is_loaded_by_the_service(executed: dict[str, tuple[Path, nbformat.NotebookNode]]) -> None:
    """The exported file is valid, names a baseline that is there, and a replay under it stops thieves and no innocents."""
    folder = executed["tune_detectors"][0] / FOLDER
    config = load(folder / "tuned.toml")
    assert config.baseline.path == folder / "baseline"
    assert CliRunner().invoke(app, ["config", "check", "-c", str(folder / "tuned.toml")]).exit_code == 0
    labels = analysis.read_labels(folder / "labels.csv")
    assert (len(labels), sum(labels.values())) == (23, 5)
    found = detector.replay(folder / "log.jsonl", config)
    stopped = set(found.reached().dropna(subset="perturb")["client"])
    assert len(stopped) >= 3
    assert all(labels[client] for client in stopped)


@pytest.mark.slow
def test_the_simulated_logs_are_always_the_same(executed: dict[str, tuple[Path, nbformat.NotebookNode]]) -> None:
    """Two runs wrote the same bytes, so what a text says of them stays true."""
    first, second = (executed[name][0] / FOLDER for name in ("tune_detectors", "investigate_alert"))
    for name in ("history.jsonl.gz", "log.jsonl", "labels.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
