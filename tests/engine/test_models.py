"""Base models: found, judged by their files before anything is loaded, and loaded so that they learn."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from studio.domain.errors import StudioError
from studio.engine.models import inspect, known, load_base, load_tokenizer, locate, target_modules

Edit = Callable[[Path], object]
FILE_ADDRESS = "/{repo_id}/resolve/{revision}/{filename}"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def tiny_config(**changes: Any) -> LlamaConfig:
    fields = {
        "vocab_size": 32,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    }
    return LlamaConfig(**(fields | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny whole model: config, weights in one file, tokenizer."""
    path = tmp_path / "tiny"
    torch.manual_seed(0)
    LlamaForCausalLM(tiny_config()).to(torch.bfloat16).save_pretrained(path)
    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(path)
    return path


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# --- found -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_found_by_its_path_and_by_its_name(folder: Path) -> None:
    assert locate(str(folder), folder.parent / "none") == folder
    assert locate("tiny", folder.parent) == folder


def test_the_starter_names_the_command_that_prepares_it(tmp_path: Path) -> None:
    with pytest.raises(StudioError) as error:
        locate("starter", tmp_path)
    assert error.value.message == "The starter model is not prepared yet."
    assert error.value.remedy == "Run `studio models get starter`: it takes about a minute."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "There is no model folder ./nowhere."),
        ("/a/b/c", "There is no model folder /a/b/c."),
        ("C:\\models\\x", "There is no model folder C:\\models\\x."),
        ("llama", "There is no model called llama."),
    ],
)
def test_a_name_that_leads_nowhere(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StudioError) as error:
        locate(name, tmp_path)
    assert error.value.message == message


