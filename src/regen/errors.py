"""Every error that regen raises on purpose.

    RegenError                        (retryable: bool, hint: str | None)
    ├── ConfigError                   regen.yaml or an argument is wrong
    │   └── MissingExtra              an optional library is not installed
    ├── SourceError                   the source cannot be read as a whole
    │   ├── DuplicateDocument         one scan delivered an id twice
    │   └── MassDelete                the source lost more documents than is plausible
    ├── DocumentError                 one document cannot be processed: it becomes a dead letter
    ├── EmbedderError                 the embedding model failed
    │   ├── RateLimited               the provider asks to wait (retryable)
    │   ├── TextRejected              the provider refuses these texts: bisected to the bad one
    │   ├── EmbedderContract          wrong count, wrong shape, wrong type: nothing can be trusted
    │   └── BudgetExceeded            the next call would pass the budget
    ├── StoreError                    the vector store failed
    │   ├── CollectionMissing         the collection is not there (any more)
    │   └── StoreUnreachable          its server does not answer, or the connection was lost (retryable)
    ├── SpaceMismatch                 two vectors of different spaces were about to be compared (I1)
    ├── MapRefused                    a map between two spaces cannot be fitted or read
    ├── CatalogError                  the catalog failed
    │   ├── CatalogBusy               another process holds the writer lease (retryable)
    │   ├── CatalogUnreachable        its server does not answer, or the connection was lost (retryable)
    │   ├── LeaseLost                 our lease was taken over: nothing was committed
    │   └── SchemaMismatch            the catalog is of another schema version
    ├── ForeignVectors                a collection's vectors are not of the model that it is said to be of
    ├── AliasMoved                    somebody else switched the alias first (I7); look, then decide again
    ├── NotPromotable                 the generation is not in a state for that
    │   └── GateNotMet                what was measured does not allow the promotion
    ├── EvaluationError               a judged collection, a measure or a gate cannot be used as it is
    ├── JudgeError                    a judge or a writer failed, or is not calibrated
    ├── RerankerError                 a reranker failed, or answered nonsense: the store's order stands
    ├── ModelChanged                  the model behind a name gives other vectors than it gave (I10)
    ├── StalePlan                     the world moved on since the plan was made (I9)
    └── NotFound                      no such document, revision or generation

A message says what was found and what is valid; ``hint`` says what to do. ``retryable`` tells whether
the same call may succeed later without anything being changed by hand.
"""

from __future__ import annotations

from typing import ClassVar


class RegenError(Exception):
    """The root of all errors that regen raises on purpose."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class ConfigError(RegenError):
    """regen.yaml or an argument is wrong."""


class MissingExtra(ConfigError):
    """An optional library is not installed; the hint is the command that installs it."""


class SourceError(RegenError):
    """The source cannot be read as a whole. Nothing that is indexed is touched."""


class DuplicateDocument(SourceError):
    """One scan of a source delivered the same document id twice."""


class MassDelete(SourceError):
    """A full source suddenly lacks more documents than is plausible."""


class DocumentError(RegenError):
    """One document cannot be processed. It becomes a dead letter; the others go on."""


class EmbedderError(RegenError):
    """The embedding model failed."""


class RateLimited(EmbedderError):
    """The provider asks to wait. ``retry_after`` is in seconds, None when it did not say."""

    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TextRejected(EmbedderError):
    """The provider refuses at least one of the texts of a call; the call is bisected to find it."""


class EmbedderContract(EmbedderError):
    """The embedder returned a wrong count, shape or type: none of its answers can be trusted."""


class BudgetExceeded(EmbedderError):
    """The next call would pass the budget. It was not made; all that was paid for is kept."""


class StoreError(RegenError):
    """The vector store failed."""


class CollectionMissing(StoreError):
    """The collection is not in the store (any more)."""


class StoreUnreachable(StoreError):
    """The store's server does not answer, or the connection to it was lost."""

    retryable: ClassVar[bool] = True


class SpaceMismatch(RegenError):
    """Two vectors of different spaces were about to be compared (I1)."""


class MapRefused(RegenError):
    """A map between two spaces cannot be fitted on these pairs, or cannot be read."""


class CatalogError(RegenError):
    """The catalog failed."""


class CatalogBusy(CatalogError):
    """Another process holds the writer lease."""

    retryable: ClassVar[bool] = True


class CatalogUnreachable(CatalogError):
    """The catalog's server does not answer, or the connection to it was lost.

    ``unknown`` says that it was lost while a transaction was committed: whether that was is for the next run to see.
    """

    retryable: ClassVar[bool] = True
    unknown = False


class LeaseLost(CatalogError):
    """The lease was taken over by another owner; nothing was committed under the old one."""

    retryable: ClassVar[bool] = True


class SchemaMismatch(CatalogError):
    """The catalog was written by another version of regen."""


class ForeignVectors(RegenError):
    """A collection's vectors are not of the model that it is said to be of. Nothing was taken over."""


class AliasMoved(RegenError):
    """Somebody else switched the alias first (I7). Nothing was switched."""


class NotPromotable(RegenError):
    """The generation is not in a state for that: unfinished, live, retired."""


class GateNotMet(NotPromotable):
    """What was measured, or that nothing was measured, does not allow the promotion. Nothing was switched."""


class EvaluationError(RegenError):
    """A judged collection, a measure or a gate cannot be used as it is. Nothing was judged by it."""


class JudgeError(RegenError):
    """A judge or a writer failed, answered nonsense, or has not passed its calibration."""


class RerankerError(RegenError):
    """A reranker failed or answered nonsense. A search is then answered in the store's order, and says so (I10)."""


class ModelChanged(RegenError):
    """The model behind a name gives other vectors than when the generation was built (I10)."""


class StalePlan(RegenError):
    """The source or the catalog moved on since the plan was made (I9). Nothing was applied."""


class NotFound(RegenError):
    """No such document, revision or generation."""
