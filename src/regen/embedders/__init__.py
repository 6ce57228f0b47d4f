"""Embedding models, one file per provider, and the wrappers that limit, retry, cache and account."""
