"""Deletes from a cluster only what an apply has created; data and its secrets are kept unless requested."""

from collections.abc import Callable, Iterator

import msgspec

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.namespace import contents, is_made_by_us, is_ours, of_others, owners
from valerix_cli.cluster.objects import WAVES, Object, Ref, labels, ref, wave_of
from valerix_cli.cluster.stores import is_data_store
from valerix_cli.cluster.target import Target

_CLAIM, _SECRET, _LEASE = "PersistentVolumeClaim", "Secret", "Lease"
_PART_OF = ("app.kubernetes.io/part-of", "valerix")


class Found(msgspec.Struct, frozen=True):
    """The objects to delete, services first; those to keep, with reasons; and the kinds that could not be listed."""

    gone: list[Object]
    kept: list[str]
    unknown: list[str]
    namespace: Object | None
    """The namespace, if it is deleted as well."""
    known_uids: frozenset[str]
    """The UIDs of all objects in the namespace."""

    @property
    def count(self) -> int:
        return len(self.gone) + (self.namespace is not None)


def find(api: Api, target: Target, *, volumes: bool) -> Found:
    """Find the objects that an apply has created, and with `volumes` the claims of its stateful sets and its secrets.

    The namespace is included only if an apply has created it and it contains nothing else.
    """
    there = contents(api, target.namespace)
    lease = [one for one in there.objects if is_ours(one) and one["kind"] == _LEASE]
    owned = [one for one in there.objects if is_ours(one) and one not in lease]
    owned.sort(key=lambda manifest: -WAVES.index(wave_of(manifest)))
    claims = list(_claims(there.objects))
    data = [*(one for one in owned if _is_data(one)), *claims, *(one for one in owned if one["kind"] == _SECRET)]
    precious = {ref(one) for one in data}
    rest = [one for one in owned if ref(one) not in precious]
    gone = [*rest, *data] if volumes else rest
    namespace = Ref("v1", "Namespace", None, target.namespace)
    live = api.get(namespace)
    others = of_others(there.objects, map(ref, [*owned, *claims, *lease]))
    kept = [] if volumes else [str(ref(one)) for one in data]
    why = _why_kept(live, others, there.unknown) if volumes else ""
    if live is not None and (why or not volumes):
        kept.append(f"{namespace}{f': {why}' if why else ''}")
    known_uids = frozenset(one["metadata"]["uid"] for one in there.objects)
    return Found(gone, kept, there.unknown, live if volumes and not why else None, known_uids)


def delete(api: Api, found: Found, check: Callable[[], None]) -> Found:
    """Delete the objects, each only if it is still the one found; `check` is called before each. Returns the deleted.

    The namespace is listed again before it is deleted: it is kept if it has new objects.
    """
    for one in found.gone:
        _delete(api, one, check)
    if found.namespace is None:
        return found
    there = contents(api, found.namespace["metadata"]["name"])
    if new := _new(there.objects, found.known_uids):
        why = f"{ref(found.namespace)}: {ref(new[0])} was put into it meanwhile"
        return msgspec.structs.replace(found, kept=[*found.kept, why], namespace=None)
    _delete(api, found.namespace, check)
    return found


def _delete(api: Api, one: Object, check: Callable[[], None]) -> None:
    check()
    api.delete(ref(one), uid=one["metadata"]["uid"])


def _new(manifests: list[Object], known_uids: frozenset[str]) -> list[Object]:
    """Return the objects created since, except those that controllers created for an existing object."""
    by_uid = {one["metadata"]["uid"]: one for one in manifests}

    def is_new(manifest: Object) -> bool:
        if manifest["metadata"]["uid"] in known_uids or is_ours(manifest):
            return False
        return all(uid not in known_uids and (uid not in by_uid or is_new(by_uid[uid])) for uid in owners(manifest))

    return [one for one in manifests if is_new(one)]


def _why_kept(live: Object | None, others: list[Object], unknown: list[str]) -> str:
    if not is_made_by_us(live):
        return "Valerix did not make it"
    if others:
        return f"{len(others)} objects of others are in it, as {ref(others[0])}"
    return f"what else is in it is not known: no right to list {', '.join(unknown)}" if unknown else ""


def _is_data(manifest: Object) -> bool:
    """True for claims and CloudNativePG's clusters, which delete their claims; a stateful set does not."""
    return manifest["kind"] == _CLAIM or (is_data_store(manifest) and manifest["kind"] != "StatefulSet")


def _claims(manifests: list[Object]) -> Iterator[Object]:
    """Yield the claims of our stateful sets: they have their labels, and no other owner."""
    for manifest in manifests:
        if manifest["kind"] == _CLAIM and not is_ours(manifest) and not manifest["metadata"].get("ownerReferences"):
            found = labels(manifest)
            if found.get(_PART_OF[0]) == _PART_OF[1]:
                yield manifest
