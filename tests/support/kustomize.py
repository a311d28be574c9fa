"""What `kubectl kustomize` makes of a folder, as far as docker/kubernetes/ uses kustomize; anything else is refused.

`make containers` compares it with kubectl itself.
"""

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
_KNOWN = {"apiVersion", "kind", "namespace", "resources", "labels", "images", "patches"}


def rendered(folder: Path) -> list[Manifest]:
    """Return the manifests of the kustomization in `folder`."""
    wanted: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert set(wanted) <= _KNOWN, f"{folder} uses {set(wanted) - _KNOWN}: teach it to this module"
    made = [manifest for name in wanted["resources"] for manifest in _resource(folder / name)]
    for patch in wanted.get("patches", []):
        _patch(made, patch)
    for manifest in made:
        metadata = manifest["metadata"]
        if "namespace" in wanted:
            metadata["namespace"] = wanted["namespace"]
        for label in wanted.get("labels", []):
            assert set(label) == {"pairs"}
            metadata.setdefault("labels", {}).update(label["pairs"])
        for container in containers(manifest):
            for image in wanted.get("images", []):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return made


def pod(manifest: Manifest) -> Manifest:
    """Return the pod that a Deployment or a Job makes; empty for other kinds."""
    return dict(manifest.get("spec", {}).get("template", {}).get("spec", {}))


def containers(manifest: Manifest) -> list[Manifest]:
    """Return the containers of its pod, the sidecars first."""
    found = pod(manifest)
    return [*found.get("initContainers", []), *found.get("containers", [])]


def _resource(path: Path) -> list[Manifest]:
    if path.is_dir():
        return rendered(path)
    return [manifest for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")) if manifest]


def _patch(made: list[Manifest], patch: Manifest) -> None:
    """Apply JSON patches that append to a list."""
    target = patch["target"]
    (manifest,) = (one for one in made if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"]))
    for step in yaml.safe_load(patch["patch"]):
        *way, last = step["path"].strip("/").split("/")
        assert (step["op"], last) == ("add", "-"), f"{step}: teach it to this module"
        place: Any = manifest
        for key in way:
            place = place[key]
        place.append(step["value"])
