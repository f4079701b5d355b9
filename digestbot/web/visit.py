"""One request as the rooms see it: read whole, within limits, before a room is entered."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

MOST_FIELDS = 2000  # of a form; a hundred topics with six fields each fit
FORM_BYTES = 256 * 1024
LIBRARY_BYTES = 4 * 1024 * 1024  # of a BibTeX or RIS file with its form


@dataclass(frozen=True, slots=True)
class Form:
    """What was posted. A field may occur several times; line ends and NUL are left to whoever reads it."""

    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a field, without space around it."""
        values = self.fields.get(name)
        return values[-1].strip() if values else default

    def texts(self, name: str) -> list[str]:
        return [value.strip() for value in self.fields.get(name, ()) if value.strip()]

    def lines(self, name: str) -> list[str]:
        """The lines of all values of a field, those that say something."""
        found = [line.strip() for value in self.fields.get(name, ()) for line in value.splitlines()]
        return [line for line in found if line]


@dataclass(frozen=True, slots=True)
class Visit:
    method: str  # HEAD counts as GET
    params: Mapping[str, str]  # of the path
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    form: Form
    network: str  # who asks, as limits count: an IPv4 address, or an IPv6 /64
    now: datetime

    @property
    def is_post(self) -> bool:
        return self.method == "POST"

    @property
    def wants_part(self) -> bool:
        """The page's script asks for the part that changed."""
        return self.headers.get("x-part") == "1"


async def read_form(request: Request) -> Form:
    """Raises HTTPException 400 for a body that is no form. Anything but a form counts as an empty one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        async for _ in request.stream():
            pass
        return Form()
    fields: dict[str, list[str]] = {}
    files: dict[str, bytes] = {}
    async with request.form(max_files=2, max_fields=MOST_FIELDS, max_part_size=FORM_BYTES) as posted:
        for name, value in posted.multi_items():
            if isinstance(value, UploadFile):
                files[name] = await value.read()
            else:
                fields.setdefault(name, []).append(value.replace("\x00", ""))
    return Form(fields, files)


def network_of(request: Request, trusted: Sequence[str]) -> str:
    """Who asks: the peer, or where that is a trusted proxy the last of X-Forwarded-For that is not one."""
    peer = request.client.host if request.client else ""
    hops = [hop.strip() for hop in request.headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    while hops and _is_trusted(peer, trusted):
        peer = hops.pop()
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_trusted(peer: str, trusted: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network, strict=False) for network in trusted)


def text_reply(text: str, media_type: str, *, filename: str = "") -> Response:
    """A text that is no page; with `filename` it is saved rather than shown."""
    headers = {"content-disposition": f'attachment; filename="{filename}"'} if filename else {}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=headers)
