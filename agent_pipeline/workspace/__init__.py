"""The virtual copy: the permitted files of one tree in a directory without Git, and afterwards what changed in it.

It is an overlay where the host can mount one, else a full copy; either is made from Git's objects straight to files:
no checkout, so no filter, attribute or hook has a say. What an agent left there is read only when nothing of it lives
any more, by directory handles that never follow a link.
"""

from agent_pipeline.workspace.copy import Workspace, create, offered
from agent_pipeline.workspace.harvest import Harvest, harvest
from agent_pipeline.workspace.places import sweep

__all__ = ["Harvest", "Workspace", "create", "harvest", "offered", "sweep"]
