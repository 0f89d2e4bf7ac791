"""English words that say nothing about what a question is about. They are dropped from queries, never from texts."""

from __future__ import annotations

from typing import Final

STOP_WORDS: Final = frozenset(
    """
    a about after again all also am an and any are as at be because been before being between both but by can could
    did do does doing don during each either else ever few for from further had has have having he her here hers him
    himself his how i if in into is isn it its itself just let me might more most must my myself neither no nor not
    of off on once only or other ought our ours ourselves out over own please shall she should so some such t than
    that the their theirs them themselves then there these they this those though through to too under until up upon
    us very was we were what whatever when where whether which while who whom whose why will with within without would
    you your yours yourself yourselves s d ll m re ve tell give explain describe
    """.split()
)
