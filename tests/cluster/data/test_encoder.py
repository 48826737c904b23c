"""The step `encode_text` in its image, with a tiny BERT that is made there: its vectors are the encoder's own."""

import json

import pytest

from tests.cluster.data.pipelines import Pipelines
from tests.cluster.data.test_data_pipeline import run_in_image
from tests.cluster.support import platform_facts
from tests.cluster.training.images import TrainingImages

pytestmark = [pytest.mark.data, pytest.mark.long]

SCRIPT = """
import json, pathlib
import numpy, pandas, torch, transformers
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.steps import STEPS, Context

folder = pathlib.Path("/tmp/tiny")
folder.mkdir()
words = "[PAD] [UNK] [CLS] [SEP] [MASK] the soup was cold and rain fell".split()
(folder / "vocab.txt").write_text("\\n".join(words))
tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
tokenizer.save_pretrained(folder)
torch.manual_seed(1)
config = transformers.BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                 intermediate_size=32, max_position_embeddings=16)
transformers.BertModel(config).save_pretrained(folder)
files = sorted(path.name for path in folder.iterdir())

texts = ["the soup was cold", None, "rain fell " * 20]
frame = pandas.DataFrame({"n": [1, 2, 3], "t": texts, "y": [0, 1, 0]})
found = {}
for pooling in ("mean", "first"):
    step = STEPS["encode_text"](column="t", model=str(folder), pooling=pooling, most_tokens=12)
    table = step.apply(frame, Context())
    again = pandas.concat([step.apply(frame.iloc[[row]], Context()) for row in range(3)])
    same = bool((table.to_numpy().view("uint64") == again.to_numpy().view("uint64")).all())
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        batch = tokenizer(["" if text is None else text for text in texts], return_tensors="pt", padding=True,
                          truncation=True, max_length=12)
        states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None]
        oracle = states[:, 0] if pooling == "first" else (states * mask).sum(1) / mask.sum(1)
    near = bool(numpy.allclose(table.filter(regex="^t_").to_numpy(), oracle.numpy(), atol=1e-5))
    found[pooling] = [list(table.columns[:2]), table.shape, same, near]
long, fits = (STEPS["encode_text"](column="t", model=str(folder), most_tokens=most) for most in (8192, 16))
cut_off = bool((long.apply(frame, Context()).to_numpy() == fits.apply(frame, Context()).to_numpy()).all())
several = pathlib.Path("/tmp/several")
tokenizer.save_pretrained(several)
model.save_pretrained(several, max_shard_size="5KB")
of_several = STEPS["encode_text"](column="t", model=str(several), most_tokens=16).apply(frame, Context())
alike = bool((of_several.to_numpy() == fits.apply(frame, Context()).to_numpy()).all())
found["positions, files"] = [cut_off, len(list(several.glob("model-*.safetensors"))) > 2, alike]
refused = "no"
try:
    STEPS["encode_text"](column="t", model="/tmp").apply(frame, Context())
except ConfigurationError as error:
    refused = str(error)
print("RESULT " + json.dumps([files, found, refused]))
"""


def test_an_encoder_s_vectors_are_its_own_and_each_row_s_alone(
    pipelines: Pipelines, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = TrainingImages(tmp_path_factory.mktemp("text"), platform_facts()).target("prepare-text")
    said = run_in_image(Pipelines(pipelines.namespace, image, pipelines.new_stack), SCRIPT, seconds=180)
    [line] = [line for line in said.splitlines() if line.startswith("RESULT ")]
    files, found, refused = json.loads(line.removeprefix("RESULT "))
    assert "model.safetensors" in files
    # Columns in the text's place; the same bits alone and among others; as the model itself says with padding.
    # A text longer than the model's positions is cut off; weights may be in several files.
    assert found.pop("positions, files") == [True, True, True]
    assert found == {pooling: [["n", "t_0"], [3, 18], True, True] for pooling in ("mean", "first")}
    assert "must be a folder with model.safetensors" in refused
