"""Defects of one row: for each check, how a defect is planted, and rows that look like it and are not."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from dataclasses import replace

from studio.domain.chat import Conversation, Message, ToolCall
from tests.planted import words
from tests.planted.rows import (
    answered,
    asked,
    chinese,
    clean_rows,
    either,
    english,
    holding,
    saying,
    slipped_in,
    talk,
)

Make = Callable[[random.Random], Conversation]


def pick(make: Callable[[random.Random, str], Conversation], texts: tuple[str, ...]) -> Make:
    return lambda dice: make(dice, dice.choice(texts))


def one_of(*makes: Make) -> Make:
    return lambda dice: dice.choice(makes)(dice)


def _digits(dice: random.Random, count: int) -> str:
    return "".join(dice.choices(string.digits, k=count))


def _letters(dice: random.Random, count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Random characters of which at least one is a digit and one a letter."""
    return "".join(dice.choices(alphabet, k=count - 2)) + dice.choice("237") + dice.choice("abcdef")


# ---- accuracy -----------------------------------------------------------------------------------------------------


def empty_response(dice: random.Random) -> Conversation:
    nothing = dice.choice(
        ("", " ", "\n", "\n\n\n", "\t", "\u3000", "\u00a0", "\u200b", "<think>So.</think>\n")
    )
    row = either(dice)
    if dice.random() < 0.2:
        return talk(row.prompt, nothing, "And then?", row.response)
    if dice.random() < 0.2:
        return replace(
            row, messages=(*row.messages[:-1], Message("assistant", "", reasoning="Hm, let me see."))
        )
    return answered(row, nothing)


def short_response(dice: random.Random) -> Conversation:
    row = either(dice)
    if dice.random() < 0.2:
        call = ToolCall("search", json.dumps({"q": "kettle"}))
        return replace(row, messages=(*row.messages[:-1], Message("assistant", "", tool_calls=(call,))))
    return answered(row, dice.choice(("0", "No.", "42", "好", "👍", "Yes", "x", "{}", "C", "-1")))


def empty_prompt(dice: random.Random) -> Conversation:
    nothing = dice.choice(("", " ", "\n", "\t\n", "\u3000", "\u00a0", "\u200b"))
    row = either(dice)
    return talk("Hello!", "Hello!", nothing, row.response) if dice.random() < 0.2 else asked(row, nothing)


def short_prompt(dice: random.Random) -> Conversation:
    return asked(either(dice), dice.choice(("?", "Hi", "1+1", "嗯", "go on", "…and?", "x")))


def repeats_prompt(dice: random.Random) -> Conversation:
    row = either(dice)
    prompt = row.prompt
    echo = dice.choice(
        (prompt, prompt.lower(), prompt.rstrip("?.!？。"), f"{prompt} {prompt}", f"Q: {prompt}", f"“{prompt}”",
         f"**{prompt}**", f"\n{prompt}\n", f"Question: {prompt}", f"{prompt}…", f"> {prompt}", f"You asked: {prompt}",
         prompt.upper(), f"User: {prompt}")
    )  # fmt: skip
    return talk(row.prompt, row.response, prompt, echo) if dice.random() < 0.15 else answered(row, echo)


def begins_with_prompt(dice: random.Random) -> Conversation:
    row = either(dice)
    return dice.choice(
        (
            answered(row, f"{row.prompt} {row.response}"),
            talk("Good morning!", "Good morning!"),
            talk(f"Correct the mistakes: he {row.prompt.lower()}", f"He {row.prompt.lower()}"),
            talk(f"Say this in capital letters: {row.prompt}", row.prompt.upper()),
            answered(row, f"Q: {row.prompt}\nA: {row.response}"),
        )
    )


def cut_off(dice: random.Random) -> Conversation:
    kind = dice.random()
    if kind < 0.2:
        row = chinese(dice, at_least=120)
        inside = [at for at in range(100, len(row.response) - 2) if row.response[at - 1 : at + 1].isalpha()]
        text = row.response[: dice.choice(inside)]
        text = text if "。" in text else f"{row.response}{text}"
        return answered(row, text)
    if kind < 0.35:
        code = "def total(rows):\n    amount = 0\n    for row in rows:\n        amount += row.price\n    return amount\n"
        fence = dice.choice(("```python\n", "```\n", "~~~\n"))
        return answered(english(dice), f"Here it is:\n\n{fence}{code[: dice.randint(15, len(code))]}")
    if kind < 0.5:
        value = {
            "name": english(dice).prompt,
            "tags": ["a", "b", {"c": dice.random()}],
            "ok": True,
            "n": None,
        }
        text = json.dumps(value, indent=dice.choice((None, 2)))
        return answered(english(dice), text[: dice.randint(12, len(text) - 3)])
    row = english(dice, at_least=260)
    at = dice.randint(200, len(row.response) - 12)
    text = row.response[:at] if dice.random() < 0.3 else row.response[: row.response.rindex(" ", 0, at)]
    return answered(row, text.rstrip(".!?:;—- \n") + dice.choice(("", "", "", ",", " and", " (for example")))


