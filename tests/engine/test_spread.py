import pickle
import random
from pathlib import Path

from studio.domain.chat import Conversation, Message, ToolCall
from studio.engine.dataset import read
from studio.engine.hash_sample import HashSample, text_hash
from studio.engine.spread import Lengths, Spread, Spreading, distinct_n, form, language
from studio.engine.task_words import OTHER, TASKS, task_of

GENERAL = Path(__file__).parents[2] / "assets" / "general" / "general.jsonl"


def row(prompt: str, response: str, *before: Message) -> Conversation:
    return Conversation((*before, Message("user", prompt), Message("assistant", response)))


def spread_of(conversations: list[Conversation]) -> Spread:
    spread = Spread()
    for conversation in conversations:
        spread.add(conversation)
    return spread


def result_of(*conversations: Conversation) -> Spreading:
    return spread_of(list(conversations)).result()


def test_rows_in_any_order_and_from_any_shards_give_the_same_result() -> None:
    rows = read(GENERAL).conversations
    whole = spread_of(rows).result()
    mixed = random.Random(7).sample(rows, len(rows))
    shards = [pickle.loads(pickle.dumps(spread_of(mixed[start::3]))) for start in range(3)]
    joined = Spread()
    for shard in shards:
        joined.merge(shard)
    assert joined.result() == whole
    assert whole.rows == 520
    assert whole.has == {"system": 129}
    assert whole.turns == {1: 472, 2: 34, 3: 12, 4: 2}
    assert whole.distinct_responses == 520


def test_an_empty_set_has_a_result_too() -> None:
    assert Spread().result().to_json()["rows"] == 0
    assert Spread().result().prompts.p50 == 0


def test_what_a_row_has_is_counted() -> None:
    calling = Message("assistant", "", reasoning="Look.", tool_calls=(ToolCall("now"),))
    with_tools = Conversation((Message("user", "What time is it?"), calling), tools=("{}",))
    found = result_of(with_tools, row("Summarize this.", "It rains.", Message("system", "Be brief.")))
    assert found.has == {"reasoning": 1, "system": 1, "tools": 1}
    assert found.forms == {"call": 1, "prose": 1}
    assert found.tasks == {"open_question": 1, "summary": 1}
    assert found.openings == {"summarize": 1, "what": 1}


def test_percentiles_are_those_of_the_lengths_to_two_percent() -> None:
    lengths = Lengths()
    values = list(range(1, 10_001))
    for value in values:
        lengths.add(value)
    for percent in (5, 50, 95, 99):
        exact = values[percent * 100 - 1]
        assert abs(lengths.percentile(percent) - exact) <= 0.023 * exact
    assert lengths.result().longest == 10_000


def test_distinct_n_tells_repeated_answers_from_different_ones() -> None:
    same = result_of(*[row(f"Question {n}", "The answer is always the same.") for n in range(50)])
    different = result_of(*[row(f"Question {n}", f"w{n} x{n} y{n} z{n}") for n in range(50)])
    assert same.distinct_n[0] == 5 / 300
    assert different.distinct_n == (1.0, 1.0, 1.0)
    assert (same.distinct_responses, different.distinct_responses) == (1, 50)


def test_a_chinese_character_is_a_word() -> None:
    assert distinct_n([("天天", 1)]) == ((0.5, 1.0, 0.0), 2)


def test_the_number_of_different_texts_is_estimated_from_a_sample() -> None:
    sample: HashSample[int] = HashSample(2_000)
    for number in range(50_000):
        sample.add(text_hash(f"text {number % 20_000}"), number % 20_000)
    assert len(sample) == 2_000
    assert abs(sample.distinct() - 20_000) < 0.07 * 20_000
    assert {times for number, times in sample.items() if number < 10_000} == {3}


def test_languages_and_forms_are_told_from_what_stands_there() -> None:
    assert language("Пчёлы собирают нектар с цветов") == "cyrillic"
    assert language("Die Katze ist nicht auf dem Dach und sie schläft.") == "German"
    assert form("| a | b |\n| 1 | 2 |") == "marked"
    assert form("{not json}") == "prose"
    assert form("SELECT name FROM birds") == "code"
    assert form(" ") == "empty"


def test_the_first_word_that_says_something_tells_the_task() -> None:
    told = {
        "Write a haiku about snow.": "creative_writing",
        "How do I write a Python function that sorts?": "coding",
        "Classify these animals.": "classification",
        "比较猫和狗。": "comparison",
        "帮我写一封请假邮件": "letter",
        "Tulips": OTHER,
    }
    assert {prompt: task_of(prompt)[0] for prompt in told} == told
    assert set(told.values()) <= {*TASKS, OTHER}
