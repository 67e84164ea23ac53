"""The only room that touches Git.

Objects are read and written with pygit2, which runs no hook, filter or helper; the operator's remotes are reached with
GitPython; compare-and-swap and the second opinion on every tree come from the git command behind one wrapper, `git.py`.
No git command ever runs inside files that an agent wrote.
"""