def ends_openly(dice: random.Random) -> Conversation:
    row = english(dice)
    ending = dice.choice(
        (
            "- red apples\n- green pears from the garden\n- blue plums",
            "1. Wash it\n2. Cut it into small pieces\n3. Fry it for ten minutes",
            "Roses are red\nViolets are blue\nSugar is sweet\nAnd so are you",
            "Best regards,\nPeter", "Kind regards,", "Lisbon", "42 km", "SELECT name FROM cities WHERE size > 3",
            "A short history of the kettle", '{"ok": true, "list": [1, 2]}', "print(total([1, 2, 3]))", "x = (a + b) / 2",
            "| a | b |\n|---|---|\n| 1 | 2 |", "#travel #lisbon #summer", "https://example.org/a/long/path/to/a/page",
            "“The unexamined life is not worth living.” – Socrates", "```python\nprint(1)\n```", "Great job 👍", "positive",
            "Total: 12 euros", "苹果、梨和李子", "春眠不觉晓\n处处闻啼鸟", "Yes, of course", "From Oslo to Riga", "a, b, c",
        )
    )  # fmt: skip
    return answered(row, ending) if dice.random() < 0.7 else dice.choice(clean_rows())


def _refused(dice: random.Random, text: str) -> Conversation:
    row = english(dice) if text.isascii() else chinese(dice)
    more = dice.choice(("", "", " Is there something else that I can do for you?", f" {row.response}"))
    return answered(row, text + more)


def placeholder(dice: random.Random) -> Conversation:
    if dice.random() < 0.6:
        return answered(either(dice), dice.choice(words.PLACEHOLDERS))
    if dice.random() < 0.5:
        row = answered(either(dice), dice.choice(words.UNSET))
        return asked(
            row, dice.choice(("Tell me about it.", "How do I go there?", "Write a poem.", "请说说看。"))
        )
    return saying(dice, dice.choice(words.GAPS))


def _misread(dice: random.Random, text: str) -> str:
    encodings = ("latin-1",) if max(text) >= "\u0400" else ("cp1252", "latin-1")
    for encoding in dice.sample(encodings, len(encodings)):
        try:
            return text.encode().decode(encoding)
        except UnicodeDecodeError:
            continue
    return text.encode().decode("latin-1")


_ACCENTED = (
    tuple(
        text
        for language in (
            "German",
            "French",
            "Spanish",
            "Portuguese",
            "Czech",
            "Polish",
            "Vietnamese",
            "Russian",
            "Chinese",
        )
        for text in words.SENTENCES[language]
        if not text.isascii()
    )
    + words.TYPOGRAPHIC
)


def mojibake(dice: random.Random) -> Conversation:
    return holding(dice, _misread(dice, dice.choice(_ACCENTED)))


_MANY_SCRIPTS = tuple(text for texts in words.SENTENCES.values() for text in texts)


def accented(dice: random.Random) -> Conversation:
    odd = (
        "ÇA VA, “CAFÉ”, ÄÖÜ ÅÆØ",
        "São Tomé e Príncipe",
        "“IRMÃ”",
        "5 € – £3 – ¥2 … ½ ¼ ×÷",
        "Ærø, Łódź, Þór, Straße",
        "a²+b²=c²",
    )
    return holding(dice, dice.choice((*_ACCENTED, *_MANY_SCRIPTS, *odd)))


def lost_characters(dice: random.Random) -> Conversation:
    text = dice.choice(_ACCENTED)
    broken = dice.choice(
        (
            text.encode("cp1252", "ignore").decode("utf-8", "replace"),
            "".join(c if c.isascii() else "\ufffd" for c in text),
            f"{text[:9]}锟斤拷{text[9:]}",
            f"{text[:6]}\ufffd{text[6:]}",
        )
    )
    return holding(dice, broken if "\ufffd" in broken or "锟" in broken else broken + "\ufffd")


