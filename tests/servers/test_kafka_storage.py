"""What lies in a broker's folder."""

from pathlib import Path

import pytest

from detector.errors import ServerError
from tests.servers.kafka_storage import SETTINGS, format_storage, is_formatted, read_record, write_record, write_settings

PORTS = {"PLAINTEXT": 20001, "CONTROLLER": 20002}


def test_the_record_of_the_last_start_is_found_again(tmp_path: Path) -> None:
    """What was left is read; where nothing, or half a file, was left, there is none."""
    assert read_record(tmp_path) is None
    write_record(tmp_path, 7, PORTS, "127.0.0.1:20001")
    assert read_record(tmp_path) == {"process_id": 7, "bootstrap": "127.0.0.1:20001", "ports": PORTS}
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:9])
    assert read_record(tmp_path) is None


def test_passwords_are_for_the_owner_only(tmp_path: Path) -> None:
    """The settings hold them, so nobody else may read the file."""
    write_settings(tmp_path, PORTS, {"ann": "secret"}, {})
    assert "secret" in (tmp_path / SETTINGS).read_text()
    assert (tmp_path / SETTINGS).stat().st_mode & 0o077 == 0


def test_a_storage_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """Half a storage would be taken for one at the next start."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "half").touch()
    with pytest.raises(ServerError, match=r"could not be formatted:\n.*no such class"):
        format_storage(["sh", "-c", "echo no such class; exit 1"], tmp_path, {})
    assert not (tmp_path / "data").exists()
    assert not is_formatted(tmp_path)
