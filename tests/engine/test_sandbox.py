from __future__ import annotations

import json
import re
import subprocess
import sys
from threading import Thread
from typing import Any

import pytest

from studio.domain.errors import StudioError
from studio.engine import sandbox
from studio.engine.template_bounds import SIZE
from studio.engine.templates import template_messages
from tests.oracles import families
from tests.oracles.conversations import ALL

HI = [{"role": "user", "content": "Hi"}]


def written(source: str, **variables: Any) -> str:
    return sandbox.render(source, {"messages": HI, **variables}, title="Mine")


def problem(source: str, **variables: Any) -> str:
    with pytest.raises(StudioError) as caught:
        written(source, **variables)
    return caught.value.message


# As transformers


@pytest.mark.parametrize("training", [False, True], ids=["original", "training"])
@pytest.mark.parametrize("name", families.names_with_training())
def test_text_and_generation_blocks_are_those_of_transformers(name: str, training: bool) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    family = families.family(name)
    source = family.training if training else family.original
    for case, conversation in ALL.items():
        messages = template_messages(conversation.messages)
        if family.parts_only:
            messages = [{**said, "content": [{"type": "text", "text": said["content"]}]} for said in messages]
        shared = {
            "tools": [json.loads(tool) for tool in conversation.tools] or None,
            "documents": None,
            "add_generation_prompt": case in ("one turn", "no answer at all"),
            "bos_token": family.bos,
            "eos_token": family.eos,
        }
        try:
            texts, spans = render_jinja_template(
                [messages], chat_template=source, return_assistant_tokens_mask=training, **shared
            )
        except Exception:  # whatever the template raises, it is an error here too
            with pytest.raises(StudioError):
                sandbox.render(source, {"messages": messages, **shared})
            continue
        text, found = sandbox.render_spans(source, {"messages": messages, **shared})
        assert text == texts[0]
        assert [found] == (spans if training else [[]])


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 + 2 }} {{ 'a' ~ 1 ~ none }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }} {{ 7 % 4 }} {{ 2 ** 10 }}",
        "{{ '%s is %d%%' % ('x', 5) }} {{ '{:>4}|{a}'.format(1, a=2) }} {{ '%s'|format('y') }}",
        "{{ 1 < 2 < 3 }} {{ 'a' in 'abc' }} {{ 1 not in [2, x] }} {{ [1] == [1] }} {{ (1, 2) < (1, 3) }}",
        "{{ 1 < none < 2 if false else 2 < 1 < none }} {{ 1 in [1] in [[1]] }} {{ x < 1 if x else messages < [] < 1 }}",
        "{{ {'a': 1, 'b' ~ 'c': [2]} }} {{ (1,) }} {{ () }} {{ messages }} {{ messages[0:1] }} {{ 'abc'[::-1] }}",
        "{{ messages[0].role }} {{ messages[0]['role'] }} {{ messages[0].items()|list }} {{ messages[0].no }}",
        "{{ ' a '|trim }}{{ ' a '.strip() }}{{ 'a-b'.split('-') }}{{ '-'.join(['a', 'b']) }}{{ 'a'.upper() }}",
        "{{ [3, 1]|sort }} {{ [1, 1]|unique|list }} {{ [1, 2]|sum }} {{ [1, 2]|max }} {{ {'b': 1}|dictsort }}",
        "{{ messages|map(attribute='content')|join(', ') }} {{ messages|selectattr('role', 'equalto', 'user')|list }}",
        "{{ messages|tojson }} {{ {'b': '<', 'a': 1}|tojson(indent=2) }} {{ [1]|tojson(separators=(',', ':')) }}",
        "{{ 'a\nb'|indent }} {{ 'abc'|replace('b', 'x') }} {{ 'a'|center(5) }} {{ 2.5|round }} {{ '12'|int + 1 }}",
        "{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}{{ x }}{{ loop.last }}{% else %}no{% endfor %}",
        "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is not integer else x }}{% endfor %}",
        "{% macro f(a, b='x') %}<{{ a }}{{ b }}{{ caller() }}>{% endmacro %}{% call f(2) %}c{% endcall %}",
        "{% set ns = namespace(n=0, l=[]) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
        "{% set x %} a {% endset %}[{{ x }}]{% filter upper %}b{% endfilter %}{% with y = 1 %}{{ y }}{% endwith %}",
        "{{ dict(a=1) }} {{ cycler('a', 'b').next() }} {{ undefined_name }} {{ 'x' if false }} {{ none }} {{ 1.0 }}",
        "{% block b %}in{% endblock %}{{ self.b() }} {{ 'a' is string }} {{ 'A' is upper }} {{ 3 is in [3] }}",
        "  {%- if true -%}  a  {%- endif %}\n{% if true %}\n b\n{% endif %}\n\n{# no #}\nend\n",
    ],
)
def test_what_jinja_knows_works_as_in_transformers(source: str) -> None:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    assert written(source) == _compile_jinja_template(source).render(messages=HI)