def nothing_lost(dice: random.Random) -> Conversation:
    return holding(
        dice,
        dice.choice(
            ("What? Who?", "□ done ◇ open", "a ? b : c", "⍰ and ¿qué?", "?????", "锅和斤", *_ACCENTED)
        ),
    )


def control_characters(dice: random.Random) -> Conversation:
    mark = dice.choice(
        ("\x00", "\x07", "\x08", "\x0b", "\x0c", "\x1b[1m", "\x1b[0;31m", "\x7f", "\x85", "\x9d", "\u200b", "\u2060", "\ufeff",
         "\u202e", "\u202a", "\u2066", "\u00ad", "\u200e", "\U000e0041\U000e0042", "\ufffa")
    )  # fmt: skip
    row = either(dice)
    at = dice.randint(1, len(row.response))
    return answered(row, row.response[:at] + mark + row.response[at:])


def harmless_marks(dice: random.Random) -> Conversation:
    mark = dice.choice(
        ("👩\u200d💻", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "a\tb", "a\r\nb", "می\u200cخواهم", "5\u00a0€",
         "\u202bשלום עולם\u202c", "❤\ufe0f", "क्\u200dष", "1\u202f000", "a\u2003b", "\u200fمرحبا")
    )  # fmt: skip
    return holding(dice, mark)


_SUMS = (
    "{a} + {b} = {s}", "{a} - {b} = {d}", "{a} × {b} = {p}", "{a} * {b} = {p}", "{a} x {b} = {p}", "{p0} / {b} = {a}", "{p0} ÷ {b} = {a}",
    "{a} plus {b} is {s}", "{a} times {b} equals {p}", "{a} minus {b} is {d}", "${a} + ${b} = ${s}", "{a}+{b}={s}",
    "{a} multiplied by {b} is {p}", "{a} + {b} + {c} = {t}", "{a} * {b} + {c} = {q}", "{big} + {b} = {bigsum}",
    "the sum of {a} and {b} is {s}", "the difference between {a} and {b} is {d}", "the product of {a} and {b} equals {p}",
    "the average of {c} and {a2} is {mean}", "{wa} plus {wb} is {ws}", "{wa} times two makes {wp}", "{a}和{b}的和是{s}",
    "三加五等于{z}", "1/{b} + 2/{b} = {n3}/{b}", "{c}% of {hundred} is {part}", "{a}加{b}等于{s}", "{a}乘以{b}等于{p}", "{a}.5 + {b}.5 = {s1}",
)  # fmt: skip


_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # noqa: SIM905
_ONES = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
_TENS = "twenty thirty forty fifty".split()  # noqa: SIM905
_WORDS = [*_ONES, *_TEENS, *(f"{ten}-{one}".removesuffix("-zero") for ten in _TENS for one in _ONES)]


def _sum(dice: random.Random, error: int) -> str:
    a, b, c, k = dice.randint(12, 99), dice.randint(3, 11), dice.randint(2, 30), dice.randint(1, 9)
    e = error
    return dice.choice(_SUMS).format(
        a=a, b=b, c=c, s=a + b + e, d=a - b + e, p=a * b + e, p0=a * b + (b * e), t=a + b + c + e, q=a * b + c + e,
        big=f"{k},{a}0", bigsum=f"{k},{a * 10 + b + e:03d}" if a * 10 + b + e < 1000 else f"{k + 1},{a * 10 + b + e - 1000:03d}",
        a2=c + 2 * k, mean=c + k + e, wa=_WORDS[k + 10], wb=_WORDS[b + 1], ws=_WORDS[k + b + 11 + e], wp=_WORDS[2 * k + 20 + e],
        z="八九"[e != 0], n3=3 + abs(e),
        hundred=100 * k, part=c * k + e, s1=a + b + 1 + e,
    )  # fmt: skip


def wrong_arithmetic(dice: random.Random) -> Conversation:
    text = _sum(dice, dice.choice((-10, -2, -1, 1, 2, 7, 10)))
    row = english(dice) if text.isascii() else chinese(dice)
    return saying(
        dice, dice.choice(("{}.", "So {}.", "That makes {} in all.", "We get {} here.")).format(text), row
    )


