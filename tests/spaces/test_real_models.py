"""The promises on real text: cranfield under WordLlama of 64 and of 256 dimensions, searched exactly."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from benchmarks.migration_quality import Pair, load, merged_quality, minilm, two_stage

from regen.embedders.wordllama import WordLlamaEmbedder
from regen.spaces import compare
from regen.spaces.canary import canary
from regen.spaces.maps import fit


@cache
def cranfield() -> Pair:
    """The collection under both models."""
    return load("cranfield", WordLlamaEmbedder(64), WordLlamaEmbedder(256))


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_rolling_is_no_worse_than_the_straight_line(share: float) -> None:
    """In a random order and its reverse, merged nDCG@10 is at most 0.01 below the line, and above ranks and min-max.

    So it is with pending candidates scored by the new model, with none, and with none but judgments.
    """
    pair = cranfield()
    before, after = (values.mean() for values in pair.ends)
    order = np.random.default_rng(0).permutation(len(pair.lengths))
    runs = [merged_quality(pair, one, share, every=False) for one in (order, order[::-1])]
    found = {way: float(np.mean([run[way] for run in runs])) for way in runs[0]}
    line = (1 - share) * before + share * after
    assert after > before + 0.08
    for way in ("regen", "regen, none scored", "none scored, judged"):
        assert found[way] > line - 0.01
        assert found[way] > max(found["min-max"], found["reciprocal rank"])


@pytest.mark.usefixtures("real_data")
def test_judgments_lift_documents_that_come_first() -> None:
    """With relevant documents migrated first, as a backfill by use does, half a migration is worth nearly all of it."""
    pair = cranfield()
    mixed = np.random.default_rng(0).permutation(len(pair.lengths))
    order = mixed[np.argsort(pair.grades[:, mixed].max(axis=0) == 0, kind="stable")]
    found = {way: values.mean() for way, values in merged_quality(pair, order, 0.5, every=False).items()}
    before, after = (values.mean() for values in pair.ends)
    assert found["regen, none scored"] > before + 0.5 * (after - before)
    assert found["none scored, judged"] > found["regen, none scored"] + 0.01


@pytest.mark.usefixtures("real_data")
def test_a_real_map_is_told_from_a_slipped_one() -> None:
    """Between real models the map of true pairs passes control and canary; one of pairs off by a row does not."""
    pair = cranfield()
    usable = np.flatnonzero(pair.old_documents.any(axis=1))
    old, new = pair.old_documents[usable], pair.new_documents[usable]
    for source, target in ((old, new), (new, old)):
        true = fit("ridge", source[:-32], target[:-32], seed=0)
        slipped = fit("ridge", source[:-32], np.roll(target[:-32], 1, axis=0), seed=0)
        assert true.score.problem is None
        assert canary(true, source[-32:], target[-32:]).passed
        assert not canary(slipped, source[-32:], target[-32:]).passed
    assert compare(old, new).word == "truncated"


def test_the_benchmark_finds_its_data_where_tests_do(real_data: Path) -> None:
    """Tests and benchmark read the same collections."""
    assert (real_data / "cranfield" / "corpus.jsonl").is_file()
    assert len(cranfield().lengths) == 1_400


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("real_data")
def test_the_promises_hold_for_a_model_of_another_family() -> None:
    """WordLlama to MiniLM on cranfield: rolling keeps to the line, two stages bring most, no map is taken for it."""
    new = minilm()
    if new is None:
        pytest.skip("MiniLM is not installed: make test-all installs it")
    pair = load("cranfield", WordLlamaEmbedder(64), new)
    before, after = (values.mean() for values in pair.ends)
    assert after > before + 0.02
    order = np.random.default_rng(0).permutation(len(pair.lengths))
    for share in (0.25, 0.5, 0.75):
        runs = [merged_quality(pair, one, share, every=False)["regen"].mean() for one in (order, order[::-1])]
        assert np.mean(runs) > (1 - share) * before + share * after - 0.01
    assert two_stage(pair, 100).mean() > before + 0.7 * (after - before)
    usable = np.flatnonzero(pair.old_documents.any(axis=1) & pair.new_documents.any(axis=1))
    assert compare(pair.old_documents[usable], pair.new_documents[usable]).word not in {"identical", "truncated"}
