"""Which images a repository's runs may use: name to identity."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen

PATH = ".agent-pipeline/images.lock.json"
REQUIREMENTS = ".agent-pipeline/requirements.lock"


@frozen
class LockedImage:
    """`identity` is the SHA-256 of the image's configuration, which names the SHA-256 of its normalised layers.

    `packages` are the Debian packages that went in (name to version); `base` the identity it derives from, with
    `requirements`, the SHA-256 of the requirements lock that was installed on top. `architecture` is what it runs on,
    in OCI's words; `registry` says where the image can be had, `HOST/REPOSITORY@sha256:<digest of its manifest>`.
    """

    identity: str
    packages: dict[str, str]
    base: str | None = None
    requirements: str | None = None
    architecture: str = "amd64"
    registry: str | None = None


@frozen
class ImagesLock(Document):
    """All images by name."""

    STEM: ClassVar[str] = "images_lock"

    version: int
    images: dict[str, LockedImage]
