"""What an ingest says at its end, and when it cannot go on."""

from contextlib import suppress

import pytest

from indexer.commands.ingest import sentence
from indexer.commands.ingest_display import IngestDisplay
from indexer.report import IngestReport, Outcome, SourceFailure, SourceResult
from rag.errors import DiskFull, SourceDamaged

TAKEN = SourceResult(uri="file:///a.md", outcome=Outcome.INGESTED, document_id=1, chunks=2)
FAILED = SourceResult(
    uri="file:///b.pdf",
    outcome=Outcome.FAILED,
    failure=SourceFailure.of("file:///b.pdf", SourceDamaged("b.pdf is damaged.")),
)


def stopped_after(*results: SourceResult, error: BaseException) -> None:
    display = IngestDisplay(stop=lambda: False)
    with suppress(type(error)), display:
        for result in results:
            display.finished(result)
        raise error


def test_what_was_done_before_an_error_is_told(capsys):
    stopped_after(TAKEN, FAILED, TAKEN, error=DiskFull("The disk is full."))
    assert "stopped with 2 files done; the next run goes on with the others" in capsys.readouterr().err


@pytest.mark.parametrize(("results", "error"), [((FAILED,), DiskFull("The disk is full.")), ((TAKEN,), SystemExit())])
def test_nothing_is_said_where_nothing_was_done_or_nothing_went_wrong(capsys, results, error):
    stopped_after(*results, error=error)
    assert "done" not in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "told"), [(4.2, "2 chunks in 4.2 s"), (1.0, "2 chunks in 1.0 s, 2/s")])
def test_a_rate_of_none_a_second_is_not_told(seconds, told):
    assert sentence(IngestReport(results=[TAKEN], seconds=seconds)) == f"1 ingested; {told}"
