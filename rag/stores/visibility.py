"""Which versions count: the active ones, or those that were active at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_

from rag.stores.tables import VersionRow, VersionStatus

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement

# Written or leaving. Not whatever is neither active nor retired: a status that is damaged is none of these.
UNSEEN: Final = VersionRow.status.in_([VersionStatus.STAGED, VersionStatus.LEAVING])
# The active version's text in other chunks, which nobody reads.
_CUTS: Final = (VersionStatus.CUTTING, VersionStatus.PREPARED, VersionStatus.SHELVED)
OTHER_CUTS: Final = VersionRow.status.in_(_CUTS)
# The active version, and its text in other chunks: what is said of the one holds for the others.
OF_PRESENT: Final = VersionRow.status.in_([VersionStatus.ACTIVE, *_CUTS])
_HIDDEN: Final = (VersionStatus.STAGED, VersionStatus.LEAVING, *_CUTS)
ACTIVE: Final = VersionRow.status == VersionStatus.ACTIVE
# What somebody may still read, now or in the past.
KEPT: Final = VersionRow.status.not_in(_HIDDEN)
_PRESENT: Final = VersionRow.status.not_in([*_HIDDEN, VersionStatus.RETIRED])


def visible(as_of: datetime | None = None) -> ColumnElement[bool]:
    """A condition on ``document_versions``: active now, or, with ``as_of``, active at that moment.

    Not the known states alone: of one that is damaged a reader shall hear, see ``rag.stores.reading.require_version``.
    """
    if as_of is None:
        return _PRESENT
    begun = VersionRow.created_at <= as_of
    return and_(KEPT, begun, or_(VersionRow.retired_at.is_(None), VersionRow.retired_at > as_of))
