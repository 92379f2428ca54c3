"""Settings of the folders, buckets and hosts that knowledge bases may be synced with."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from config.buckets import BucketSettings
from config.outbound import AllowedHost, Network
from config.section import Section

EVERY_TENANT = "*"

PlaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("an absolute path is needed")
    return path


class Place(Section):
    """Something outside that documents are read from."""

    tenants: tuple[str, ...] = Field(min_length=1)
    """Whose knowledge bases may read it: tenant ids, or `"*"` for every tenant's."""

    def is_open_to(self, tenant: str) -> bool:
        """Tell whether a tenant may read from here."""
        return EVERY_TENANT in self.tenants or tenant in self.tenants


class FolderPlace(Place):
    """A folder of the machine that the job worker runs on."""

    path: Annotated[Path, AfterValidator(_absolute)]


class BucketPlace(Place, BucketSettings):
    """A bucket, and the credentials it is read with."""


class HostPlace(Place):
    """A web host."""

    host: AllowedHost
    """`docs.example.com`, `*.example.com`, `host:8443`; without a port its scheme's own."""


class SyncSettings(Section):
    """What may be read from outside, by whom, and within which bounds. Nothing by default."""

    folders: dict[PlaceName, FolderPlace] = Field(default={})
    buckets: dict[PlaceName, BucketPlace] = Field(default={})
    hosts: tuple[HostPlace, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    """Networks that are not public and where hosts may be all the same, such as `10.0.0.0/8`."""
    max_items: int = Field(default=100_000, ge=1)
    """Most documents of one source; with more its listing is not complete."""
    at_once: int = Field(default=4, ge=1, le=64)
    """How many documents of one source are fetched at a time."""
    listing_timeout_s: float = Field(default=600.0, gt=0)
    """Longest time a listing may take."""
    item_timeout_s: float = Field(default=120.0, gt=0)
    """Longest time one document may take to fetch."""
