"""Annotations for upgrades by kubectl, Argo CD and Flux; tests/cluster applies them to a real API server."""

from typing import Any

import pytest

from tests.unit.manifests.rendered import (
    COMPONENTS,
    EVERYWHERE,
    OVERLAYS,
    of_kind,
    one,
    overlay,
    rendered,
    with_component,
)
from valerix_cli.cluster.objects import WAVES, Object, pod_templates, wave_of
from valerix_cli.cluster.overlays import MANIFESTS, render

WAVE = "argocd.argoproj.io/sync-wave"
UNANNOTATED = {"local"}
"""Overlays that are not synced."""


def annotations(thing: Object) -> dict[str, str]:
    return dict(thing["metadata"].get("annotations") or {})


def migration(things: list[Object]) -> Any:
    [found] = of_kind(things, "Job")
    return found


def test_a_migration_job_is_named_after_its_image() -> None:
    images = ("registry.example.com/valerix:0.2.0", "localhost:5000/valerix:0.2.0", f"valerix@sha256:{'0' * 64}")
    names = set()
    for image in images:
        job = migration(render(MANIFESTS / "overlays" / "local", image=image))
        assert job["spec"]["template"]["spec"]["containers"][0]["image"] == image
        names.add(job["metadata"]["name"])
        assert len(job["metadata"]["name"]) <= 63, "its pods' label has the name"
    assert len(names) == len(images)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_migration_job_reads_only_settings_that_are_part_of_its_name(where: str) -> None:
    job = migration(rendered(where))
    spec = job["spec"]["template"]["spec"]
    sources = [
        variable["valueFrom"] for one_ in _containers(spec) for variable in one_["env"] if "valueFrom" in variable
    ]
    read = {source["configMapKeyRef"]["name"] for source in sources if "configMapKeyRef" in source}
    assert read == {job["metadata"]["name"]}
    assert not any("envFrom" in one_ for one_ in _containers(spec))
    described = one(rendered(where), "ConfigMap", job["metadata"]["name"])["data"]
    assert {one_["image"] for one_ in _containers(spec)} == {described["image"]}


def _containers(spec: Any) -> list[Any]:
    return [*spec["initContainers"], *spec["containers"]]


@pytest.mark.parametrize("where", [name for name in OVERLAYS if name not in UNANNOTATED])
def test_argo_cd_has_the_waves_of_the_command_line(where: str) -> None:
    for thing in overlay(where):
        wave = wave_of(thing)
        found = annotations(thing).get(WAVE)
        if wave in {"namespace", "configuration"} and thing["kind"] != "PersistentVolumeClaim":
            assert found is None, thing["metadata"]["name"]
        if wave in {"data stores", "migrations"} or thing["kind"] in {"Deployment", "CronJob", "Ingress", "Gateway"}:
            assert found == str(WAVES.index(wave) - 1), thing["metadata"]["name"]


@pytest.mark.parametrize("where", [name for name in OVERLAYS if name not in UNANNOTATED])
def test_a_claim_is_in_the_wave_of_its_pod(where: str) -> None:
    """Argo CD waits until a claim is bound, and many storage classes bind it only to a pod."""
    things = overlay(where)
    for thing in things:
        for template in pod_templates(thing):
            claims = [volume.get("persistentVolumeClaim") for volume in template["spec"].get("volumes") or ()]
            for claim in filter(None, claims):
                mounted = one(things, "PersistentVolumeClaim", claim["claimName"])
                assert annotations(mounted)[WAVE] == annotations(thing)[WAVE], claim


@pytest.mark.parametrize("where", [name for name in OVERLAYS if name not in UNANNOTATED])
def test_a_migration_is_an_argo_cd_hook_and_replaced_by_flux(where: str) -> None:
    assert annotations(migration(overlay(where))) == {
        WAVE: "2",
        "argocd.argoproj.io/hook": "Sync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
        "kustomize.toolkit.fluxcd.io/force": "Enabled",
    }


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_finished_migration_is_deleted_automatically(name: str) -> None:
    assert migration(with_component(name))["spec"]["ttlSecondsAfterFinished"] > 24 * 3600, (
        "its log can be read for a day"
    )
