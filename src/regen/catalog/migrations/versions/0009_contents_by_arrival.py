"""On SQLite texts lie in the order of their arrival, and only the index on their digests is in the digests' own.

By digest every text was written to, and later read from, a page of its own: the more there were, the dearer each.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return  # PostgreSQL's tables have no order of their own
    op.create_table(
        "contents_by_arrival",
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("content_hash"),
    )
    op.execute("INSERT INTO contents_by_arrival SELECT content_hash, size, data FROM contents")
    op.drop_table("contents")
    op.rename_table("contents_by_arrival", "contents")
