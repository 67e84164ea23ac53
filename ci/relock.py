"""Writes `sandbox_images/images.lock.json` from what the recipes make now; for who maintains the images.

`python ci/relock.py` keeps the locked versions where the mirror still has them; `--newest` does not ask for them. The
frame agent is compiled again by each image's own Python first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agent_pipeline import config as configuration
from agent_pipeline import process
from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.sandbox import guard, layout
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images import build, locks, unpack
from agent_pipeline.sandbox.images.store import Store

SOURCE, COMPILER, COMPILED = "frame_agent.py", "compile_agent.py", "frame_agent.bytecode"


def main() -> None:
    """Build every image and write down what it became."""
    folder = data_folder("sandbox_images")
    newest = "--newest" in sys.argv[1:]
    config, images = configuration.load(), {}
    for path in sorted(folder.glob("*/image.json")):
        name = path.parent.name
        before = locks.shipped(name)
        made = build.build(config, name, print, relock=True, newest=newest)
        if compile_agent(config, name, made, path.parent):
            made = build.build(config, name, print, relock=True)
        images[name] = made
        for line in locks.differences(before.packages if before else {}, images[name].packages):
            print(f"  {line}")
    locks.write(folder / locks.FILE, ImagesLock(1, images))
    print(f"wrote {folder / locks.FILE}")


def compile_agent(config: Config, name: str, made: LockedImage, folder: Path) -> bool:
    """Write the agent's bytecode beside its source; return whether it is another than before."""
    image = Store(config).require(name, made)
    compiled = run(config, image, (folder / COMPILER).read_text(), (folder / SOURCE).read_bytes())
    file = folder / COMPILED
    if file.exists() and file.read_bytes() == compiled:
        return False
    file.write_bytes(compiled)
    print(f"image {name}: compiled the frame agent")
    return True


def run(config: Config, image: Image, program: str, stdin: bytes) -> bytes:
    """Run a Python program of ours in the image's files, and return what it prints."""
    walls = ["--unshare-all", "--unshare-user", "--cap-drop", "ALL", "--clearenv", "--ro-bind"]
    command = ["bwrap", *walls, str(unpack.rootfs(config, image)), "/", "--", layout.AGENT[0], "-c", program]
    limited = guard.limited(command, limits=(), drop=layout.is_root())
    done = process.run(limited, env=guard.environment(), stdin=stdin, timeout=60)
    if not done.ok:
        sys.exit(done.explain())
    return done.stdout


if __name__ == "__main__":
    main()