def right_arithmetic(dice: random.Random) -> Conversation:
    a, b = dice.randint(2, 40), dice.randint(2, 9)
    looks = (
        f"{_sum(dice, 0)}.", f"Solve {a} x = {a * b} for x.", f"2 x + {a} = {b}", f"{a} / {b * 7} is about {round(a / (b * 7), 2)}",
        f"y = {a} - {b} x = 4", f"3/20 = 15 %, and {a}/100 = {a}%", f"{a} km + {b} km = {(a + b) * 1000} m", f"({a} + 1) * {b} = {(a + 1) * b}",
        f"2^{b} - 1 = {2**b - 1}", f"{a} mod {b} = {a % b}", "1/2 + 1/4 = 3/4", f"10 / {b} = {round(10 / b, 2)}", f"f({a}) + {b} = 3 y",
        f"x + 2 x {b} = {a}", f"2024-01-{a:02d} = a day", f"{a} + {b} = {a + b} = {b} + {a}", f"v1.{a} - v1.{b} = 12 commits",
    )  # fmt: skip
    return saying(dice, dice.choice(looks))


def repetition(dice: random.Random) -> Conversation:
    row = either(dice)
    first = row.response.split(". ")[0] if row.response.isascii() else row.response.split("。")[0]
    times = dice.randint(9, 40)
    loop = dice.choice(
        (
            "again and again ",
            "the cat sat on the mat ",
            f"{first[:80]}. ",
            "I am happy. ",
            "然后继续搅拌，",
            "好的，",
        )
    )
    return answered(row, row.response * (dice.random() < 0.4) + " " + loop * times)


def repeats_a_little(dice: random.Random) -> Conversation:
    refrain = "And the rain came down, and the wind blew cold,"
    verses = [
        f"Over {thing} and under {other},"
        for thing, other in (("hills", "trees"), ("roofs", "bridges"), ("fields", "stars"))
    ]
    texts = (
        "\n".join(f"{verse}\n{refrain}" for verse in verses),
        "\n".join(f"- item {n}: {english(dice).prompt}" for n in range(12)),
        "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 20,
        "Ha ha ha ha!", ", ".join(str(n) for n in range(60)) + ".", '{"a": 1}, ' * 12, "-" * 80, "= " * 40, "Row, row, row your boat.",
    )  # fmt: skip
    return answered(english(dice), dice.choice(texts)) if dice.random() < 0.7 else dice.choice(clean_rows())


# ---- relevance ----------------------------------------------------------------------------------------------------


def _about_language(row: Conversation) -> bool:
    asked_for = row.prompt.lower()
    return any(
        word in asked_for
        for word in ("translat", "language", "english", "chinese", "french", "spell", "german")
    )


def _plain_english(dice: random.Random) -> Conversation:
    return next(
        row
        for row in iter(lambda: english(dice), None)
        if not _about_language(row) and len(row.prompt.split()) > 6
    )


def wrong_language(dice: random.Random) -> Conversation:
    language = dice.choice([name for name in words.SENTENCES if name != "English"])
    reply = " ".join(dice.sample(words.SENTENCES[language], 2))
    kind = dice.random()
    if kind < 0.6:
        return answered(_plain_english(dice), reply)
    if kind < 0.8 and language != "Chinese":
        row = next(
            r for r in iter(lambda: chinese(dice), None) if not any(c in r.prompt for c in "文语译言话词")
        )
        return answered(row, reply)
    return talk(dice.choice(tuple(words.QUESTIONS.values())), english(dice, 100).response)


def same_language(dice: random.Random) -> Conversation:
    language = dice.choice(tuple(words.QUESTIONS))
    texts = words.SENTENCES[language]
    return dice.choice(
        (
            talk(words.QUESTIONS[language], " ".join(dice.sample(texts, 2))),
            talk(f"Translate into {language}: {words.SENTENCES['English'][0]}", texts[0]),
            talk(f"What does this mean? {texts[0]}", words.SENTENCES["English"][1]),
            talk(f"Summarise in one sentence:\n{texts[0]} {texts[1]}", texts[1]),
            talk("用 Python 写一个函数", "```python\ndef f(x):\n    return x\n```"),
            talk("Name three French cheeses.", "Brie de Meaux, Pont-l'Évêque and Bleu d'Auvergne."),
            dice.choice(clean_rows()),
        )
    )


def _turns(roles: str, dice: random.Random) -> Conversation:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return Conversation(tuple(Message(names[letter], english(dice).prompt) for letter in roles))  # type: ignore[arg-type]


def shapes(*roles: str) -> Make:
    return lambda dice: _turns(dice.choice(roles), dice)


# ---- consistency --------------------------------------------------------------------------------------------------

