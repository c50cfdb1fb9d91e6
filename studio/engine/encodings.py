"""Bytes to text: which encoding a file is written in, how certain that is, and which bytes are no text in it."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

DAMAGE = "\udcff"
"""Stands for bytes that are no text in the file's encoding: half a character, which no decoded text holds."""
MARK_DAMAGE = "studio-mark-damage"
"""The error handler of that name puts DAMAGE in their place; `damage_is_marked` makes it known."""

SAMPLE = 1_000_000
"""So many bytes are looked at, from the first one on that is not ASCII."""
_GUESSED_FROM = 32_000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The wider relatives of the standards, as programs write them: cp932 for Shift JIS, cp949 for EUC-KR, cp950 for Big5.
_LABELS = {
    "gb18030": "GBK / GB18030 (Chinese)",
    "cp950": "Big5 (Traditional Chinese)",
    "big5hkscs": "Big5 (Traditional Chinese)",
    "cp932": "Shift JIS (Japanese)",
    "euc_jp": "EUC-JP (Japanese)",
    "cp949": "EUC-KR (Korean)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8_r": "KOI8-R (Cyrillic)",
    "cp1252": "Windows-1252 (Western European)",
    "utf-16-le": "UTF-16 without a byte order mark",
    "utf-16-be": "UTF-16 without a byte order mark",
}
CHOICES = (
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "gb18030",
    "cp950",
    "cp932",
    "euc_jp",
    "cp949",
    "cp1252",
    "cp1250",
    "cp1251",
    "koi8_r",
)
"""Encodings to choose from where the one that was recognised is wrong; utf-8-sig reads UTF-8 with a mark or without."""
_CANDIDATES = ["gb18030", "cp950", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1250"]


@dataclass(frozen=True)
class Encoding:
    """How a file is written: the name of Python's codec, and from 0 to 1 how certain that is.

    1 means that a byte order mark says it or that all that was looked at is valid UTF-8. `damaged` means that some of
    it is no text even so.
    """

    codec: str
    certainty: float = 1.0
    damaged: bool = False

    @property
    def label(self) -> str:
        """The name for a person."""
        return _LABELS.get(self.codec, self.name.upper())

    @property
    def name(self) -> str:
        """The codec without the word on its byte order mark."""
        return "utf-8" if self.codec == "utf-8-sig" else self.codec

    @property
    def guessed(self) -> bool:
        """Whether the bytes themselves do not say it: neither a mark nor UTF-8."""
        return self.codec not in ("utf-8", "utf-8-sig", "utf-16", "utf-32")


def is_encoding(name: str) -> bool:
    """Whether a name is that of an encoding of texts.

    >>> is_encoding("gbk"), is_encoding("zip"), is_encoding("x")
    (True, False, False)
    """
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def recognise(file: BinaryIO) -> Encoding:
    """The encoding of a file, read from its present place: at least its first 1 MB, or 1 MB after its leading ASCII."""
    head = file.read(SAMPLE)
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if marked:
        return Encoding(marked)
    if b"\0" in head and (wide := _without_mark(head)):
        return Encoding(wide, 0.95)
    while head.isascii():
        head = file.read(SAMPLE)
        if not head:
            return Encoding("utf-8")
    sample = head + file.read(SAMPLE)
    return recognise_bytes(sample, whole=not file.read(1))


def recognise_bytes(data: bytes, whole: bool = True) -> Encoding:
    """The encoding of bytes without a mark that are not all ASCII. Where they are not the `whole` file, a character
    may break off at their end.

    >>> recognise_bytes("Où est ma commande ? À côté.".encode("cp1252")).label
    'Windows-1252 (Western European)'
    """
    if _decodes(data, "utf-8", whole):
        return Encoding("utf-8")
    runs = re.findall(rb"[\x80-\xff]+", data)
    pairs = re.findall(
        rb"(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})+", data
    )
    share = sum(map(len, pairs)) / sum(map(len, runs))
    if share > 0.7:
        return Encoding("utf-8", share, damaged=True)
    sample = _telling(data)
    western = _western(sample)
    if central := _central(sample):
        return _judged(data, sample, "cp1250", central)
    if western > 0.9:
        return _judged(data, sample, "cp1252", western)
    return _by_statistics(data, sample) or _judged(data, sample, "cp1252", western)


def _telling(data: bytes) -> bytes:
    """The lines that are not all ASCII: only they say something."""
    lines = [line for line in data.split(b"\n") if not line.isascii()]
    return b"\n".join(lines)[:_GUESSED_FROM]


def _decodes(data: bytes, codec: str, whole: bool = True) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(data, whole)
    except UnicodeDecodeError:
        return False
    return True


def _judged(data: bytes, sample: bytes, codec: str, fit: float) -> Encoding:
    """Certain in so far as the text fits, and the more the more of it there is."""
    text = sample.decode(codec, errors="replace")
    foreign = sum(ord(character) > 127 for character in text)
    certainty = round(min(0.99, max(0.1, fit * (foreign + 1) / (foreign + 2))), 2)
    return Encoding(codec, certainty, damaged=not _decodes(data, codec, whole=False))


def _without_mark(data: bytes) -> str | None:
    """UTF-16 is known by zeros on one side of many pairs and nearly none on the other. Chinese and Japanese have them
    only in the signs between the texts."""
    data = data[: len(data) // 2 * 2][:100_000]
    if not data:
        return None
    high_first, low_first = data[0::2].count(0), data[1::2].count(0)
    for codec, zeros, others in (("utf-16-le", low_first, high_first), ("utf-16-be", high_first, low_first)):
        one_sided = zeros > 0 and others <= 0.05 * zeros
        many = zeros > max(2, 0.05 * len(data) / 2)  # one or two may be strays
        if one_sided and _reads_well(data, codec) and (many or _eastern(data.decode(codec, "replace"))):
            return codec
        # Of Chinese alone some characters have a zero on the other side, too.
        mostly = zeros > 0 and others <= 0.3 * zeros
        if mostly and _reads_well(data, codec) and _eastern(data.decode(codec, "replace")):
            return codec
    return None


def _eastern(text: str) -> bool:
    """Whether nearly all of a text above ASCII is of the scripts and signs of East Asia."""
    foreign = sum(ord(character) > 127 for character in text)
    return len(_EASTERN.findall(text)) >= 0.95 * foreign > 0


_EASTERN = re.compile("[\u2010-\u2027\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uffef]")


def _reads_well(data: bytes, codec: str) -> bool:
    """Whether the text has hardly any character that is unassigned, private or a control."""
    text = data.decode(codec, errors="replace")
    odd = sum(unicodedata.category(character) in ("Cn", "Co", "Cc") for character in text)
    odd -= sum(map(text.count, "\t\r\n"))
    return odd + text.count("\ufffd") <= 0.05 * len(text)


# ---- Western and Central European ---------------------------------------------------------------------------------

_SMALL = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœšžðþ"
_LETTERS = _SMALL + _SMALL.replace("ß", "").upper()
_WESTERN = re.compile(
    rf"""
    (?<![^\W_]) [{_LETTERS}] (?![^\W_])            # a word of one letter: à, é, ö
    | (?<=[A-Za-z]) [{_SMALL}]{{1,2}}              # inside or at the end of a word: é, créée
    | (?<![^\W_]) [{_LETTERS}]{{1,2}} (?=[a-z])     # at its start: Über, être
    | (?<=[A-Z]) [{_LETTERS}]{{1,2}} (?![a-z])     # in a word of capitals: CAFÉ
    | (?<![^\W_]) [{_LETTERS}] (?=[A-Z])
    | (?<![^\W_]) [§£€±°²³µ½¼¾©®™´¨] | (?<=\w) [°²³®™€£ªº·´]
    | [“”‘’«»‹›„‚…–—•¿¡\u00a0\u00ad]
    """,
    re.VERBOSE,
)
# Each language's letters above ASCII: a text that takes them from one list only is in the encoding of that list.
_ALPHABETS = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ",
        "äöüßé",
        "áéíñóúü",
        "àáâãçéêíóôõúü",
        "àèéìíòóùú",
        "åäöæøéüóòôâ",
        "áæéíóúýðþö",
        "ëïéèöüóáê",
        "àçèéíïóòúü",
    ),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž"),
}


