"""Evidence for others: the chain, the package and its check, and time stamps."""

import datetime as dt
import hashlib
import json
import shutil
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.clock import HeldClock
from detector.config import load
from detector.errors import ConfigError, OutputError, OwnershipError
from detector.ownership.chain import Leaf, leaf_hash, links_of, merkle_root
from detector.ownership.check import check
from detector.ownership.package import Contents, export, link_line, sealed
from detector.ownership.stamp import stamped_at, too_late, write_request
from tests.ownership.served import MARKED_FROM, Served


@pytest.fixture
def package(served: Served, tmp_path: Path) -> Path:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").write_text("# found\n")
    decisions = tmp_path / "decisions.jsonl"
    about = ({"subject": {"type": "client", "id": "thief"}}, {"subject": {"type": "client", "id": "x"}})
    decisions.write_text("".join(json.dumps(one) + "\n" for one in about))
    out = tmp_path / "evidence.zip"
    contents = Contents(served.commitment, None, decisions, None, tmp_path / "report")
    made = export([str(served.log)], load(served.config), "m", "thief", contents, out, HeldClock(MARKED_FROM))
    assert (made.records, made.leaves, made.hours) == (400, 460, 1)
    assert made.digest == hashlib.sha256(out.read_bytes()).hexdigest()
    return out


def changed(package: Path, name: str, content: bytes | None) -> Path:
    """Return a package with another file in place of one."""
    out = package.with_name("changed.zip")
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        if content is not None:
            new.writestr(name, content)
    return out


def held(package: Path, name: str) -> bytes:
    with zipfile.ZipFile(package) as opened:
        return opened.read(name)


def test_a_whole_package_passes(package: Path) -> None:
    found = check(package)
    assert (found.client, found.model, found.records, found.leaves, found.stamped) == ("thief", "m", 400, 460, None)
    assert held(package, "decisions.jsonl").count(b"\n") == 1


def test_others_are_in_it_as_hashes_alone(package: Path) -> None:
    with zipfile.ZipFile(package) as opened:
        assert not any(b"small" in opened.read(name) for name in opened.namelist())


def test_the_first_bad_record_is_named(package: Path) -> None:
    lines = held(package, "log.jsonl").splitlines(keepends=True)
    entry = json.loads(lines[16])
    name = entry["event_id"]
    entry["output"]["label"] = 1 - min(entry["output"]["label"], 1)
    bad = [*lines[:16], json.dumps(entry).encode() + b"\n", *lines[17:]]
    with pytest.raises(OwnershipError, match=rf"record 17 \(event {name}\) is not the one in the chain"):
        check(changed(package, "log.jsonl", b"".join(bad)))
    with pytest.raises(OwnershipError, match="record 400 is missing"):
        check(changed(package, "log.jsonl", b"".join(lines[:-1])))
    with pytest.raises(OwnershipError, match=r"record 401 .* was added"):
        check(changed(package, "log.jsonl", b"".join([*lines, lines[0]])))
    swapped = [lines[1], lines[0], *lines[2:]]
    with pytest.raises(OwnershipError, match="record 1 "):
        check(changed(package, "log.jsonl", b"".join(swapped)))


def test_other_changes_are_named(package: Path, tmp_path: Path) -> None:
    leaves = held(package, "leaves.jsonl").replace(b'"hash": "', b'"hash": "00', 1)
    with pytest.raises(OwnershipError, match="record 1"):
        check(changed(package, "leaves.jsonl", leaves))
    last = held(package, "leaves.jsonl").splitlines(keepends=True)[:-1]
    with pytest.raises(OwnershipError, match=r"chain.jsonl: the hour 2026-05-04T10:00:00.000Z does not fit"):
        check(changed(package, "leaves.jsonl", b"".join(last)))
    with pytest.raises(OwnershipError, match=r"report/report.md: was changed"):
        check(changed(package, "report/report.md", b"# other\n"))
    with pytest.raises(OwnershipError, match=r"report/more.md: was added"):
        check(changed(package, "report/more.md", b"# other\n"))
    with pytest.raises(OwnershipError, match=r"decisions.jsonl: is missing"):
        check(changed(package, "decisions.jsonl", None))
    with pytest.raises(ConfigError, match="is no evidence package"):
        check(changed(package, "log.jsonl", None))
    (tmp_path / "no.zip").write_bytes(b"PK no")
    with pytest.raises(ConfigError, match="no evidence package"):
        check(tmp_path / "no.zip")


def test_a_chain_that_was_kept(package: Path, served: Served, tmp_path: Path) -> None:
    """The package goes on from it; one that was kept of other records does not fit."""
    config = load(served.config)
    kept = tmp_path / "chain.jsonl"
    assert sealed([str(served.log)], config, "m") == []  # the hour is not over
    kept.write_bytes(b"".join(map(link_line, sealed([str(served.log)], config, "m", whole=True))))
    assert check(package, chain=kept).last_link == json.loads(kept.read_bytes().splitlines()[-1])["chained"]
    kept.write_bytes(kept.read_bytes().replace(b'"count": 460', b'"count": 459'))
    with pytest.raises(OwnershipError, match="does not fit"):
        check(package, chain=kept)


