"""A certificate authority for tests, by the openssl program."""

import subprocess
from pathlib import Path

_EXTENSIONS = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"


def make_certificates(folder: Path) -> Path:
    """Write private.key and public.crt for 127.0.0.1 into `folder`; returns the certificate of their CA, elsewhere."""
    authority = folder.parent / "authority"
    authority.mkdir()
    ca_key, ca_file, request, extensions = (authority / name for name in ("ca.key", "ca.crt", "request", "extensions"))
    extensions.write_text(_EXTENSIONS)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl("req", "-x509", *key, "-keyout", ca_key, "-out", ca_file, "-days", "2", "-subj", "/CN=Test CA",
             "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    _openssl("req", "-new", *key, "-keyout", folder / "private.key", "-out", request, "-subj", "/CN=127.0.0.1")
    _openssl("x509", "-req", "-in", request, "-CA", ca_file, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
             "-extfile", extensions, "-out", folder / "public.crt")  # fmt: skip
    return ca_file


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
