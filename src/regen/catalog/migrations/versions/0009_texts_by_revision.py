"""A text is named by the revision that brought it, not by its digest: texts lie, and are read, in the order of arrival.

By digest every text was written to, and later read from, a page of its own: the more there were, the dearer each.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEYS = """
CREATE TABLE text_keys AS
SELECT content_hash, MIN(revision) AS revision FROM (
    SELECT content_hash, revision FROM changes WHERE content_hash IS NOT NULL
    UNION ALL SELECT content_hash, revision FROM documents WHERE content_hash IS NOT NULL AND deleted = :no
) AS named GROUP BY content_hash
"""
_NAME = """
UPDATE {table} SET text_revision = (SELECT revision FROM text_keys WHERE text_keys.content_hash = {table}.content_hash)
WHERE content_hash IS NOT NULL
"""


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.execute(sa.text(_KEYS).bindparams(no=False))
    op.create_index("text_keys_by_hash", "text_keys", ["content_hash"])
    op.create_table(
        "texts_by_revision",
        sa.Column("revision", key, autoincrement=False, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
    )
    op.execute(
        "INSERT INTO texts_by_revision SELECT text_keys.revision, size, data FROM text_keys "
        "CROSS JOIN contents WHERE contents.content_hash = text_keys.content_hash"
    )
    for table in ("documents", "changes"):
        op.add_column(table, sa.Column("text_revision", sa.BigInteger(), nullable=True))
        op.execute(_NAME.format(table=table))
    op.drop_column("changes", "content_hash")
    op.drop_table("text_keys")
    op.drop_table("contents")
    op.rename_table("texts_by_revision", "contents")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX texts_by_revision_pkey RENAME TO contents_pkey")
