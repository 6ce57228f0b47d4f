"""Answers judged beside rankings: they gate like any measure, if the judge has passed; a failing judge is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import regen
from regen.cli.rendering_evaluate import evaluation_lines
from regen.core.claims import Claim, Judgment
from regen.core.results import Progress
from regen.errors import BudgetExceeded, ConfigError, EvaluationError, GateNotMet
from regen.evaluation.conditions import MeasureCondition
from regen.evaluation.html import render_html
from regen.evaluation.outcome import CheckResult, Evaluation
from regen.quality.monitoring import alarms
from regen.quality.settings import EvaluationSettings
from regen.testing.chat_server import ChatServer, says

TOPICS = ["bread", "rivers", "chess", "clouds", "violins", "spiders", "volcanoes", "bicycles", "lamps", "trains"]
BOUND = {"measure": "faithfulness", "max_drop": 0.02}
CLAIMS = 24
FLOORS = (MeasureCondition("faithfulness", "min", 0.5),)


def honest(claim: Claim) -> bool:
    """Whether an answer of these tests is borne out."""
    return "invented" not in claim.answer


class PlainJudge:
    """Right about every claim of these tests; ``asked`` counts what it was asked."""

    name = "plain/1"
    asked = 0
    price = 0.01

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """A cent each."""
        PlainJudge.asked += len(claims)
        return [Judgment(float(honest(claim)), 0.5, cost_usd=self.price) for claim in claims]


class BlindJudge(PlainJudge):
    """Calls everything faithful."""

    name = "blind/1"

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """Never looks."""
        return [Judgment(1.0, 1.0) for _ in claims]


class LateJudge(PlainJudge):
    """Passes its calibration, and times out at the first answer."""

    name = "late/1"

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """Times out on everything but labelled claims."""
        if not all(claim.question.startswith("label") for claim in claims):
            raise TimeoutError("no answer in 60 s")
        return super().judge(claims)


class NonsenseJudge(LateJudge):
    """Passes its calibration, then answers with a share that is none."""

    name = "nonsense/1"

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """Seven hundred per cent."""
        try:
            return super().judge(claims)
        except TimeoutError:
            return [Judgment(7.0, 0.0) for _ in claims]


class DearJudge(LateJudge):
    """Passes its calibration, and has used up its budget with it."""

    name = "dear/1"

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """No money for answers."""
        try:
            return super().judge(claims)
        except TimeoutError:
            raise BudgetExceeded("the next call would pass the budget") from None


class Project:
    """A small index with two generations and a judged collection with answers."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(self) -> None:
        """Write the files and fill two generations."""
        (self.root / "eval").mkdir()
        self.lines("docs.jsonl", [{"id": topic, "text": f"{topic} are about {topic}."} for topic in TOPICS])
        self.lines("eval/queries.jsonl", [{"_id": topic, "text": topic} for topic in TOPICS])
        rows = "".join(f"{topic}\t{topic}\t1\n" for topic in TOPICS)
        (self.root / "eval/qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
        labels = [
            {"id": str(at), "question": f"label {at}", "answer": "invented" if at % 2 else "true", "passages": ["true"],
             "faithful": at % 2 == 0} for at in range(CLAIMS)
        ]  # fmt: skip
        self.lines("eval/claims.jsonl", labels)
        with self.open("hashing/32") as index:
            index.sync()
        with self.open("hashing/64") as index:
            index.apply()

    def lines(self, name: str, records: Sequence[dict[str, Any]]) -> None:
        """Write JSON lines."""
        (self.root / name).write_text("".join(json.dumps(record) + "\n" for record in records))

    def answers(self, generation: int, *, invented: int = 0, leave_out: int = 0) -> None:
        """What the system answered with a generation; so many answers are invented, so many are missing."""
        texts = ["invented" if at < invented else "borne out" for at in range(len(TOPICS))]
        records = [{"query_id": topic, "answer": f"{topic}: {text}.", "passages": [topic]}
                   for topic, text in zip(TOPICS, texts, strict=True)]  # fmt: skip
        self.lines(f"eval/answers-{generation}.jsonl", records[leave_out:])

    def open(
        self,
        model: str = "hashing/64",
        *,
        judge: str | dict[str, Any] | None = None,
        answers: str | None = "eval/answers-{generation}.jsonl",
        gate: Sequence[dict[str, Any]] = (),
    ) -> regen.Index:
        """The index by a regen.yaml with this judge and gate."""
        collection: dict[str, Any] = {"name": "faq", "queries": "eval/queries.jsonl", "qrels": "eval/qrels.tsv"}
        evaluation: dict[str, Any] = {"collections": [collection], "measures": ["RR@10"], "searches": 0}
        if judge is not None:
            block = {"model": f"python:{__name__}:{judge}"} if isinstance(judge, str) else judge
            evaluation["judge"] = {"labels": "eval/claims.jsonl", **block}
            collection["answers"] = answers
        config = {
            "version": 1,
            "source": {"kind": "jsonl", "path": "docs.jsonl"},
            "embedding": {"model": model},
            "store": {"url": "lancedb://vectors"},
            "catalog": {"url": "sqlite:///catalog.db"},
            "evaluation": evaluation,
            "gate": list(gate),
        }
        (self.root / "regen.yaml").write_text(yaml.safe_dump(config))
        return regen.open(self.root / "regen.yaml")

    def evaluate(self, judge: str | dict[str, Any], *gate: dict[str, Any], **options: Any) -> Evaluation:
        """Generation 2 against 1."""
        with self.open(judge=judge, gate=gate, **options) as index:
            return index.evaluate(2)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project, made once."""
    folder = tmp_path_factory.mktemp("built")
    Project(folder).build()
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Project:
    """Generation 1 is live, 2 is ready; nothing is answered yet."""
    shutil.copytree(built, tmp_path / "project")
    return Project(tmp_path / "project")


def the_check(found: Evaluation) -> CheckResult:
    """The check that tells of answers."""
    (check,) = [check for check in found.checks if check.name == "answers"]
    return check


def row(found: Evaluation, measure: str) -> tuple[float, float, str | None, int]:
    """What was found by a measure: before, after, the condition, the number of queries."""
    (item,) = [item for item in found.comparisons if item.measure == measure and item.slice == "all"]
    return round(item.baseline, 4), round(item.candidate, 4), item.condition, item.queries


def test_equally_faithful_answers_meet_the_gate(project: Project) -> None:
    """Each generation's own answers are judged, in the same arrays and report as every other measure."""
    project.answers(1)
    project.answers(2)
    found = project.evaluate("PlainJudge", BOUND)
    assert (found.verdict, row(found, "faithfulness")) == ("promote", (1.0, 1.0, "max_drop 0.02", 10))
    assert row(found, "source_use") == (0.5, 0.5, None, 10)
    assert found.candidate.measures["faithfulness"] == 1.0
    assert the_check(found).passed
    assert "calibrated" in the_check(found).detail


def test_invented_answers_hold_a_promotion(project: Project) -> None:
    """Answers that are borne out no more are a loss like any other: the gate says hold, and nothing is promoted."""
    project.answers(1)
    project.answers(2, invented=9)
    found = project.evaluate("PlainJudge", BOUND)
    assert (found.verdict, row(found, "faithfulness")[:2]) == ("hold", (1.0, 0.1))
    with project.open(judge="PlainJudge", gate=[BOUND]) as index, pytest.raises(GateNotMet, match="faithfulness"):
        index.promote()


def test_new_answers_need_a_new_evaluation(project: Project) -> None:
    """A promotion does not rest on an evaluation of other answers than those that are there now."""
    project.answers(1)
    project.answers(2)
    assert project.evaluate("PlainJudge", BOUND).met
    project.answers(2, invented=9)
    with project.open(judge="PlainJudge", gate=[BOUND]) as index, pytest.raises(GateNotMet):
        index.promote(2)


def test_shared_answers_are_judged_by_what_is_retrieved(project: Project) -> None:
    """One file of good answers for all generations: whether each one's context still bears them out."""
    project.lines("eval/good.jsonl", [{"query_id": topic, "answer": f"{topic} are about {topic}."} for topic in TOPICS])
    found = project.evaluate({"model": "lexical"}, answers="eval/good.jsonl")
    before, after, _, queries = row(found, "faithfulness")
    assert queries == len(TOPICS)
    assert min(before, after) > 0.5  # the lexical judge finds the words in the retrieved passages, where they are


def test_only_what_both_sides_answer_is_compared(project: Project) -> None:
    """Queries without an answer keep their other measures; what is left out is reported with its count."""
    project.answers(1, leave_out=2)
    project.answers(2)
    found = project.evaluate("PlainJudge", BOUND)
    assert row(found, "faithfulness")[3] == 8
    assert row(found, "RR@10")[3] == 10
    assert any("judged on one side only" in problem for problem in found.problems)
    assert any("2 queries without an answer" in problem for problem in found.problems)


def test_an_uncalibrated_judge_never_gates(project: Project) -> None:
    """What it says is reported; a gate that rests on it cannot tell, and says why."""
    project.answers(1)
    project.answers(2)
    found = project.evaluate("BlindJudge", BOUND)
    assert found.verdict == "cannot_tell"
    assert row(found, "faithfulness") == (1.0, 1.0, None, 10)
    assert "blind/1" in the_check(found).detail
    assert the_check(found).gates
    assert "may not gate" in the_check(found).detail


def test_an_uncalibrated_judge_is_advisory_where_the_gate_asks_nothing_of_it(project: Project) -> None:
    """Without a condition on answers the check is told, and holds nothing back; nor does one that is waived."""
    project.answers(1)
    project.answers(2)
    found = project.evaluate("BlindJudge")
    assert (found.verdict, the_check(found).gates, the_check(found).passed) == ("promote", False, False)
    waived = project.evaluate("BlindJudge", BOUND, {"check": "answers", "advisory": True})
    assert (waived.verdict, the_check(waived).gates) == ("promote", False)


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("LateJudge", "TimeoutError: no answer in 60 s"),
        ("NonsenseJudge", "gave 7.0"),
        ("DearJudge", "would pass the budget"),
    ],
)
def test_a_judge_that_fails_never_promotes(project: Project, judge: str, said: str) -> None:
    """A time-out, nonsense and an empty purse are told with what was not judged; the gate cannot tell."""
    project.answers(1)
    project.answers(2)
    found = project.evaluate(judge, BOUND)
    assert found.verdict == "cannot_tell"
    assert said in the_check(found).detail
    assert "20 of 20 answers not judged" in the_check(found).detail
    assert any(said in reason for reason in found.reasons)
    assert not any(item.measure == "faithfulness" for item in found.comparisons)