def test_nothing_marked_is_nothing_to_export(served: Served, tmp_path: Path) -> None:
    config = load(served.config)
    with pytest.raises(OwnershipError, match="nothing was marked for this client"):
        export([str(served.log)], config, "m", "other", Contents(served.commitment), tmp_path / "e.zip")
    with pytest.raises(OutputError):
        export([str(served.log)], config, "m", "thief", Contents(served.commitment), tmp_path / "no" / "e.zip")


def test_the_root_is_that_of_the_standard() -> None:
    """Test vectors of implementations of RFC 6962."""
    leaves = [leaf_hash(bytes.fromhex(one)) for one in ("", "00", "10", "2021", "3031", "40414243")]
    assert leaves[0].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle_root(leaves[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle_root(leaves).hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=20), st.data())
def test_every_record_counts(records: list[tuple[int, bytes]], data: st.DataObject) -> None:
    leaves = [Leaf(hour, leaf_hash(record)) for hour, record in records]
    links = list(links_of(leaves))
    assert sum(link.records for link in links) == len(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    other = [*leaves[:at], Leaf(leaves[at].hour, leaf_hash(records[at][1] + b"x")), *leaves[at + 1 :]]
    assert list(links_of(other))[-1].chained != links[-1].chained


AUTHORITY = """
[tsa]
dir = .
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
default_policy = 1.2.3.4.1
digests = sha256, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
[ext]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A time-stamping authority of OpenSSL's."""
    if shutil.which("openssl") is None:
        pytest.skip("install openssl")
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "tsa.cnf").write_text(AUTHORITY)
    (folder / "serial").write_text("01\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 30 -subj /CN=root",
        "req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=tsa",
        "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -CAcreateserial -out tsa.pem -extfile tsa.cnf -extensions ext",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def stamp(authority: Path, request: Path) -> Path:
    out = request.with_suffix(".tsr")
    command = ["openssl", "ts", "-reply", "-queryfile", str(request), "-out", str(out), "-config", "tsa.cnf", "-section", "tsa"]
    subprocess.run(command, cwd=authority, check=True, capture_output=True)
    return out


def test_time_stamps(authority: Path, served: Served, tmp_path: Path) -> None:
    """A stamp of the commitment says when it was there; it holds for no other file, and under no other authority."""
    pytest.importorskip("rfc3161_client")
    file = tmp_path / "ownership.json"
    file.write_bytes(served.commitment.read_bytes())
    answer = stamp(authority, write_request(file))
    time = stamped_at(file.read_bytes(), answer, [authority / "root.pem"])
    assert abs(time - dt.datetime.now(dt.UTC)) < dt.timedelta(hours=1)
    with pytest.raises(OwnershipError, match="does not hold for this file"):
        stamped_at(file.read_bytes() + b" ", answer, [authority / "root.pem"])
    with pytest.raises(ConfigError, match="--tsa-root"):
        stamped_at(file.read_bytes(), answer, [])
    with pytest.raises(ConfigError, match="is no answer"):
        stamped_at(file.read_bytes(), file, [authority / "root.pem"])
    out = tmp_path / "evidence.zip"
    export([str(served.log)], load(served.config), "m", "thief", Contents(file, answer), out)
    found = check(out, [authority / "root.pem"])
    assert found.stamped == time
    assert "after the first marked answer" in str(found.unprovable)  # the log is of months ago
    assert check(out).stamped is None


def counterfeit(package: Path, manifest: dict[str, object], files: dict[str, bytes] | None = None) -> Path:
    """Return a package whose every hash fits, made by somebody who changed what it says."""
    out = package.with_name("counterfeit.zip")
    with zipfile.ZipFile(package) as old:
        held = {name: old.read(name) for name in old.namelist()} | (files or {})
    said = json.loads(held.pop("manifest.json")) | manifest
    said["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in held.items()}
    with zipfile.ZipFile(out, "w") as new:
        for name, content in {"manifest.json": json.dumps(said).encode(), **held}.items():
            new.writestr(name, content)
    return out


def test_a_counterfeit_package_is_refused(package: Path) -> None:
    """Its hashes fit, and yet it says of somebody what his records do not."""
    assert check(counterfeit(package, {})).records == 400
    with pytest.raises(OwnershipError, match=r"record 1 .*was told to 'thief' by 'm', and the package is about 'innocent'"):
        check(counterfeit(package, {"client": "innocent"}))
    with pytest.raises(OwnershipError, match="by 'm', and the package is about 'thief' and 'other'"):
        check(counterfeit(package, {"model": "other"}))
    with pytest.raises(OwnershipError, match="does not say whom"):
        check(counterfeit(package, {"client": ["thief"]}))
    with pytest.raises(ConfigError, match=r"commitment.json: is no commitment"):
        check(counterfeit(package, {}, {"commitment.json": b"{}"}))
    other = json.loads(held(package, "commitment.json")) | {"model": "other"}
    with pytest.raises(OwnershipError, match="is about the model 'other'"):
        check(counterfeit(package, {}, {"commitment.json": json.dumps(other).encode()}))
    with pytest.raises(ConfigError, match="format 2, this version reads 1"):
        check(changed(counterfeit(package, {"format": 2}), "leaves.jsonl", None))


def test_records_of_another_format_are_counted(package: Path) -> None:
    """Whom they were told to cannot be read from them."""
    lines = [json.dumps([line.decode()]).encode() for line in held(package, "log.jsonl").splitlines()]
    leaves = [json.loads(line) for line in held(package, "leaves.jsonl").splitlines()]
    for leaf in leaves:
        if leaf["record"] is not None:
            leaf["hash"] = leaf_hash(lines[leaf["record"] - 1]).hex()
    links = links_of(Leaf(MARKED_FROM // 3_600_000, bytes.fromhex(leaf["hash"])) for leaf in leaves)
    files = {
        "log.jsonl": b"\n".join(lines) + b"\n",
        "leaves.jsonl": b"".join(json.dumps(leaf).encode() + b"\n" for leaf in leaves),
        "chain.jsonl": b"".join(map(link_line, links)),
    }
    assert check(counterfeit(package, {}, files)).unread == 400


def test_packages_that_are_damaged_inside(package: Path, tmp_path: Path) -> None:
    """Whatever they are packed with; and what is no file at all."""
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        out = tmp_path / "packed.zip"
        with zipfile.ZipFile(package) as old, zipfile.ZipFile(out, "w", method) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        raw = bytearray(out.read_bytes())
        at = raw.find(b"log.jsonl") + 9
        raw[at + 12 : at + 60] = b"\xff" * 48
        out.write_bytes(raw)
        with pytest.raises((ConfigError, OwnershipError), match=r"packed.zip"):
            check(out)
    with pytest.raises(ConfigError, match="is no file"):
        check(Path("/dev/null"))


def test_records_may_hold_carriage_returns(served: Served, tmp_path: Path) -> None:
    """They are white space in JSON, and end no record."""
    log, out = tmp_path / "log.jsonl", tmp_path / "evidence.zip"
    log.write_bytes(served.log.read_bytes().replace(b'{"event_id"', b'{\r"event_id"'))
    export([str(log)], load(served.config), "m", "thief", Contents(served.commitment), out)
    assert check(out).records == 400


def test_an_empty_chain_compares_nothing(package: Path, tmp_path: Path) -> None:
    (tmp_path / "chain.jsonl").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds no hour"):
        check(package, chain=tmp_path / "chain.jsonl")


def test_a_stamp_that_came_too_late_proves_nothing() -> None:
    """To the second; a stamp of the same moment came first."""
    first = dt.datetime.fromtimestamp(MARKED_FROM / 1000, dt.UTC)
    assert too_late(first, MARKED_FROM) is None
    assert "after the first marked answer" in str(too_late(first + dt.timedelta(seconds=1), MARKED_FROM))


@given(st.integers(0, 70))
def test_the_tree_is_split_as_the_standard_says(count: int) -> None:
    """RFC 6962, section 2.1: at the largest power of two below the number of leaves."""

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) < 2:
            return leaves[0] if leaves else hashlib.sha256(b"").digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()

    leaves = [leaf_hash(bytes([at])) for at in range(count)]
    assert merkle_root(leaves) == root(leaves)


def test_a_large_package_is_not_held_in_memory(package: Path) -> None:
    """Neither a large file in it, nor many records; a record without an end is refused."""
    large = bytes(70 << 20)
    whole = counterfeit(package, {}, {"report/large.bin": large})
    tracemalloc.start()
    try:
        assert check(whole).records == 400
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(OwnershipError, match=r"log.jsonl: line 1 is longer than"):
        check(changed(package, "log.jsonl", large))
    with pytest.raises(OwnershipError, match=r"manifest.json: is larger than"):
        check(changed(package, "manifest.json", large))


def test_a_chain_of_other_hours(package: Path, tmp_path: Path) -> None:
    """Of more than the package has, or of fewer where it has to be whole."""
    line = held(package, "chain.jsonl")
    with pytest.raises(OwnershipError, match=r"chain.jsonl: has 2 hours, and the records of leaves.jsonl make 1"):
        check(changed(package, "chain.jsonl", line * 2))
    with pytest.raises(OwnershipError, match=r"chain.jsonl: has 0 hours"):
        check(changed(package, "chain.jsonl", b""))
    (tmp_path / "kept.jsonl").write_bytes(line)
    assert check(package, chain=tmp_path / "kept.jsonl").compared == 1
    with pytest.raises(ConfigError, match="cannot be read"):
        check(package, chain=tmp_path / "no such file")
