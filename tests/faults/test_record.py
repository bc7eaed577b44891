"""The page of the faults is what the record says, and the record says that all ended as promised."""

from tests.faults import record


def test_page_is_rendered_from_the_record():
    rows = record.read_rows()
    assert record.PAGE.read_text() == record.page(rows)
    assert all(row["ended_as_promised"] == row["times"] > 0 for row in rows)
