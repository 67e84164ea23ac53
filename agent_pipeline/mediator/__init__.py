"""The gate between the model and the sandbox.

Everything a model asks for passes here: what it may call, what its input must look like, where it may write, what it
may use up. What comes back passes here too: bounded, and without what looks like a secret. A refusal is an answer to
the model with its reason, never an exception that ends the run.
"""
