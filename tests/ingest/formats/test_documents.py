"""What records mean is kept until they are decoded, and not without end."""

from detector.ingest.formats.decoder import several
from detector.ingest.formats.documents import Documents
from tests.ingest.formats.test_registry import decoder, samples


def test_the_oldest_go_where_too_many_are_kept() -> None:
    """By their bytes, whether they are decoded later or not."""
    documents = Documents()
    values = [f"{number:07}".encode() * 1000 for number in range(1000)]
    for value in values:
        documents.keep(value, [value])
        documents.keep(value, [])
    kept = [documents.take(value) for value in values]
    assert kept[0] is None
    assert kept[-1] == [values[-1]]
    assert 500 < sum(document is not None for document in kept) < 600
    assert not any(documents.take(value) for value in values)


def test_a_record_whose_time_was_read_gives_the_same_events() -> None:
    """With the format named and recognised, the same record twice as well."""
    for name in ("apisix", "sagemaker", "auto"):
        plain, timed = decoder(name), decoder(name)
        for record, _ in samples(name) * 2:
            timed.time_of(record)
            timed.time_of(record)
            assert repr(several(timed.decode(record))) == repr(several(plain.decode(record)))
