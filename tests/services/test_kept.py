from __future__ import annotations

from array import array

from studio.domain.encoded import Encoded
from studio.services.kept import Kept
from studio.services.plan import bytes_of


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    kept = Kept[str](10, len)
    for key in "abc":
        kept.get(key, lambda key=key: key * 4)  # type: ignore[misc]
    assert [key in kept for key in "abc"] == [False, True, True]
    assert kept.get("b", lambda: "made anew") == "bbbb"
    kept.get("d", lambda: "dddd")
    assert [key in kept for key in "bcd"] == [True, False, True]


def test_the_last_one_stays_even_where_it_is_too_large() -> None:
    kept = Kept[str](10, len)
    kept.get("small", lambda: "aaaa")
    kept.get("large", lambda: "b" * 11)
    assert kept.get("large", lambda: "made anew") == "b" * 11
    assert "small" not in kept
    kept.get("small", lambda: "aaaa")
    assert "large" not in kept


def test_encoded_rows_are_weighed_with_ids_labels_and_what_holds_them() -> None:
    empty, long = (Encoded(array("i", range(n)), array("i", range(n)), (), "") for n in (0, 10_000))
    rows = [long] * 3, [empty]
    assert 3 * 80_000 < bytes_of(rows) < 3 * 80_000 + 4_000
    assert bytes_of(([], [empty])) > 100