def test_answers_that_nobody_wrote(project: Project) -> None:
    """The live generation's answers are missing: which file is told, and what to do; the gate cannot tell."""
    project.answers(2)
    found = project.evaluate("PlainJudge", BOUND)
    assert found.verdict == "cannot_tell"
    assert "there are no answers of generation 1" in the_check(found).detail


def test_a_gate_on_answers_without_any(project: Project) -> None:
    """Names in the gate that nothing measures are an error that says what is missing."""
    with project.open(gate=[BOUND]) as index, pytest.raises(EvaluationError, match="no answer to a query"):
        index.evaluate(2)
    with pytest.raises(ConfigError, match="need a judge"):
        yaml_without_judge(project)


def yaml_without_judge(project: Project) -> None:
    """A regen.yaml that names answers, and nobody who judges them."""
    project.open(judge="PlainJudge").close()
    path = project.root / "regen.yaml"
    config = yaml.safe_load(path.read_text())
    del config["evaluation"]["judge"]
    path.write_text(yaml.safe_dump(config))
    regen.open(path)


def test_costs_are_counted_and_the_calibration_is_kept(project: Project) -> None:
    """The second evaluation pays for the answers only; all of it is in the evaluation and in what status tells."""
    project.answers(1)
    project.answers(2, invented=1)
    first = project.evaluate("PlainJudge", BOUND)
    asked = PlainJudge.asked
    second = project.evaluate("PlainJudge", BOUND)
    distinct = 10 + 1  # nine answers are the same on both sides, and judged once
    assert PlainJudge.asked - asked == distinct
    assert first.answers["cost_usd"] == pytest.approx(0.01 * (CLAIMS + distinct))
    assert second.answers["cost_usd"] == pytest.approx(0.01 * distinct)
    with project.open() as index:
        assert index.status().cost_usd == pytest.approx(0.01 * (CLAIMS + 2 * distinct))
    project.lines("eval/claims.jsonl", [{"question": "label", "answer": "true", "passages": [], "faithful": True}])
    third = project.evaluate("PlainJudge", BOUND)
    assert "too few to tell" in the_check(third).detail