def _western(sample: bytes) -> float:
    """Which share of the characters above ASCII stand, read as Windows-1252, where Western languages have them."""
    text = sample.decode("cp1252", errors="replace")
    foreign = sum(ord(character) > 127 for character in text)
    usual = sum(len(match) for match in _WESTERN.findall(text))
    return usual / foreign if foreign else 0.0


def _central(sample: bytes) -> float:
    """Which share of the letters above ASCII a language of Central Europe has; 0 where a Western one has as many."""
    central, western = _of_one_alphabet(sample, "cp1250"), _of_one_alphabet(sample, "cp1252")
    return central if central > max(western, 0.95) else 0.0


def _of_one_alphabet(sample: bytes, codec: str) -> float:
    text = sample.decode(codec, errors="replace").lower()
    letters = sum(ord(character) > 127 and character.isalpha() for character in text)
    in_words = "".join(re.findall(r"(?<=[a-z])[^\W\d_a-z]{1,2}|[^\W\d_a-z]{1,2}(?=[a-z])", text))
    return (
        max(sum(map(alphabet.count, in_words)) for alphabet in _ALPHABETS[codec]) / letters
        if letters
        else 0.0
    )


# ---- Chinese, Japanese, Korean, Cyrillic --------------------------------------------------------------------------

# What a text in the language is full of, and what its bytes give in no other encoding.
_KANA = r"[\u3041-\u3093\u30a1-\u30f6ー。、]"
_CYRILLIC = (
    "(?<=[А-Яа-яёіїє])[оеаинтсрвлкмдпуягзбчйхжшюцщєіїьы]|[А-Я](?=[а-яёії])|(?<=[А-Я])[ОЕАИНТСРВЛ]"
    r"|(?<![^\W_])[авиксояу](?![^\W_])"
)
_USUAL = {
    "gb18030": re.compile(
        "[的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么"
        "心多天而能好都然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知样现分将"
        "外但身些与高意进把法此实回二理美点月明其种声全工话儿者向情部正名定女问力机给等几很业最间新什打便位因重被"
        "走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住"
        "员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制"
        "解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请爱让认式候像该您谢订单语言句删除命令按键"
        "，。？！：；、“”（）]"
    ),
    "cp950": re.compile(
        "[的一是不了在人有我他這中大來上個國到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可裡後小麼"
        "心多天而能好都然沒日於起還發成事只作當想看文無開手用主行方又如前所本見經頭面公同三已老從動兩長知樣現分將"
        "外但身些與高意進把法此實回二理美點月明其種聲全工話兒者向情部正名定女問力機給等幾很業最間新什打便位因重被"
        "走電四第門相次東政海口使教西再平真聽世氣信北少關並內加化由卻代軍產入先山五太水萬市眼體別處總才場師書比住"
        "員九笑性通目華報立馬命張活難神數件安表原車白應路期叫死常提感金何更反合放做系計或司利受光王果親界及今京務制"
        "解各任至清物台象記邊共風戰干接它許八特覺望直服毛林題建南度統色字請愛讓認式候像該您謝訂單語言句刪除命令按鍵"
        "，。？！：；、「」（）]"
    ),
    "cp932": re.compile(_KANA),
    "euc_jp": re.compile(_KANA),
    "cp949": re.compile(
        "[이다의는에을가를로하고은지한도사기서리니나아자대어시그해인라일들스게있정여과만부으전수보요면안구제주우장"
        "원러것거년유선상성오신소세모동무계국공경조치마적었했없않할때말중개내문화방위연간실드습까까합세요명분재"
        "트비입음식미더학생차와회물관진래체발용데당난히든행영금양바후글커서키삭단명령]"
    ),
    "cp1251": re.compile(_CYRILLIC),
    "koi8_r": re.compile(_CYRILLIC),
}


