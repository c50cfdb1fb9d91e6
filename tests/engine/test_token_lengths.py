from studio.engine.token_lengths import TokenLengths, length_findings, token_lengths


def test_the_suggestion_is_the_smallest_usual_length_that_keeps_99_percent_whole() -> None:
    lengths = [*range(1, 981), *[1_500] * 15, *[9_000] * 5]
    found = token_lengths(lengths, 100_000)
    assert found == TokenLengths(500, 900, 950, 1_500, 9_000, 2_048, 99.5)


def test_it_is_never_more_than_the_longest_row_or_than_the_model_can_see() -> None:
    short = token_lengths([10, 20, 30], 2_048)
    long = token_lengths([5_000] * 10, 2_048)
    assert short is not None
    assert (short.suggested, short.whole) == (30, 100.0)
    assert long is not None
    assert (long.suggested, long.whole) == (2_048, 0.0)


def test_99_of_100_rows_are_99_percent() -> None:
    found = token_lengths([100] * 99 + [300], 1_024)
    assert found is not None
    assert (found.p99, found.suggested, found.whole) == (100, 128, 99.0)


def test_without_rows_nothing_is_said() -> None:
    assert length_findings([], 2_048) == []
    (said,) = length_findings([64, 64], 2_048)
    assert (said.check, said.severity, said.rows) == ("token_lengths", "info", ())
    assert said.remedy.startswith("A maximum length of 64 keeps 100.0 % of the rows whole.")
