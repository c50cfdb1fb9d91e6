"""An open page takes no more memory with each event."""

from __future__ import annotations

import asyncio

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from studio.ui.gradio_sessions import keep_numbers


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # loops that Gradio leaves open
def test_an_event_that_leaves_its_input_as_it_is_keeps_no_further_component() -> None:
    keep_numbers()
    keep_numbers()
    with gr.Blocks() as page:
        draft = gr.BrowserState("", storage_key="a", secret="b")
        text = gr.Textbox()
        press = gr.Button()
        press.click(
            lambda held, said: (gr.skip(), gr.Textbox(label=f"{held}{said}")), [draft, text], [draft, text]
        )
    state = SessionState(page)

    async def pressed(number: int) -> tuple[int, int]:
        answer = await page.process_api(0, [f"draft {number} ", "text"], state=state)
        assert answer["data"][1]["label"] == f"draft {number} text"
        return len(state.config_values), len(state.blocks_config.blocks)

    async def often() -> set[tuple[int, int]]:
        return {await pressed(number) for number in range(4)}

    assert len(asyncio.run(often())) == 1
