"""Make a configuration fit into this machine's memory: `studio estimate --fit`, and the button beside the form."""

from __future__ import annotations

from studio.domain.config import RunConfig
from studio.engine import models
from studio.engine.fit import Fitted, fit
from studio.engine.model_facts import facts
from studio.services.plan import encoded, plan
from studio.services.store import Store


def fitted(store: Store, config: RunConfig) -> Fitted:
    """What becomes of a configuration. StudioError where its data, model or template cannot be used."""
    path = store.locate(config.model.id, revision=config.model.revision, download=False)
    info = models.inspect(path, config.model.id)
    lengths = [row.total for row in encoded(store, config).rows]
    return fit(plan(store, config).config, store.machine(), facts(info.config, info.parameters), lengths)
