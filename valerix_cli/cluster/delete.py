"""Takes out of a cluster what was put there; data and what opens it stay unless they are meant too."""

from collections.abc import Sequence

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import MANAGED_BY, MANAGER, WAVES, Object, Ref, ref, wave_of
from valerix_cli.cluster.plan import PRUNED
from valerix_cli.cluster.where import Target

_CLUSTER = ("postgresql.cnpg.io/v1", "Cluster")
_DATABASE = ("postgresql.cnpg.io/v1", "Database")


def find(api: Api, target: Target, *, volumes: bool) -> tuple[list[Ref], list[Ref]]:
    """What would be deleted, services first, and what would be kept."""
    ours = f"{MANAGED_BY}={MANAGER}"
    things: list[Object] = []
    for api_version, kind in [*PRUNED, _DATABASE, _CLUSTER]:
        things += api.find_all(api_version, kind, target.namespace, ours)
    things.sort(key=lambda thing: -WAVES.index(wave_of(thing)))
    precious = [
        *api.find_all("v1", "PersistentVolumeClaim", target.namespace),
        *api.find_all("v1", "Secret", target.namespace, ours),
    ]
    # CloudNativePG deletes the volumes of a cluster that is deleted
    data = [thing for thing in things if thing["kind"] in {"Cluster", "Database"}]
    rest = [thing for thing in things if thing not in data]
    kept = [] if volumes else [*map(ref, data), *map(ref, precious)]
    gone = [*map(ref, rest), *(map(ref, [*data, *precious]) if volumes else ())]
    namespace = Ref("v1", "Namespace", None, target.namespace)
    if api.get(namespace) is not None:
        (gone if volumes else kept).append(namespace)
    return gone, kept


def delete(api: Api, gone: Sequence[Ref]) -> None:
    for one in gone:
        api.delete(one)
