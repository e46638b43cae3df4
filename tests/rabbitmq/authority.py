"""A certificate authority of the tests' own, made with the ``openssl`` command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


class Authority:
    """Signs certificates.

    Args:
        directory: Where its files lie.
    """

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl command to make certificates with")
        self._directory = directory
        directory.mkdir(exist_ok=True)
        self.file = directory / "ca.pem"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                  "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True, timeout=30)

    def signed(self, name: str, address: str) -> tuple[Path, Path]:
        """The files of a certificate for ``address`` (``DNS:localhost``) and of its key."""
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={address}\n")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                  "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                  "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"

    def server(self, address: str = "IP:127.0.0.1", *, wants_certificate: bool = False) -> ssl.SSLContext:
        """What a server at ``address`` encrypts with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.file)
        context.load_cert_chain(*self.signed("server", address))
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
        return context
