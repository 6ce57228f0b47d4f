"""Vector-space maths on numpy arrays: pure functions, no I/O. ``compare`` tells whether two models are compatible."""

from regen.spaces.compatibility import compare

__all__ = ["compare"]
