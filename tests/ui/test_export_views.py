from pathlib import Path

from studio.domain.text import Text
from studio.services.exports import ExportStatus
from studio.ui import export_views
from studio.ui.i18n import words

EN = words("en")
RUN = "20260101-x"
VERIFIED = {
    "passed": True,
    "max_logit_difference": 0.125,
    "mean_kl": 0.0011,
    "greedy_match": 0.75,
    "prompts": 8,
    "tokens": 177,
    "same_prompt_ids": True,
    "same_end_tokens": True,
    "tolerance_kl": 0.05,
    "untuned_kl": 2.7,
    "note_text": None,
}


def status(state: str = "finished", **values: object) -> ExportStatus:
    given: dict[str, object] = {
        "name": "merged-bfloat16",
        "to": "merged",
        "precision": "bfloat16",
        "created": "2026-01-01T00:00:00.000Z",
        "state": state,
        "phase": "merging",
        "done": 1.0,
        "total": 4.0,
        "files": Path("/nowhere"),
        "result": None,
    }
    return ExportStatus(**{**given, **values})  # type: ignore[arg-type]


def test_an_export_under_way_says_its_phase_and_share():
    drawn = export_views.exports(EN, RUN, [status("running")], "")
    assert "Merging the adapter into the model" in drawn
    assert 'aria-valuenow="25"' in drawn


def test_a_proven_export_shows_the_proof():
    result = {"bytes": 2048, "files": {"model.safetensors": 2000}, "verified": VERIFIED}
    drawn = export_views.exports(EN, RUN, [status(result=result)], "")
    assert 'class="proof good"' in drawn
    assert f'href="exports/{RUN}/merged-bfloat16.zip" download' in drawn
    for figure in ("0.125", "0.0011", "6 of 8", "Passed", "2.0 KiB"):
        assert figure in drawn


def test_one_that_did_not_pass_is_red_and_says_why():
    result = {"bytes": 1, "files": {}, "verified": {**VERIFIED, "passed": False}}
    drawn = export_views.exports(
        EN, RUN, [status("failed", result=result, text=Text("It answers otherwise."))], ""
    )
    assert 'class="proof bad"' in drawn
    assert "It answers otherwise." in drawn
    assert "Passed" not in drawn


def test_of_two_merges_both_figures_are_shown_and_which_was_kept():
    both = {way: {"mean_kl": kl} for way, kl in (("original", 0.31), ("dequantised", 0.002))}
    result = {"bytes": 1, "files": {}, "verified": {**VERIFIED, "into": "dequantised", "merges": both}}
    drawn = export_views.exports(EN, RUN, [status(result=result)], "")
    assert "Mean KL divergence when merged into the original weights (not kept)" in drawn
    assert "Mean KL divergence when merged into the de-quantised weights (kept)" in drawn
    assert "0.31" in drawn


def test_deleting_asks_first():
    assert 'data-do="delete-yes"' not in export_views.exports(EN, RUN, [status()], "")
    assert 'data-do="delete-yes"' in export_views.exports(EN, RUN, [status()], "merged-bfloat16")


def test_too_little_room_is_said_before_the_start():
    assert "Free some space first" in export_views.needs(EN, 10_000, 5_000)
    assert "note-warn" not in export_views.needs(EN, 5_000, 10_000)
    assert "note-warn" in export_views.needs(EN, 5_000, 9_000, both=True)  # one beside the other


def test_the_code_is_the_cards_with_the_folder_filled_in(tmp_path):
    (tmp_path / "README.md").write_text(
        '# x\n```python\nfolder = "."  # here\nload(folder)\n```\n', encoding="utf-8"
    )
    assert export_views.snippet(tmp_path) == f'folder = "{tmp_path}"\nload(folder)'
