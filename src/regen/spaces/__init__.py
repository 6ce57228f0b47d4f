"""Vector-space maths on numpy arrays: pure functions, no I/O."""
