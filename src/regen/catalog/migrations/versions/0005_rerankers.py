"""Rerankers: how searches fared with them, and whether they help on the judged queries."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rerankers",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("reranked", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("skipped", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("timeouts", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("failures", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("last_error", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("failed_at", sa.Float(), nullable=True),
        sa.Column("helps", sa.Boolean(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("judged_at", sa.Float(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("alias", "model"),
    )
