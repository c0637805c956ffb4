"""The public names: all there, imported when used, and `detector.replay` can be called however it was imported."""

import subprocess
import sys

import pytest

import detector
from detector.distribution import install


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)


def test_every_public_name_is_there() -> None:
    """Each name resolves, has a docstring of its own, and is offered for completion."""
    for name in detector.__all__:
        assert getattr(detector, name).__doc__
        assert name in dir(detector)


def test_an_unknown_name_is_an_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="module 'detector' has no attribute 'reply'"):
        _ = detector.reply


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Neither pandas nor numpy, nor the engine."""
    done = _python("import sys, detector; print(sorted({'pandas', 'numpy', 'pydantic', 'detector.engine'} & set(sys.modules)))")
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    "imports",
    [
        "import detector",
        "from detector.replay import replay as run; import detector",
        "from detector import replay; import detector; assert replay is detector.replay",
    ],
)
def test_replay_is_a_verb_and_a_module(imports: str) -> None:
    """Whatever was imported first, it can be called, and its functions can be imported from it."""
    code = f"{imports}; assert callable(detector.replay); from detector.replay import summarise; print('fine')"
    done = _python(code)
    assert done.stdout.strip() == "fine", done.stderr


def test_without_pandas_it_says_what_to_install() -> None:
    """The tables need it, and the sentence names the extra."""
    done = _python("import sys; sys.modules['pandas'] = None; import detector; detector.fit")
    assert done.stderr.strip().endswith(f"tables need pandas, which is not installed: {install('notebooks')}")
