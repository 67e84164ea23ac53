"""The tools of the contract, each acting through the sandbox alone."""
