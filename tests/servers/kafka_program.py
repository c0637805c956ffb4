"""Kafka's classes, and the Java command that runs them."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.servers import jars
from tests.servers.java import find_java

VERSION = "4.3.1"
QUICK = "-XX:TieredStopAtLevel=1"  # halves the time of a start; code that runs for long comes out slower

_PROGRAM = f"Apache Kafka {VERSION} (44 MB)"
_PINS = Path(__file__).with_name(f"kafka-{VERSION}.jars")


def java_command(tell: Callable[[str], None]) -> list[str]:
    """Return the command that runs classes of Kafka; fetch them first where that was not done yet, and `tell` about it.

    Raises `ServerError` where Java or the jars cannot be had: what a start needs that another machine may lack.
    """
    java = str(find_java(17))
    classpath = os.pathsep.join(str(jar) for jar in jars.fetch(_PROGRAM, _PINS, tell))
    return [java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.io.tmpdir=tmp", "-cp", classpath]


def environment() -> dict[str, str]:
    """Return this process's environment, in which Java can name any file."""
    return os.environ | {"LC_ALL": "C.UTF-8"}