def test_a_generation_block_counts_what_was_written_before_it() -> None:
    source = "a{% for x in 'bc' %}{% generation %}{{ x }}!{% endgeneration %}-{% endfor %}"
    assert sandbox.render_spans(source, {}) == ("ab!-c!-", [(1, 3), (4, 6)])


# Errors say where


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ a b }}", "line 1, column 6: expected token 'end of print statement', got 'b'"),
        ("b {{ a b }} b\n{{ b b }}", "line 1, column 8: expected token 'end of print statement', got 'b'"),
        ("\n  {% for %}", "line 2, column 10: Expected an expression, got 'end of statement block'"),
        ("x\r\n\r\n{{ 'a' | foo }}", "line 3, column 10: No filter named 'foo'"),
        ("{{ 'foo' is foo }}", "line 1, column 10: No test named 'foo'"),
        ("foo {% foo %}", "line 1, column 8: Encountered unknown tag 'foo'"),
        ("{{ a ? b }}", "line 1, column 6: unexpected char '?'"),
        ("{{ (\na ] }}", "line 2, column 3: unexpected ']', expected ')'"),
        ("{{ 'a }}", 'line 1, column 4: unexpected char "\'"'),
        ("{% if x %}\n{% endfor %}", "line 2, column 4: Encountered unknown tag 'endfor'"),
    ],
)
def test_a_template_that_is_no_jinja_names_line_and_column(source: str, message: str) -> None:
    assert problem(source).startswith(f"The chat template is not valid Jinja, {message}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ab\n {{ no.thing }}", "line 2, column 5: 'no' is undefined"),
        (
            "{{ 1 }}{{ messages[0].contents.x }}",
            "line 1, column 23: 'dict object' has no attribute 'contents'",
        ),
        (
            "{% for m in messages %}\n{{ m.role }}{{ m.role + m.no }}{% endfor %}",
            "line 2, column 27: 'dict object' has no attribute 'no'",
        ),
        ("{% macro f(x) %}\n{{ x.a.b }}{% endmacro %}{{ f({}) }}", "line 2, column 6: 'dict object' has no"),
        ("a {{ 1 + messages[0].role }}", "line 1, column 6: unsupported operand type(s) for +"),
        ("{{ 1 // 0 }}", "line 1, column 4: integer division or modulo by zero"),
        ("{% include 'x' %}", "line 1, column 4: no loader for this environment specified"),
        (
            "{{ ''.__class__.mro() }}",
            "line 1, column 7: access to attribute '__class__' of 'str' object is unsafe",
        ),
        ("{% set ns = namespace() %}{% set ns._x = 1 %}", "line 1, column 37: a namespace holds no name"),
    ],
)
def test_a_template_that_fails_names_line_and_column(source: str, message: str) -> None:
    assert problem(source).startswith(f"The chat template Mine fails at this conversation, {message}")


def test_a_refusal_is_given_in_the_templates_own_words() -> None:
    refusal = "The chat template Mine refuses this conversation: no system message here."
    assert problem("{{ raise_exception('no system message here.') }}") == refusal


@pytest.mark.parametrize(
    "source", ["{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ " + "-" * 20_000 + "1 }}"]
)
def test_a_template_that_nests_too_deep_is_said_to(source: str) -> None:
    assert problem(source) == "The chat template is not valid Jinja: it nests too deep."


def test_what_python_refuses_of_a_template_is_an_error_too() -> None:
    assert problem("{% break %}") == "The chat template is not valid Jinja: 'break' outside loop."
    assert problem("{{ " + "9" * 5000 + " }}").startswith(
        "The chat template is not valid Jinja: Exceeds the limit"
    )
    assert problem("{{ 1 }}" * 40_000).startswith("The chat template has 280000 characters")


# Bounds

