from studio.domain.answer import Answer, ChatSettings
from studio.domain.chat import Conversation, Message
from studio.domain.talk import Talk, Turn
from studio.engine.choices import Choice, Likely
from studio.services.talk_prompts import Fit
from studio.ui import chat_views, odds_views
from studio.ui.chat_desk import Desk, Wait
from studio.ui.i18n import words

EN = words("en")
DONE = {side: Answer("said", 1, 1.0, "end") for side in ("base", "tuned")}


def row(number: int, prompt: str, response: str, system: str = "") -> Conversation:
    first = (Message("system", system),) if system else ()
    return Conversation((*first, Message("user", prompt), Message("assistant", response)), number)


def drawn(turn: Turn, wait: Wait = Wait()) -> str:  # noqa: B008 (a constant)
    return chat_views.talk(EN, Desk(Talk(turns=(turn,), tip=turn.id)), {}, wait)


def test_what_a_model_writes_is_never_markup():
    answer = Answer('<img src="http://x/y.png"> ![a](http://x/z.png)', 9, 1.0, "end")
    turn = Turn("<script>", answers={"base": answer, "tuned": answer})
    for shown in (drawn(turn), chat_views.marked(EN, turn, "base", {})):
        assert "<img" not in shown
        assert "<script" not in shown
        assert "![a](http://x/z.png)" in shown


def test_line_breaks_stay():
    assert chat_views.prose("a\nb") == '<p class="prose-text">a\nb</p>'


def test_a_code_block_that_is_still_open_is_code_already():
    assert (
        chat_views.prose("see\n```py\nx = 1") == '<p class="prose-text">see</p><pre class="code">x = 1</pre>'
    )


def test_examples_come_from_all_over_the_held_out_rows():
    rows = [row(number, f"p{number}", f"r{number}") for number in range(1, 9)]
    assert [example.row for example in chat_views.examples(rows)] == [1, 3, 5, 7]


def test_examples_with_the_same_answer_are_avoided():
    rows = [row(1, "p", "same"), row(2, "q", "same"), row(3, "r", "other")]
    assert [example.row for example in chat_views.examples(rows)] == [1, 3]


def test_a_row_without_a_prompt_is_no_example():
    assert chat_views.examples([Conversation((Message("assistant", "hello"),), 1)]) == []


def test_a_system_message_is_shared_only_if_all_rows_have_it():
    assert (
        chat_views.shared_system([row(1, "p", "r", "be short"), row(2, "p", "r", "be short")]) == "be short"
    )
    assert chat_views.shared_system([row(1, "p", "r", "be short"), row(2, "p", "r")]) == ""


def test_an_answer_equal_to_the_expected_one_is_marked_once_it_is_complete():
    def shown(reason: str) -> str:
        answers = {"base": Answer("no", 1, 1.0, "end"), "tuned": Answer("yes\n", 1, 1.0, reason)}
        return drawn(Turn("p", expected="yes", answers=answers))

    assert "As expected" not in shown("")
    assert shown("end").count("As expected") == 1


def test_figures_of_an_answer():
    turn = Turn("p", settings=ChatSettings(seed=4), answers={"base": Answer("a", 20, 4.0, "length")})
    assert "20 tokens · 4.0 s · 5.0 tokens a second · reached the limit · seed 4" in drawn(turn)


def test_while_the_model_loads_it_is_said_how_far_it_is_and_where():
    shown = drawn(Turn("p", sides=("base", "tuned", "other")), Wait("loading", 0.55))
    assert shown.count("Loading the model: reading its weights") == 1
    assert 'aria-valuenow="55"' in shown
    assert "progressbar" not in drawn(Turn("p"), Wait("waiting"))


def test_words_that_only_one_answer_has_are_marked_in_each():
    said = {"base": "a parcel is late", "tuned": "a parcel is here", "other": "a parcel is late"}
    answers = {side: Answer(text, 5, 1.0, "end") for side, text in said.items()}
    turn = Turn("p", sides=tuple(said), answers=answers)
    shown = [chat_views.marked(EN, turn, side, {"tuned": "Tuned"}) for side in said]
    for text, word in zip(shown, ("late", "here", "late"), strict=True):
        assert text.startswith(f'<p class="prose-text">a parcel is <mark class="only">{word}</mark></p>')
    assert "of Tuned, has not" in shown[2]
    same = Turn("p", sides=("base", "tuned"), answers=dict.fromkeys(("base", "tuned"), answers["base"]))
    assert "Word for word the same" in chat_views.marked(EN, same, "tuned", {})


def test_of_several_answers_the_one_most_like_it_is_compared():
    said = {
        "base": "Sure! Here is what I think of it.",
        "tuned": '{"urgency": "high"}',
        "early": '{"urgency": "normal"}',
    }
    turn = Turn(
        "p", sides=tuple(said), answers={side: Answer(text, 5, 1.0, "end") for side, text in said.items()}
    )
    assert '<mark class="only">high</mark>' in chat_views.marked(EN, turn, "tuned", {})
    assert '<mark class="only">normal</mark>' in chat_views.marked(EN, turn, "early", {})
    assert "<mark" not in chat_views.marked(EN, turn, "base", {})


def test_answers_that_share_next_to_nothing_are_not_marked_all_over():
    answers = {"base": Answer("abc def", 2, 1.0, "end"), "tuned": Answer("ghi jkl", 2, 1.0, "end")}
    shown = chat_views.marked(EN, Turn("p", answers=answers), "tuned", {})
    assert "<mark" not in shown
    assert "Almost nothing here stands in another answer" in shown
    twice = Turn("p", answers={**answers, "early": answers["tuned"]})
    assert "the same as Early" in chat_views.marked(EN, twice, "tuned", {"early": "Early"})


def test_the_ways_to_other_branches_stand_beneath_the_message():
    first, second = Turn("a", id="1", answers=DONE), Turn("b", id="2", answers=DONE)
    shown = chat_views.talk(EN, Desk(Talk(turns=(first, second), tip="2")), {})
    assert "2 of 2" in shown
    assert 'data-do="show" data-turn="1"' in shown
    assert ">a<" not in shown


def test_nothing_else_is_asked_while_an_answer_comes_in():
    turn = Turn("a", id="1", answers=DONE)
    assert 'data-do="again"' in chat_views.talk(EN, Desk(Talk(turns=(turn,), tip="1")), {})
    assert "data-do" not in chat_views.talk(EN, Desk(Talk(turns=(turn,), tip="1")), {}, busy=True)


def test_what_does_not_fit_is_said_before_it_is_sent():
    full = Desk(pending=Turn("x"), fit=Fit(300, 512, 2))
    assert "the model reads 512 tokens" in chat_views.note(EN, full)
    assert "from the first on: 2. Then 300 tokens are sent." in chat_views.note(EN, full)


def test_a_probability_is_told_in_words_and_by_more_than_a_colour():
    choice = Choice(Likely(" the", 0.4), (Likely("<b>", 0.3),))
    shown = odds_views.odds(EN, [choice])
    assert 'class="odd doubtful"' in shown
    assert "“·the” 40 %; instead: “&lt;b&gt;” 30 %" in shown
    assert "<b>" not in shown.replace("<b>Token", "")
