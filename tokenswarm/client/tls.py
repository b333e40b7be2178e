"""TLS without a socket: ciphertext in and out of memory, so that reads keep their stamps."""

from __future__ import annotations

import ssl

_READ_BYTES = 64 * 1024


def tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    """The one context of a process: loading the certificates costs 25-54 ms of a blocked hub.

    verify: check the server's certificate and name. ca_file: trust these certificates instead of
    the system's. Raises ValueError if the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ValueError(f"CA file {ca_file!r}: {error.strerror or error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsSession:
    """The client's side of one TLS connection. Its methods raise ssl.SSLError."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.ended = False  # the peer said goodbye

    def shake(self) -> bool:
        """Go on with the handshake; True when it is done. Send `outgoing` either way."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def outgoing(self) -> bytes:
        """The ciphertext to send."""
        return self._outgoing.read()

    def encrypt(self, plain: bytearray) -> bytes:
        self._tls.write(plain)
        return self._outgoing.read()

    def receive(self, cipher: bytes) -> None:
        """What a read returned; b"" at the end of the connection."""
        if cipher:
            self._incoming.write(cipher)
        else:
            self._incoming.write_eof()

    def decrypt(self) -> bytes:
        """The plaintext of all whole records received."""
        plain: list[bytes] = []
        while not self.ended:
            try:
                part = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            self.ended = not part
            plain.append(part)
        return b"".join(plain)