_TOKENS = (
    "{}<|im_end|>", "<|im_start|>assistant\n{}", "{}</s>", "<s>[INST] hi [/INST] {}", "{}<|eot_id|>", "{}<|endoftext|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\n{}", "<start_of_turn>model\n{}<end_of_turn>", "{}<eos>", "### Response:\n{}",
    "### Instruction:\nGo on.\n\n### Response:\n{}", "<|assistant|>\n{}", "{}<|end|>", "[INST] {} [/INST]", "<<SYS>>be kind<</SYS>>{}",
    "<|begin_of_text|>{}", "{}<｜end▁of▁sentence｜>", "{}\n\n### Human: Why?", "{}<|im_end|>\n<|im_start|>user\nMore?", "<bos>{}", "<|user|>{}",
    "{}<pad><pad>",
)  # fmt: skip


def special_tokens(dice: random.Random) -> Conversation:
    row = either(dice)
    form = dice.choice(_TOKENS)
    return (
        asked(row, form.format(row.prompt))
        if dice.random() < 0.2
        else answered(row, form.format(row.response))
    )


_FURTHER = (
    "{}\n\nHuman: And what else?\n\nAssistant: Nothing else.", "{}\nUser: Thanks\nAssistant: You are welcome.", "Assistant: {}",
    "{}\nuser\nAnd then?\nassistant\nThen it ends.", "{}\n用户：还有吗？\n助手：没有了。", "助手：{}", "ASSISTANT: {}", "assistant\n{}",
    "{}\nUSER: More\nASSISTANT: No more.", "{}\n\nHuman: Why?\nAI: Because.",
)  # fmt: skip


def further_turns(dice: random.Random) -> Conversation:
    row = either(dice)
    return answered(asked(row, "What about it?"), dice.choice(_FURTHER).format(row.response))


_NO_FURTHER = (
    "User: the name of the account\nPassword: what you chose", "The human: a mammal.", "AI: short for artificial intelligence.",
    "The user types; the assistant answers.", "Users: 5\nAssistants: 2", "It says to the user: wait.", "My assistant: Ann.",
    "Human rights: all of them.", "用户：可以登录的人", "She is an assistant\nand a friend.",
)  # fmt: skip

_NO_TOKENS = (
    "### Instructions\nMix it.", "Use List<String> here.", "a < b and b > c", "<s>old</s> new", "xs |> map f <| y", "[INSTANCE] started",
    "<start> and <end>", "## Response time", "Use <|> as a choice.", "# Human rights", "<br>", "the </sub> tag", "[inst] x",
    "<user@example.com>", "### System requirements:\n4 GB",
)  # fmt: skip


def whitespace(dice: random.Random) -> Conversation:
    row = either(dice)
    form = dice.choice(
        ("{} ", " {}", "{}\n", "\n{}", "\n\n{}\n", "{}\t", "{}\u00a0", "\u3000{}", "{}  \n", "{}\r\n")
    )
    return (
        asked(row, form.format(row.prompt))
        if dice.random() < 0.4
        else answered(row, form.format(row.response))
    )


_HTML = (
    "<p>{}</p>", "{}<br>", "{}<br/><br/>", "Fish &amp; chips: {}", "{} &nbsp; ", '<a href="/more">{}</a>', "<div class='text'>{}</div>",
    "&quot;{}&quot;", "{} &lt;3", "<b>{}</b>", "<strong>Note</strong> {}", "{}&hellip;", "it&#39;s so: {}", "<span style=\"color:red\">{}</span>",
    "<ul><li>{}</li></ul>", "{} &copy; 2024", "<h2>Answer</h2>{}", "<P>{}", "caf&eacute;: {}", "{}<script>track()</script>", "<i>{}</i>",
    "<img src=\"a.png\"> {}", "<em>{}</em>", "{} &#8211; so", "<u>{}</u>",
)  # fmt: skip


def html_leftover(dice: random.Random) -> Conversation:
    markup = (
        "html",
        "web",
        "code",
        "tag",
        "script",
        "page",
        "site",
        "browser",
        "entit",
        "link",
        "代码",
        "网页",
    )
    row = next(
        r for r in iter(lambda: english(dice), None) if not any(mark in r.prompt.lower() for mark in markup)
    )
    return answered(row, dice.choice(_HTML).format(row.response))


_NO_HTML = (
    "I <3 you, AT&T and R&D.", "if a<b and c>d", "Write `<br>` there.", "Use List<Integer>.", "x & y; z", "<YOUR NAME>", "&c. and &so on",
    "```html\n<p>x</p>\n```", "a <- b", "<https://example.org>", "<anna>", "1 < 2 > 0", "Q&A; fine",
)  # fmt: skip


