"""How far an administrator reaches, beyond what its tenant already hides.

Every caller with the scope `admin` reads its tenant's clients and keys. An admin changes them, an
operator every tenant's. Nobody gives what it does not hold, but an operator.
"""

from collections.abc import Collection

from auth.clients import Client
from auth.errors import NotPermitted
from auth.profile import rank, within
from config.scope import SCOPES, Allowed, Role, TenantScope

_NO_OBJECTS = Allowed(frozenset(), frozenset(), frozenset())


def check_role(caller: TenantScope, needed: Role) -> None:
    """Refuse a caller of a smaller role.

    Raises:
        NotPermitted: It is.
    """
    if rank(caller.role) < rank(needed):
        article = "an" if needed != "viewer" else "a"
        raise NotPermitted(f"this needs {article} {needed}; the caller's role is {caller.role}")


def check_may_change(caller: TenantScope, client: Client) -> None:
    """Refuse a caller who may not change this client, of a tenant that it sees.

    Raises:
        NotPermitted: It is no admin, or the client's role is above its own.
    """
    check_role(caller, "admin")
    check_role(caller, client.role)


def check_may_give(caller: TenantScope, after: Client, before: Client | None = None) -> None:
    """Refuse a caller who would give a client what it does not hold itself.

    `before` is what the client was; None: whatever it holds from now on is given to it, or to whom
    it is entrusted.

    Raises:
        NotPermitted: The role, a scope, an allow-list or the residency goes beyond the caller's.
    """
    check_role(caller, after.role)
    check_may_give_scopes(caller, after.scopes - (before.scopes if before else frozenset()))
    held = before.allowed if before else _NO_OBJECTS
    if caller.role != "operator" and not (
        within(after.allowed, held) or within(after.allowed, caller.allowed)
    ):
        raise NotPermitted("the caller is limited to some objects, and this would allow others")
    freed = after.residency == "any" and not (before and before.residency == "any")
    if freed and caller.local_only and caller.role != "operator":
        raise NotPermitted("the caller's prompts stay local, and this client's would not")


def check_may_give_scopes(caller: TenantScope, scopes: Collection[str]) -> None:
    """Refuse a caller who would give a scope that it does not hold itself.

    Raises:
        NotPermitted: It would.
    """
    missing = [scope for scope in SCOPES if scope in scopes and scope not in caller.scopes]
    if missing and caller.role != "operator":
        raise NotPermitted(f"the caller can't give what it does not hold: {', '.join(missing)}")
