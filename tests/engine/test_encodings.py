"""Encodings are recognised by marks, by UTF-8 itself, and else by what the text is full of; never silently."""

from __future__ import annotations

import io
import random

import pytest

from studio.engine.encodings import Encoding, recognise

TEXTS = {
    "gb18030": ["我想知道这个订单的状态是什么，谢谢。", "请打开设置，然后点击“删除”。", "他们已经回家了"],
    "cp950": ["請問我的訂單在哪裡？", "您可以在訂單頁面查看，謝謝。", "他們已經回家了"],
    "cp932": ["こんにちは、注文はどこですか。", "ありがとうございます", "設定を開いてください。"],
    "euc_jp": ["こんにちは、注文はどこですか。", "ありがとうございます", "設定を開いてください。"],
    "cp949": ["안녕하세요 주문은 어디에 있습니까", "감사합니다, 도와주셔서", "설정을 여세요."],
    "cp1251": ["Где находится мой заказ сегодня", "Спасибо за помощь!", "Откройте настройки."],
    "koi8_r": ["Где находится мой заказ сегодня", "Спасибо за помощь!", "Откройте настройки."],
    "cp1250": ["Gdzie jest moje zamówienie? Proszę o odpowiedź.", "Příliš žluťoučký kůň"],
    "cp1252": [
        "Où est ma commande ? À bientôt.",
        "Größe und Straße, schöne Grüße",
        "¿Dónde está mi pedido? Mañana",
        "Não há informações",
        "é",
        "één antwoord",
        "CAFÉ “Zoë” – 20 °C",
    ],
}


def recognised(data: bytes) -> Encoding:
    return recognise(io.BytesIO(data))


@pytest.mark.parametrize("codec", TEXTS)
@pytest.mark.parametrize(
    "shape", ["prompt,response\n{},yes\n", '{{"prompt": "q", "response": "{}"}}\n', "{}"]
)
def test_short_files_in_the_encodings_that_occur(codec: str, shape: str) -> None:
    for text in TEXTS[codec]:
        data = shape.format(text).encode(codec)
        found = recognised(data)
        assert data.decode(found.codec) == shape.format(text), text
        assert 0.3 < found.certainty < 1
        assert found.guessed
        assert not found.damaged


def test_more_text_is_more_certain() -> None:
    once, often = (recognised(("订单的状态是什么" * times).encode("gb18030")) for times in (1, 50))
    assert once.certainty < often.certainty <= 0.99


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_is_believed(mark: str) -> None:
    found = recognised("prompt,response\n问,答\n".encode(mark))
    assert (found.codec, found.certainty, found.guessed) == (mark, 1.0, False)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "prompt,response\n",
        '{"prompt": "订单在哪里？", "response": "在路上。"}\n',
        "问题,回答\n"
        + "我的订单现在到底在哪里？已经等了很久了,您的订单在路上，预计明天下午送到您的家里。\n" * 30,
        "質問\t回答\n"
        + "これはとても長い質問の文章です。いいですか\tはい、これはとても長い回答の文章です。\n" * 30,
    ],
)
def test_utf16_without_its_mark(codec: str, text: str) -> None:
    found = recognised(text.encode(codec))
    assert (found.codec, found.label) == (codec, "UTF-16 without a byte order mark")
    assert found.certainty < 1


def test_utf8_is_certain_and_nuls_do_not_make_it_utf16() -> None:
    assert recognised("prompt,response\nq,ä\n".encode()) == Encoding("utf-8")
    assert recognised(b"prompt,response\nq,a\n" * 100) == Encoding("utf-8")
    assert recognised(b'{"prompt": "q\x00", "response": "\x00\x00 a"}\n') == Encoding("utf-8")


def test_utf8_with_a_damaged_byte_stays_utf8() -> None:
    found = recognised("Schöne Grüße aus Köln und Zürich, ".encode() + b"\xe9 und so fort")
    assert (found.codec, found.damaged, found.guessed) == ("utf-8", True, False)


def test_foreign_letters_far_behind_a_megabyte_of_ascii_are_found() -> None:
    ascii_rows = b"prompt,response\n" + b"question,answer\n" * 100_000
    assert recognised(ascii_rows + "订单的状态是什么，谢谢\n".encode("gb18030")).codec == "gb18030"
    assert recognised(ascii_rows + "订单的状态是什么\n".encode()) == Encoding("utf-8")


def test_a_character_that_the_sample_breaks_off_in_is_no_damage() -> None:
    assert recognised(b"x" + "好".encode() * 700_000) == Encoding("utf-8")


def test_any_bytes_have_an_encoding() -> None:
    dice = random.Random(1)
    for length in [*range(1, 40), 500, 5000]:
        for _ in range(5):
            found = recognised(dice.randbytes(length))
            assert 0 < found.certainty <= 1
            b"".decode(found.codec)
