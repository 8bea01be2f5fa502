"""Chat templates: rendered as transformers renders them, in a sandbox, with an end."""

# ruff: noqa: E501 - a template reads better in one line

from __future__ import annotations

import time
from typing import Any

import pytest

from triptych.core.errors import InputError
from triptych.plugins.processors import sandbox
from triptych.plugins.processors.chat_template import ChatTemplate
from triptych.plugins.processors.folder import ProcessorError

MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": "  Grüße\n"},
    {"role": "assistant", "content": "<think>hm</think>\nHello", "tool_calls": [{"a": "é<b>"}]},
    {"role": "user", "content": [{"type": "text", "text": "two"}]},
]
TEMPLATES = [
    "{{ messages | tojson }}|{{ messages | tojson(indent=2) }}|{{ [1] | tojson(ensure_ascii=True) }}",
    "{% for m in messages %}\n    {% if loop.first %}\n  A\n    {% endif %}\n{{ m.role }}\n{% endfor %}",
    "{% for m in messages %}{% if loop.index0 == 2 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "{% for m in messages[::-1] %}{% if m.role == 'user' %}{% continue %}{% endif %}"
    "{{ loop.index ~ m.role ~ none ~ 1.5 }}{% else %}none{% endfor %}",
    "{% generation %}{% set x = 'in' %}{{ x }}{% endgeneration %}{{ x is defined }}",
    "{% set ns = namespace(text='', n=0) %}{% for m in messages %}{% set ns.text = ns.text + m.role %}"
    "{% set ns.n = ns.n + 2 ** 3 * 4 % 7 %}{% endfor %}{{ ns.text }}{{ ns.n }}",
    "{% macro show(c, n=2) %}{{ '-' * n }}{{ c }}{{ caller() if caller else '' }}{% endmacro %}"
    "{{ show('x') }}{% call show('y', 3) %}z{% endcall %}",
    "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}{{ messages[1].content | trim }}",
    "{{ messages | map(attribute='role') | join(', ') }}{{ messages | join('-', attribute='role') }}",
    "{{ 'a%sb%d' % ('x', 3) }}{{ 'a%sb' % 'x' }}{{ '%s-%s' | format('p', 'q') }}{{ '{}{k}'.format(1, k=2) }}",
    "{{ 'aXbX' | replace('X', 'yy') }}{{ 'aXbX' | replace('X', 'y', 1) }}{{ 'aXb'.replace('X', '-') }}",
    "{{ 'a\nb' | indent(3) }}{{ 'a\nb' | indent('> ', true) }}{{ ', '.join(['a', 'b']) }}",
    "{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ documents }}{{ add_generation_prompt }}"
    "{{ missing }}{{ missing is defined }}",
    "{% set x %}block {{ 1 + 1 }}{% endset %}{{ x | length }}{{ x | upper }}{{ dict(a=1).items() | list }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ messages[0].content[:2] ~ messages[0].content | capitalize }}{{ range(3) | list }}",
    "{% if messages[0].role == 'system' and 'x' not in 'abc' %}yes{% endif %}{# no #}{{ [1] + [2] }}",
    "{{ '\"' }}{{ \"'\" | e }}{{ messages[1].content | string | safe }}{{ [3, 1] | sort | first }}",
]


def template(source: str, **variables: str) -> ChatTemplate:
    return ChatTemplate(source, "model/chat_template.jinja", variables)


@pytest.mark.parametrize("source", TEMPLATES)
def test_templates_render_as_in_transformers(tokenizer: Any, source: str) -> None:
    wanted = tokenizer.apply_chat_template(
        MESSAGES,
        chat_template=source,
        add_generation_prompt=True,
        tokenize=False,
        bos_token="<s>",
        eos_token="</s>",
    )
    assert template(source, bos_token="<s>", eos_token="</s>").render(MESSAGES) == wanted


def test_the_date_is_todays() -> None:
    year = template("{{ strftime_now('%Y') }}").render(MESSAGES)
    assert year == time.strftime("%Y")


def test_a_refusal_is_the_templates_own_words() -> None:
    with pytest.raises(InputError, match="does not take this conversation: Roles must alternate"):
        template("{{ raise_exception('Roles must alternate') }}").render(MESSAGES)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ messages[9].content }}", "failed: list object has no element 9"),
        ("{{ 1 / 0 }}", "failed: division by zero"),
        ("{{ 'a' + 1 }}", "failed: can only concatenate"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "failed: maximum recursion depth"),
    ],
)
def test_a_failing_template_is_an_error_that_names_its_file(source: str, message: str) -> None:
    with pytest.raises(InputError, match=f"chat template in model/chat_template.jinja {message}"):
        template(source).render(MESSAGES)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for %}", "line 1"),
        ("\n{{ a | nothing }}", "line 2: No filter named 'nothing'"),
        ("{% include 'a' %}{% import %}", "broken"),
        ("{{ '" + "a" * 2**20 + "' }}", "more than 1,048,576 letters"),
        ("{{ " + "(" * 50_000 + " }}", "broken"),
    ],
    ids=lambda text: text[:20],
)
def test_a_broken_template_is_refused_when_it_is_read(source: str, message: str) -> None:
    with pytest.raises(ProcessorError, match=message):
        template(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ ''.format.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ self.__init__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ strftime_now.__globals__ }}",
        "{{ (messages | attr('__class__')).x.y }}",
        "{{ range.__self__ }}",
        "{% include 'chat_template.jinja' %}",
        "{{ lipsum(1) }}",
    ],
)
def test_python_is_out_of_reach(source: str) -> None:
    before = [dict(message) for message in MESSAGES]
    with pytest.raises(InputError):
        template(source + "{{ nothing.at.all }}").render(MESSAGES)
    assert before == MESSAGES


