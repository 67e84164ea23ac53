"""The agent: a loop that shows a model its tools and carries out what it asks for, behind the gate.

The model's answers are hostile input. Nothing here holds a key of ours that signs, a ref or a path of the host; what
comes out is a transcript and a claim.
"""