def test_a_damaged_file_of_calibrations_is_made_anew(project: Project) -> None:
    """Half a file is no reason to stop, and none to believe in a judge: it is calibrated again."""
    project.answers(1)
    project.answers(2)
    project.evaluate("PlainJudge", BOUND)
    kept = project.root / ".regen/calibrations.json"
    kept.write_text(kept.read_text()[:40])
    asked = PlainJudge.asked
    assert project.evaluate("PlainJudge", BOUND).met
    assert PlainJudge.asked - asked >= CLAIMS
    assert len(json.loads(kept.read_text())) == 1


def test_a_floor_of_the_live_generation(project: Project) -> None:
    """Measured alone, the live generation's answers are judged by a floor: what monitoring raises an alarm by."""
    project.answers(1, invented=1)
    with project.open(judge="PlainJudge", gate=[{"measure": "faithfulness", "min": 0.5}]) as index:
        good = index.evaluate(1, against=None)
        assert (good.verdict, good.candidate.measures["faithfulness"]) == ("promote", 0.9)
        assert alarms(good, FLOORS) == ()
        project.answers(1, invented=10)
        bad = index.evaluate(1, against=None)
        (alarm,) = alarms(bad, FLOORS)
        assert bad.verdict == "hold"
        assert alarm.subject == "faithfulness (faq)"
        assert len(alarm.documents) == 10
        (standing,) = index.status().alarms
        assert "faithfulness on faq is 0.0000" in standing


