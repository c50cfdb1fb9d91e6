"""The base models: find one (starter, local folder, hub id), say what it is, load it; runs no code of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.domain.errors import StudioError
from studio.domain.loading import Step
from studio.engine import hub, starter
from studio.engine.model_files import Tensor, checked, read_config, read_header, weight_files
from studio.engine.wheel import Progress

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Source = Literal["starter", "folder", "hub"]
Dtype = Literal["bfloat16", "float32", "float16"]

DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
ROUTERS = ("gate", "router", "shared_expert_gate")


@dataclass(frozen=True)
class ModelInfo:
    """A base model on this machine, as its config.json and the headers of its weights tell it."""

    id: str
    path: Path
    source: Source
    parameters: int
    architecture: str
    config: dict[str, Any]
    """config.json, parsed."""
    bytes: int
    """Of the weight files."""
    dtype: str

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "path": str(self.path),
            "source": self.source,
            "parameters": self.parameters,
            "architecture": self.architecture,
            "bytes": self.bytes,
            "dtype": self.dtype,
        }


def locate(
    model_id: str,
    models_dir: Path,
    *,
    revision: str | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of a model that is whole and safe to load.

    `model_id` is `starter`, a folder (also the name of one in `models_dir`) or a hub id `owner/name`. A hub model
    that is already in huggingface's cache is used as it is there; with `download` false, nothing is fetched.
    `progress("download", bytes, total)` is called while fetching.
    """
    if model_id == starter.FOLDER:
        if not starter.is_prepared(models_dir):
            raise StudioError(
                "The starter model is not prepared yet.",
                "Run `studio models get starter`: it takes about a minute.",
            )
        return models_dir / starter.FOLDER
    for folder in _folders(model_id, models_dir):
        if folder.is_dir():
            return checked(folder, model_id)
    if not hub.ID.fullmatch(model_id):
        raise _no_such_model(model_id)
    return hub.locate(model_id, revision, download, progress)


def _folders(model_id: str, models_dir: Path) -> list[Path]:
    """Where a model of this name may lie: a path as it is, and a name in the studio's folder of models."""
    named = [models_dir / model_id] if Path(model_id).name == model_id else []
    return [Path(model_id).expanduser(), *named]


def must_be_fetched(model_id: str, models_dir: Path, revision: str | None = None) -> bool:
    """Whether `locate` would have to download: a hub id whose files are not on this machine."""
    if model_id == starter.FOLDER or any(folder.is_dir() for folder in _folders(model_id, models_dir)):
        return False
    if not hub.ID.fullmatch(model_id):
        return False
    try:
        hub.locate(model_id, revision, False, None)
    except StudioError:
        return True
    return False


def _no_such_model(model_id: str) -> StudioError:
    if model_id.startswith((".", "~")) or "/" in model_id or "\\" in model_id:
        return StudioError(
            "There is no model folder {folder}.",
            "Check the path; a folder must hold config.json and *.safetensors files.",
            folder=model_id,
        )
    return StudioError(
        "There is no model called {name}.",
        "Use `starter`, a folder, or a hub id with its owner, such as `Qwen/Qwen3-0.6B`.",
        name=model_id,
    )


def inspect(path: Path, model_id: str) -> ModelInfo:
    """Say what the model in `path` is, from config.json and the headers of its weights; loads nothing."""
    config = read_config(path)
    files = weight_files(path)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors.update(read_header(file))
    floats = {name: tensor for name, tensor in tensors.items() if _is_parameter(name, tensor)}
    kinds: dict[str, int] = {}
    for tensor in floats.values():
        kinds[tensor.dtype] = kinds.get(tensor.dtype, 0) + tensor.size
    architectures = config.get("architectures") or [str(config.get("model_type", ""))]
    return ModelInfo(
        id=model_id,
        path=path,
        source=_source(path, model_id),
        parameters=sum(kinds.values()) - _tied_twice(config, floats),
        architecture=str(architectures[0]),
        config=config,
        bytes=sum(file.stat().st_size for file in files),
        dtype=DTYPES.get(max(kinds, key=lambda kind: kinds[kind]), "float32") if kinds else "float32",
    )


def _is_parameter(name: str, tensor: Tensor) -> bool:
    """Leave out what old checkpoints store beside the parameters: rotary frequencies and causal masks."""
    if name.endswith((".inv_freq", ".masked_bias")) or (
        name.endswith(".attn.bias") and len(tensor.shape) == 4
    ):
        return False
    return tensor.dtype in DTYPES


def _tied_twice(config: dict[str, Any], tensors: dict[str, Tensor]) -> int:
    """How many parameters are stored both as the embedding and as the output layer tied to it."""
    tied = config.get(
        "tie_word_embeddings", (config.get("text_config") or {}).get("tie_word_embeddings", False)
    )
    output = [tensor.size for name, tensor in tensors.items() if name.endswith("lm_head.weight")]
    return output[0] if tied and output and len(tensors) > 1 else 0


def _source(path: Path, model_id: str) -> Source:
    if model_id == starter.FOLDER:
        return "starter"
    return (
        "hub" if path.parent.name == "snapshots" and path.parents[1].name.startswith("models--") else "folder"
    )


