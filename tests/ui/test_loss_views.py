from __future__ import annotations

import re

from studio.ui import loss_views
from studio.ui.i18n import words
from studio.ui.page import Draft

EN = words("en")
ASKED = loss_views.Asked(Draft("d"), "r", 3, "key", None, "token")
TEXTS = ["<s>", "a", "<b>", "c"]
BASE = [None, 4.5, 0.05, 1.0]
TUNED = [None, 0.3, 0.01, 0.2]


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_both_models_have_their_means_levels_and_numbers() -> None:
    heat = loss_views.heat(EN, ASKED, TEXTS, BASE, TUNED, "run one")
    assert (heat["key"], heat["place"], heat["token"], heat["done"]) == ("key", 3, "token", True)
    assert heat["levels"] == ["-502", "-101"]
    assert heat["values"] == {"base": BASE, "tuned": TUNED}
    assert plain(heat["heads"][0]).startswith("Base model mean loss 1.850 over 3 trained tokens")
    assert plain(heat["heads"][1]).startswith("After run one mean loss 0.170 over 3 trained tokens (-1.680)")


def test_without_a_run_there_is_one_side() -> None:
    heat = loss_views.heat(EN, ASKED, TEXTS, BASE, None)
    assert (len(heat["heads"]), len(heat["levels"]), list(heat["values"])) == (1, 1, ["base"])


def test_the_hardest_tokens_are_listed_as_text() -> None:
    html = loss_views.hardest(EN, BASE, TEXTS)
    assert re.findall(r'<td class="num">(\d+)</td><td class="mono">(.*?)</td>', html) == [
        ("2", "a"),
        ("4", "c"),
        ("3", "&lt;b&gt;"),
    ]


def test_a_row_without_a_trained_token_says_so() -> None:
    assert "No token of this row is trained" in loss_views.heat(EN, ASKED, ["a"], [None], None)["heads"][0]


def test_a_level_is_higher_the_less_a_token_was_expected() -> None:
    assert loss_views.levels([0.0, 0.1, 0.11, 0.5, 0.9, 1.5, 3.0, 4.0, 4.1]) == "001123445"


def test_what_is_asked_comes_from_a_browser_and_may_be_anything() -> None:
    told = {"draft": {"dataset": "d"}, "run": "r", "place": 3, "key": "key", "limit": None, "token": "token"}
    assert loss_views.Asked.from_json(told) == ASKED
    assert loss_views.Asked.from_json(None) == loss_views.Asked(Draft(), "", 0, "", None, "")
    assert loss_views.Asked.from_json({"place": "3", "limit": "x"}).place == 0


def test_while_it_is_worked_out_or_fails_both_sides_say_so() -> None:
    waiting = loss_views.waiting(ASKED, "Loading <it> …")
    assert [plain(head) for head in waiting["heads"]] == ["Loading &lt;it&gt; …"] * 2
    assert (waiting["done"], loss_views.failed(ASKED, "<p>no</p>")["done"]) == (False, True)
