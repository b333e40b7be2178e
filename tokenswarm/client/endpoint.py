"""Where the turns go: the URL given with --host, split and checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_ACCEPTED = "accepted: http://HOST[:PORT][/PATH] or https://…, such as http://localhost:8000/v1"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
_VERSION = re.compile(r".*/v\d+[a-z0-9]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of the API. `base_path` stands before each call and mostly ends with the version
    ("/v1"); query: behind each call, with secrets perhaps."""

    scheme: str
    host: str
    port: int
    base_path: str
    query: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, base_path: str = "", query: str = "") -> Endpoint:
        """From the value of --host; "/v1" is added where the path names no version and no
        base_path (--base-path, "/" for none) stands for the whole of it.

        Raises ValueError that names the option, the value and what is accepted.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _refused(url, str(error)) from None
        if parts.username is not None or parts.password is not None:
            # The value is not repeated: it holds a secret.
            raise ValueError(f"--host: user name and password are not accepted; {_ACCEPTED}")
        if parts.scheme not in _DEFAULT_PORTS:
            raise _refused(url, "it does not begin with http:// or https://")
        if not _HOST.fullmatch(host):
            raise _refused(url, "it names no host" if not host else f"{host!r} is no host name")
        if parts.query or parts.fragment:
            raise _refused(url, "a query or fragment cannot be sent")
        path = parts.path.rstrip("/")
        if path.endswith(("/completions", "/messages")):
            raise _refused(url, "give the base of the API, not one of its calls")
        if not _PATH.fullmatch(path):
            raise _refused(url, f"path {path!r} holds characters a request line cannot carry")
        if base_path and not _PATH.fullmatch(base_path.rstrip("/")):
            raise ValueError(
                f"--base-path {base_path!r}: accepted is a path, such as /v1beta/openai"
            )
        if base_path and path:
            raise ValueError(
                f"--base-path {base_path!r} stands for the path of --host {url!r}; accepted: one"
            )
        if port == 0:
            raise _refused(url, "port 0 cannot be connected to")
        return cls(
            scheme=parts.scheme,
            host=host,
            port=port or _DEFAULT_PORTS[parts.scheme],
            base_path=base_path.rstrip("/") if base_path else _versioned(path),
            query=query,
        )

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """What the Host header says: host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def path(self, call: str) -> str:
        """The request path of an API call: "/chat/completions" -> "/v1/chat/completions"."""
        return self.base_path + call + (f"?{self.query}" if self.query else "")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.base_path}"


def _versioned(path: str) -> str:
    return path if _VERSION.fullmatch(path) else f"{path}/v1"


def _refused(url: str, reason: str) -> ValueError:
    return ValueError(f"--host {url!r}: {reason}; {_ACCEPTED}")
