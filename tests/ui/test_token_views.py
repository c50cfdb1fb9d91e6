from __future__ import annotations

import re

from studio.domain import visible_text
from studio.domain.encoded import IGNORED, Encoded
from studio.ui import token_views
from studio.ui.i18n import words

EN = words("en")
EVIL = '<script>alert("x")</script>'
ROW = Encoded(
    input_ids=(1, 10, 2, 20, 2),
    labels=(IGNORED, IGNORED, IGNORED, 20, 2),
    spans=((0, 3), (3, 6), (6, 9), (9, 12), (12, 15), (15, 17)),
    text="<s>ask<e>yes<e>\n!",
    row=4,
    cut_ids=(30,),
)


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def drawn(row: Encoded, *special: int) -> str:
    return "".join(token_views.pieces(row, special))


def letters(text: str, trained: int = 0) -> Encoded:
    """A token a character, the last `trained` of which are learnt."""
    ids = tuple(range(len(text)))
    labels = tuple(IGNORED if place < len(text) - trained else place for place in ids)
    return Encoded(ids, labels, tuple((place, place + 1) for place in ids), text)


def test_a_token_is_trained_masked_or_cut_and_stands_in_a_run_of_its_kind() -> None:
    assert drawn(ROW, 1, 2) == (
        '<span class="tok masked"><b class="s">&lt;s&gt;</b><b>ask</b><b class="s">&lt;e&gt;</b></span>'
        '<span class="tok trained"><b>yes</b><b class="s">&lt;e&gt;</b></span>'
        '<span class="tok cut"><b><em>↵\n</em>!</b></span>'
    )


def test_the_shares_are_said_in_words_and_the_legend_names_the_kinds() -> None:
    said = plain(token_views.shares(EN, [ROW]))
    assert "2 trained of 6 tokens (33 %)" in said
    for legend in ("Trained 2 · 33 %", "Masked 3 · 50 %", "Cut off 1 · 17 %", "Special token"):
        assert legend in said


def test_the_text_alternative_lists_the_runs_word_for_word() -> None:
    assert plain(token_views.as_text(EN, [ROW], ())).endswith(
        "masked: &lt;s&gt;ask&lt;e&gt; 3 tokens trained: yes&lt;e&gt; 2 tokens cut off: ↵ ! 1 token"
    )


def test_the_text_alternative_names_special_tokens_but_not_what_is_only_spelled_like_one() -> None:
    typed = Encoded((1, 5, 2), (IGNORED,) * 3, ((0, 3), (3, 6), (6, 9)), "<e><e>\n\t ", 1)
    (_, shown) = token_views.as_text(EN, [typed], (1,)).split("<ol")
    assert '<b class="s"><i>special token </i>&lt;e&gt;</b>&lt;e&gt;<em>↵\n⇥·</em></span>' in shown


def test_each_special_token_is_named_by_itself_and_no_character_is_lost() -> None:
    (run,) = visible_text.stretches(letters("ab-cd"), (0, 1))
    assert [(part.start, part.end, part.special) for part in run.parts] == [
        (0, 1, True),
        (1, 2, True),
        (2, 5, False),
    ]
    gaps = Encoded((1, 2), (IGNORED, 2), ((0, 1), (2, 3)), "a-b...")
    texts = [
        gaps.text[part.start : part.end] for run in visible_text.stretches(gaps, (2,)) for part in run.parts
    ]
    assert texts == ["a", "-", "b", "..."]


def test_the_first_token_is_never_trained_as_nothing_predicts_it() -> None:
    assert visible_text.kind(Encoded((7,), (7,), ((0, 1),), "a"), 0) == "masked"


def test_new_lines_and_tabs_are_seen_and_markup_is_text() -> None:
    row = Encoded((1, 2), (IGNORED, 2), ((0, len(EVIL)), (len(EVIL), len(EVIL) + 2)), EVIL + "\n\t")
    html = drawn(row)
    assert "<script" not in html
    assert "<b><em>↵\n⇥</em></b>" in html
    assert "<script" not in token_views.as_text(EN, [row], ())


def test_spaces_are_dots_where_they_could_be_overlooked_and_only_there() -> None:
    row = Encoded((1, 2, 3, 4), (IGNORED,) * 4, ((0, 1), (1, 7), (7, 10), (10, 11)), "a b  c \n>X ")
    assert drawn(row) == (
        '<span class="tok masked"><b>a</b><b> b<em>··</em>c<em>·</em></b><b><em>↵\n</em>&gt;X</b>'
        "<b><em>·</em></b></span>"
    )


def test_a_space_at_the_border_of_what_is_trained_or_beside_a_special_token_is_a_dot() -> None:
    row = Encoded((1, 2, 9), (IGNORED, 2, 9), ((0, 1), (1, 4), (4, 7)), "q a <e>")
    assert '<span class="tok trained"><b><em>·</em>a </b>' in drawn(row)
    assert '<span class="tok trained"><b><em>·</em>a<em>·</em></b>' in drawn(row, 9)


def test_characters_that_cannot_be_seen_are_named_but_joiners_within_an_emoji_stay() -> None:
    text = "a\u200b\u00a0👨\u200d👩"
    row = Encoded((1, 2), (IGNORED, 2), ((0, 3), (3, 6)), text)
    assert "<b>a<em>⟨200B⟩⍽</em></b>" in drawn(row)
    assert "<b>👨\u200d👩</b>" in drawn(row)
    assert "<em>⟨200D⟩</em>" in drawn(letters("a\u200d"))


def test_a_character_of_several_tokens_is_written_once() -> None:
    row = Encoded((1, 2, 3), (IGNORED, 2, 3), ((0, 1), (0, 1), (1, 2)), "€x")
    assert re.findall(r"<b>([^<]*)</b>", drawn(row)) == ["€", "◌", "x"]


def test_text_that_stands_for_no_token_is_shown_all_the_same() -> None:
    row = Encoded((1, 2), (IGNORED, 2), ((0, 1), (2, 3)), "a-b...")
    assert "<i>-</i>" in drawn(row)
    assert drawn(row).endswith("<i>...</i>")


def test_a_long_row_comes_in_pieces_that_make_the_same_row_and_none_is_left_out() -> None:
    row = letters("x" * 1000, trained=400)
    pieces = token_views.pieces(row, (), first=100, further=250)
    assert [piece.count("<b>") for piece in pieces] == [200, 500, 300]
    assert pieces[2].startswith('<span class="tok trained">')
    assert all(piece.count("<span") == piece.count("</span>") for piece in pieces)


def test_a_piece_ends_where_a_line_does_if_one_ends_in_good_time() -> None:
    pieces = token_views.pieces(letters("12345678\n90" + "x" * 19 + "\n!"), (), first=6, further=10)
    assert [piece.count("<b>") for piece in pieces] == [9, 20, 3]


def test_a_row_that_the_template_refuses_has_no_tokens() -> None:
    assert token_views.pieces(Encoded((), (), (), ""), ()) == [""]
    assert plain(token_views.shares(EN, [Encoded((), (), (), "")])).startswith("0 trained of 0 tokens (0 %)")
