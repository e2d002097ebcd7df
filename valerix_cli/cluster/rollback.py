"""Rollback to a revision that was available: its pod template is applied again, by server-side apply.

This removes fields that later revisions have added. Schemas are not rolled back: migrations only add to them, so that
the previous version of a service works with a newer schema.
"""

from collections.abc import Sequence

import msgspec

from valerix_cli.cluster import ownership
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import evaluate
from valerix_cli.cluster.history import Kept, image, kept, services, was_available
from valerix_cli.cluster.model import RolledBack
from valerix_cli.cluster.objects import Object, Ref, ref
from valerix_cli.cluster.plan import explained
from valerix_cli.cluster.pods import revision
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ApiError
from valerix_cli.errors import DomainError
from valerix_cli.quoting import command

_HASH, _RESTARTED = "pod-template-hash", "kubectl.kubernetes.io/restartedAt"


class Return(msgspec.Struct, frozen=True):
    """A deployment, and the revision to roll back to."""

    deployment: Ref
    template: Object
    outcome: RolledBack


def find_returns(
    api: Api, target: Target, names: Sequence[str] = (), *, to_revision: int | None = None
) -> list[Return]:
    """Find the rollback of the named services, else of those that do not become ready, else of every service.

    The revision is `to_revision`, else the last earlier one that was available.
    Raises DomainError if there is none.
    """
    known = services(api, target, names)
    rollout_failed = [name for name, one in known.items() if evaluate(one).verdict != "ready"]
    found = api.each(lambda name: kept(api, known[name]), names or rollout_failed or known)
    if to_revision is not None:
        return [_to_revision(one, to_revision) for one in found]
    returns = [_return(one, back) for one in found if (back := next(filter(was_available, one.earlier), None))]
    if not returns:
        raise _nothing_to_go_back_to(target, found)
    return returns


def roll_back(api: Api, one: Return, *, force: bool = False) -> None:
    """Apply the pod template of the earlier revision to the deployment.

    Raises GuardError if another manager owns one of its fields, unless `force`.
    """
    live = api.get(one.deployment)
    if live is None:
        raise DomainError(f"{one.deployment} is gone.", "it was deleted meanwhile", "valerix cluster apply")
    desired = ownership.applied(live)
    desired["spec"] = {**desired.get("spec", {}), "template": one.template}
    try:
        api.apply(desired, force=force)
    except ApiError as error:
        raise explained(error, one.deployment, operation="rollback") from error


def _to_revision(one: Kept, number: int) -> Return:
    if found := next((earlier for earlier in one.earlier if revision(earlier) == number), None):
        return _return(one, found)
    name = one.deployment["metadata"]["name"]
    numbers = ", ".join(str(revision(earlier)) for earlier in one.earlier) or "none"
    raise DomainError(
        f"Service {name} has no revision {number}.",
        f"it runs revision {revision(one.deployment)}; kept before that: {numbers}",
        command("valerix cluster history", name),
    )


def _nothing_to_go_back_to(target: Target, found: Sequence[Kept]) -> DomainError:
    first = next((one for one in found if one.earlier), None)
    if first is None:
        return DomainError(
            f"There is no revision to roll back to in {target}.",
            "no service has an earlier revision that is kept",
            "valerix cluster history",
        )
    numbers = ", ".join(f"{revision(one)} ({image(one['spec']['template'])})" for one in first.earlier)
    name = first.deployment["metadata"]["name"]
    return DomainError(
        f"No earlier revision in {target} is known to have been available.",
        f"service {name} keeps {numbers}",
        command("valerix cluster rollback", name, to_revision=revision(first.earlier[0])),
    )


def _return(one: Kept, back: Object) -> Return:
    template: Object = msgspec.json.decode(msgspec.json.encode(back["spec"]["template"]))
    template["metadata"].pop("creationTimestamp", None)
    template["metadata"]["labels"].pop(_HASH, None)
    (template["metadata"].get("annotations") or {}).pop(_RESTARTED, None)
    outcome = RolledBack(
        one.deployment["metadata"]["name"],
        revision(one.deployment),
        revision(back),
        image(one.deployment["spec"]["template"]),
        image(template),
    )
    return Return(ref(one.deployment), template, outcome)
