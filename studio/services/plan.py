"""What a run with this configuration would be: settings filled in, rows encoded, costs estimated; without torch."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from studio.domain.chat import Conversation
from studio.domain.config import DataConfig, Overlong, RunConfig, TemplateConfig
from studio.domain.encoded import IGNORED, Encoded
from studio.domain.errors import StudioError
from studio.domain.finding import Finding, finding, worst_first
from studio.domain.text import Text
from studio.engine import dataset, defaults, general, models, optimizers
from studio.engine.encode import EncodedData, Encoder, encoder_for, fingerprint, is_fed, made_of, select
from studio.engine.hazards import hazard_findings
from studio.engine.memory import Estimate, estimate
from studio.engine.model_facts import ModelFacts, facts
from studio.engine.model_files import read_config
from studio.engine.rows import RowsByNumber
from studio.engine.samples import samples
from studio.engine.starter import is_prepared
from studio.engine.steps import plan_steps
from studio.engine.templates import Template, asks_for_date, resolve
from studio.engine.token_lengths import length_findings
from studio.engine.tokenizer import Tokenizer, load_tokenizer
from studio.services import other_logs, speeds
from studio.services.continual import continued
from studio.services.encoded_cache import EncodedCache
from studio.services.kept import Kept
from studio.services.run_files import RunFiles
from studio.services.store import Store

_NAMED = 10
"""So many rows are named in an error."""


@dataclass(frozen=True)
class Plan:
    """A resolved configuration with its reasons, its cost and what was found in the data on the way."""

    config: RunConfig
    reasons: dict[str, Text]
    estimate: Estimate
    findings: tuple[Finding, ...]
    rows: int
    held_out: int
    sha256: str
    """Fingerprint of the encoded training rows: the run records the same."""


@dataclass(frozen=True)
class Prepared:
    """All that a run is fed."""

    config: RunConfig
    encoder: Encoder
    train: EncodedData
    held_out: EncodedData
    findings: tuple[Finding, ...]
    reasons: dict[str, Text]


def plan(store: Store, config: RunConfig) -> Plan:
    """Estimate a run. Raises StudioError where its data, model or template cannot be used."""
    prepared, model = _prepare(store, config)
    _refuse_endless(prepared.train.rows)
    length = prepared.config.train.max_length
    assert length is not None  # a plan leaves nothing open
    data, train = load_data(store, config), prepared.config.train
    about = general.general_rows(prepared.config, prepared.encoder, data.train, length)
    steps = plan_steps(
        len(prepared.train.rows), train.batch_size, train.epochs or 1.0, train.max_steps, train.seed
    )
    asked = samples(prepared.config.evaluate, prepared.encoder, data.held_out, model.context)
    found = estimate(
        prepared.config,
        store.machine(),
        model,
        [row.total for row in prepared.train.rows],
        [row.trained for row in prepared.train.rows],
        [row.total for row in prepared.held_out.rows],
        (about.tokens, about.tokens_once),
        asked.cost(train, steps.count),
        speeds.look_up(store.speeds_file, prepared.config),
    )
    return Plan(
        config=prepared.config,
        reasons=prepared.reasons,
        estimate=found,
        findings=prepared.findings,
        rows=len(prepared.train.rows),
        held_out=len(prepared.held_out.rows),
        sha256=prepared.train.sha256,
    )


@dataclass(frozen=True)
class EncodedSet:
    """The training rows of a configuration, encoded: as they are, and as the run is fed them."""

    conversations: Sequence[Conversation]
    rows: Sequence[Encoded]
    """One a conversation, neither cut nor left out."""
    data: EncodedData
    max_length: int
    encoder: Encoder
    context: int
    """Tokens that the model can see."""
    held_out: EncodedSet | None = None
    """The rows that are measured on, alike; None where there are none."""


def encoded(store: Store, config: RunConfig) -> EncodedSet:
    """What the plan of a configuration encodes. Raises StudioError where its data, model or template cannot be used."""
    prepared, model = _prepare(store, config)
    data = load_data(store, config)
    rows, measured = _encode(store.encoded_dir, data_key(store, config), prepared.encoder)
    length = prepared.config.train.max_length
    assert length is not None  # a plan leaves nothing open
    alike = length, prepared.encoder, model.context
    held_out = EncodedSet(data.held_out, measured, prepared.held_out, *alike) if measured else None
    return EncodedSet(data.train, rows, prepared.train, *alike, held_out)


def usual_length(store: Store, config: RunConfig) -> int:
    """The maximum length, in tokens, of a run with this configuration. StudioError as for `encoded`."""
    length = _prepare(store, config)[0].config.train.max_length
    assert length is not None  # a plan leaves nothing open
    return length


def load_data(store: Store, config: RunConfig) -> dataset.TrainingData:
    """The rows of a configuration, read once for as long as the files stay as they are."""
    return load_rows(data_key(store, config))


def mixed(store: Store, config: RunConfig) -> tuple[int, int, list[Finding]]:
    """Rows of one's own to train on, general ones beside them, and what is said of the data."""
    data = load_data(store, config)
    general = sum(bool(row.source) for row in data.train)
    return len(data.train) - general, general, data.findings


