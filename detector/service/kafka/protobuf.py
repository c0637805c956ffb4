"""Values of Protobuf -> plain values, by the text of their schema: what producers behind a schema registry write.

The text is compiled by protoc itself, which comes with grpcio-tools (extra ``protobuf``), in a process of its own: whatever a
schema does to it, the service goes on. Types of ``google/protobuf`` are known, other imports come from the registry.

A number, truth or choice without presence that is not there is 0, as proto3 has it; so declare as ``optional`` what may be
absent. Empty texts and lists are left out.
"""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from detector.errors import ServiceError
from detector.ingest.formats.event import UnusableError

__all__ = ["ProtobufSchema", "compiled"]

PATIENCE_S: Final = 20.0
MOST_VALUES: Final = 1_000_000
"""Of one record: two bytes may stand for a message, and a message for any number of zeros."""

_DEEPEST: Final = 16  # messages within messages, by their indexes
_LONGEST_NUMBER: Final = 5  # bytes of an index
_MAIN: Final = "__main__.proto"
_NAME: Final = re.compile(r"[A-Za-z0-9_\-]+(?:[./][A-Za-z0-9_\-]+)*")
_MISSING: Final = "needs protoc: install the extra `protobuf`, 'model-extraction-detector[protobuf]'"


def compiled(text: str, imports: Mapping[str, str]) -> "ProtobufSchema":
    """Compile a schema; `imports` are the texts of the files that it imports, by name.

    Raises `UnusableError` where it cannot be compiled, with what protoc says, and where protoc is not installed; `ServiceError`
    where this machine has no time or room for it, which may pass.
    """
    try:
        pool = import_module("google.protobuf.descriptor_pool").DescriptorPool()
        files = import_module("google.protobuf.descriptor_pb2").FileDescriptorSet.FromString(_described(text, imports))
        for file in files.file:  # those that are imported come first
            pool.Add(file)
        return ProtobufSchema(pool.FindFileByName(_MAIN))
    except ImportError:
        raise UnusableError("schema", _MISSING) from None
    except OSError as error:
        raise ServiceError(f"a schema of Protobuf cannot be compiled here: {error}") from error
    except (TypeError, ValueError, KeyError) as error:
        raise UnusableError("schema", f"its types do not fit together: {error}") from None


def _described(text: str, imports: Mapping[str, str]) -> bytes:
    """Return what protoc makes of a schema: a FileDescriptorSet in binary."""
    if find_spec("grpc_tools") is None:
        raise UnusableError("schema", _MISSING)
    with TemporaryDirectory(prefix="detector-") as folder:
        for name, content in {**imports, _MAIN: text}.items():
            if not _NAME.fullmatch(name):
                raise UnusableError("schema", f"it imports {name[:80]!r}, which is no name of a file")
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8", errors="replace")
        known = Path(str(import_module("grpc_tools").__file__)).parent / "_proto"
        out = Path(folder, "__out__")
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{known}", "--include_imports"]
        try:
            done = subprocess.run(  # noqa: S603  # our own interpreter, and arguments that we made
                [*command, f"--descriptor_set_out={out}", _MAIN],
                capture_output=True,
                check=False,
                timeout=PATIENCE_S,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except subprocess.TimeoutExpired:
            raise ServiceError(f"a schema of Protobuf was not compiled within {PATIENCE_S:.0f} s") from None
        if done.returncode != 0 or not out.exists():
            said = [line for line in done.stderr.decode(errors="replace").splitlines() if line and "warning" not in line]
            raise UnusableError("schema", f"protoc: {said[0][:120] if said else 'failed'}")
        return out.read_bytes()


class ProtobufSchema:
    """The messages of a compiled file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._class_of: Any = import_module("google.protobuf.message_factory").GetMessageClass
        self._indexed: dict[tuple[int, ...], Any] = {}

    def decode(self, value: bytes) -> Any:
        """Return the message in a value, which begins with the indexes of its type. Raises nothing but `UnusableError`."""
        indexes, start = _indexes(value)
        kind = self._indexed.get(indexes)
        if kind is None:
            kind = self._indexed[indexes] = self._class_of(self._message(indexes))
        try:
            return _Plain().message(kind.FromString(value[start:]))
        except UnusableError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever the bytes make of the schema
            raise UnusableError("schema", f"no {kind.DESCRIPTOR.name}: {error}"[:190]) from None

    def _message(self, indexes: Sequence[int]) -> Any:
        found: Any = None
        messages = list(self._file.message_types_by_name.values())
        for index in indexes:
            if not 0 <= index < len(messages):
                raise UnusableError("schema", f"the schema has no message {list(indexes)}")
            found = messages[index]
            # Maps have messages of their own, which stand in no text, and so are not counted by those who write the indexes.
            messages = [below for below in found.nested_types if not below.GetOptions().map_entry]
        return found


def _indexes(value: bytes) -> tuple[tuple[int, ...], int]:
    r"""Return the indexes at the beginning of a value and where they end; one zero byte is short for the first message.

    >>> _indexes(b"\0rest"), _indexes(b"\x04\x02\0rest")
    (((0,), 1), ((1, 0), 3))
    """
    count, at = _number(value, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= _DEEPEST:
        raise UnusableError("schema", f"{count} indexes of a message")
    indexes = []
    for _ in range(count):
        index, at = _number(value, at)
        indexes.append(index)
    return tuple(indexes), at


def _number(value: bytes, at: int) -> tuple[int, int]:
    """Return a number as zigzag of a varint, and where it ends."""
    found = 0
    for place, byte in enumerate(value[at : at + _LONGEST_NUMBER]):
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), at + place + 1
    raise UnusableError("schema", "the indexes of the message are cut off, or too long")


class _Plain:
    """Turns a message into what JSON has for it, with numbers as numbers, and stops where it gets too large."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def message(self, message: Any) -> Any:
        name = message.DESCRIPTOR.full_name
        if name in _KNOWN:
            return _KNOWN[name](message)
        return dict(self._fields(message))

    def _fields(self, message: Any) -> Iterator[tuple[str, Any]]:
        for field in message.DESCRIPTOR.fields:
            value = getattr(message, field.name)
            if field.is_repeated:
                if len(value):
                    yield field.name, self._several(field, value)
            elif message.HasField(field.name) if field.has_presence else value not in ("", b""):
                yield field.name, self._single(field, value)

    def _several(self, field: Any, values: Any) -> Any:
        within = field.message_type
        if within is not None and within.GetOptions().map_entry:
            of_values = within.fields_by_name["value"]
            return {_key(key): self._single(of_values, values[key]) for key in values}
        return [self._single(field, value) for value in values]

    def _single(self, field: Any, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise UnusableError("oversized", f"more than {MOST_VALUES} values")
        if field.message_type is not None:
            return self.message(value)
        if field.enum_type is not None:
            known = field.enum_type.values_by_number.get(value)
            return value if known is None else known.name
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _as_json(message: Any) -> Any:
    return import_module("google.protobuf.json_format").MessageToDict(message)


def _value(message: Any) -> Any:
    return base64.b64encode(message.value).decode() if isinstance(message.value, bytes) else message.value


_KNOWN: Final = {
    f"google.protobuf.{name}": told
    for told, names in (
        (_as_json, "Timestamp Struct Value ListValue FieldMask"),
        (lambda message: message.seconds + message.nanos / 1e9, "Duration"),
        (
            _value,
            "DoubleValue FloatValue Int64Value UInt64Value Int32Value UInt32Value BoolValue StringValue BytesValue",
        ),
    )
    for name in names.split()
}
