"""Workers: ranges of documents as leases, who embeds which text, who is at work."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("asked_at", sa.Float(), nullable=True))
    op.add_column("intents", sa.Column("lease", sa.BigInteger(), nullable=True))
    op.add_column("leases", sa.Column("generation", sa.Integer(), nullable=True))
    op.add_column("leases", sa.Column("above", sa.BigInteger(), nullable=True))
    op.add_column("leases", sa.Column("upto", sa.BigInteger(), nullable=True))
    op.create_table(
        "text_claims",
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("text_key", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "text_key"),
        sqlite_with_rowid=False,
    )
    op.create_index("text_claims_by_token", "text_claims", ["token"])
    op.create_table(
        "workers",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("owner"),
    )
