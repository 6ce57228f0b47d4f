"""Plans: steps as data. ``plan`` prints and ``apply`` runs the same list (I9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from regen.errors import ConfigError

MustEmbed: TypeAlias = Literal["always", "recommended", "not needed", "cannot tell"]
Action: TypeAlias = Literal[
    "update_metadata", "update_access", "place_documents", "replace_documents", "delete_documents", "create_generation",
    "copy_vectors", "derive_vectors", "embed_chunks", "backfill_payload", "build_index", "evaluate", "promote",
    "retire",
]  # fmt: skip
ACTIONS: Final[tuple[str, ...]] = get_args(Action)
PLAN_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One typed step: what, why, and what it costs. ``seconds`` is an estimate, the counts are exact.

    A document that several steps touch (edited, and in a generation that is built; partly copied and partly embedded)
    is counted in one of them: bringing it in step first, then embedding, then copying. So the steps add up to the
    documents that the plan touches. Chunks and texts are counted wherever they are written.
    """

    action: Action
    reason: str
    documents: int = 0
    chunks: int = 0
    texts_to_embed: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over all steps, see :class:`Step`: ``documents`` are those that the plan touches, each once."""

    documents: int = 0
    chunks: int = 0
    texts_to_embed: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to "must I re-embed?", its grounds, and what would cost less."""

    must_embed: MustEmbed
    path: str
    grounds: tuple[str, ...]
    cheaper: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What would restore consistency.

    ``catalog_revision`` is the change log's position and ``source_digest`` a digest over every change found in the
    source; ``apply`` compares both and refuses with StalePlan when either moved. ``amends`` says what ``apply`` changes
    of the live generation's recipe without any step: the query prefix, which no document knows of.
    """

    steps: tuple[Step, ...]
    from_generation: int | None
    to_generation: int
    catalog_revision: int
    source_digest: str
    recipe: str
    strategy: str = "in_place"
    allow_mass_delete: bool = False
    notes: tuple[str, ...] = field(default=())
    decision: Decision | None = None
    strategy_reason: str = ""
    amends: str | None = None

    @property
    def empty(self) -> bool:
        """Whether everything is in step."""
        return not self.steps and self.amends is None

    @property
    def totals(self) -> Totals:
        """The sums over all steps."""
        return Totals(**{item.name: sum(getattr(step, item.name) for step in self.steps) for item in fields(Totals)})

    def does_the_same_as(self, other: Plan) -> bool:
        """Whether two plans come to the same, whatever time they estimate."""
        mine, theirs = (
            (
                [replace(step, seconds=0.0) for step in plan.steps],
                plan.from_generation,
                plan.to_generation,
                plan.amends,
            )
            for plan in (self, other)
        )
        return mine == theirs

    def to_dict(self) -> dict[str, Any]:
        """The JSON of DESIGN.md section 9, complete enough to be read back by :meth:`from_dict`."""
        return {
            "version": PLAN_VERSION,
            "steps": [asdict(step) for step in self.steps],
            "totals": asdict(self.totals),
            "strategy": self.strategy,
            "strategy_reason": self.strategy_reason,
            "generation": {"from": self.from_generation, "to": self.to_generation},
            "catalog_revision": self.catalog_revision,
            "source_digest": self.source_digest,
            "recipe": self.recipe,
            "amends": self.amends,
            "allow_mass_delete": self.allow_mass_delete,
            "notes": list(self.notes),
            "decision": None if self.decision is None else asdict(self.decision),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read a plan back. Raises ConfigError when it is not one."""
        if data.get("version") != PLAN_VERSION:
            raise ConfigError(
                f"not a plan of version {PLAN_VERSION}: version is {data.get('version')!r}",
                hint="make a new one with `regen plan --out FILE`",
            )
        try:
            return cls(
                steps=tuple(Step(**step) for step in data["steps"]),
                from_generation=data["generation"]["from"],
                to_generation=data["generation"]["to"],
                catalog_revision=data["catalog_revision"],
                source_digest=data["source_digest"],
                recipe=data["recipe"],
                strategy=data["strategy"],
                allow_mass_delete=data["allow_mass_delete"],
                notes=tuple(data["notes"]),
                decision=_decision(data.get("decision")),
                strategy_reason=data.get("strategy_reason", ""),
                amends=data.get("amends"),
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"the plan is damaged: {error}", hint="make a new one with `regen plan --out FILE`"
            ) from None


def _decision(data: Mapping[str, Any] | None) -> Decision | None:
    if data is None:
        return None
    return Decision(data["must_embed"], data["path"], tuple(data["grounds"]), tuple(data["cheaper"]))
