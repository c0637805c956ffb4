"""The settings of a local Elasticsearch: ``elasticsearch.yml``, users, roles and Java's options.

With users, security is on: TLS, basic authentication, and the file realm, which needs no index and so works on the minimal
distribution. API keys do not work there.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers import tls

ROUNDS = 1000  # of PBKDF2: for tests, not against anybody
_OURS = ["logs-detector.*", "metrics-detector.*"]
ROLES: dict[str, dict[str, object]] = {
    "shipper": {"cluster": [], "indices": [{"names": _OURS, "privileges": ["create_doc", "auto_configure", "read"]}]},
    "installer": {
        "cluster": ["manage_index_templates"],
        "indices": [{"names": _OURS, "privileges": ["view_index_metadata"]}],
    },
    "nothing": {"cluster": [], "indices": []},
}
"""Roles by name: what shipping needs, what installing needs, and one that may do nothing."""

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_DROPPED = (
    "gc.log",
    "-Xlog:gc",
    "HeapDump",
    "ErrorFile",
    "UseG1GC",
)  # would write into the program's folder; we choose another

_SETTINGS: dict[str, object] = {
    "discovery.type": "single-node",
    "cluster.routing.allocation.disk.threshold_enabled": False,
    "path.data": "data",
    "path.logs": "logs",
    "network.host": "127.0.0.1",
}


@dataclass(frozen=True, slots=True)
class User:
    """One who may log in: the password, and a role of `ROLES` or one of Elasticsearch's own, such as ``superuser``."""

    password: str
    role: str = "superuser"


def settings(folder: str, http: int, transport: int, *, secure: bool, extra: Mapping[str, object]) -> str:
    """Return the text of ``elasticsearch.yml`` for a node in `folder` on two ports.

    >>> print(settings("/x", 9200, 9300, secure=False, extra={}).splitlines()[-1])
    xpack.security.enabled: false
    """
    merged = _SETTINGS | {"path.data": f"{folder}/data", "path.logs": f"{folder}/logs"}
    merged |= {"http.port": http, "transport.port": transport, "xpack.security.enabled": secure}
    if secure:
        merged |= {
            "xpack.security.http.ssl.enabled": True,
            "xpack.security.http.ssl.keystore.path": tls.KEYSTORE,
            "xpack.security.http.ssl.keystore.password": tls.KEYSTORE_WORD,
            "xpack.security.authc.realms.file.file1.order": 0,
        }
    merged |= dict(extra)
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in merged.items())  # JSON is YAML


def users_file(users: Mapping[str, User]) -> str:
    """Return the text of ``users``; raises `ValueError` for a name with other characters than letters, digits, ``_.-``."""
    for name in users:
        if not _NAME.fullmatch(name):
            raise ValueError(f"names of users of a local Elasticsearch hold letters, digits and _.- only, not {name!r}")
    return "".join(f"{name}:{_hashed(user.password)}\n" for name, user in users.items())


def users_roles_file(users: Mapping[str, User]) -> str:
    r"""Return the text of ``users_roles``.

    >>> users_roles_file({"ann": User("x"), "bob": User("y")})
    'superuser:ann,bob\n'
    """
    by_role: dict[str, list[str]] = {}
    for name, user in users.items():
        by_role.setdefault(user.role, []).append(name)
    return "".join(f"{role}:{','.join(names)}\n" for role, names in by_role.items())


def roles_file() -> str:
    """Return the text of ``roles.yml``."""
    return "".join(f"{name}: {json.dumps(role)}\n" for name, role in ROLES.items())


def jvm_options(original: str) -> str:
    """Return the program's own options of Java without those that would write into its folder."""
    return "".join(line for line in original.splitlines(keepends=True) if not any(word in line for word in _DROPPED))


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(32)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, 32)
    return f"{{PBKDF2}}{ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