def _by_statistics(data: bytes, sample: bytes) -> Encoding | None:
    """The encoding whose language the text is full of; else what charset-normalizer says; None where nothing fits."""
    fits = sorted(((_fit(sample, codec), codec) for codec in _USUAL), reverse=True)
    (fit, codec), (second, _) = fits[:2]
    if fit > 0.5 and fit - second > 0.1:
        return _judged(data, sample, codec, min(1.0, fit + 0.3))
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample, cp_isolation=_CANDIDATES).best()
    if best is not None:
        return _judged(data, sample, best.encoding, (1 - best.chaos) * 0.9)
    return _judged(data, sample, codec, fit) if fit > 0.3 else None


def _fit(sample: bytes, codec: str) -> float:
    """Which share of the characters above ASCII are usual in the encoding's language."""
    text = sample.decode(codec, errors="replace")
    foreign = sum(ord(character) > 127 for character in text)
    usual = sum(map(len, _USUAL[codec].findall(text)))
    return max(0.0, usual - 2 * text.count("\ufffd")) / foreign if foreign else 0.0


# ---- Damage -------------------------------------------------------------------------------------------------------


def damage_is_marked() -> None:
    """Make the error handler MARK_DAMAGE known to Python's codecs."""
    codecs.register_error(MARK_DAMAGE, _mark)


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return DAMAGE, error.end


def readable(text: str) -> str:
    """The text with the usual sign in place of bytes that are none.

    >>> readable("caf" + DAMAGE)
    'caf\ufffd'
    """
    return text.replace(DAMAGE, "\ufffd")
