"""The shared log of a repository, the event log of this machine, and which runs are going on here."""