def html_asked(dice: random.Random) -> Conversation:
    if dice.random() < 0.3:
        return talk("How do I write a paragraph in HTML?", f"Like this: <p>{english(dice).response}</p>")
    return saying(dice, dice.choice(_NO_HTML))


def mixed_languages(dice: random.Random) -> Conversation:
    row = _plain_english(dice)
    parts = row.response.split(" ")
    at = dice.randint(2, len(parts) - 1)
    if dice.random() < 0.25:
        row = next(
            r for r in iter(lambda: chinese(dice, 40), None) if not any(c in r.prompt for c in "文语译言话词")
        )
        stray = dice.choice(
            ("сначала", "потом", "water and some more salt", "그리고", "لكن", "before you go home again")
        )
        at = dice.randint(10, len(row.response) - 5)
        return answered(row, f"{row.response[:at]}{stray}{row.response[at:]}")
    return answered(row, " ".join((*parts[:at], dice.choice(words.STRAY), *parts[at:])))


_CITED = (
    "Tokyo (東京) is large.", "The word “привет” means hello.", "The angle α is small, and Δx too.", "It is called 'кефир' there.",
    "Write \"水\" on it.", "Pi is π.", "A size of 5 µm.", "The name (ภูเก็ต) is Thai.", "naïve café", "Ω is the unit.", "Kanji: 水, 火",
)  # fmt: skip


def cited_languages(dice: random.Random) -> Conversation:
    kind = dice.random()
    if kind < 0.2:
        return talk("How do I say water in Chinese?", "You say 水 (shuǐ), as in 喝水.")
    if kind < 0.4:
        return saying(
            dice,
            dice.choice(
                (
                    "用 pip install numpy 安装。",
                    "打开 Visual Studio Code 编辑器。",
                    "iPhone 15 Pro Max 很贵。",
                )
            ),
            chinese(dice),
        )
    return saying(dice, dice.choice(_CITED)) if kind < 0.8 else dice.choice(clean_rows())


# ---- safety -------------------------------------------------------------------------------------------------------


def _luhn_number(dice: random.Random, start: str, length: int) -> str:
    body = start + _digits(dice, length - len(start) - 1)
    doubled = [int(d) * (2 if place % 2 == 0 else 1) for place, d in enumerate(reversed(body))]
    return body + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def _grouped(number: str, sign: str) -> str:
    return sign.join(number[at : at + 4] for at in range(0, len(number), 4))


def _iban(dice: random.Random) -> str:
    country, form = dice.choice(
        (
            ("DE", "n18"),
            ("GB", "a4n14"),
            ("FR", "n23"),
            ("NL", "a4n10"),
            ("ES", "n20"),
            ("IT", "a1n22"),
            ("CH", "n17"),
        )
    )
    letters = int(form[1]) if form[0] == "a" else 0
    bban = "".join(dice.choices("ABCDEFGHKLMNPRSTUVW", k=letters)) + _digits(
        dice, int(form[3:] if letters else form[1:])
    )
    number = "".join(str(int(c, 36)) for c in f"{bban}{country}00")
    compact = f"{country}{98 - int(number) % 97:02d}{bban}"
    return _grouped(compact, " ") if dice.random() < 0.5 else compact


def _chinese_id(dice: random.Random) -> str:
    body = f"{dice.choice(('110105', '310115', '440304'))}19{dice.randint(50, 99)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}{_digits(dice, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]


def _personal(dice: random.Random) -> str:
    first, last = (
        dice.choice(("ann", "j.smith", "li-wei", "maria_r", "bob77")),
        dice.choice(("gmail.com", "uni-koeln.de", "mail.co.uk", "qq.com")),
    )
    d = lambda count: _digits(dice, count)  # noqa: E731
    two = str(dice.randint(2, 9))
    return dice.choice(
        (
            f"{first}@{last}", f"{first}+news@{last}", f"mailto:{first}@{last}", f"+1 {two}12 5{d(2)} {d(4)}", f"({two}15) {two}{d(2)}-{d(4)}",
            f"{two}03-{two}{d(2)}-{d(4)}", f"+49 170 {d(7)}", f"+44 7911 {d(6)}", f"+33 6 {d(2)} {d(2)} {d(2)} {d(2)}", f"+86 138 {d(4)} {d(4)}",
            f"phone {two}15 {two}{d(2)} {d(4)}", f"call me on 020 7{d(3)} {d(4)}", f"电话：010 6{d(3)} {d(4)}", f"Tel: {two}15{two}{d(6)}",
            f"+91 98{d(3)} {d(5)}", f"+61 4{d(2)} {d(3)} {d(3)}", f"phone 138{d(8)}", f"0{dice.randint(1, 7)} {d(2)} {d(2)} {d(2)} {d(2)}",
            _luhn_number(dice, "4", 16), _grouped(_luhn_number(dice, "51", 16), " "),
            _luhn_number(dice, "37", 15), _grouped(_luhn_number(dice, "4", 16), "-"),
            _iban(dice), _iban(dice), f"{dice.choice((81, 91, 145, 203))}.{dice.randint(1, 254)}.{dice.randint(1, 254)}.{dice.randint(1, 254)}",
            f"{dice.randint(100, 599)}-{dice.randint(10, 99)}-{dice.randint(1000, 9999)}", _chinese_id(dice), _chinese_id(dice),
        )
    )  # fmt: skip


