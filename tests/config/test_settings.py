"""regen.yaml: what loads, and how every mistake is told."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from regen.config import Settings, load_settings, parse_duration, parse_settings, parse_share
from regen.core.recipe import Chunking
from regen.errors import ConfigError
from regen.evaluation.conditions import CheckCondition, ErrorRateCondition, LatencyCondition, MeasureCondition

DESIGN = """
version: 1
alias: handbook
source:    {kind: files, path: docs, glob: "**/*.md"}
text:      "{title}\\n{text}"
chunking:  {kind: markdown, max_tokens: 256, overlap: 0}
embedding: {model: wordllama/l2-supercat-256, normalize: true, price_per_million_tokens: 0}
store:     {url: "lancedb://.regen/vectors"}
catalog:   {url: "sqlite:///.regen/catalog.db"}
evaluation:
  collections: [{name: support, queries: eval/queries.jsonl, qrels: eval/qrels.tsv}]
gate:
  - {measure: "nDCG@10", min_lift: 0.0}
  - {measure: "R@100", max_drop: 0.01}
  - {latency: p95, max_ratio: 1.5}
migration: {strategy: auto, retain: 7d}
limits:    {requests_per_minute: 3000, tokens_per_minute: 1000000, concurrency: 8, budget_usd: 50}
"""
SMALL = "version: 1\nsource: {kind: files, path: docs}\nembedding: {model: hashing/64}\n"


def parse(text: str) -> Settings:
    """Settings of a text, with the current folder as root."""
    return parse_settings(text, root=".")


def test_the_designs_example_loads_with_every_value(tmp_path: Path) -> None:
    """The file that DESIGN.md section 11 shows is read completely, and its folder is the root."""
    (tmp_path / "regen.yaml").write_text(DESIGN)
    settings = load_settings(tmp_path / "regen.yaml")
    assert settings.root == tmp_path.resolve()
    assert settings.alias == "handbook"
    assert settings.source == {"kind": "files", "path": "docs", "glob": "**/*.md"}
    assert settings.chunking.build() == Chunking("markdown", 256, 0)
    assert settings.embedding.model == "wordllama/l2-supercat-256"
    assert settings.embedding.price_per_million_tokens == 0
    assert settings.evaluation.collections[0].qrels == "eval/qrels.tsv"
    assert [condition.measure or condition.latency for condition in settings.gate] == ["nDCG@10", "R@100", "p95"]
    assert settings.migration.retain == 7 * 86_400
    assert settings.limits.concurrency == 8
    assert settings.limits.budget_usd == 50


def test_defaults_of_a_small_file() -> None:
    """Three lines are enough; everything else has the documented default."""
    settings = parse(SMALL)
    assert settings.text == "{title}\n{text}"
    assert settings.store.url == "lancedb://.regen/vectors"
    assert settings.catalog.url == "sqlite:///.regen/catalog.db"
    assert settings.metadata.filterable == "auto"
    assert settings.limits.max_delete_share == 0.3
    assert settings.limits.max_document_bytes == 20_000_000
    assert settings.limits.retry_attempts == 6
    assert settings.limits.concurrency is None
    assert settings.changes.keep == 30 * 86_400
    assert not settings.embedding.cache
    assert settings.embedding.normalize


def test_the_gate_becomes_conditions() -> None:
    """Each bound of a measure is a condition of its own; what a condition leaves out has the documented meaning."""
    settings = parse(
        SMALL + "gate:\n- {measure: RR, min: 0.3, min_lift: 0, max_drop: 0.1, collection: support, slice: lang=de}\n"
        "- {measure: R@100, max_drop: 0.01}\n- {latency: p99, max_ms: 80}\n- {error_rate: 1%}\n"
        "- {check: recall, advisory: true}\n- {check: gone}\n"
    )
    built = [built for condition in settings.gate for built in condition.build()]
    assert built == [
        MeasureCondition("RR", "min", 0.3, "support", "lang=de"),
        MeasureCondition("RR", "min_lift", 0.0, "support", "lang=de"),
        MeasureCondition("RR", "max_drop", 0.1, "support", "lang=de"),
        MeasureCondition("R@100", "max_drop", 0.01, None, "all"),
        LatencyCondition("p99", None, 80.0),
        ErrorRateCondition(0.01),
        CheckCondition("recall", advisory=True),
        CheckCondition("gone", advisory=False),
    ]


def test_the_title_belongs_to_files_only() -> None:
    """Other sources need not deliver a title, so their default template does not name it."""
    assert parse(SMALL.replace("files, path: docs", "jsonl, path: a.jsonl")).text == "{text}"


def test_a_block_with_all_keys_commented_out_means_its_defaults() -> None:
    """Commenting out the last key of a block must not break the file."""
    assert parse(SMALL + "limits:\n  # budget_usd: 5\n").limits == parse(SMALL).limits


def test_a_block_that_is_left_out_is_one_without_keys() -> None:
    """Such a block is made without a validation, which its defaults must not need."""
    given = parse(SMALL)
    left_out = [getattr(given, name) for name in Settings.model_fields.keys() - given.model_fields_set]
    made = [block for block in left_out if isinstance(block, pydantic.BaseModel)]
    assert len(made) >= 10
    assert made == [type(block).model_validate({}) for block in made]


def test_when_sources_are_refreshed() -> None:
    """What stands beside a source's own keys is taken out of its block; the policy has its own defaults."""
    text = SMALL.replace(
        "source: {kind: files, path: docs}",
        "sources:\n  - {name: docs, kind: files, path: docs, freshness: {p99: 5s},\n     "
        "refresh: {cron: '*/15 * * * *', timezone: Europe/Berlin, at_most_every: 5m, quiet_for: 30s}}\n"
        "  - {kind: push}",
    )
    (own, beside), (push, nothing) = parse(text).feeds
    assert own == {"name": "docs", "kind": "files", "path": "docs"}
    assert beside.freshness is not None
    assert beside.freshness.build().bounds == {"p99": 5.0}
    assert beside.refresh is not None
    policy = beside.refresh.build()
    assert (policy.at_most_every, policy.quiet_for, policy.patience) == (300.0, 30.0, 300.0)
    assert policy.cron is not None
    assert policy.cron.expression == "*/15 * * * *"
    assert (push, nothing.refresh, nothing.freshness) == ({"kind": "push"}, None, None)
    assert (
        parse(SMALL).text == parse(SMALL.replace("source: {kind: files, path: docs}", "sources: [{kind: files}]")).text
    )