TWICE = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = EXPRESSION %}{% endfor %}"
NESTED = (
    "{% set a = namespace(x=[1]) %}{% set b = namespace(x=[1]) %}"
    "{% for i in range(60) %}{% set a.x = [a.x, a.x] %}{% set b.x = [b.x, b.x] %}{% endfor %}{{ EXPRESSION }}"
)
DEEP = (
    "{% set ns = namespace(x=()) %}{% for i in range(20) %}{% for i in range(10000) %}"
    "{% set ns.x = (ns.x,) %}{% endfor %}{% endfor %}{{ EXPRESSION }}"
)
KEPT = (
    "{% set ns = namespace(l=[], x='x' * 4000000) %}{% for i in range(99999) %}"
    "{% set ns.l = [ns.l, EXPRESSION] %}{% endfor %}"
)
ENDLESS = {
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "that write": "{% for i in range(99999) %}{% for j in range(99999) %}{{ '' }}{% endfor %}{% endfor %}",
    "a macro that calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "a condition": "{% for i in range(99999) %}{% for j in range(99999) if j|string == '' %}{% endfor %}{% endfor %}",
}
LARGE = {
    "a product": "{{ 'a' * 10**10 }}",
    "a product of lists": "{{ [[1] * 100000] * 100000 }}",
    "a width": "{{ '%1000000000d' % 1 }}",
    "a width given": "{{ '%*d' % (1000000000, 1) }}",
    "a precision": "{{ '%.1000000000f' % 1.5 }}",
    "the filter format": "{{ '%1000000000d'|format(1) }}",
    "the method format": "{{ '{:>10000000000}'.format(1) }}",
    "a width in braces": "{{ '{:>{w}}'.format(1, w=10000000000) }}",
    "format_map": "{{ '{0:>9999999999}'.format_map({'0': 1}) }}",
    "the filter center": "{{ 'a'|center(10000000000) }}",
    "the method center": "{{ 'a'.center(10000000000) }}",
    "zfill": "{{ 'a'.zfill(10000000000) }}",
    "many widths": "{{ ('%(a)9999d' * 300000) % {'a': 1} }}",
    "many widths in braces": "{{ ('{0:9999}' * 300000).format(1) }}",
    "indent": "{{ ('a\n' * 100000)|indent(100000) }}",
    "expandtabs": "{{ ('\t' * 10000).expandtabs(1000000000) }}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a product of numbers": "{{ (10 ** 20000) * (10 ** 20000) }}",
    "many characters of a number": "{{ (1).to_bytes(10000000000, 'big') }}",
    "a sum in a loop": TWICE.replace("EXPRESSION", "ns.x + ns.x"),
    "a join in a loop": TWICE.replace("EXPRESSION", "ns.x ~ ns.x"),
    "the filter join in a loop": TWICE.replace("EXPRESSION", "[ns.x, ns.x]|join"),
    "the method join in a loop": TWICE.replace("EXPRESSION", "ns.x.join([ns.x, ns.x])"),
    "the method replace in a loop": TWICE.replace("EXPRESSION", "ns.x.replace('a', ns.x)"),
    "the filter replace in a loop": TWICE.replace("EXPRESSION", "ns.x|replace('a', ns.x)"),
    "percent in a loop": TWICE.replace("EXPRESSION", "'%s%s' % (ns.x, ns.x)"),
    "format in a loop": TWICE.replace("EXPRESSION", "'{0}{0}'.format(ns.x)"),
    "lists in a loop": TWICE.replace("EXPRESSION", "[ns.x] + [ns.x]").replace("'ab'", "[]") + "{{ ns.x }}",
    "a block in a loop": TWICE.replace(
        "{% set ns.x = EXPRESSION %}", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"
    ),
    "printing what unfolds": NESTED.replace("EXPRESSION", "a.x"),
    "tojson of what unfolds": NESTED.replace("EXPRESSION", "a.x|tojson"),
    "upper of what unfolds": NESTED.replace("EXPRESSION", "a.x|upper"),
    "percent of what unfolds": NESTED.replace("EXPRESSION", "'%s' % [a.x]"),
    "comparing what unfolds": NESTED.replace("EXPRESSION", "a.x == b.x"),
    "looking for what unfolds": NESTED.replace("EXPRESSION", "a.x in [b.x]"),
    "sorting what unfolds": NESTED.replace("EXPRESSION", "[a.x, b.x]|sort"),
    "testing what unfolds": NESTED.replace("EXPRESSION", "a.x is eq b.x"),
    "an index of what unfolds": NESTED.replace("EXPRESSION", "[a.x].index(b.x)"),
    "selecting what unfolds": NESTED.replace("EXPRESSION", "[a.x]|select('equalto', b.x)|list"),
    "what holds itself": "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    "slices that are kept": KEPT.replace("EXPRESSION", "ns.x[1:]"),
    "methods' results that are kept": KEPT.replace("EXPRESSION", "ns.x.upper()"),
    "filters' results that are kept": KEPT.replace("EXPRESSION", "ns.x|lower"),
    "much text": "{% set x = 'x' * 1000000 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
    "a search from the end": "{{ ('a' * 1000000).rfind('b' + 'a' * 500000) }}",
    "stripping many characters": "{{ ('a' * 1000000).strip('b' * 1000000 ~ 'a') }}",
    "a slow codec": "{{ ('é' * 1000000).encode('punycode') }}",
    "a slow filter": "{{ ('a ' * 1000000)|wordwrap(1) }}",
    "lorem ipsum": "{{ lipsum(1000000) }}",
    "round": "{{ 1.5|round(1000000000, 'ceil') }}",
    "slice": "{{ [1]|slice(1000000000)|list }}",
    "batch": "{{ [1]|batch(1000000000, 'x')|list }}",
    "tojson's indent": "{{ [1]|tojson(indent=1000000000) }}",
    "a sum of lists": "{{ ([[1] * 1000] * 10000)|sum(start=[]) }}",
}
DEEPER = {
    "a macro that calls itself": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "a block that shows itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "a key": DEEP.replace("EXPRESSION", "{ns.x: 1}"),
    "an item": DEEP.replace("EXPRESSION", "{1: 1}[ns.x]"),
    "a method's argument": DEEP.replace("EXPRESSION", "{1: 1}.get(ns.x)"),
    "a member": DEEP.replace("EXPRESSION", "ns.x in {1: 1}"),
    "a filter's argument": DEEP.replace("EXPRESSION", "[ns.x]|unique|list"),
    "a dictionary's items": DEEP.replace("EXPRESSION", "dict([(ns.x, 1)])"),
    "text": DEEP.replace("EXPRESSION", "ns.x"),
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_what_does_not_end_is_stopped(source: str) -> None:
    with pytest.raises(
        StudioError, match=r"Mine was stopped, line 1, column \d+: it does not come to an end"
    ):
        sandbox.render(source, {}, title="Mine", seconds=0.2)


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_what_would_be_too_large_is_stopped(source: str) -> None:
    with pytest.raises(
        StudioError, match=r"Mine was stopped, line \d, column \d+: what it makes is too large"
    ):
        sandbox.render(source, {}, title="Mine", seconds=60)


@pytest.mark.parametrize("source", DEEPER.values(), ids=DEEPER)
def test_what_nests_too_deep_is_stopped(source: str) -> None:
    with pytest.raises(StudioError, match=r"Mine was stopped, line 1, column \d+: it nests too deep"):
        sandbox.render(source, {}, title="Mine", seconds=60)


def test_a_hostile_template_stays_within_a_gigabyte() -> None:
    """In a process of its own that is given no more."""
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from studio.domain.errors import StudioError\n"
        "from studio.engine import sandbox\n"
        "for source in sys.argv[1:]:\n"
        "    try:\n"
        "        sandbox.render(source, {})\n"
        "    except StudioError as error:\n"
        "        print(type(error.__cause__).__name__)\n"
    )
    sources = [LARGE["slices that are kept"], LARGE["methods' results that are kept"], LARGE["much text"]]
    sources += [LARGE["many widths"], LARGE["many widths in braces"]]
    done = subprocess.run(
        [sys.executable, "-c", program, *sources], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["Exceeded"] * len(sources)


def test_a_long_conversation_is_written_whole() -> None:
    messages = [{"role": "user", "content": "a" * (SIZE // 4)}, {"role": "user", "content": "b" * 1000}] * 2
    source = "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim + '\n' }}{% endfor %}"
    assert written(source, messages=messages) == "".join(f"<user>{m['content']}\n" for m in messages)


def test_threads_render_one_template_side_by_side() -> None:
    source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %};{% endfor %}"
    found: dict[int, list[tuple[str, list[tuple[int, int]]]]] = {}

    def render(number: int) -> None:
        messages = [{"content": "x" * number}] * 3
        found[number] = [sandbox.render_spans(source, {"messages": messages}) for _ in range(200)]

    threads = [Thread(target=render, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, rendered in found.items():
        places = [(at * (number + 1), at * (number + 1) + number) for at in range(3)]
        assert rendered == [(("x" * number + ";") * 3, places)] * 200


def test_no_message_speaks_of_the_compiled_code() -> None:
    message = problem("{{ ('a' if false) + 'b' }}")
    assert not re.search(r"line -|<template>", message)
