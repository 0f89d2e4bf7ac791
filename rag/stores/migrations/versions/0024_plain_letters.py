"""Terms without letters that other keyboards lack, so that ``lodz`` finds ``Łódź``; Turkish ones in its lower case."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rag.stores.full_text.analysis import add_missing_terms

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

LETTERS = {"ł": "l", "đ": "d", "ø": "o", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}


def upgrade() -> None:
    table = sa.table("chunk_terms", sa.column("text", sa.Text), sa.column("context", sa.Text))
    plain: dict[str, sa.ColumnElement[str]] = {"text": table.c.text, "context": table.c.context}
    for letter, written in LETTERS.items():
        plain = {name: sa.func.replace(value, letter, written) for name, value in plain.items()}
    any_of_them = f"*[{''.join(LETTERS)}]*"
    holding = sa.or_(*(column.op("GLOB")(any_of_them) for column in table.c))
    op.execute(table.update().where(holding).values(plain))  # the triggers bring the index along
    op.execute(
        "DELETE FROM chunk_terms WHERE chunk_id IN (SELECT c.id FROM document_versions v"
        " JOIN chunks c ON c.version_id = v.id WHERE v.language = 'tr')"
    )
    add_missing_terms(op.get_bind())