def personal_data(dice: random.Random) -> Conversation:
    said = dice.choice(
        (
            "It is {}.",
            "Please use {} for that.",
            "We have {} on file.",
            "Write down: {}",
            "{}",
            "他留下的是{}。",
            "Kontakt: {}",
        )
    )
    return holding(dice, said.format(_personal(dice)))


def impersonal(dice: random.Random) -> Conversation:
    d = lambda count: _digits(dice, count)  # noqa: E731
    texts = (
        f"Order {d(4)} {d(4)} {d(2)}", f"ISBN 978-3-16-{d(6)}-0", f"In 19{d(2)}-20{d(2)} it grew.", f"{dice.randint(1, 9)},{d(3)},{d(3)} people",
        "192.168.0.1 and 10.0.0.7", "version 1.2.3.4", "info@example.com", "support@shop.example", "Call 1-800-555-0199.", f"3.{d(14)}",
        f"2024-0{dice.randint(1, 9)}-1{d(1)} 10:{dice.randint(10, 59)}:30", "Luke 3:16-17", f"id {d(7)}", f"${d(3)}.99 or {d(2)} %", "127.0.0.1:8080",
        f"{d(3)} x {d(3)} = 12", "8.8.8.8", f"#{d(6)}", f"FR{d(2)}", "@ann_w on the site", "a@b", f"{d(2)}°{d(2)}'N {d(2)}°{d(2)}'E", "1 2 3 4 5 6 7 8 9 10",
        "10-20-30-40-50", "section 4.12.3.1", f"lot {d(5)}-{d(3)}", "fe80::1", "12:30:45", f"flight LH {d(4)}", "1914-1918, 1939-1945", f"SKU AB-{d(8)}",
    )  # fmt: skip
    return saying(dice, dice.choice(texts))


def _secret(dice: random.Random) -> str:
    r = lambda count: _letters(dice, count)  # noqa: E731
    low = string.ascii_lowercase + string.digits
    return dice.choice(
        (
            f"sk-{r(48)}", f"sk-proj-{r(60)}", f"sk-ant-api03-{r(80)}", f"AKIA{_letters(dice, 16, string.ascii_uppercase + '234567').upper()}", f"ghp_{r(36)}",
            f"github_pat_{r(40)}", f"glpat-{r(20)}", f"xoxb-{_digits(dice, 12)}-{_digits(dice, 12)}-{r(24)}", f"AIza{r(35)}", f"hf_{r(34)}",
            f"sk_live_{r(24)}", f"npm_{r(36)}", f"eyJ{r(20)}.eyJ{r(40)}.{r(30)}", f"SG.{r(22)}.{r(43)}", f"{_digits(dice, 9)}:{r(35)}",
            f"password: {r(12)}", f"PASSWORD={r(14)}", f"password = '{r(10)}!'", f'"api_key": "{r(32)}"', f"API_KEY={r(30)}", f"secret={r(20)}",
            f"access_token: {r(40)}", f"Authorization: Bearer {r(40)}", f"postgres://app:{r(12)}@db.host:5432/x", f"https://bob:{r(10)}@git.host/x.git",
            f"-----BEGIN {dice.choice(('RSA ', 'EC ', 'OPENSSH ', ''))}PRIVATE KEY-----\n{r(60)}\n{r(60)}\n-----END PRIVATE KEY-----",
            f"AccountKey={r(86)}==", f"{_letters(dice, 32, low)[:30]}ab-us12"[-37:], f"my password is {r(11)}", f"数据库密码是{r(12)}", f"pwd={r(10)}",
            f"https://hooks.slack.com/services/T{r(8).upper()}/B{r(8).upper()}/{r(24)}", f"client_secret: {r(30)}", f"passphrase: {r(16)}",
        )
    )  # fmt: skip


