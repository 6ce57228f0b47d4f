"""A model with the price that the configuration gives it."""

from __future__ import annotations

from dataclasses import replace

from regen.embedders.wrapping import EmbedderWrapper
from regen.ports import Embedder, ModelInfo


class PricedEmbedder(EmbedderWrapper):
    """Overrides ``info.price_per_million_tokens`` (US dollars): a price never decides what a vector is."""

    def __init__(self, inner: Embedder, price_per_million_tokens: float) -> None:
        super().__init__(inner)
        self._info = replace(inner.info, price_per_million_tokens=price_per_million_tokens)

    @property
    def info(self) -> ModelInfo:
        """What the wrapped model says of itself, but for the price."""
        return self._info
