"""Generations in several stores, evaluations that promotions rest on, and a log of queries."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("store", sa.Text(), nullable=True))
    op.add_column("generations", sa.Column("paused", sa.Text(), nullable=True))
    op.add_column("alias_history", sa.Column("evaluation", sa.Integer(), nullable=True))
    op.add_column("alias_history", sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("against", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("evaluated_at", sa.Float(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("evaluations_by_generation", "evaluations", ["alias", "generation"])
    op.create_table(
        "queries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("returned", sa.Text(), nullable=False),
        sa.Column("clicked", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("queries_by_time", "queries", ["alias", "asked_at"])
