"""Signing keys. They belong to the platform: operators alone see and change them."""

from auth import rotation
from auth.admin.desk import Desk
from auth.admin.permissions import check_role
from auth.errors import UnknownObject
from auth.rotation import KeyInfo
from config.scope import TenantScope


async def list_signing_keys(desk: Desk, caller: TenantScope) -> list[KeyInfo]:
    """Return every signing key, the newest first.

    Raises:
        NotPermitted: The caller is no operator.
    """
    check_role(caller, "operator")
    return await rotation.list_signing_keys(desk.db)


async def rotate_signing_key(desk: Desk, caller: TenantScope, *, now: bool = False) -> KeyInfo:
    """Make the next key. It is published at once, and signs `auth.key_lead_s` later or `now`.

    Raises:
        NotPermitted: The caller is no operator.
        ConfigError: The keys there are were sealed with another secret key.
    """
    check_role(caller, "operator")
    kid = await rotation.rotate_signing_key(desk.db, desk.box, desk.settings, now=now)
    await desk.announcer.announce()
    found = await rotation.list_signing_keys(desk.db)
    return next(key for key in found if key.kid == kid)


async def remove_signing_key(desk: Desk, caller: TenantScope, kid: str) -> None:
    """Remove a key that can't be trusted any more; its tokens are dead at once.

    Raises:
        NotPermitted: The caller is no operator.
        UnknownObject: There is no such key.
        ConfigError: A new one is needed, and the others were sealed with another secret key.
    """
    check_role(caller, "operator")
    possible = kid.isascii() and kid.isprintable()
    if not (possible and await rotation.remove_signing_key(desk.db, desk.box, desk.settings, kid)):
        raise UnknownObject("signing key", kid)
    await desk.announcer.announce()
