"""Which versions count: the active ones, or those that were active at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_

from rag.stores.tables import KEPT, VersionRow, VersionStatus

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement


def visible(as_of: datetime | None = None) -> ColumnElement[bool]:
    """A condition on ``document_versions``: active now, or, with ``as_of``, active at that moment."""
    if as_of is None:
        return VersionRow.status == VersionStatus.ACTIVE
    begun = VersionRow.created_at <= as_of
    return and_(VersionRow.status.in_(KEPT), begun, or_(VersionRow.retired_at.is_(None), VersionRow.retired_at > as_of))
