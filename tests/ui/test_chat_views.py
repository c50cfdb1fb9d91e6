from studio.domain.answer import Answer
from studio.domain.chat import Conversation, Message
from studio.ui import chat_views
from studio.ui.chat_views import Round
from studio.ui.i18n import words

EN = words("en")


def row(number: int, prompt: str, response: str, system: str = "") -> Conversation:
    first = (Message("system", system),) if system else ()
    return Conversation((*first, Message("user", prompt), Message("assistant", response)), number)


def test_what_a_model_writes_is_never_markup():
    answer = Answer('<img src="http://x/y.png"> ![a](http://x/z.png)', 9, 1.0, "end")
    drawn = chat_views.talk(EN, [Round("<script>", "", {"base": answer, "tuned": answer})])
    assert "<img" not in drawn
    assert "<script" not in drawn
    assert "![a](http://x/z.png)" in drawn


def test_line_breaks_stay():
    assert chat_views.prose("a\nb") == '<p class="prose-text">a\nb</p>'


def test_a_code_block_that_is_still_open_is_code_already():
    assert (
        chat_views.prose("see\n```py\nx = 1") == '<p class="prose-text">see</p><pre class="code">x = 1</pre>'
    )


def test_each_side_keeps_its_own_history():
    rounds = [Round("a", "", {"base": Answer("b"), "tuned": Answer("c")}), Round("d")]
    assert [m.content for m in chat_views.history(rounds, "base", "s")] == ["s", "a", "b", "d"]
    assert [m.content for m in chat_views.history(rounds, "tuned", "s")] == ["s", "a", "c", "d"]


def test_no_system_message_is_sent_where_there_is_none():
    assert [m.role for m in chat_views.history([Round("a")], "base", " ")] == ["user"]


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
    def drawn(reason: str) -> str:
        answers = {"base": Answer("no", 1, 1.0, "end"), "tuned": Answer("yes\n", 1, 1.0, reason)}
        return chat_views.talk(EN, [Round("p", "yes", answers)])

    assert "As expected" not in drawn("")
    assert drawn("end").count("As expected") == 1


def test_figures_of_an_answer():
    drawn = chat_views.talk(EN, [Round("p", "", {"base": Answer("a", 20, 4.0, "length"), "tuned": Answer()})])
    assert "20 tokens · 4.0 s · 5.0 tokens a second · reached the limit" in drawn


def test_while_the_model_loads_both_sides_say_so():
    assert chat_views.talk(EN, [Round("p")], "loading").count("Loading the model (about 10 s) …") == 2
