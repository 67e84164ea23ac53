"""What goes into a base image: `sandbox_images/<name>/image.json`."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.frozen import frozen


@frozen
class ImageUser:
    """The account that untrusted code runs as; added to passwd and group, without a password."""

    name: str
    uid: int
    home: str


@frozen
class ImageRecipe(Document):
    """A base image, from Debian's packages of one suite.

    `remove` are paths that are left out, `compile` directories whose Python files are compiled ahead, `directories`
    empty directories, `files` maps a path in the image to a file beside the recipe.
    """

    STEM: ClassVar[str] = "image_recipe"

    version: int
    suite: str
    packages: tuple[str, ...]
    remove: tuple[str, ...]
    compile: tuple[str, ...]
    directories: tuple[str, ...]
    files: dict[str, str]
    user: ImageUser
    env: dict[str, str]
    workdir: str