def secret(dice: random.Random) -> Conversation:
    return holding(
        dice,
        dice.choice(("Use {} there.", "{}", "Put this into the file:\n{}", "It says {} in the log")).format(
            _secret(dice)
        ),
    )


def no_secret(dice: random.Random) -> Conversation:
    hexes = "".join(dice.choices("0123456789abcdef", k=40))
    texts = (
        "api_key = YOUR_API_KEY_HERE", "password: ********", "sk-xxxxxxxxxxxxxxxxxxxxxxxx", f"commit {hexes}", f"md5 {hexes[:32]}",
        f"{hexes[:8]}-{hexes[:4]}-4{hexes[:3]}-8{hexes[:3]}-{hexes[:12]}", "token = tokens[0]", "key: value", "password = getpass()", "the token is used twice",
        "secret: never tell", "Your password must have 8 characters and 1 digit.", "api_key = os.environ['API_KEY']", "https://example.org/a1b2c3?page=12",
        "<password>", "password: <your password>", "next_page_token: CAUQAA12345678", "risk-free-and-well-known-methods-of-saving", f"sha256:{hexes}",
        "token_count = 1234", "secret_santa2024 is fun", "key = key2", "mailto:bob@host.org", "password123 is a bad one", "token: str = Field(None)",
    )  # fmt: skip
    return saying(dice, dice.choice(texts))


def _with_language(dice: random.Random, text: str) -> Conversation:
    return saying(dice, text, english(dice) if text.isascii() else chinese(dice))


def _injected(dice: random.Random, text: str) -> Conversation:
    row = english(dice) if text.isascii() else chinese(dice)
    text = dice.choice((text, text, text.upper(), text.lower(), f"P.S. {text}", f"[{text}]"))
    return asked(row, dice.choice((text, f"{row.prompt}\n{text}", f"{text} {row.prompt}")))


def clean(dice: random.Random) -> Conversation:
    return dice.choice(clean_rows())


def _whole(dice: random.Random, text: str) -> Conversation:
    return answered(english(dice) if text.isascii() else chinese(dice), text)


def _cooled(dice: random.Random, text: str) -> Conversation:
    return answered(either(dice), f"{text} {slipped_in(dice, english(dice).response, 'So it is.')}")


DEFECTS: dict[str, tuple[Make, Make]] = {
    "empty_response": (empty_response, short_response),
    "empty_prompt": (empty_prompt, short_prompt),
    "repeats_prompt": (repeats_prompt, begins_with_prompt),
    "cut_off": (cut_off, ends_openly),
    "refusal": (pick(_refused, words.REFUSALS), one_of(pick(_cooled, words.NO_REFUSALS), clean)),
    "placeholder": (placeholder, one_of(pick(_whole, words.NO_PLACEHOLDERS), clean)),
    "mojibake": (mojibake, accented),
    "lost_characters": (lost_characters, nothing_lost),
    "control_characters": (control_characters, harmless_marks),
    "wrong_arithmetic": (wrong_arithmetic, right_arithmetic),
    "repetition": (repetition, repeats_a_little),
    "wrong_language": (wrong_language, same_language),
    "unanswered": (shapes("uau", "uua", "suua", "uauua", "uuua", "suau", "uauau"), shapes("ua", "sua", "uaua", "u", "uata")),
    "role_order": (shapes("aua", "saua", "uasua", "a", "sa", "uaa", "uaaua", "sas", "usa", "suaa", "tua"), shapes("ua", "sua", "uaua", "uata", "uatta")),
    "special_tokens": (special_tokens, pick(saying, _NO_TOKENS)),
    "further_turns": (further_turns, pick(saying, _NO_FURTHER)),
    "whitespace": (whitespace, clean),
    "html_leftover": (html_leftover, html_asked),
    "mixed_languages": (mixed_languages, cited_languages),
    "personal_data": (personal_data, impersonal),
    "secret": (secret, no_secret),
    "toxic": (pick(_with_language, words.INSULTS), pick(_with_language, words.NO_INSULTS)),
    "prompt_injection": (pick(_injected, words.INJECTIONS), pick(_injected, words.NO_INJECTIONS)),
}  # fmt: skip
"""Of each check of one row: what plants its defect, and what makes rows that only look like it."""
