"""Several generations: when one was retained, its probe vectors, and what decides a backfill's order."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("retained_at", sa.Float(), nullable=True))
    op.add_column("generations", sa.Column("probes", sa.LargeBinary(), nullable=True))
    op.add_column("generations", sa.Column("options", sa.Text(), nullable=True))
    op.create_table(
        "usage",
        sa.Column("doc_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("queries", sa.BigInteger(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("doc_key"),
    )
