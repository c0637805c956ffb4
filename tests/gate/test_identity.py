"""Whose request it is, and which model it asks for."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from detector.config import GateSection
from detector.errors import ConfigError
from detector.gate.identity import Identity, Member
from detector.gate.paths import model_finder, plain_path


def test_the_header_names_the_client() -> None:
    assert Identity(GateSection()).member(b" acme ") == Member("acme")
    assert Identity(GateSection()).member("é".encode()) == Member("é")
    assert Identity(GateSection()).member("é".encode("latin-1")) == Member("é")


def test_the_digest_of_a_credential_names_the_client() -> None:
    identity = Identity(GateSection(identity="sha256"))
    expected = Member(hashlib.sha256(b"key-1").hexdigest())
    assert identity.member(b"key-1") == identity.member(b"Bearer key-1") == identity.member(b"bearer  key-1") == expected
    assert identity.member(b"Bearer\tkey-1") == identity.member(b"BASIC \t key-1") == expected


def test_a_mapping_names_the_client_and_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    digest = hashlib.sha256(b"key-2").hexdigest()
    file.write_text(json.dumps({"key-1": "acme", f"SHA256:{digest}": {"client": "b", "organization": "o", "campaigns": ["c"]}}))
    identity = Identity(GateSection(identity="mapping", mapping_file=file))
    assert identity.member(b"Bearer key-1") == Member("acme")
    assert identity.member(b"key-2") == Member("b", "o", ("c",))
    assert identity.member(b"key-3") is None
    file.write_text(json.dumps({"key-3": "c"}))
    os.utime(file, ns=(1, 1))
    identity.refresh()
    assert identity.member(b"key-3") == Member("c")
    file.write_text("{")
    os.utime(file, ns=(2, 2))
    with pytest.raises(ConfigError, match="no JSON"):
        identity.refresh()
    assert identity.member(b"key-3") == Member("c")


@pytest.mark.parametrize("content", ["[]", '{"k": 1}', '{"k": {"client": ""}}', '{"": "c"}', '{"k": {"client": "c", "x": 1}}'])
def test_a_mapping_that_is_wrong_is_refused_without_showing_credentials(tmp_path: Path, content: str) -> None:
    file = tmp_path / "clients.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"clients\.json"):
        Identity(GateSection(identity="mapping", mapping_file=file))


def test_a_mapping_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Identity(GateSection(identity="mapping", mapping_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("uri", "model"),
    [
        ("/v1/models/fraud:predict", "fraud"),
        ("/v1/models/fr%61ud:predict?x=/v1/models/b", "fraud"),
        ("/v2/models/fraud/versions/3/infer", "fraud"),
        ("/v2/models/fraud/infer", "fraud"),
        ("/seldon/ns/name/v2/models/fraud/infer", "fraud"),
        ("https://host/v1/models/fraud", "fraud"),
        ("/v1/models/", None),
        ("/v1/models/" + "m" * 257, None),
        ("/predict", None),
        ("predict", None),
        ("", None),
    ],
)
def test_the_path_names_the_model(uri: str, model: str | None) -> None:
    path = plain_path(uri)
    assert (None if path is None else model_finder(None)(path)) == model


@pytest.mark.parametrize(
    "uri",
    [
        "/v1/models/a/../fraud:predict",
        "/v1//models/fraud",
        "/v1/models/fraud;x",
        "/a/%2e%2e/b",
        "/a/%252e",
        "/a\\b",
        "/a/..",
        "/v1/models/a" + "/b" * 2000,
    ],
)
def test_a_disguised_path_names_no_model(uri: str) -> None:
    assert plain_path(uri) is None


def test_a_pattern_finds_the_model() -> None:
    find = model_finder("^/predict/(?P<model>[^/]+)")
    assert find("/predict/fraud/x") == "fraud"
    assert find("/v1/models/fraud") is None
