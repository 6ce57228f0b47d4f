"""The catalog's tables, for SQLite and PostgreSQL alike. Changes here need a migration; a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    false,
    text,
)

SCHEMA_VERSION: Final = "0009"
metadata: Final = MetaData()

# SQLite's rowid is the fastest integer key there is, but only a column declared INTEGER becomes it.
_Key = BigInteger().with_variant(Integer, "sqlite")

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

documents = Table(
    "documents",
    metadata,
    Column("doc_key", _Key, primary_key=True, autoincrement=False),
    Column("doc_id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("fingerprint", LargeBinary),  # what the source last delivered; NULL: the source does not have it
    Column("stamp", Text),
    Column("content_hash", LargeBinary),
    Column("metadata_hash", LargeBinary, nullable=False),
    Column("access_hash", LargeBinary, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("access", Text),
    Column("deleted", Boolean, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("version", Text),
    Column("source_time", Float),
    Column("changed_at", Float, nullable=False),
    Column("text_revision", BigInteger),  # of the change that brought its text: where that is in ``contents``
    Index("documents_by_revision", "revision"),
    # The migration gives it the same condition in PostgreSQL; to say so here would load that dialect for everybody.
    Index("documents_restricted", "doc_key", sqlite_where=text("access IS NOT NULL")),
)

changes = Table(
    "changes",
    metadata,
    Column("revision", _Key, primary_key=True, autoincrement=False),
    Column("doc_key", _Key, nullable=False),
    Column("kind", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("access", Text),
    Column("version", Text),
    Column("source_time", Float),
    Column("changed_at", Float, nullable=False),
    Column("text_revision", BigInteger),  # NULL: a deletion
    Index("changes_by_document", "doc_key"),
)

contents = Table(
    "contents",
    metadata,
    Column("revision", _Key, primary_key=True, autoincrement=False),  # of the change that brought the text
    Column("size", Integer, nullable=False),  # bytes of UTF-8, uncompressed
    Column("data", LargeBinary, nullable=False),  # zstd
)

generations = Table(
    "generations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("alias", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("collection", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("watermark", BigInteger, nullable=False),
    Column("fields", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("retained_at", Float),
    Column("probes", LargeBinary),
    Column("options", Text),  # where and how its model runs: an address, the name of a key's variable, never a secret
    Column("store", Text),  # the URL of the store that holds its collection
    Column("paused", Text),
    Column("asked_at", Float),  # when `apply` asked for all of it to be filled: then workers may
)

placements = Table(
    "placements",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("doc_key", _Key, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("input_hash", LargeBinary, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("chunks", LargeBinary, nullable=False),
    Column("text_keys", LargeBinary, nullable=False),
    Column("applied_at", Float, nullable=False),
    sqlite_with_rowid=False,
)

chunk_texts = Table(
    "chunk_texts",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("text_key", BigInteger, primary_key=True),
    Column("doc_key", _Key, primary_key=True),
    sqlite_with_rowid=False,
)

intents = Table(
    "intents",
    metadata,
    Column("token", _Key, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),
    Column("chunk_ids", LargeBinary, nullable=False),  # packed, 16 bytes each
    Column("started_at", Float, nullable=False),
    Column("lease", BigInteger),  # the fencing token of who writes; once no lease has it, nobody will commit
)

garbage = Table(
    "garbage",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),
    Column("entries", LargeBinary, nullable=False),  # packed, 24 bytes each
    Column("dropped_at", Float, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("live", Integer),
    Column("previous", Integer),
    Column("version", Integer, nullable=False),
    Column("rollout", Integer),
    Column("rollout_version", Integer),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alias", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("weight", Float, nullable=False),
    Column("settings", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
)

rerankers = Table(
    "rerankers",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("reranked", BigInteger, nullable=False, server_default=text("0")),
    Column("skipped", BigInteger, nullable=False, server_default=text("0")),
    Column("timeouts", BigInteger, nullable=False, server_default=text("0")),
    Column("failures", BigInteger, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    Column("failed_at", Float),
    Column("helps", Boolean),
    Column("fingerprint", Text, nullable=False, server_default=text("''")),
    Column("judged_at", Float),
    Column("result", Text, nullable=False, server_default=text("'{}'")),
)

alias_history = Table(
    "alias_history",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("live", Integer),
    Column("previous", Integer),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("switched_at", Float, nullable=False),
    Column("evaluation", Integer),
    Column("forced", Boolean, nullable=False, server_default=false()),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alias", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("against", Integer),
    Column("verdict", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("evaluated_at", Float, nullable=False),
    Column("result", Text, nullable=False),
    Index("evaluations_by_generation", "alias", "generation"),
)

queries = Table(
    "queries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("alias", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("returned", Text, nullable=False),
    Column("clicked", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("rollout", Integer),
    Column("arm", Text, nullable=False, server_default=text("''")),
    Column("milliseconds", Float, nullable=False, server_default=text("0")),
    Column("failed", Boolean, nullable=False, server_default=false()),
    Column("key", Text, nullable=False, server_default=text("''")),
    Column("teams", Text, nullable=False, server_default=text("'[]'")),
    Index("queries_by_time", "alias", "asked_at"),
    Index("queries_by_rollout", "rollout", "asked_at"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Float, nullable=False),
    # Of a range of a generation's documents: revisions above one, up to another. One that nobody holds has no owner.
    Column("generation", Integer),
    Column("above", BigInteger),
    Column("upto", BigInteger),
)

text_claims = Table(
    "text_claims",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("text_key", BigInteger, primary_key=True),
    Column("token", BigInteger, nullable=False),  # of the range whose holder embeds it
    Index("text_claims_by_token", "token"),
    sqlite_with_rowid=False,
)

workers = Table(
    "workers",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("alias", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("since", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("generation", Integer),
    Column("failure", Text),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("doc_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failed_at", Float, nullable=False),
    Column("source", Text, nullable=False, server_default=text("''")),  # of a letter that a source produced
)

jobs = Table(
    "jobs",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("since", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("succeeded_at", Float),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("failed_at", Float),
    Column("error", Text, nullable=False, server_default=text("''")),
    Column("pending", BigInteger, nullable=False, server_default=text("0")),
    Column("pending_since", Float),
    Column("follower", Text, nullable=False, server_default=text("''")),
)

alerts = Table(
    "alerts",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("fired_at", Float, nullable=False),
    Column("resolved_at", Float),
    Column("told", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tried_at", Float),
    Column("error", Text, nullable=False),
    Column("documents", Text, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("doc_key", _Key, primary_key=True, autoincrement=False),
    Column("queries", BigInteger, nullable=False),
    Column("flagged", Boolean, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("verb", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float, nullable=False),
    Column("result", Text, nullable=False),
)

costs = Table(
    "costs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("texts", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("usd", Float, nullable=False),
    Column("spent_at", Float, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the secret, which is random: nobody can guess it
    Column("scopes", Text, nullable=False),
    Column("principals", Text, nullable=False),
    Column("per_second", Float),
    Column("created_at", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

requested_runs = Table(
    "requested_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("verb", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("owner", Text, nullable=False),
    Column("beat_at", Float),
    Column("attempts", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("progress", Text),
    Column("result", Text),
    Column("error", Text),
    Column("once", Text),
    Index("requested_runs_by_state", "state"),
    Index("requested_runs_by_word", "once"),
)

answers = Table(
    "answers",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("answered_at", Float, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)
