"""Compiled code is kept on disk, never outlives its source, and stays within its arrays."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from detector.engine import kernels
from detector.engine.kernels import cache_folder, compiling, entry, kernel
from detector.engine.memory.admission import evaluation_after

BEYOND = """
import numpy as np
from detector.engine.kernels import kernel

@kernel
def sixth(x):
    return x[5]

sixth(np.zeros(2))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that the package lies elsewhere, with sources that may be changed, and the cache too."""
    copy = tmp_path / "detector"
    for home in kernels._HOMES:
        shutil.copytree(Path(kernels.__file__).parent / home, copy / home, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kernels, "__file__", str(copy / "kernels.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return copy


def folder() -> Path | None:
    return cache_folder.__wrapped__()


@pytest.mark.parametrize(
    "source", ["memory/observe.py", "evidence/offset.py", "models/reference.py", "fitting/cooccurrence.py", "evidence/new.py"]
)
def test_any_change_of_a_source_changes_the_folder(package: Path, source: str) -> None:
    """Also of one whose kernels are only called by kernels of another file."""
    before = folder()
    assert before is not None
    assert folder() == before
    with (package / source).open("a") as file:
        file.write("\nCHANGED = 1\n")
    after = folder()
    assert after is not None
    assert after != before
    assert after.is_dir()


@pytest.mark.parametrize("constant", ["0.5", "'other'", "(1, 2)", "{'a', 'b'}", "lambda x: x + 1"])
def test_any_change_of_what_is_computed_changes_the_folder(package: Path, constant: str) -> None:
    """A number, a text, a function within a function."""
    source = package / "memory" / "new.py"
    found = set()
    for value in ("0.25", constant):
        source.write_text(f"def f(x):\n    return x in ({value},)\n")
        found.add(folder())
    assert len(found) == 2


def test_comments_and_docstrings_change_nothing(package: Path) -> None:
    """Whoever edits what a kernel says of itself does not compile the others again."""
    source = package / "memory" / "observe.py"
    before = folder()
    text = source.read_text()
    assert '"""' in text
    source.write_text("# a comment\n" + text.replace('"""', '"""Also: ', 1))
    assert folder() == before


def test_kernels_assert_nothing() -> None:
    """An assertion would be compiled in, and is no part of the digest."""
    for home in kernels._HOMES:
        for source in (Path(kernels.__file__).parent / home).glob("*.py"):
            assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source.read_text())))


def test_a_new_folder_begins_with_what_was_installed(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code that lies under the prefix, as in the image, is copied once; then the copy goes its own way."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "prefix" / "share"))
    installed = folder()
    assert installed is not None
    (installed / "memory").mkdir()
    (installed / "memory" / "kernel.nbc").write_bytes(b"code")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = folder()
    assert own is not None
    assert own != installed
    assert (own / "memory" / "kernel.nbc").read_bytes() == b"code"
    (own / "memory" / "kernel.nbc").write_bytes(b"other")
    again = folder()
    assert again == own
    assert (own / "memory" / "kernel.nbc").read_bytes() == b"other"
    assert [*own.parent.iterdir()] == [own]
    assert package.is_dir()


def test_what_is_compiled_is_told_by_name(tmp_path: Path) -> None:
    """Each kernel of ours is told when it is compiled, and not when its machine code is read."""
    code = (
        "from detector.engine.kernels import compiling\n"
        "import numpy as np\n"
        "from detector.engine.evidence.foreign import square_apart\n"
        "rows = np.ones((3, 4), np.float32)\n"
        "with compiling(print):\n"
        "    square_apart(rows[0], rows[1])\n"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(kernels.__file__).parents[2])}
    for said in (["square_apart"], []):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == said


PROGRAM = "from detector.engine.memory.admission import evaluation_after; print(evaluation_after(8))"


@pytest.mark.parametrize("content", [b"", b"\x80\x04garbage"], ids=["empty", "garbage"])
@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
def test_a_damaged_file_is_compiled_anew(tmp_path: Path, kind: str, content: bytes) -> None:
    """A crash or a bad disk leaves any file in any state; the next start compiles it again and keeps it."""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(kernels.__file__).parents[2])}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "16\n"
        damaged = [*tmp_path.rglob(kind)]
        assert all(file.read_bytes() != content for file in damaged)
        for file in damaged:
            file.write_bytes(content)
        assert damaged


def test_a_full_disk_keeps_nothing(tmp_path: Path) -> None:
    """Where files cannot grow, each process compiles for itself."""
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)); {PROGRAM}"
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(kernels.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-B", "-c", full], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "16\n"), done.stderr


def test_a_folder_that_cannot_be_looked_into_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is too long for the file system, for instance, costs every process its own compilation, no more."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/" + "x" * 300)
    assert folder() is None


def test_the_folder_lies_in_the_cache_of_the_user(package: Path, tmp_path: Path) -> None:
    """Under XDG_CACHE_HOME, nowhere near the sources."""
    found = folder()
    assert found is not None
    assert found.parent == tmp_path / "cache" / "detector"
    assert package not in found.parents


def test_without_a_place_to_write_kernels_still_compile(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only home costs every process its own compilation, no more."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert package.is_dir()
    assert folder() is None
    monkeypatch.setattr(kernels, "cache_folder", folder)

    @kernel
    def twice(x: float) -> float:
        return 2.0 * x

    assert twice(4.0) == 8.0


def test_kernels_divide_like_numpy_and_leave_the_setting_of_others() -> None:
    """Division by zero gives infinity; whoever else uses numba keeps their cache folder."""
    before = numba.config.CACHE_DIR

    @kernel
    def ratio(x: float, y: float) -> float:
        return x / y

    assert before == numba.config.CACHE_DIR
    assert ratio(1.0, 0.0) == np.inf
    assert np.isnan(ratio(0.0, 0.0))


def test_an_entry_is_the_kernel() -> None:
    """It computes the same for all arguments of the types that it was asked for, and compiles nothing more."""
    first = entry(evaluation_after, (8,))
    compiled: list[str] = []
    with compiling(compiled.append):
        assert [first(queries) for queries in (0, 31, 100)] == [8, 32, 110]
    assert compiled == []


def test_machine_code_is_taken_from_the_folder(tmp_path: Path) -> None:
    """A second process compiles nothing: the files in the folder stay as they are."""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(kernels.__file__).parents[2])}

    def run() -> dict[Path, int]:
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "16\n"
        return {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nb[ic]")}

    first = run()
    assert first
    assert run() == first


def test_the_time_of_a_source_is_no_part_of_it(tmp_path: Path) -> None:
    """A layer of an image keeps whole seconds only: the same source with another time is not compiled again."""
    source = tmp_path / "sixth.py"
    source.write_text(BEYOND.replace("zeros(2)", "zeros(6)"))
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    found = []
    for time_s in (1_700_000_000.25, 1_700_000_000.0):
        os.utime(source, (time_s, time_s))
        subprocess.run([sys.executable, source], env=environment, capture_output=True, text=True, check=True)
        found.append({file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.nb[ic]")})
    assert found[0]
    assert found[0] == found[1]


def test_a_kernel_that_reads_beyond_its_array_is_found(tmp_path: Path) -> None:
    """The check is there at all."""
    lost = tmp_path / "lost.py"
    lost.write_text(BEYOND)
    told = subprocess.run(
        [sys.executable, lost],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "IndexError" in told.stderr
