"""`python -m agent_pipeline` is the command `agent-pipeline`."""

from agent_pipeline.cli import main

if __name__ == "__main__":
    main()