def prepare(
    store: Store,
    config: RunConfig,
    model_path: Path,
    train: Sequence[Conversation],
    held_out: Sequence[Conversation],
    template: Template | None = None,
    day: date | None = None,
    for_texts: Template | None = None,
) -> Prepared:
    """Fill in open settings and encode the rows: what a worker does with the copies that its run keeps.

    Without a template, it is the configured one with the date of `day`, or of today; see `Encoder` for `for_texts`.
    """
    model = models.inspect(model_path, config.model.id)
    tokenizer = load_tokenizer(model_path)
    encoder = (
        Encoder(template, tokenizer, config.template, for_texts)
        if template
        else _encoder(config.template, tokenizer, day or date.today())
    )
    cache = EncodedCache(store.encoded_dir)
    whole = (train, cache.encode(encoder, train)), (held_out, cache.encode(encoder, held_out))
    prepared = _fill(store, config, facts(model.config, model.parameters), encoder, *whole)
    _refuse_endless(prepared.train.rows)
    return prepared


def _prepare(store: Store, config: RunConfig) -> tuple[Prepared, ModelFacts]:
    data = load_data(store, config)
    config, about = continued(store, config)
    path = store.locate(config.model.id, revision=config.model.revision, download=False)
    info = models.inspect(path, config.model.id)
    model = facts(info.config, info.parameters)
    encoder = todays_encoder(config.template, load_tokenizer(path))
    train, held_out = _encode(store.encoded_dir, data_key(store, config), encoder)
    prepared = _fill(store, config, model, encoder, (data.train, train), (data.held_out, held_out))
    found = worst_first([*data.findings, *about, *prepared.findings])
    return replace(prepared, findings=tuple(found)), model


_Rows = tuple[Sequence[Conversation], Sequence[Encoded]]


def _fill(
    store: Store,
    config: RunConfig,
    model: ModelFacts,
    encoder: Encoder,
    train: _Rows,
    held_out: _Rows,
) -> Prepared:
    """`train` and `held_out` are conversations with their encoded rows."""
    optimizers.check(config.train, store.machine())
    general.check(config.train)
    other_logs.check(config.train)
    lengths, held_out_lengths = [row.total for row in train[1]], [row.total for row in held_out[1]]
    recommended = defaults.recommend(config, store.machine(), model, lengths, held_out_lengths)
    max_length = recommended.config.train.max_length or model.context
    if max_length > model.context:
        raise StudioError(
            "The maximum length {length} is more than the {context} tokens that {model} can see.",
            "Choose {context} or less.",
            length=max_length,
            context=model.context,
            model=config.model.id,
        )
    kept = _select_mixed(encoder, train, max_length, config.data.overlong, model.context)
    measured = select(encoder, *held_out, max_length, config.data.overlong, model.context)
    if not kept.rows:
        raise StudioError(
            "No row has a trained token left at a maximum length of {length}.",
            "Raise the maximum length, or look at the rows under Template.",
            length=max_length,
        )
    return Prepared(
        recommended.config,
        encoder,
        kept,
        measured,
        tuple(worst_first([*kept.findings, *about_others(measured, max_length, HELD_OUT_TOKENS)])),
        recommended.reasons,
    )