# --- judged by its files ---------------------------------------------------------------------------------------------


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def as_shards_with_one_missing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({name: weights[name] for name in names[:5]}, folder / "model-00001-of-00002.safetensors")
    shards = {name: f"model-0000{1 if name in names[:5] else 2}-of-00002.safetensors" for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is not a model: it has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not valid JSON: "),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json holds no JSON object"),
        (
            lambda folder: (folder / "config.json").rename(folder / "adapter_config.json"),
            "is an adapter, not a whole model",
        ),
        (as_pickle, "has only pickled weights (pytorch_model.bin), which can run code when they are opened"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "has no weights: there is no model.safetensors",
        ),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "model.safetensors.incomplete"),
            "is half downloaded: model.safetensors is missing",
        ),
        (as_shards_with_one_missing, "1 of 2 weight files are missing, the first is model-00002-of-00002"),
        (cut_weights, "model.safetensors is half downloaded: it has 1"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"<html>503</html>"),
            "is half downloaded or damaged: it does not start as a safetensors file does",
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer: "),
        (
            lambda folder: change_config(
                folder, model_type="mine", auto_map={"AutoModel": "modeling_mine.Mine"}
            ),
            "needs code of its own to run",
        ),
        (
            lambda folder: change_config(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
            "is stored already quantised (gptq)",
        ),
        (
            lambda folder: change_config(folder, architectures=["BertForMaskedLM"]),
            "is no model that continues text: its architecture is BertForMaskedLM",
        ),
    ],
)
def test_a_folder_that_is_not_a_whole_safe_model(damage: Edit, message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(StudioError) as error:
        locate(str(folder), folder.parent)
    assert message in error.value.message
    assert error.value.remedy
    assert known(folder.parent) == []


def test_own_code_beside_an_architecture_that_transformers_knows_is_simply_not_used(folder: Path) -> None:
    change_config(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    (folder / "modeling_evil.py").write_text("raise SystemExit('this must never run')")
    model = load_base(locate(str(folder), folder.parent), dtype="float32", device="cpu", quantize=False)
    assert type(model) is LlamaForCausalLM


# --- described -------------------------------------------------------------------------------------------------------


def test_a_model_is_described_without_loading_it(folder: Path) -> None:
    info = inspect(folder, "tiny")
    assert (info.id, info.path, info.source, info.architecture) == (
        "tiny",
        folder,
        "folder",
        "LlamaForCausalLM",
    )
    assert info.parameters == LlamaForCausalLM(tiny_config()).num_parameters()
    assert info.bytes == (folder / "model.safetensors").stat().st_size
    assert info.dtype == "bfloat16"
    assert info.config["hidden_size"] == 64
    assert known(folder.parent) == [info]


def test_a_tied_output_layer_that_is_stored_all_the_same_counts_once(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()},
        folder / "model.safetensors",
    )
    tied = LlamaForCausalLM(tiny_config()).num_parameters()
    assert inspect(folder, "tiny").parameters == tied
    change_config(folder, tie_word_embeddings=False)
    assert inspect(folder, "tiny").parameters == tied + 32 * 64


def test_describing_models_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from studio.engine import models; "
        f"print([m.id for m in models.known(Path({str(folder.parent)!r}))]); "
        "print(sorted({'torch', 'transformers', 'gradio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['tiny']\n[]\n"


# --- loaded ----------------------------------------------------------------------------------------------------------


def test_the_linear_layers_are_found_from_a_model_and_from_its_config(folder: Path) -> None:
    model = load_base(folder, dtype="float32", device="cpu", quantize=False)
    assert target_modules(model) == LINEAR
    assert target_modules(inspect(folder, "tiny").config) == LINEAR


def test_gpt2_keeps_its_linear_layers_in_convolutions() -> None:
    config = {
        "model_type": "gpt2",
        "n_layer": 1,
        "n_embd": 32,
        "n_head": 2,
        "vocab_size": 16,
        "n_positions": 8,
    }
    assert target_modules(config) == ["c_attn", "c_proj", "c_fc"]


def test_a_model_is_loaded_in_the_precision_asked_for(folder: Path) -> None:
    model = load_base(folder, dtype="float16", device="cpu", quantize=False)
    assert {weight.dtype for weight in model.parameters()} == {torch.float16}
    assert not model.training
    assert load_tokenizer(folder).encode("b a") == [2, 1]


def test_the_head_is_given_one_matrix_also_of_positions_that_lie_apart(folder: Path) -> None:
    model = load_base(folder, dtype="float32", device="cpu", quantize=False)
    seen: list[torch.Tensor] = []
    head = model.get_output_embeddings()
    assert head is not None
    head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(input_ids=torch.zeros((3, 5), dtype=torch.long), logits_to_keep=1)
    assert seen[0].shape[:2] == (3, 1)
    assert seen[0].is_contiguous()


def test_each_tensor_that_is_read_is_told(folder: Path) -> None:
    told: list[float] = []
    model = load_base(folder, dtype="float32", device="cpu", quantize=False, step=told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    assert len(told) == len([*model.parameters()]) + 1


def test_an_architecture_that_transformers_does_not_know(folder: Path) -> None:
    change_config(folder, model_type="llama-99")
    with pytest.raises(StudioError, match=r"The model in .*tiny cannot be loaded: .*llama-99"):
        load_base(folder, dtype="float32", device="cpu", quantize=False)


def test_gradients_pass_a_4_bit_base_after_it_has_generated(folder: Path) -> None:
    """bitsandbytes repacks 4-bit weights at the first forward in evaluation mode on CPUs with AVX512-BF16."""
    model = load_base(folder, dtype="bfloat16", device="cpu", quantize=True)
    assert type(model.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        before = model(ids).logits
        model.generate(ids, max_new_tokens=2, do_sample=False, pad_token_id=0)

    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    model.train()
    model(inputs_embeds=embedded).logits.float().logsumexp(-1).sum().backward()

    assert embedded.grad is not None
    through_layers = embedded.grad.float().norm()
    model.eval()
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, before, atol=0.02)
    reference = load_base(folder, dtype="bfloat16", device="cpu", quantize=False)
    plain = reference.get_input_embeddings()(ids).detach().requires_grad_()
    reference(inputs_embeds=plain).logits.float().logsumexp(-1).sum().backward()
    assert plain.grad is not None
    # A base that lets no gradient through keeps the residual path only, and points elsewhere.
    alike = torch.nn.functional.cosine_similarity(
        embedded.grad.float().flatten(), plain.grad.float().flatten(), dim=0
    )
    assert alike > 0.98
    assert through_layers > 0


# --- from the hub ----------------------------------------------------------------------------------------------------


class Hub(ThreadingHTTPServer):
    """A hub with one model, `owner/tiny`, served from a folder; `status` and `code` make it refuse."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.folder = folder
        self.status = 200
        self.code = ""
        self.fetched: list[str] = []


class HubHandler(BaseHTTPRequestHandler):
    server: Hub
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        files = sorted(file.name for file in self.server.folder.iterdir())
        if self.server.status != 200:
            self.answer(self.server.status, b"{}", {"X-Error-Code": self.server.code})
        elif path in ("/api/models/owner/tiny", "/api/models/owner/tiny/revision/main"):
            siblings = [
                {"rfilename": name, "size": (self.server.folder / name).stat().st_size} for name in files
            ]
            self.json({"id": "owner/tiny", "sha": self.commit, "siblings": siblings})
        elif path == f"/api/models/owner/tiny/tree/{self.commit}":
            sizes = {name: (self.server.folder / name).stat().st_size for name in files}
            self.json(
                [{"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()]
            )
        elif path.startswith(f"/owner/tiny/resolve/{self.commit}/"):
            name = path.rsplit("/", 1)[1]
            if self.command == "GET":
                self.server.fetched.append(name)
            content = (self.server.folder / name).read_bytes()
            self.answer(200, content, {"ETag": f'"{name}"', "X-Repo-Commit": self.commit})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(folder) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + FILE_ADDRESS)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_hub_model_is_fetched_once_and_without_pickles_or_code(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_tiny.py").write_text("raise SystemExit")
    seen: list[tuple[str, float, float]] = []
    path = locate("owner/tiny", tmp_path / "models", progress=lambda *step: seen.append(step))

    fetched = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {file.name for file in path.iterdir()} == fetched
    size = float(sum((folder / name).stat().st_size for name in fetched))
    assert seen[-1] == ("download", size, size)
    assert inspect(path, "owner/tiny").source == "hub"
    assert [model.id for model in known(tmp_path / "models")] == ["owner/tiny"]

    hub.fetched.clear()
    assert locate("owner/tiny", tmp_path / "models") == path
    assert hub.fetched == []
    hub.status = 503
    assert locate("owner/tiny", tmp_path / "models", download=False) == path


def test_a_hub_model_with_pickles_only_is_refused_before_it_is_fetched(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    as_pickle(folder)
    with pytest.raises(StudioError, match=r"owner/tiny has only pickled weights \(pytorch_model.bin\)"):
        locate("owner/tiny", tmp_path / "models")
    assert hub.fetched == []


def test_nothing_is_fetched_when_that_is_not_asked_for(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(StudioError) as error:
        locate("owner/tiny", tmp_path / "models", download=False)
    assert error.value.message == "The model owner/tiny is not on this machine yet, or not whole."
    assert error.value.remedy == "Run `studio models get owner/tiny` to fetch it."
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("status", "code", "message", "remedy"),
    [
        (403, "GatedRepo", "The model owner/tiny is gated: ", "set HF_TOKEN"),
        (401, "GatedRepo", "The model owner/tiny is gated: ", "set HF_TOKEN"),
        (401, "RepoNotFound", "The hub has no model owner/tiny, or it is private.", "Check the spelling"),
        (404, "RepoNotFound", "The hub has no model owner/tiny, or it is private.", "Check the spelling"),
        (404, "RevisionNotFound", "The model owner/tiny has no revision main.", "branch, tag or commit"),
        (403, "", "The hub refuses access to owner/tiny (status 403).", "HF_TOKEN"),
        (400, "", "The model owner/tiny could not be fetched from the hub: ", "Check the connection"),
    ],
)
def test_a_hub_that_refuses(
    hub: Hub, status: int, code: str, message: str, remedy: str, tmp_path: Path
) -> None:
    hub.status, hub.code = status, code
    with pytest.raises(StudioError) as error:
        locate("owner/tiny", tmp_path / "models")
    assert error.value.message.startswith(message)
    assert remedy in error.value.remedy


def test_a_hub_out_of_reach(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        StudioError, match=r"fetched from the hub: it cannot be reached \(Connection refused\)\."
    ):
        locate("owner/tiny", tmp_path / "models")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StudioError, match="HF_HUB_OFFLINE forbids fetching it"):
        locate("owner/tiny", tmp_path / "models")


def test_a_disk_that_is_too_small_is_noticed_before_fetching(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(StudioError, match="There is not room enough for owner/tiny"):
        locate("owner/tiny", tmp_path / "models")
    assert hub.fetched == []