def test_settings_are_frozen() -> None:
    """Settings are values: nothing changes them while a run uses them."""
    settings = parse(SMALL)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.alias = "other"


def test_shares_durations_and_filterable_keys() -> None:
    """Quantities are read as people write them."""
    settings = parse(
        SMALL + "limits: {max_delete_share: 50%}\nchanges: {keep: 12h}\nmigration: {pilot: 5%}\n"
        "metadata: {filterable: [lang, year, lang]}\n"
    )
    assert settings.limits.max_delete_share == 0.5
    assert settings.changes.keep == 12 * 3600
    assert settings.migration.pilot == 0.05
    assert settings.metadata.filterable == ("lang", "year")


MISTAKES = [
    ("embedding: {modle: x}", "embedding.modle is not a known key", "did you mean 'model'"),
    ("embedding: {model: x, colour: 1}", ":3: embedding.colour is not a known key", "valid in embedding: cache, dimen"),
    ("limts: {}", ":4: limts is not a known key", "did you mean 'limits'"),
    ("gate: [{measure: R@10, min_lft: 1}]", "gate[0].min_lft is not a known key", "did you mean 'min_lift'"),
    ("root: x", "root is not a known key", "valid in regen.yaml: alerts, alias"),
    ("alias: No Spaces", "alias: must be 1 to 63 lower-case letters", ""),
    ("alias: 3", "alias must be a text, not 3", 'put it in quotes: "3"'),
    ("chunking: {kind: markdwn}", "chunking.kind must be one of markdown, tokens", "did you mean 'markdown'"),
    ("chunking: {max_tokens: '9'}", "chunking.max_tokens must be a whole number, not '9'", "without quotes"),
    ("chunking: {max_tokens: 3}", "chunking: chunking.max_tokens is 3", "at least 8"),
    ("chunking: {overlap: 200}", "chunking.overlap is 200", "half of max_tokens (128)"),
    ("metric: cos", "metric must be one of cosine, dot or l2, not 'cos'", "did you mean 'cosine'"),
    ("text: '{title}'", "does not contain {text}", "for example"),
    ("text: '{text'", "cannot be parsed", "literal brace"),
    ("store: lancedb://x", "store must be a mapping of keys to values, not 'lancedb://x'", "{url:"),
    ("store: {url: ''}", "store.url must be a text that is not empty", ""),
    ("limits: {concurrency: 0}", "limits.concurrency must be at least 1, not 0", ""),
    ("limits: {budget_usd: .nan}", "limits.budget_usd must be a finite number", ""),
    ("limits: {max_delete_share: 2}", "limits.max_delete_share: not a share: 2", "" ),
    ("limits: {retry_attempts: true}", "limits.retry_attempts must be a whole number, not True", ""),
    ("embedding: {model: x, normalize: 'no'}", "embedding.normalize must be true or false, not 'no'", "quotes"),
    ("metadata: {filterable: 3}", "metadata.filterable: must be auto or a list of metadata keys, not 3", ""),
    ("changes: {keep: 3 moons}", "changes.keep: not a duration: '3 moons'", ""),
    ("migration: {strategy: rebuilt}", "migration.strategy must be one of auto, rebuild", "did you mean 'rebuild'"),
    ("gate: [{min_lift: 1}]", "gate[0]: names exactly one of measure, latency, error_rate and check", ""),
    ("gate: [{measure: RR, check: x, min: 1}]", "gate[0]: names exactly one of measure, latency", ""),
    ("gate: [{latency: p95}]", "gate[0]: a latency condition needs max_ratio or max_ms", ""),
    ("gate: [{measure: RR, slice: x}]", "gate[0]: a measure needs min, min_lift or max_drop", ""),
    ("gate: [{latency: p95, max_ms: 9, slice: x}]", "gate[0]: slice does not go with latency", ""),
    ("gate: [{measure: RR, max_drop: -0.1}]", "gate[0].max_drop must be at least 0.0, not -0.1", ""),
    ("gate: [{measure: RR, min: 0}]", "gate[0].min must be more than 0.0, not 0", ""),
    ("gate: [{measure: RR, min_lift: .nan}]", "gate[0].min_lift must be a finite number", ""),
    ("gate: [{error_rate: 2}]", "gate[0].error_rate: not a share: 2", ""),
    ("version: 2", ":1: version must be 1, not 2", ""),
    ("source: {path: docs}", "source: needs a kind", ""),
    ("source: docs", "source must be a mapping of keys to values, not 'docs'", ""),
    ("source: {kind: files, refresh: {corn: x}}", ":2: source.refresh.corn is not a known key", "did you mean 'cron'"),
    ("source: {kind: files, refresh: {cron: '61 * * * *'}}", "'61 * * * *': the field minute", "SUN"),
    ("source: {kind: files, refresh: {cron: '0 0 30 2 *'}}", "the field day-of-month is not valid", "for example"),
    ("source: {kind: files, refresh: {cron: '* * *'}}", "'* * *' has 3 fields", "minute, hour, day"),
    ("source: {kind: files, refresh: {timezone: Berlin}}", "source.refresh.timezone: 'Berlin' is no time zone", "IANA"),
    ("source: {kind: files, refresh: {quiet_for: soon}}", "source.refresh.quiet_for: not a duration: 'soon'", ""),
    ("source: {kind: files, refresh: {quiet_for: 9s, wait_at_most: 1s}}", "shorter than quiet_for", "in all"),
    ("source: {kind: files, freshness: {p90: 5s}}", "source.freshness.p90 is not a known key", "p50, p95, p99, window"),
    ("freshness: {}", "freshness: needs p50, p95 or p99", ""),
    ("freshness: {p99: 5s, window: 0}", "freshness: window must be more than 0", ""),
    ("sources: []", "sources: names no source", ""),
    ("sources: [{path: x}]", "sources[0]: needs a kind", ""),
    ("sources: [{kind: files, refresh: {cron: x}}]", "sources[0].refresh.cron: 'x' has 1 fields", ""),
    ("sources: [{kind: files}]", "source: stands beside sources", "into the list"),
]  # fmt: skip


