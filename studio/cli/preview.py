"""One row exactly as it will be trained: `studio preview`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from studio.cli import masks, parsing
from studio.cli.parsing import add_verb
from studio.cli.printing import DONE, print_finding, print_json
from studio.cli.progress import shown_progress
from studio.domain import visible_text
from studio.domain.config import Overlong, TemplateConfig, parse_config
from studio.domain.errors import StudioError
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs
    from studio.engine.encode import Encoder
    from studio.engine.token_losses import TokenLosses
    from studio.engine.tuned import TunedRun
    from studio.services.plan import Preview
    from studio.services.preview import InRun


def add_to(verbs: Verbs) -> None:
    """Declare the verb of this module."""
    look = add_verb(verbs, "preview", preview, "one row exactly as it will be trained")
    parsing.add_file(look)
    look.add_argument("--row", type=int, required=True, help="number of the row in the file, from 1")
    look.add_argument("--model", help="default: the starter, or the model of --run")
    look.add_argument("--max-length", type=int, help="default: what a run on this file would choose")
    look.add_argument("--overlong", choices=get_args(Overlong), help="what happens to a row that is longer")
    masks.add_options(look)
    look.add_argument(
        "--next-hazard", action="store_true", help="name the next row after this one that has a hazard"
    )
    look.add_argument(
        "--losses",
        action="store_true",
        help="each trained token's loss under the model, or under the run's two",
    )
    look.add_argument(
        "--run",
        help="encode the row as this run did, and say which rows it held out; with --losses, under its base and its "
        "tuned model",
    )


_OPEN, _CLOSE = "[[", "]]"
"""Around what is trained."""
_BEGIN, _END = "‹", "›"
"""Around a special token."""
_SIGN = re.compile(r"[·⇥↵␍⍽⟨⟩‹›]|\[\[|\]\]")
_OWN_SIGN = re.compile(rf"\\|{_SIGN.pattern}")
"""What is written with a backslash before it in a row that has signs of its own, so that each can be told apart."""


@dataclass(frozen=True)
class _Terms:
    """What a row is encoded for."""

    model: str
    max_length: int | None
    masks: TemplateConfig
    overlong: Overlong = "cut"
    run: TunedRun | None = None
    """Whose template and tokenizer these are."""

    @property
    def encoder(self) -> Encoder | None:
        """That of the run, but for what is learnt; None where there is no run."""
        from studio.engine.encode import Encoder

        if self.run is None:
            return None
        return Encoder(self.run.template, self.run.tokenizer, self.masks, self.run.for_texts)


def preview(options: argparse.Namespace, store: Store) -> int:
    """One row exactly as it will be trained."""
    from studio.services.plan import preview_row

    terms = _terms(options, store)
    shown = preview_row(
        store,
        options.file,
        options.row,
        model=terms.model,
        masks=terms.masks,
        max_length=terms.max_length,
        **parsing.reading(options),
        overlong=terms.overlong,
        encoder=terms.encoder,
    )
    following = _next_hazard(options, store, terms) if options.next_hazard else None
    losses = _losses(options, store, shown) if options.losses else None
    place = _in_run(options, store, shown) if options.run else None
    if options.json:
        return print_json(
            _as_json(options, shown, following, losses, place) | {"max_length": terms.max_length}
        )
    if place is not None:
        _print_place(place)
    if terms.max_length:
        print(f"maximum length {terms.max_length}, rows that are longer: {terms.overlong}")
    for part in (shown, *shown.others):
        _print_row(part)
    if losses is not None:
        _print_losses(shown, losses)
    if options.next_hazard:
        print(f"next row with a hazard: {following or 'none'}")
    return DONE


def _terms(options: argparse.Namespace, store: Store) -> _Terms:
    """What was given; for the rest a run's own terms, or the defaults."""
    base = _terms_of(store, options.run) if options.run else _Terms("starter", None, TemplateConfig())
    others = options.model or options.template or options.template_file
    terms = _Terms(
        options.model or base.model,
        options.max_length if options.max_length is not None else base.max_length,
        masks.chosen(options, base.masks),
        options.overlong or base.overlong,
        None if others else base.run,
    )
    return terms if terms.max_length else replace(terms, max_length=_usual_length(options, store, terms))


def _usual_length(options: argparse.Namespace, store: Store, terms: _Terms) -> int | None:
    """What a run on this file would choose; None where there can be none."""
    from studio.services.plan import usual_length

    given = {
        "model": {"id": terms.model},
        "data": {"path": options.file, **parsing.reading(options), "overlong": terms.overlong},
        "template": terms.masks.model_dump(),
    }
    with suppress(StudioError):
        return usual_length(store, parse_config(given))
    return None


def _terms_of(store: Store, run_id: str) -> _Terms:
    from studio.services.jobs import Jobs
    from studio.services.trained import read_trained

    trained = read_trained(Jobs(store).files(run_id))
    config = trained.config
    return _Terms(
        str(trained.model_path), config.train.max_length, config.template, config.data.overlong, trained
    )