def _refuse_endless(rows: Sequence[Encoded]) -> None:
    """StudioError where a row teaches to answer, but not to stop."""
    endless = list(dict.fromkeys(row.row for row in rows if "no_end_token" in row.hazards))
    if endless:
        raise StudioError(
            "Rows that train no end token under this template, so that the model would not learn to stop: "
            "{count} ({rows}).",
            "Choose a template that ends each turn with a special token, such as ChatML. To train on plain text, as in "
            "continued pre-training, train on prompts too.",
            count=len(endless),
            rows=", ".join(map(str, endless[:_NAMED])) + (" …" if endless[_NAMED:] else ""),
        )


def _select_mixed(
    encoder: Encoder, train: _Rows, max_length: int, overlong: Overlong, context: int
) -> EncodedData:
    """One's own rows and then those mixed in, whose numbers are those of another file."""
    parts = []
    for mixed in (False, True):
        pairs = [(row, ids) for row, ids in zip(*train, strict=True) if bool(row.source) == mixed]
        parts.append(
            select(
                encoder, [row for row, _ in pairs], [ids for _, ids in pairs], max_length, overlong, context
            )
        )
    own, general = parts
    rows = (*own.rows, *general.rows)
    others = about_others(general, max_length, GENERAL_TOKENS)
    found = [*own.findings, *others, *_about_date(encoder.template)]
    return EncodedData(rows, tuple(worst_first(found)), fingerprint(rows), len(general.rows))


@dataclass(frozen=True)
class Preview:
    """One row as it will be trained. `tokens` are (id, text, trained) of kept and then of cut tokens.

    `special` are the ids of special tokens and of other marks of the vocabulary. `left_out`: a run is not given it.
    `others` are the further rows that its turns are split over.
    """

    template: str
    encoded: Encoded
    tokens: tuple[tuple[int, str, bool], ...]
    findings: tuple[Finding, ...]
    conversation: Conversation
    special: frozenset[int] = frozenset()
    left_out: bool = False
    others: tuple[Preview, ...] = ()

    def to_json(self) -> dict[str, Any]:
        kept = self.tokens[: self.encoded.total]
        return {
            "row": self.encoded.row,
            "template": self.template,
            "rendered": self.encoded.text,
            "tokens": [
                {"id": token, "text": text, "trained": trained, "special": token in self.special}
                for token, text, trained in kept
            ],
            "trained": self.encoded.trained,
            "total": self.encoded.total,
            "truncated": self.encoded.truncated,
            "cut": [{"id": token, "text": text} for token, text, _ in self.tokens[self.encoded.total :]],
            "left_out": self.left_out,
            "split": [other.to_json() for other in self.others],
            "findings": [found.to_json() for found in self.findings],
        }


def preview_row(
    store: Store,
    file: str,
    row: int,
    *,
    model: str = "starter",
    masks: TemplateConfig | None = None,
    max_length: int | None = None,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    read_as: dict[str, str] | None = None,
    overlong: Overlong = "cut",
    encoder: Encoder | None = None,
) -> Preview:
    """Row number `row` of a file as a run is fed it. StudioError where there is none, or it is no conversation.

    `encoder`: of a run that there is, instead of the one that the model and `masks` ask for today.
    """
    data = dataset.read(file, format=format, columns=columns, read_as=read_as)
    conversation = next((item for item in data.conversations if item.row == row), None)
    if conversation is None:
        problem = next((found for found in data.findings if row in found.rows), None)
        if problem:
            raise StudioError("{problem}", problem.remedy_text.template, problem=problem.message)
        raise StudioError(
            "{file} has no row {row}: its rows are 1 to {last}.",
            "Choose one of them.",
            file=file,
            row=row,
            last=data.total,
        )
    path = store.locate(model, download=False)
    encoder = encoder or encoder_for(masks or TemplateConfig(), load_tokenizer(path))
    context = facts(read_config(path), 0).context if overlong == "keep" else None
    parts = made_of(encoder, conversation, encoder.encode(conversation), max_length, overlong, context)
    first, *others = (_preview(encoder, conversation, part, max_length, overlong) for part in parts)
    return replace(first, others=tuple(others))


