"""Rollouts: how an alias's searches are answered while two generations serve, and what each search was part of."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("aliases", sa.Column("rollout", sa.Integer(), nullable=True))
    op.add_column("aliases", sa.Column("rollout_version", sa.Integer(), nullable=True))
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("candidate", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("queries", sa.Column("rollout", sa.Integer(), nullable=True))
    op.add_column("queries", sa.Column("arm", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("queries", sa.Column("milliseconds", sa.Float(), nullable=False, server_default=sa.text("0")))
    op.add_column("queries", sa.Column("failed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("queries", sa.Column("key", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("queries", sa.Column("teams", sa.Text(), nullable=False, server_default=sa.text("'[]'")))
    op.create_index("queries_by_rollout", "queries", ["rollout", "asked_at"])