LOOP = "{% set r = range(99999) %}{% for i in r %}{% for j in r %}"


@pytest.mark.parametrize(
    "source",
    [
        LOOP + "{% endfor %}{% endfor %}",
        LOOP + "{% if false %}{% endif %}{% else %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    ],
)
@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [("STEPS", 20_000, "20,000 steps"), ("SECONDS", 1.0, "1 seconds")],
)
def test_loops_end(
    source: str, limit: str, value: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "STEPS", 10**9)
    monkeypatch.setattr(sandbox, "SECONDS", 600.0)
    monkeypatch.setattr(sandbox, limit, value)
    with pytest.raises(InputError, match=f"was stopped: more than {message}"):
        template(source).render(MESSAGES)


@pytest.mark.parametrize(
    "value",
    [
        "ns.x + ns.x",
        "ns.x ~ ns.x",
        "[ns.x, ns.x] | join",
        "''.join([ns.x, ns.x])",
        "'%s%s' % (ns.x, ns.x)",
        "'%s%s' | format(ns.x, ns.x)",
        "ns.x * 2",
        "2 * ns.x",
        "ns.x.replace('a', 'aa')",
        "ns.x | replace('a', 'aa')",
        "ns.x ~ ns.x.ljust(ns.x | length)",
        "([ns.x] + [ns.x]) | join",
    ],
)
def test_texts_cannot_double_for_long(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 600.0)
    source = "{% set ns = namespace(x='a') %}{% for i in range(40) %}{% set ns.x = " + value
    with pytest.raises(InputError, match="more than 64,000,000 characters of text built"):
        template(source + " %}{% endfor %}").render(MESSAGES)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ range(1000000) | list }}", "Range too big"),
        ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "characters"),
        (
            "{% set ns = namespace(x='a') %}{% for i in range(40) %}"
            "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
            "characters of text built",
        ),
        (
            "{% set ns = namespace(x=[1]) %}{% for i in range(40) %}"
            "{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "characters of text built",
        ),
        (
            "{% set ns = namespace(x=9) %}{% for i in range(40) %}"
            "{% set ns.x = ns.x * ns.x %}{% endfor %}",
            "a number of more than 4,096 bits",
        ),
        ("{{ 9 ** 99 ** 99 }}", "a number of more than"),
        ("{{ 'a' * 10 ** 12 }}", "characters of text built"),
        ("{{ 'a'.ljust(10 ** 12) }}", "characters of text built"),
        ("{{ 'a'.center(999999999999) }}", "characters of text built"),
        ("{{ '%999999999999d' % 1 }}", "a wide format"),
        ("{{ '%*d' % (999999999, 1) }}", "a wide format"),
        ("{{ '%999999999999d' | format(1) }}", "a wide format"),
        ("{{ '{:>999999999999}'.format(1) }}", "a wide format"),
        ("{{ '{:{}}'.format(1, 999999999999) }}", "a wide format"),
        ("{{ 'a\nb' | indent(999999999999) }}", "characters of text built"),
    ],
)
def test_large_things_are_not_built(
    source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 600.0)
    monkeypatch.setattr(sandbox, "STEPS", 10**9)
    with pytest.raises(InputError, match=message):
        template(source).render(MESSAGES)


def test_the_output_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "OUTPUT", 1000)
    with pytest.raises(InputError, match="more than 1,000 characters of output"):
        template("{% for i in range(101) %}0123456789{% endfor %}").render(MESSAGES)
    assert len(template("{% for i in range(100) %}0123456789{% endfor %}").render(MESSAGES)) == 1000


def test_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", -1.0)
    with pytest.raises(InputError, match="more than -1 seconds"):
        template("{% for message in messages %}{% endfor %}").render(MESSAGES)


def test_each_rendering_has_limits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "STEPS", 10)
    ten = template("{% for i in range(8) %}{{ i }}{% endfor %}")
    assert {ten.render(MESSAGES) for _ in range(5)} == {"01234567"}


@pytest.mark.parametrize(
    ("source", "text", "parts"),
    [
        ("{{ messages[0].content }}", True, False),
        ("{% for part in messages[0].content %}{{ part.text }}{% endfor %}", False, True),
        (
            "{% set c = messages[0].content %}"
            "{% if c is string %}{{ c }}{% else %}{{ c[0].text }}{% endif %}",
            True,
            True,
        ),
        ("{{ raise_exception('no') }}", False, False),
    ],
)
def test_what_a_template_takes_is_seen_from_what_it_shows(
    source: str, text: bool, parts: bool
) -> None:
    assert (template(source).takes_text, template(source).takes_parts) == (text, parts)