def test_it_is_shown(project: Project) -> None:
    """Terminal and page name the judge, how many answers it judged, what it cost and whether it has passed."""
    project.answers(1)
    project.answers(2)
    found = project.evaluate("PlainJudge", BOUND)
    lines = [str(line) for line in evaluation_lines(found)]
    assert any("plain/1 · 20 answers judged · calibrated · $" in line for line in lines), lines
    assert "plain/1: 20 answers, $0.34" in render_html(found)
    blind = [str(line) for line in evaluation_lines(project.evaluate("BlindJudge"))]
    assert any("blind/1 · 20 answers judged · not passed" in line for line in blind)


def test_names_that_are_nearly_right(project: Project) -> None:
    """The error names the measure that is meant; a measure of answers may be listed among those reported."""
    with (
        project.open(gate=[{"measure": "faithful", "max_drop": 0.02}]) as index,
        pytest.raises(EvaluationError) as told,
    ):
        index.evaluate(2)
    assert "Is faithfulness meant?" in str(told.value)
    assert "faithfulness" not in EvaluationSettings(measures=("nDCG@10", "faithfulness")).all_measures()


def test_progress_tells_how_many_are_judged(project: Project) -> None:
    """Judging shows as a stage of its own, with its cost."""
    project.answers(1)
    project.answers(2)
    seen: list[Progress] = []
    report: Callable[[Progress], None] = seen.append
    with project.open(judge="PlainJudge") as index:
        index.evaluate(2, progress=report)
    last = [item for item in seen if item.stage == "judge"][-1]
    assert (last.done, last.total, last.unit) == (10, 10, "answers")
    assert last.cost_usd > 0


def test_a_server_that_talks_nonsense(project: Project) -> None:
    """A judge over HTTP whose answers cannot be used: the evaluation stands, its verdict is that it cannot tell."""
    project.answers(1)
    project.answers(2)
    with ChatServer() as server:
        server.plan = lambda _number, _request: says("I am a teapot.")
        block = {"model": "openai/test-model", "options": {"base_url": server.base_url, "attempts": 1}}
        found = project.evaluate(block, BOUND)
    assert found.verdict == "cannot_tell"
    assert "gave no usable judgment" in the_check(found).detail
    assert row(found, "RR@10")[3] == 10
