"""A certificate for a local server, made on the spot by the ``keytool`` that is part of every Java.

It signs itself, so it is at once the server's certificate and the authority that clients trust. No other program and no
Python package is needed.
"""

import subprocess
from pathlib import Path

from detector.errors import ServerError

KEYSTORE = "server.p12"
KEYSTORE_WORD = "changeit"  # Java's customary one: the file's permissions protect the key
CA_FILE = "ca.pem"

_TOOL = ("-m", "java.base/sun.security.tools.keytool.Main")
_STORE = ("-keystore", KEYSTORE, "-storetype", "PKCS12", "-storepass", KEYSTORE_WORD, "-alias", "server")
_CERTIFICATE = (
    *("-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650", "-dname", "CN=localhost"),
    *("-ext", "san=dns:localhost,ip:127.0.0.1", "-ext", "bc:c", "-ext", "ku:c=digitalSignature,keyCertSign"),
)


def make_certificate(java: str | Path, folder: Path) -> None:
    """Put a key with a certificate for localhost and 127.0.0.1 into `folder` (`KEYSTORE`), and what clients trust (`CA_FILE`).

    Ten years valid. What is there already is kept. Raises `ServerError` where Java cannot do it.
    """
    if (folder / CA_FILE).exists():
        return
    (folder / KEYSTORE).unlink(missing_ok=True)
    for command in (("-genkeypair", *_STORE, *_CERTIFICATE), ("-exportcert", "-rfc", *_STORE, "-file", CA_FILE)):
        made = subprocess.run([java, *_TOOL, *command], cwd=folder, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise ServerError(f"no certificate could be made by {java}: {made.stdout.strip()} {made.stderr.strip()}")
