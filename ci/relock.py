"""Writes `sandbox_images/images.lock.json` from what the recipes make now; for who maintains the images.

`python ci/relock.py` keeps the locked versions where the mirror still has them; `--newest` does not ask for them.
"""

from __future__ import annotations

import sys

from agent_pipeline import config as configuration
from agent_pipeline.documents.images_lock import ImagesLock
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.sandbox.images import build, locks


def main() -> None:
    """Build every image and write down what it became."""
    folder = data_folder("sandbox_images")
    newest = "--newest" in sys.argv[1:]
    images = {}
    for path in sorted(folder.glob("*/image.json")):
        name = path.parent.name
        before = locks.shipped(name)
        images[name] = build.build(configuration.load(), name, print, relock=True, newest=newest)
        for line in locks.differences(before.packages if before else {}, images[name].packages):
            print(f"  {line}")
    locks.write(folder / locks.FILE, ImagesLock(1, images))
    print(f"wrote {folder / locks.FILE}")


if __name__ == "__main__":
    main()
