"""A judged collection from its two files' lines."""

from __future__ import annotations

from collections.abc import Iterable

from regen.evaluation.judged import JudgedCollection, assemble
from regen.evaluation.qrels import read_qrels
from regen.evaluation.queries import read_queries


def read_collection(
    name: str,
    queries: Iterable[str | bytes],
    qrels: Iterable[str | bytes],
    *,
    queries_file: str = "queries",
    qrels_file: str = "qrels",
) -> JudgedCollection:
    """Read queries and judgments, each in BEIR or TREC form, told apart by their content.

    ``queries`` and ``qrels`` are lines, as an open file gives them (bytes must be UTF-8); the files' names are for
    messages only. Whatever is wrong raises EvaluationError or stands in the collection's ``problems``.
    """
    asked, judged = read_queries(queries, queries_file), read_qrels(qrels, qrels_file)
    return assemble(name, asked.queries, judged.qrels, (*asked.problems, *judged.problems))
