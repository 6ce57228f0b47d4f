"""Rerankers: one file each, named in ``regen.registry`` as strings only."""