def _next_hazard(options: argparse.Namespace, store: Store, terms: _Terms) -> int | None:
    from studio.engine import dataset
    from studio.services.plan import token_report
    from studio.services.preview import hazard_rows

    rows = dataset.read(options.file, **parsing.reading(options)).conversations
    found = token_report(
        store, rows, terms.model, terms.masks, terms.max_length, terms.overlong, terms.encoder
    )
    return next((row for row in hazard_rows(found, len(rows)) if row > options.row), None)


def _losses(options: argparse.Namespace, store: Store, shown: Preview) -> TokenLosses:
    from studio.services.losses import preview_losses

    model = options.model if options.run else options.model or "starter"
    with shown_progress() as progress:
        return preview_losses(store, shown.encoded, run=options.run, model=model, progress=progress)


def _in_run(options: argparse.Namespace, store: Store, shown: Preview) -> InRun:
    from studio.services.jobs import Jobs
    from studio.services.preview import in_run

    return in_run(Jobs(store).files(options.run), shown.conversation)


def _as_json(
    options: argparse.Namespace,
    shown: Preview,
    following: int | None,
    losses: TokenLosses | None,
    place: InRun | None,
) -> dict[str, Any]:
    from studio.engine.encode import fingerprint

    data: dict[str, Any] = {
        **shown.to_json(),
        "hazards": list(shown.encoded.hazards),
        "sha256": fingerprint([shown.encoded]),
    }
    if options.next_hazard:
        data["next_hazard"] = following
    if losses is not None:
        data["losses"] = losses
    if place is not None:
        data["in_run"] = asdict(place)
    return data


def _print_losses(shown: Preview, losses: TokenLosses) -> None:
    """A line for each trained token, in nats, and the mean."""
    sides = {name: side for name, side in (("base", losses["base"]), ("tuned", losses["tuned"])) if side}
    print("".join(f"{name:>10}" for name in sides) + "  token")
    for place, (_, text, _) in enumerate(shown.tokens[: shown.encoded.total]):
        found = [side[place] for side in sides.values()]
        if None not in found:
            print("".join(f"{loss:10.4f}" for loss in found) + f"  {text!r}")
    for name, side in sides.items():
        known = [loss for loss in side if loss is not None]
        if known:
            print(f"mean loss {name} {sum(known) / len(known):.4f}")


_PLACES = {
    "trained": "the run trains on this row",
    "held_out": "held out: the run measures on this row and does not train on it",
    "absent": "the run has no such row: the file changed since, or it is another one",
}
_NAMED = 20


def _print_place(place: InRun) -> None:
    """What the run did with the row, and which rows it held out."""
    print(_PLACES[place.part])
    if place.held_out:
        rows = ", ".join(map(str, place.held_out[:_NAMED])) + (" …" if place.held_out[_NAMED:] else "")
        print(
            f"rows held out{' of ' + place.file if place.file else ''}: {rows} ({len(place.held_out)} in all)"
        )


def _print_row(shown: Preview) -> None:
    row = shown.encoded
    print(f"template {shown.template}, {row.trained} of {row.total} tokens trained, in {_OPEN}{_CLOSE}")
    print(
        f"special tokens in {_BEGIN}{_END}, what is only spelled like one is not; ↵ line end, ⇥ tab, · space"
    )
    if _SIGN.search(row.text):
        print("signs that the row itself has, and its backslashes, have a backslash before them")
    if shown.left_out:
        print("left out: a run is not given this row")
    print("".join(_marked(kind, text) for kind, text in _stretches(shown)))
    for found in shown.findings:
        print_finding(found)


def _stretches(shown: Preview) -> Iterator[tuple[visible_text.Kind, str]]:
    """The text of the tokens, by what becomes of them, with each character whole and white space as signs."""
    dots = visible_text.dots(shown.encoded, shown.special)
    for stretch in visible_text.stretches(shown.encoded, shown.special):
        said = ""
        for part in stretch.parts:
            seen = _seen(shown.encoded.text, part, dots)
            said += f"{_BEGIN}{seen}{_END}" if part.special else seen
        if stretch.kind == "cut":
            said = f"\n--- cut off here: {stretch.tokens} tokens\n{said}"
        yield stretch.kind, said


def _seen(text: str, part: visible_text.Part, dots: Collection[int]) -> str:
    """A part of a row's text with signs in place of what cannot be seen."""
    parts = visible_text.signed(text, part.start, part.end, dots)
    if not _SIGN.search(text):
        return "".join(said for _, said in parts)
    return "".join(said if is_sign else _OWN_SIGN.sub(r"\\\g<0>", said) for is_sign, said in parts)


def _marked(kind: visible_text.Kind, text: str) -> str:
    """Trained text in brackets, and where there is a terminal in colour too."""
    if kind != "trained":
        return text
    marked = f"{_OPEN}{text}{_CLOSE}"
    return f"\033[1;32m{marked}\033[0m" if sys.stdout.isatty() else marked
