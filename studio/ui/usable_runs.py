"""Runs with something to talk to, and which of them can answer together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from studio.domain.answer import BASE, TUNED, Side
from studio.domain.beside import Beside
from studio.domain.errors import StudioError
from studio.domain.run import ALIVE, Run
from studio.ui import run_views
from studio.ui.i18n import Words
from studio.ui.page import Page


def usable(page: Page) -> list[Run]:
    """Runs that have trained something and are not at work, the newest first."""
    from studio.services.trained import read_trained

    found = []
    for run in page.jobs.list():
        if run.state in ALIVE:
            continue
        try:
            read_trained(page.jobs.files(run.id))
        except StudioError:
            continue
        found.append(run)
    return found


def beside(page: Page, runs: Sequence[Run], run_id: str) -> list[Side]:
    """The other runs, and all checkpoints, that can answer on one copy of the weights with a run."""
    from studio.engine.tuned import check_beside
    from studio.services.trained import checkpoints, read_trained

    main, found = read_trained(page.jobs.files(run_id)), list[Side]()
    for run in runs:
        files = page.jobs.files(run.id)
        try:
            check_beside(main, read_trained(files))
        except StudioError:
            continue
        found += [run.id] * (run.id != run_id) + [Beside(run.id, name).side for name in checkpoints(files)]
    return found


def side_names(say: Words, runs: Sequence[Run], run_id: str, sides: Iterable[Side]) -> dict[Side, str]:
    """What a person calls each of the sides of a talk with a run: its own checkpoints by their step alone."""
    titles = {run.id: run_views.choice(run)[0] for run in runs}
    names = {BASE: say("chat.base"), TUNED: say("chat.tuned")}
    for side in sides:
        if side not in names:
            other = Beside.parse(side)
            title = titles.get(other.run, other.run)
            if other.step is None:
                names[side] = title
            elif other.run == run_id:
                names[side] = say("chat.step", step=other.step)
            else:
                names[side] = say("chat.checkpoint", run=title, step=other.step)
    return names
