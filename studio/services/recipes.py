"""What the script of a run is written from: its rows as they were fed, and what its log says of each step."""

from __future__ import annotations

from studio.domain.errors import StudioError
from studio.domain.events import Metric
from studio.engine.export.script import Recipe
from studio.engine.tuned import TunedRun
from studio.services.jobs import Jobs
from studio.services.log import tail
from studio.services.plan import prepare
from studio.services.run_files import RunFiles
from studio.services.store import Store


def read_recipe(store: Store, files: RunFiles, run: TunedRun) -> Recipe:
    """Raises StudioError where the rows no longer become the tokens that the run was fed."""
    prepared = prepare(
        store,
        run.config,
        run.model_path,
        files.train_rows(),
        files.held_out_rows(),
        run.template,
        files.submitted_on(),
        run.for_texts,
    )
    env = files.env()
    if prepared.train.sha256 != env["sha256"]["encoded"]:
        raise StudioError(
            "The rows of the run {run} no longer become the tokens that it was trained on.",
            "Its tokenizer, or the studio, is another: put back what env.json in its folder names.",
            run=run.name,
        )
    logged = [
        event for event in tail(files.events)[0] if isinstance(event, Metric) and event.loss is not None
    ]
    # Steps that were done again after an interruption stand there twice: the later one counts.
    by_step = {event.step: event for event in logged}
    until = int(Jobs(store).get(files.id).metrics["result_step"])
    done = [by_step[step] for step in range(1, until + 1)]
    return Recipe(
        rows=prepared.train.rows,
        texts=files.train_rows(),
        rates=[event.learning_rate or 0.0 for event in done],
        losses=[event.loss or 0.0 for event in done],
        threads=env["hardware"]["cores"],
        base_sha256=env["sha256"]["base_model"],
        continued=files.begun_with.is_dir(),
    )
