"""The chat templates that TRL ships: as models ship them, and its training templates with generation markers."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOS_AND_EOS = {
    "cohere": ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
    "deepseek": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    "diffusion_gemma": ("<bos>", "<eos>"),
    "gemma": ("<bos>", "<eos>"),
    "glm4moe": ("", "<|endoftext|>"),
    "gptoss": ("<|startoftext|>", "<|return|>"),
    "idefics3": ("<|begin_of_text|>", "<|end_of_text|>"),
    "lfm2": ("<|startoftext|>", "<|im_end|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
    "llava_next": ("<s>", "</s>"),
    "muse_glimmer": ("<|begin_of_text|>", "<|eot|>"),
    "nemotron": ("<s>", "<|im_end|>"),
    "phi3": ("<s>", "<|endoftext|>"),
    "qwen": ("", "<|im_end|>"),
    "smolvlm": ("<|im_start|>", "<end_of_utterance>"),
}
"""By the beginning of a template's name; no bos where its tokenizer names none."""
_PARTS_ONLY = ("idefics3", "llava_next", "smolvlm")
_TEXT_ARGUMENTS = ("deepseekv3", "deepseek_r1_distill")
_SPECIAL = re.compile(
    r"<｜[^｜<>]+｜>|<\|[\w/\"]+\|?>|<\w+\|>|</s>|<(?:start|end)_of_\w+>|<image>|<sop>|\[gMASK\]"
)
_ADDED = re.compile(r"</?(?:think|tool_call|tool_response|arg_key|arg_value)>")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_TRAINING = "_training"


@dataclass(frozen=True)
class Family:
    """A template as its models ship it, and the control tokens that they have for it."""

    name: str
    original: str
    bos: str
    eos: str
    special: tuple[str, ...]
    added: tuple[str, ...]
    """Tokens that are never split but are not special, such as <think>."""
    parts_only: bool
    """Whether its templates show contents only as lists of parts, because the model sees images too."""
    text_arguments: bool
    """Whether its original template takes the arguments of calls only as JSON text; its training template does not."""

    @property
    def training(self) -> str:
        """TRL's training template."""
        return _read(self.name + _TRAINING)


def names() -> list[str]:
    """All templates as models ship them."""
    return sorted(path.stem for path in _folder().glob("*.jinja") if not path.stem.endswith(_TRAINING))


def names_with_training() -> list[str]:
    """Those for which there is a training template too."""
    return sorted(path.stem.removesuffix(_TRAINING) for path in _folder().glob(f"*{_TRAINING}.jinja"))


@cache
def family(name: str) -> Family:
    source = _read(name)
    bos, eos = _BOS_AND_EOS[max((key for key in _BOS_AND_EOS if name.startswith(key)), key=len)]
    code = _COMMENT.sub("", source)
    special = dict.fromkeys(filter(None, (bos, eos, "<|pad|>", *_SPECIAL.findall(code))))
    added = dict.fromkeys(_ADDED.findall(code))
    return Family(
        name, source, bos, eos, tuple(special), tuple(added), name in _PARTS_ONLY, name in _TEXT_ARGUMENTS
    )


def _read(name: str) -> str:
    return (_folder() / f"{name}.jinja").read_text(encoding="utf-8")


def _folder() -> Path:
    """Where the installed trl keeps its chat templates; found without importing it."""
    spec = importlib.util.find_spec("trl")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "chat_templates"