def known(models_dir: Path) -> list[ModelInfo]:
    """The models on this machine: the starter, folders in `models_dir`, and whole ones in huggingface's cache."""
    places = []
    if starter.is_prepared(models_dir):
        places.append((models_dir / starter.FOLDER, starter.FOLDER))
    if models_dir.is_dir():
        folders = sorted(path for path in models_dir.iterdir() if path.is_dir())
        places += [
            (path, path.name) for path in folders if path.name != starter.FOLDER and path.name[0] != "."
        ]
    places += _cached()
    found = []
    for path, model_id in places:
        # half-downloaded and foreign folders are simply no models; `locate` says why when one is asked for
        with contextlib.suppress(StudioError):
            found.append(inspect(checked(path, model_id), model_id))
    return found


def _cached() -> list[tuple[Path, str]]:
    """The newest snapshot of each model in huggingface's cache."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = [
            repo
            for repo in scan_cache_dir(constants.HF_HUB_CACHE).repos
            if repo.repo_type == "model" and repo.revisions
        ]
    except CacheNotFound:
        return []
    newest = {
        repo.repo_id: max(repo.revisions, key=lambda revision: revision.last_modified)
        for repo in repositories
    }
    return [(revision.snapshot_path, model_id) for model_id, revision in sorted(newest.items())]


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer in `path` with transformers."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _cannot_load("tokenizer", path, error) from error


def load_base(
    path: Path,
    *,
    dtype: Dtype | Literal["auto"],
    device: str,
    quantize: bool,
    step: Step = lambda share: None,
) -> PreTrainedModel:
    """Load the base model in `path` in evaluation mode, its linear layers as NF4 if `quantize`.

    `dtype` is `auto` for that of the file.

    `step` is told the share of its tensors that are read.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"device_map": {"": device}}
    if quantize:
        assert dtype != "auto"
        options["quantization_config"] = _nf4(dtype)
    try:
        with quiet_loading(step):
            model = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                **options,
            )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise _cannot_load("model", path, error) from error
    if quantize and device == "cpu":
        _keep_gradients(model)
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_as_one_matrix)
    return model


def _as_one_matrix(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A head's input laid out so that it is multiplied as one matrix.

    The last positions of many rows lie apart. torch then takes each row for a matrix of its own and copies the weights
    for each: 1.2 GB for 22 rows of a vocabulary of 49,152 and size 576.
    """
    return tuple(tensor.contiguous() for tensor in given)


def _nf4(dtype: Dtype) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    if not find_spec("bitsandbytes"):
        raise StudioError(
            "QLoRA needs bitsandbytes, which is not installed.",
            "Run `make install`, or choose the method `lora`.",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def four_bit_layers(path: Path, dtype: Dtype) -> dict[str, bool]:
    """The layers that `load_base` with `quantize` holds in 4 bits, as transformers chooses them; loads no weights.

    By a layer's name, whether its weight is stored as (inputs, outputs), as GPT-2's are.
    """
    import torch
    from bitsandbytes.nn import Linear4bit
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers import AutoHfQuantizer

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        )
    AutoHfQuantizer.from_config(_nf4(dtype), pre_quantized=False).preprocess_model(model, device_map=None)
    return {
        name: module.source_cls is Conv1D
        for name, module in model.named_modules()
        if isinstance(module, Linear4bit)
    }


def _keep_gradients(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with AVX512-BF16.

    bitsandbytes 0.50 does it at the first forward in evaluation mode; from then on no gradient passes the layer and
    de-quantising it gives garbage.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


@contextlib.contextmanager
def quiet_loading(step: Step = lambda share: None) -> Iterator[None]:
    """Keep transformers from drawing its own progress bar over ours; `step` is told what it would have shown."""
    from transformers.utils import logging

    def begun(bar: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if options.get("desc") == "Loading weights":
            return _counted(given[0], step)
        return bar(*given, **options)

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    before = logging.set_tqdm_hook(begun)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)
        if shown:
            logging.enable_progress_bar()


def _counted(items: Collection[Any], step: Step) -> Iterator[Any]:
    for done, item in enumerate(items):
        step(done / len(items))
        yield item
    step(1.0)


def _cannot_load(part: str, path: Path, error: Exception) -> StudioError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return StudioError(
        "The {part} in {folder} cannot be loaded: {reason}.",
        "Download the model again, or choose one that this version of transformers knows.",
        part=part,
        folder=str(path),
        reason=reason,
    )


def target_modules(model: PreTrainedModel | PreTrainedConfig | dict[str, Any]) -> list[str]:
    """The names of the linear layers that an adapter can sit on, in the model's order; not the output layer.

    A config (also config.json as a dict) will do: the model is then laid out without memory.

    >>> target_modules(json.loads(Path("starter/config.json").read_text()))  # doctest: +SKIP
    ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
    from transformers.pytorch_utils import Conv1D

    if isinstance(model, PreTrainedModel):
        laid_out = model
    else:
        config = AutoConfig.for_model(**model) if isinstance(model, dict) else model
        with torch.device("meta"):
            laid_out = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    output = laid_out.get_output_embeddings()
    names: dict[str, None] = {}
    for full_name, module in laid_out.named_modules():
        name = full_name.rsplit(".", 1)[-1]
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not output and name not in ROUTERS:
            names[name] = None
    return list(names)
