"""Back to what ran before: the pods' description of an earlier revision, as `kubectl rollout undo` has it.

Schemas are not gone back to. They only grow, so services of the version before work with the newer one.
"""

from collections.abc import Sequence

import msgspec

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import judge
from valerix_cli.cluster.model import RolledBack
from valerix_cli.cluster.objects import COMPONENT, Object, Ref, ref
from valerix_cli.cluster.pods import replica_sets, revision
from valerix_cli.cluster.where import Target
from valerix_cli.errors import DomainError

_SERVICES = f"app.kubernetes.io/part-of=valerix,{COMPONENT}=service"
_HASH = "pod-template-hash"


class Return(msgspec.Struct, frozen=True):
    """A deployment, and the revision that it would go back to."""

    deployment: Ref
    template: Object
    outcome: RolledBack


def find_returns(api: Api, target: Target, names: Sequence[str] = ()) -> list[Return]:
    """The way back for those that are named, else for those that do not come up, else for every service.

    Raises DomainError where there is none.
    """
    deployments = api.find_all("apps/v1", "Deployment", target.namespace, _SERVICES)
    known = {one["metadata"]["name"]: one for one in deployments}
    if unknown := [name for name in names if name not in known]:
        raise DomainError(
            f"There is no service {unknown[0]!r} in {target}.",
            f"there are {', '.join(known) or 'none'}",
            "valerix cluster status",
        )
    not_up = [name for name, one in known.items() if judge(one).verdict != "ready"]
    found = [_return(api, known[name]) for name in names or not_up or known]
    returns = [one for one in found if one is not None]
    if not returns:
        raise DomainError(
            f"There is nothing to go back to in {target}.",
            "each service has had one description only, or what came before is no longer kept",
            "valerix cluster status",
        )
    return returns


def go_back(api: Api, one: Return) -> None:
    """Have the deployment make pods by the earlier description."""
    patch = [{"op": "replace", "path": "/spec/template", "value": one.template}]
    api.patch(one.deployment, patch, "application/json-patch+json")


def _return(api: Api, deployment: Object) -> Return | None:
    current = revision(deployment)
    earlier = [one for one in replica_sets(api, deployment) if revision(one) < current]
    if not earlier:
        return None
    template: Object = msgspec.json.decode(msgspec.json.encode(earlier[0]["spec"]["template"]))
    template["metadata"]["labels"].pop(_HASH, None)
    outcome = RolledBack(
        deployment["metadata"]["name"],
        current,
        revision(earlier[0]),
        _image(deployment["spec"]["template"]),
        _image(template),
    )
    return Return(ref(deployment), template, outcome)


def _image(template: Object) -> str:
    return str(template["spec"]["containers"][0]["image"])
