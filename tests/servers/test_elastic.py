"""A real Elasticsearch that is started, stopped, killed and found again; and what is said where none can be had."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from elasticsearch import AuthenticationException, AuthorizationException, Elasticsearch

from detector.errors import ServerError
from tests.servers import elastic_program
from tests.servers.elastic import LocalElastic, User
from tests.servers.elastic_program import find_jdk, shared_folder
from tests.servers.elastic_settings import jvm_options, settings, users_file
from tests.servers.process import is_running


def test_settings_are_yaml_of_plain_values() -> None:
    """Ports, paths and switches stand as Elasticsearch reads them; extra settings win; security comes with users only."""
    plain = settings("/f", 1, 2, secure=False, extra={"path.logs": "/else"})
    assert 'path.data: "/f/data"\n' in plain
    assert 'path.logs: "/else"\n' in plain
    assert "http.port: 1\n" in plain
    assert "xpack.security.enabled: false\n" in plain
    assert "ssl" not in plain
    assert "xpack.security.http.ssl.enabled: true\n" in settings("/f", 1, 2, secure=True, extra={})


def test_users_have_no_password_in_their_file() -> None:
    """It holds a salted digest, another each time; a name that would break the file is refused."""
    one, other = (users_file({"ann": User("secret")}) for _ in range(2))
    assert "secret" not in one
    assert one != other
    assert one.startswith("ann:{PBKDF2}")
    with pytest.raises(ValueError, match="letters, digits"):
        users_file({"a:b": User("x")})


def test_options_that_write_into_the_program_are_left_out() -> None:
    """The others stay, comments too."""
    assert jvm_options("# heap\n-XX:HeapDumpPath=data\n-Dkept=1\n-XX:+UseG1GC\n") == "# heap\n-Dkept=1\n"


def test_without_a_jdk_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java that is put together from fewer modules, or too old, is named with what it lacks."""

    def java(name: str, version: str, modules: str) -> Path:
        program = tmp_path / name / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --list-modules ] && echo "{modules}" || echo \'openjdk version "{version}"\' >&2\n'
        )
        program.chmod(0o755)
        return program.parents[1]

    small, old = java("small", "25", "java.base@25"), java("old", "11.0.2", "jdk.incubator.vector@11")
    monkeypatch.setattr(elastic_program, "_JDKS", tmp_path / "none")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("ES_JAVA_HOME", str(small))
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match=r"small lacks the module jdk.incubator.vector; .*old is version 11.*apt-get install"):
        find_jdk()
    whole = java("whole", "17.0.1", "jdk.incubator.vector@17")
    monkeypatch.setenv("JAVA_HOME", str(whole))
    assert find_jdk() == whole


@pytest.mark.slow
@pytest.mark.broker
def test_what_was_indexed_survives_a_crash_and_users_are_asked_who_they_are(
    local_elastic: Callable[..., LocalElastic],
) -> None:
    """After a kill the document is there at the same address; logins and roles count; at the end nothing is left."""
    users = {"admin": User("right"), "ship": User("other", "shipper")}
    node = local_elastic(users=users)
    folder, first = node.folder, node.process_id
    assert first is not None

    def client(name: str, password: str) -> Elasticsearch:
        return Elasticsearch(node.url, basic_auth=(name, password), ca_certs=str(node.ca_file), request_timeout=60)

    with client("admin", "right") as admin:
        admin.index(index="kept", id="1", document={"a": 1})
    node.kill()
    assert not is_running(first, LocalElastic.mark(folder))
    address = node.url
    node.start()
    assert node.url == address
    with client("admin", "right") as admin:
        admin.cluster.health(index="kept", wait_for_status="yellow")
        assert admin.get(index="kept", id="1")["_source"] == {"a": 1}
    with client("admin", "wrong") as stranger, pytest.raises(AuthenticationException):
        stranger.cluster.health()
    with client("ship", "other") as shipper, pytest.raises(AuthorizationException):
        shipper.get(index="kept", id="1")
    with pytest.raises(ServerError, match="already"):
        LocalElastic(folder).start()
    last = node.process_id
    assert last is not None
    node.close()
    assert not is_running(last, LocalElastic.mark(folder))
    assert not folder.exists()


@pytest.fixture
def open_cache() -> Iterator[Path]:
    """Return a cache folder outside pytest's own, which is closed to others: as root, the server is another user's."""
    with tempfile.TemporaryDirectory(prefix="detector-cache-") as name:
        cache = Path(name)
        cache.chmod(0o755)
        (cache / "detector").mkdir(mode=0o755)
        yield cache


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.usefixtures("elastic_can_run")
def test_the_command_line_starts_one_that_stays(open_cache: Path) -> None:
    """Up, up again, status and down, each in a process of its own; the address is all that standard output gets."""
    (open_cache / "detector" / "programs").symlink_to(shared_folder("programs"))  # it need not be fetched again

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tests.servers.elastic", *words],
            env=os.environ | {"XDG_CACHE_HOME": str(open_cache)},
            capture_output=True,
            text=True,
            check=False,
        )

    with ExitStack() as after:
        after.callback(run, "down", "--delete")
        assert run("status").returncode == 1
        up = run("up")
        assert up.returncode == 0, up.stderr
        again = run("up")
        assert again.stdout == up.stdout
        assert "already" in again.stderr
        assert run("status").stdout == up.stdout
        with Elasticsearch(up.stdout.strip()) as client:
            assert client.cluster.health()["status"] == "green"
        assert run("down").returncode == 0
        assert run("status").returncode == 1
        assert (open_cache / "detector" / "elasticsearch" / "data").exists()
    assert not (open_cache / "detector" / "elasticsearch").exists()
