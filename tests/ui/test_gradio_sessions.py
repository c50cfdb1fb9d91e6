"""An open page takes no more memory with each event."""

from __future__ import annotations

import subprocess
import sys

EVENTS = """
import asyncio
import gradio as gr
from gradio.state_holder import SessionState
from studio.ui.gradio_sessions import keep_numbers

keep_numbers()
keep_numbers()
with gr.Blocks() as page:
    draft = gr.BrowserState("", storage_key="a", secret="b")
    text = gr.Textbox()
    press = gr.Button()
    press.click(lambda held, said: (gr.skip(), gr.Textbox(label=held + said)), [draft, text], [draft, text])
state = SessionState(page)

async def often():
    for number in range(4):
        answer = await page.process_api(0, [f"draft {number} ", "text"], state=state)
        print(answer["data"][1]["label"], len(state.config_values), len(state.blocks_config.blocks))

asyncio.run(often())
"""


def test_an_event_that_leaves_its_input_as_it_is_keeps_no_further_component() -> None:
    """In a process of its own: Gradio leaves event loops open."""
    done = subprocess.run([sys.executable, "-c", EVENTS], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:3] for line in lines] == [["draft", str(number), "text"] for number in range(4)]
    assert len({tuple(line[3:]) for line in lines}) == 1, lines
