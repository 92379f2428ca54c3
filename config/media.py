"""Settings of images and audio that requests name by URL."""

from pydantic import Field

from config.outbound import AllowedHost, Network
from config.section import Section


class MediaSettings(Section):
    """What of a request's images and audio is accepted. Data URLs always are, within the bounds."""

    allowed_hosts: tuple[AllowedHost, ...] = ()
    """Hosts whose URLs are fetched: `images.example.com`, `*.example.com`, `host:8443`; without a
    port its scheme's own."""
    allowed_networks: tuple[Network, ...] = ()
    """Networks that are not public and may be reached all the same, such as `10.0.0.0/8`."""
    max_bytes: int = Field(default=10_000_000, ge=1_000)
    """Largest single medium, decoded; and all of a request's fetched ones together."""
    max_parts: int = Field(default=16, ge=0)
    """Most images, audio and files in one request."""
    fetch_timeout_s: float = Field(default=10.0, gt=0)
    """Longest time all of a request's URLs may take together."""