def _preview(
    encoder: Encoder, conversation: Conversation, shown: Encoded, max_length: int | None, overlong: Overlong
) -> Preview:
    tokenizer = encoder.tokenizer
    labels = (*shown.labels, *(IGNORED for _ in shown.cut_ids))
    ids = (*shown.input_ids, *shown.cut_ids)
    tokens = tuple((i, tokenizer.token(i), label != IGNORED) for i, label in zip(ids, labels, strict=True))
    found = tuple(hazard_findings([shown], max_length, overlong))
    left_out = not is_fed(shown, overlong)
    return Preview(encoder.template.name, shown, tokens, found, conversation, tokenizer.controls, left_out)


def token_report(
    store: Store,
    conversations: Sequence[Conversation],
    model: str | None,
    masks: TemplateConfig,
    max_length: int | None,
    overlong: Overlong = "cut",
    encoder: Encoder | None = None,
) -> list[Finding]:
    """What encoding the rows that a run would be given shows, for a model and the length that a run would choose.

    Without a model the starter is taken, if it is there. `encoder`: as for `preview_row`.
    """
    if model is None and not is_prepared(store.models_dir):
        return []
    path = store.locate(model or "starter", download=False)
    encoder = encoder or encoder_for(masks, load_tokenizer(path))
    given = [conversation for conversation in conversations if conversation.learnable]
    rows = EncodedCache(store.encoded_dir).encode(encoder, given)
    context = facts(read_config(path), 0).context
    lengths = [row.total for row in rows if row.total]
    usual = defaults.usual_length(store.machine().device, context, max(lengths, default=0))
    kept = select(encoder, given, rows, min(max_length or usual, context), overlong, context)
    return worst_first([*length_findings(lengths, context), *kept.findings])


TOKEN_SAMPLE = 5_000
"""Rows of a surveyed file that are encoded for a report."""


def sampled_token_report(store: Store, rows: Sequence[Conversation], *how: Any) -> list[Finding]:
    """As `token_report`; of rows that lie in a file, on some that are evenly drawn, which a finding says first."""
    if not isinstance(rows, RowsByNumber) or len(rows) <= TOKEN_SAMPLE:
        return token_report(store, rows, *how)
    found = token_report(store, rows.sample(TOKEN_SAMPLE), *how)
    about = finding(
        "token_sample",
        "tokens",
        "info",
        (),
        "Of {total} rows, {sample} that are evenly drawn were turned into tokens; counts of rows are of these.",
        "Nothing needs to be done. The Template tab shows any row as tokens.",
        total=f"{len(rows):,}",
        sample=f"{TOKEN_SAMPLE:,}",
    )
    return [about, *found] if found else []


HELD_OUT_TOKENS = (
    "held_out_tokens",
    "Held-out rows that are cut, left out or without a trained end at {max_length} tokens: {count}.",
    "Raise the maximum length, or look at these rows of the held-out data.",
)
GENERAL_TOKENS = (
    "general_tokens",
    "General rows that are cut, left out or without a trained end at {max_length} tokens: {count}.",
    "Raise the maximum length, or look at these rows of the general data.",
)


def about_others(data: EncodedData, max_length: int, said: tuple[str, str, str]) -> list[Finding]:
    """The same findings, said of rows whose numbers are those of another file."""
    rows = sorted({row for found in data.findings if found.severity != "info" for row in found.rows})
    if not rows:
        return []
    check, message, remedy = said
    return [finding(check, "tokens", "warning", rows, message, remedy, max_length=max_length)]


