"""Giving an image to the Docker engine, once. What the engine then runs is compared with what we gave it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent_pipeline.documents import strict
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import archive

if TYPE_CHECKING:
    import docker


def ensure(client: docker.DockerClient, image: Image) -> str:
    """Return the engine's id of the image, loading it when the engine does not have it.

    Engines that name images by their configuration use our identity; with others the layers and configuration are
    compared. Raises `SandboxError` when the engine refuses it or has something else under its name.
    """
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415 - 150 ms that only this engine needs

    try:
        found = _find(client, image, ImageNotFound)
        if found is None:
            client.api.load_image(archive.stream(image))  # type: ignore[no-untyped-call]
            found = _find(client, image, ImageNotFound)
    except (DockerException, OSError) as error:
        raise SandboxError(
            f"the Docker engine does not take the image {image.name}: {error}", hint="`docker info`; is its disk full?"
        ) from error
    if found is None:
        raise SandboxError(
            f"the Docker engine took the image {image.name} ({image.identity[:12]}) but does not have it now"
        )
    return found


def _find(client: docker.DockerClient, image: Image, missing: type[Exception]) -> str | None:
    config = (image.folder / "config.json").read_bytes()
    if strict.sha256(config) != image.identity:
        raise SandboxError(
            f"the configuration of the image {image.name} has been changed on disk: {image.folder}",
            hint="remove that directory and make or import the image again",
        )
    for name in (f"sha256:{image.identity}", f"{archive.REPOSITORY}:{image.identity}"):
        try:
            facts: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
        except missing:
            continue
        if not _same(facts, json.loads(config)):
            raise SandboxError(
                f"the Docker engine has another image under the name {name}",
                hint=f"`docker image rm {name}`, then try again",
            )
        return str(facts["Id"])
    return None


def _same(facts: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether the engine's image has our layers and runs as our configuration says."""
    theirs, ours = facts.get("Config") or {}, config["config"]
    unset = all(
        not theirs.get(key) for key in ("Entrypoint", "Cmd", "Volumes", "OnBuild", "ExposedPorts", "Healthcheck")
    )
    same = all(theirs.get(key) == ours[key] for key in ("Env", "User", "WorkingDir", "Labels"))
    return (facts.get("RootFS") or {}).get("Layers") == config["rootfs"]["diff_ids"] and same and unset
