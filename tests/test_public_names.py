"""The public names: few, all there, imported when used, each a class, a function or a text."""

import ast
import subprocess
import sys
from types import ModuleType

import pytest

import detector
from detector.distribution import install
from detector.offline import analysis

ABOUT = 11  # names: what somebody new has to look through


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)


def test_every_public_name_is_there() -> None:
    """Each name resolves, is no module, has a docstring of its own, and is offered for completion."""
    assert len(detector.__all__) == ABOUT
    for name in detector.__all__:
        found = getattr(detector, name)
        assert found.__doc__
        assert not isinstance(found, ModuleType)
        assert name in dir(detector)
    for name in analysis.__all__:
        assert getattr(analysis, name).__doc__
        assert name not in detector.__all__


def test_an_unknown_name_is_an_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="module 'detector' has no attribute 'reply'"):
        _ = detector.reply


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Nothing beside Python's own library and the names themselves, so that it takes no time."""
    done = _python("import sys; before = set(sys.modules); import detector; print(sorted(set(sys.modules) - before))")
    found = {name.partition(".")[0] for name in ast.literal_eval(done.stdout)} - sys.stdlib_module_names
    assert (found, done.stderr) == ({"detector"}, "")
    done = _python("import sys, detector; print([name for name in sys.modules if name.startswith('detector.engine')])")
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_names_are_imported_one_by_one() -> None:
    """The configuration needs neither the engine nor Kafka, and no name needs pandas before there is a frame."""
    done = _python(
        "import sys, detector; detector.Config(); print(sorted({'detector.engine', 'kafka', 'pandas'} & set(sys.modules)))"
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    names = ", ".join(detector.__all__)
    done = _python(f"import sys; sys.modules['pandas'] = None; from detector import {names}; print('kafka' in sys.modules)")
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_without_pandas_it_says_what_to_install() -> None:
    """The tables need it, and the sentence names the extra."""
    done = _python("import sys; sys.modules['pandas'] = None; from detector.offline import analysis")
    assert done.stderr.strip().endswith(f"tables need pandas, which is not installed: {install('notebooks')}")
