from __future__ import annotations

import re

from studio.ui import loss_views
from studio.ui.i18n import words

EN = words("en")
TEXTS = ["<s>", "a", "<b>", "c"]
BASE = [None, 4.5, 0.05, 1.0]
TUNED = [None, 0.3, 0.01, 0.2]


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_both_models_have_their_means_levels_and_numbers() -> None:
    heat = loss_views.heat(EN, "key", 3, TEXTS, BASE, TUNED, "run one")
    assert (heat["key"], heat["place"]) == ("key", 3)
    assert heat["levels"] == ["-502", "-101"]
    assert heat["values"] == {"base": BASE, "tuned": TUNED}
    assert plain(heat["heads"][0]).startswith("Base model mean loss 1.850 over 3 trained tokens")
    assert plain(heat["heads"][1]).startswith("After run one mean loss 0.170 over 3 trained tokens (-1.680)")


def test_without_a_run_there_is_one_side() -> None:
    heat = loss_views.heat(EN, "key", 3, TEXTS, BASE, None)
    assert (len(heat["heads"]), len(heat["levels"]), list(heat["values"])) == (1, 1, ["base"])


def test_the_hardest_tokens_are_listed_as_text() -> None:
    html = loss_views.hardest(EN, BASE, TEXTS)
    assert re.findall(r'<td class="num">(\d+)</td><td class="mono">(.*?)</td>', html) == [
        ("2", "a"),
        ("4", "c"),
        ("3", "&lt;b&gt;"),
    ]


def test_a_row_without_a_trained_token_says_so() -> None:
    assert "No token of this row is trained" in loss_views.heat(EN, "k", 1, ["a"], [None], None)["heads"][0]


def test_a_level_is_higher_the_less_a_token_was_expected() -> None:
    assert loss_views.levels([0.0, 0.1, 0.11, 0.5, 0.9, 1.5, 3.0, 4.0, 4.1]) == "001123445"
