from studio.services.series import Series


def flat_with_a_spike(count: int, at: int) -> Series:
    return Series((step, 9.0 if step == at else 1.0) for step in range(count))


def test_a_spike_survives_thinning():
    thinned = flat_with_a_spike(100_000, 54_321).thinned(600)
    assert (54_321.0, 9.0) in list(thinned)
    assert thinned[-1] == (99_999.0, 1.0)
    assert len(thinned) <= 602


def test_few_points_stay_as_they_are():
    points = Series([(1, 2.0), (2, 1.0)])
    assert points.thinned(2) is points


def test_the_smoothed_series_starts_at_the_first_value():
    assert Series([(1, 4.0), (2, 4.0)]).smoothed(9, 100) == ((1, 4.0), (2, 4.0))


def test_smoothing_over_one_point_changes_nothing():
    points = Series([(1, 4.0), (2, 1.0), (3, 2.0)])
    assert points.smoothed(1, 100) == points


def test_a_long_series_is_smoothed_to_what_all_of_its_points_come_to():
    """A step from 0 to 1 in the middle: where few points are drawn the average is where it is with all of them."""
    points = Series((step, float(step >= 5_000)) for step in range(10_000))
    whole = dict(points.smoothed(1_000, 10_000))
    for step, value in points.smoothed(1_000, 500):
        assert abs(value - whole[step]) < 0.02


def test_what_came_after_a_step_is_dropped():
    points = Series([(1, 4.0), (2, 1.0), (3, 2.0)])
    assert points.up_to(2) == ((1, 4.0), (2, 1.0))
    assert (points.at(2), points.at(7)) == (1.0, None)
