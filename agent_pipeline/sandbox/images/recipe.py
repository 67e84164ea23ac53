"""Reading `sandbox_images/<name>/`: the recipe and the files it copies in."""

from __future__ import annotations

from dataclasses import dataclass

from agent_pipeline.documents import strict
from agent_pipeline.documents.image_recipe import ImageRecipe
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.errors import UsageError


@dataclass(frozen=True, slots=True)
class Ingredients:
    """A recipe with the content of every file it copies in, by path in the image."""

    name: str
    recipe: ImageRecipe
    files: dict[str, bytes]

    def digest(self) -> str:
        """Return the SHA-256 of all of it: another digest, another image."""
        files = {path: strict.sha256(content) for path, content in self.files.items()}
        return strict.sha256(strict.canonical({"recipe": self.recipe.to_dict(), "files": files}))


def names() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return tuple(sorted(path.parent.name for path in data_folder("sandbox_images").glob("*/image.json")))


def load(name: str) -> Ingredients:
    """Read the recipe `name` and its files. Raises `UsageError` naming what is missing."""
    if name not in names():
        raise UsageError(f"there is no image recipe `{name}`", hint=f"there is: {', '.join(names()) or 'none'}")
    folder = data_folder("sandbox_images") / name
    recipe = ImageRecipe.from_json((folder / "image.json").read_bytes())
    files = {}
    for path, source in recipe.files.items():
        try:
            files[path] = (folder / source).read_bytes()
        except OSError as error:
            raise UsageError(
                f"the image recipe `{name}` copies in {folder / source}, which cannot be read: {error.strerror}",
                hint="the installation is incomplete: install it again",
            ) from error
    return Ingredients(name, recipe, files)
