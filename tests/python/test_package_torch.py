# SPDX-License-Identifier: Apache-2.0
"""The Python package with modules, tensors and loaders of PyTorch."""

import numpy as np
import pytest

import support
from test_package import CLASSES, INT4, MODEL, SAMPLES, ldnq

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore")


class Encoder(nn.Module):
    """A transformer's encoder over tokens, with a class per text."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)

    def forward(self, input_ids):
        return self.head(self.layers(self.table(input_ids)).mean(1))


def loader(*tensors, batch_size=8):
    dataset = torch.utils.data.TensorDataset(*tensors)
    return torch.utils.data.DataLoader(dataset, batch_size=batch_size)


def module_output(module, x):
    with torch.no_grad():
        return module.eval()(x).numpy()


def test_loaders_and_tensors_should_give_the_file_of_arrays():
    x, classes = torch.from_numpy(SAMPLES), torch.from_numpy(CLASSES)
    kinds = [SAMPLES, x, loader(x), loader(x, classes), loader(x, classes).dataset]
    files = {ldnq.quantize(MODEL, kind, **INT4).model for kind in kinds}
    assert len(files) == 1


def test_tensors_should_be_passed_without_a_copy():
    from ldnq._arrays import to_array
    assert to_array(torch.from_numpy(SAMPLES)).ctypes.data == SAMPLES.ctypes.data
    assert to_array(torch.ones(2, requires_grad=True).bfloat16()).dtype == np.float32


def test_a_convolutional_module_should_be_quantized_from_memory():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(),
                           nn.Flatten(), nn.Linear(128, 4)).train()
    module[3].eval()
    x = torch.from_numpy(SAMPLES)
    q = ldnq.quantize(module, loader(x), example_inputs=x[:1], target="ort", weights="int8",
                      solver="nearest")
    assert module.training and not module[3].training
    assert not q.not_quantized and len(q.layers) == 2
    theirs = support.ort_run(q.model, {next(iter(ldnq.inspect(q).inputs))["name"]: SAMPLES})
    want = module_output(module, x)
    assert np.abs(next(iter(theirs.values())) - want).max() < 0.05 * np.abs(want).max()


def test_a_transformer_should_be_quantized_from_memory():
    torch.manual_seed(0)
    module = Encoder().eval()
    ids = torch.randint(0, 50, (24, 12))
    texts = [{"input_ids": ids[i:i + 8], "labels": ids[i:i + 8, 0]} for i in range(0, 24, 8)]
    q = ldnq.quantize(module, texts, example_inputs={"input_ids": ids[:2]}, target="ort",
                      weights="int8", solver="nearest")
    y = ldnq.run(q, {"input_ids": ids})
    want = module_output(module, ids)
    assert np.abs(next(iter(y.values())) - want).max() < 0.1 * np.abs(want).max()


def test_the_example_of_the_readme_should_run(tmp_path, monkeypatch, capsys):
    text = (support.ROOT / "README.md").read_text()
    code = text.split("## Use it from Python")[1].split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 10
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    classes = torch.from_numpy(CLASSES)
    # No sample is near to two classes.
    x = torch.from_numpy(SAMPLES) + 30 * model[1].weight.detach()[classes].reshape(SAMPLES.shape)
    names = {"model": model, "example": x[:1], "loader": loader(x), "labelled": loader(x, classes)}
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    printed = capsys.readouterr().out
    assert "onnxruntime computes what ldnq computes" in printed
    assert names["d"].verdict in printed and names["d"]["verdict"]["level"] == "good"
    assert {path.name for path in tmp_path.iterdir()} == {"net-int8.onnx", "report.html"}


def test_a_module_without_example_should_say_what_is_missing():
    with pytest.raises(ldnq.UsageError, match="example_inputs"):
        ldnq.quantize(nn.Linear(2, 2), SAMPLES, **INT4)
