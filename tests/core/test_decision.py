"""Must I re-embed? Every row of the table of answers, the grounds that are given, and what would be cheaper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.core.test_transition import FAMILY, OLD, changed

from regen.core.decision import Case, Evidence, Lift, Neighbours, cheaper, decide
from regen.core.recipe import Chunking, Recipe, TextTemplate
from regen.core.transition import Family, transition

OTHER = Family("other", "r1", (256,))
WORSE = Lift(3, 1, "support", "nDCG@10", -0.02, -0.05, -0.001, 300)
BETTER = replace(WORSE, delta=0.12, low=0.08, high=0.16)


def case(
    new: Recipe,
    *,
    family: Family = FAMILY,
    old: Recipe = OLD,
    old_family: Family | None = FAMILY,
    new_texts: int = 0,
    texts: int = 41_022,
    **evidence: Any,
) -> Case:
    """A change of recipe with what was measured of it."""
    path = transition(old, new, old_family=old_family, new_family=family)
    return Case(old, new, path, old_family, family, texts, new_texts, Evidence(**evidence))


FRESH = Family("m", "r2", (64, 256))
LARGER = Chunking("sentences", 128)
ANSWERS: dict[str, tuple[Case, str, str]] = {
    "nothing": (case(OLD), "not needed", "nothing"),
    "query prefix": (case(changed(query_prefix="")), "not needed", "query"),
    "metric": (case(changed(metric="dot")), "not needed", "copy"),
    "index": (case(changed(index={"kind": "hnsw"})), "not needed", "copy"),
    "fewer dimensions": (case(changed(model="m/128", dimensions=128)), "not needed", "derive"),
    "precision": (case(changed(precision="int8")), "not needed", "derive"),
    "declared the same": (
        case(changed(model="new"), family=replace(OTHER, same_as="m/256")), "not needed", "derive",
    ),
    "chunker, all texts held": (case(changed(chunking=LARGER)), "not needed", "rechunk"),
    "chunker, new texts": (case(changed(chunking=LARGER), new_texts=7), "recommended", "rechunk"),
    "chunker's version": (
        case(changed(chunking=Chunking("sentences", 64, 0, 99)), new_texts=7), "recommended", "rechunk",
    ),
    "template": (case(changed(text=TextTemplate("{title} {text}")), new_texts=7), "recommended", "rechunk"),
    "fewer dimensions, new texts": (
        case(changed(dimensions=128, chunking=LARGER), new_texts=7), "recommended", "derive",
    ),
    "chunker, measured better": (case(changed(chunking=LARGER), new_texts=7, lift=BETTER), "recommended", "rechunk"),
    "chunker, measured worse": (case(changed(chunking=LARGER), new_texts=7, lift=WORSE), "not needed", "rechunk"),
    "document prefix": (case(changed(document_prefix="")), "recommended", "embed"),
    "document prefix, worse": (case(changed(document_prefix=""), lift=WORSE), "not needed", "embed"),
    "document prefix, equal probes": (case(changed(document_prefix=""), new_probes=1.0), "recommended", "embed"),
    "raw lengths": (case(changed(normalize=False)), "recommended", "embed"),
    "higher precision": (case(OLD, old=changed(precision="int8")), "recommended", "embed"),
    "more dimensions": (case(changed(model="m/512", dimensions=512)), "always", "embed"),
    "another revision": (case(changed(revision="r2"), family=FRESH), "always", "embed"),
    "another model": (case(changed(model="other"), family=OTHER), "always", "embed"),
    "another model, measured worse": (case(changed(model="other"), family=OTHER, lift=WORSE), "always", "embed"),
    "another model, other probes": (case(changed(model="other"), family=OTHER, new_probes=0.3), "always", "embed"),
    "another model, equal probes": (
        case(changed(model="other"), family=OTHER, new_probes=0.999), "cannot tell", "embed",
    ),
    "another revision, equal probes": (
        case(changed(revision="r2"), family=FRESH, new_probes=1.0), "cannot tell", "embed",
    ),
    "old model gone": (case(changed(model="other"), family=OTHER, old_family=None), "cannot tell", "embed"),
    "old model gone, other probes": (
        case(changed(model="other"), family=OTHER, old_family=None, new_probes=0.3), "always", "embed",
    ),
    "old model gone, equal probes": (
        case(changed(model="other"), family=OTHER, old_family=None, new_probes=1.0), "cannot tell", "embed",
    ),
    "changed behind its name": (case(changed(metric="dot"), live_probes=0.4), "always", "copy"),
    "unchanged behind its name": (case(changed(metric="dot"), live_probes=0.9999), "not needed", "copy"),
    "changed to nonsense": (case(changed(metric="dot"), live_probes=float("nan")), "always", "copy"),
}  # fmt: skip


@pytest.mark.parametrize(("case", "answer", "path"), ANSWERS.values(), ids=ANSWERS)
def test_each_row_of_the_table(case: Case, answer: str, path: str) -> None:
    """Every row is answered, and names what decided its path."""
    found = decide(case)
    assert (found.must_embed, found.path) == (answer, path)
    assert all(reason in found.grounds for reason in case.path.reasons)
    assert len(set(found.grounds)) == len(found.grounds)


def test_grounds_name_the_spaces_once() -> None:
    """The grounds start with the two spaces, or that the one stays; dimensions are told once."""
    new = changed(model="m/512", dimensions=512)
    grounds = decide(case(new)).grounds
    assert grounds[:3] == (f"space {OLD.space} -> {new.space}", "model 'm/256' -> 'm/512'", "dimensions 256 -> 512")
    assert sum("256 -> 512" in ground for ground in grounds) == 1
    assert decide(case(changed(metric="dot"))).grounds[0].endswith("stays")


def grounds(case: Case) -> str:
    """All grounds as one text."""
    return "\n".join(decide(case).grounds)


def test_probe_grounds() -> None:
    """What the probe texts tell is told with its figure, and a model that was changed says what will happen."""
    text = grounds(case(changed(model="other"), family=OTHER, live_probes=0.99991, new_probes=0.1234))
    assert "still gives the vectors that it gave (lowest cosine 0.9999)" in text
    assert "the wanted model gives other vectors (lowest cosine 0.1234)" in text
    changed_behind = decide(case(changed(model="other"), family=OTHER, live_probes=0.2))
    assert any("ModelChanged" in ground for ground in changed_behind.grounds)
    assert changed_behind.cheaper == ()


def test_an_alias_is_declared_not_assumed() -> None:
    """Equal probe vectors lead to the way to say so, and what it spares; a model that differs gets no such hint."""
    (hint,) = decide(case(changed(model="other"), family=OTHER, new_probes=1.0)).cheaper
    assert "`embedding: {same_as: m/256}`: 0 texts instead of 41,022" in hint
    assert decide(case(changed(model="other"), family=OTHER, new_probes=0.9)).cheaper == ()


@pytest.mark.parametrize(
    ("overlap", "told"), [(0.95, "expect little of it"), (0.75, "results will move"), (0.4, "only judged queries tell")]
)
def test_neighbours_under_another_model(overlap: float, told: str) -> None:
    """How many neighbours stay is told with what it means; it never changes the answer."""
    found = case(changed(model="other"), family=OTHER, embedded=Neighbours(200, 10, overlap))
    assert f"{overlap:.1%} of the 10 nearest neighbours stay (200 texts embedded)" in grounds(found)
    assert told in grounds(found)
    assert decide(found).must_embed == "always"


def test_what_a_lower_precision_loses_and_saves() -> None:
    """Neighbours and cosine that stay, and the bytes of a vector before and after."""
    lost = Neighbours(200, 10, 0.986, 0.99961)
    text = grounds(case(changed(precision="binary"), derived=lost, vector_bytes=(1024.0, 32.0)))
    assert "binary: 98.6% of the 10 nearest neighbours stay, mean cosine 0.9996 (200 vectors)" in text
    assert "1,024 -> 32 bytes a vector (32x less)" in text
    both = grounds(case(changed(model="m/64", dimensions=64, precision="int8"), derived=Neighbours(50, 10, 0.9)))
    assert "64 dimensions, int8: 90.0%" in both


def test_measured_lift() -> None:
    """A kept evaluation is quoted with its interval, its queries and what it compared."""
    text = grounds(case(changed(model="other"), family=OTHER, lift=BETTER))
    assert "nDCG@10 on support +0.1200 (+0.0800 to +0.1600, 300 queries), generation 3 against 1" in text


def test_what_was_not_measured_is_said() -> None:
    """Remarks are the last grounds."""
    assert decide(case(changed(model="other"), family=OTHER, remarks=("not asked",))).grounds[-1] == "not asked"


def hints(old: Recipe, new: Recipe, family: Family = FAMILY) -> list[str]:
    """What would be cheaper, of 41,022 texts."""
    return cheaper(case(new, old=old, family=family))


def test_cheaper_dimensions() -> None:
    """Keeping the dimensions of a model of the same family costs nothing."""
    small = changed(model="m/64", dimensions=64)
    assert hints(small, OLD) == ["keep 64 dimensions: 0 texts instead of 41,022"]


@pytest.mark.parametrize(
    ("parts", "hint"),
    [
        ({"document_prefix": ""}, "keep the document prefix 'passage: ': 0 texts instead of 41,022"),
        ({"normalize": False}, "keep the normalisation: 0 texts instead of 41,022"),
    ],
)
def test_cheaper_parts(parts: dict[str, Any], hint: str) -> None:
    """Each part that alone forces the embedding is named."""
    assert hints(OLD, changed(**parts)) == [hint]


def test_cheaper_precision() -> None:
    """A precision that was given up can be left as it is."""
    assert hints(changed(precision="int8"), OLD) == ["keep the precision int8: 0 texts instead of 41,022"]


def test_cheaper_with_another_chunker_is_not_free() -> None:
    """Where texts change too, keeping a part leaves the new chunk texts to be embedded, and the hint says so."""
    new = changed(document_prefix="", chunking=Chunking("whole"))
    assert hints(OLD, new) == ["keep the document prefix 'passage: ': only new chunk texts instead of 41,022"]


def test_cheaper_beside_another_store() -> None:
    """A store that moves too costs no text, so what would be cheaper stays the same."""
    new = changed(document_prefix="")
    path = transition(OLD, new, old_family=FAMILY, new_family=FAMILY, moved=("lancedb://a", "lancedb://b"))
    moved = replace(case(new), path=path)
    assert cheaper(moved) == hints(OLD, new) != []
    assert "store lancedb://a -> lancedb://b" in decide(moved).grounds


def test_nothing_is_cheaper_than_free_or_than_must() -> None:
    """No hint where no text is embedded, nor where no single part would spare it."""
    assert hints(OLD, changed(dimensions=128)) == []
    assert hints(OLD, changed(model="other"), Family("other", "r1")) == []
    assert hints(OLD, changed(document_prefix="", normalize=False)) == []
