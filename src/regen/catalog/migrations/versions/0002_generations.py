"""Several generations: when one was retained, and its probe vectors."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("retained_at", sa.Float(), nullable=True))
    op.add_column("generations", sa.Column("probes", sa.LargeBinary(), nullable=True))