def with_line(line: str) -> str:
    """SMALL with the block that the line holds replaced, or the line added."""
    key = line.partition(":")[0]
    kept = [each for each in SMALL.splitlines() if each.partition(":")[0] != key]
    position = next((at for at, each in enumerate(SMALL.splitlines()) if each.startswith(f"{key}:")), len(kept))
    return "\n".join([*kept[:position], line, *kept[position:]]) + "\n"


@pytest.mark.parametrize(("line", "message", "hint"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_every_mistake_is_told_with_its_place(line: str, message: str, hint: str) -> None:
    """A wrong line is named with file and line, what is valid, and the closest match where one is near."""
    with pytest.raises(ConfigError) as caught:
        parse(with_line(line))
    assert message in caught.value.message
    assert caught.value.message.startswith("regen.yaml:")
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("key", ["version", "source", "embedding"])
def test_missing_required_keys(key: str) -> None:
    """What cannot be guessed is asked for, with an example."""
    text = "\n".join(line for line in SMALL.splitlines() if not line.startswith(key))
    with pytest.raises(ConfigError, match=f"{key} is missing") as caught:
        parse(text)
    assert key in (caught.value.hint or "")


def test_a_misspelt_required_key_is_told_once() -> None:
    """``modle`` is both unknown and a missing ``model``; only the first is worth saying."""
    with pytest.raises(ConfigError) as caught:
        parse(with_line("embedding: {modle: x}"))
    assert caught.value.message.count("\n") == 0


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    """Nobody should have to run five times to learn of five mistakes."""
    with pytest.raises(ConfigError) as caught:
        parse("version: 1\nmetric: cos\nsource: {kind: files}\nembedding: {model: 3}\nlimts: {}\n")
    assert [line.split(" ")[0] for line in caught.value.message.splitlines()] == [
        "regen.yaml:2:", "regen.yaml:4:", "regen.yaml:5:",
    ]  # fmt: skip


BROKEN = [
    ("a: [1\nb: 2", "regen.yaml:2:2: not valid YAML"),
    ("a:\n\t- 1", "regen.yaml:2:1: not valid YAML"),
    ("a: 1\nb:\n  c: 1\n  c: 2", "regen.yaml:4:3: the key 'c' appears twice, first on line 3"),
    ("- 1", "must be a mapping of keys to values, not a list"),
    ("hello", "must be a mapping of keys to values, not a text"),
    ("", "is empty"),
    ("# only a comment\n", "is empty"),
    ("a: 1\n---\nb: 2", "not valid YAML"),
    ("a: !!python/object:os.system x", "not valid YAML"),
    ("a: 2024-13-45", "not valid YAML"),
    ("a: &x [*x]", "contains itself"),
    ("a: \x01", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[repr(text) for text, _ in BROKEN])
def test_broken_yaml(text: str, message: str) -> None:
    """What is not YAML, or says one key twice, is told with line and column."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert message in caught.value.message


def test_missing_file_folder_and_binary(tmp_path: Path) -> None:
    """A file that is not there, not a file or not text is a ConfigError too."""
    with pytest.raises(ConfigError, match="there is no") as caught:
        load_settings(tmp_path / "regen.yaml")
    assert "regen init" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "regen.yaml").write_bytes(b"version: \xff")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_settings(tmp_path / "regen.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "source: {kind: files, api_key: hunter2}",
        "source: {kind: files, headers: {Authorization: hunter2}}",
        "embedding: {model: x, options: {openai_api_key: hunter2}}",
        "embedding: {model: x, options: {token: hunter2}}",
        "embedding: {model: x, api_key: hunter2}",
        'store: {url: "postgresql://me:hunter2@host/db"}',
        "source: {kind: files, urls: ['https://me:hunter2@host/x']}",
    ],
)
def test_secrets_are_refused_and_never_repeated(line: str) -> None:
    """A secret in the file is an error that says where, and does not show it."""
    with pytest.raises(ConfigError, match="secrets never stand in the file") as caught:
        parse(with_line(line))
    assert "hunter2" not in str(caught.value)
    assert caught.value.message.startswith("regen.yaml:")


def test_names_of_environment_variables_are_no_secrets() -> None:
    """``api_key_env`` is the way to name a secret; keys that only sound alike are fine."""
    settings = parse(with_line("embedding: {model: x, options: {api_key_env: KEY, max_tokens: 3, tokenizer: a}}"))
    assert settings.embedding.options["api_key_env"] == "KEY"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600), ("1d12h", 129_600), (60, 60)],
)
def test_durations(text: object, seconds: float) -> None:
    """Durations are seconds, however they are written."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 days", True, -3, float("inf"), None])
def test_what_is_no_duration(text: object) -> None:
    """A number in quotes has no unit, and a negative time makes no sense."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "30", "130%", 1.2, -0.1, True, None])
def test_what_is_no_share(text: object) -> None:
    """A share is from 0 to 1."""
    with pytest.raises(ValueError, match="share"):
        parse_share(text)
