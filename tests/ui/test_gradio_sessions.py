"""An open page takes no more memory with each event."""

from __future__ import annotations

import gradio as gr
from gradio.state_holder import SessionState

from studio.ui.gradio_sessions import keep_numbers


def test_a_component_in_the_place_of_another_has_its_number() -> None:
    keep_numbers()
    keep_numbers()
    with gr.Blocks() as page:
        draft = gr.BrowserState("", storage_key="a", secret="b")
    state = SessionState(page)
    for _ in range(3):
        # As `Blocks.postprocess_data` does of an update, and `preprocess_data` of the next event's input
        state[draft._id] = gr.BrowserState("", storage_key="a", secret="b", render=False)
        state._update_config(draft._id)
        kept = state[draft._id]
        assert kept._id == draft._id
        assert kept._id in state
        state._update_value_in_config(kept._id, "draft")
    assert list(state.config_values) == [draft._id]
    assert state.config_values[draft._id]["props"]["value"] == "draft"
