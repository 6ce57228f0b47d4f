"""Groups of the facade's verbs: what ``regen.index.Index`` is put together from."""