def _about_date(template: Template) -> list[Finding]:
    if not asks_for_date(template.source):
        return []
    return [
        finding(
            "live_date",
            "tokens",
            "warning",
            (),
            "The template asks for the date in a form that it works out, so that the date cannot be written into it: "
            "the model is trained with one date and answers with others, and a run cannot go on on another day.",
            "Write the form between quotes where the template calls strftime_now, as in strftime_now('%d %b %Y').",
        )
    ]


class DataKey(NamedTuple):
    """All that the rows of a configuration depend on."""

    data: str
    """The data settings as JSON."""
    seed: int
    stamps: tuple[int, ...]
    """When the files last changed."""
    earlier: str = ""
    """The folder of the run whose adapter is trained on: what it has learnt is not measured on."""


def data_key(store: Store, config: RunConfig) -> DataKey:
    """By which what is made of a configuration's rows can be kept."""
    data = config.data
    files = (data.path, data.held_out_path, data.general_path)
    earlier = ""
    if config.model.adapter:
        with contextlib.suppress(StudioError):  # deleted since, about which `continued` says more
            earlier = str(store.run_dir(config.model.adapter))
    return DataKey(data.model_dump_json(), config.train.seed, tuple(_stamp(file) for file in files), earlier)


def _stamp(path: str | None) -> int:
    file = Path(path).expanduser() if path else None
    return file.stat().st_mtime_ns if file and file.is_file() else 0


def load_rows(key: DataKey) -> dataset.TrainingData:
    """As `load_data`."""
    with _READING:
        return _load_rows(key)


_READING = threading.Lock()
"""Two that ask for the same rows at once must not read them twice."""


@lru_cache(maxsize=4)
def _load_rows(key: DataKey) -> dataset.TrainingData:
    learnt, measured = _known_to(Path(key.earlier)) if key.earlier else ([], [])
    return dataset.load_training(DataConfig.model_validate_json(key.data), key.seed, learnt, measured)


def _known_to(folder: Path) -> tuple[list[Conversation], list[Conversation]]:
    """What a run, and those whose adapters it went on with, were trained on; and what it held out."""
    run = RunFiles(folder)
    learnt, measured = run.train_rows(), run.held_out_rows()
    seen = {folder.name}
    while (before := run.given_config().model.adapter) and before not in seen:
        seen.add(before)
        run = RunFiles(folder.parent / before)
        if not run.folder.is_dir():
            break
        learnt += run.train_rows()
    return learnt, measured


def todays_encoder(config: TemplateConfig, tokenizer: Tokenizer) -> Encoder:
    """The same one all day, as its template has the date in it. StudioError where the template cannot be read."""
    return _encoder(config, tokenizer, date.today())


@lru_cache(maxsize=16)
def _encoder(config: TemplateConfig, tokenizer: Tokenizer, day: date) -> Encoder:
    return Encoder(resolve(config.name, tokenizer, config.source, day), tokenizer, config)


_EncodedRows = tuple[list[Encoded], list[Encoded]]
"""The rows to train on and those held out."""


def bytes_of(encoded: _EncodedRows) -> int:
    """What encoded rows take of the memory."""
    parts = ((row, row.input_ids, row.labels) for rows in encoded for row in rows)
    return sum(map(sys.getsizeof, chain(encoded, chain.from_iterable(parts))))


_ROOM = 256 * 1024**2
"""Bytes of encoded rows that one process keeps."""
_kept = Kept[_EncodedRows](_ROOM, bytes_of)


def _encode(folder: Path, key: DataKey, encoder: Encoder) -> _EncodedRows:
    def made() -> _EncodedRows:
        data, cache = load_rows(key), EncodedCache(folder)
        return cache.encode(encoder, data.train), cache.encode(encoder, data.held_out)

    return _kept.get((folder, key, encoder), made)
