"""What is said where a package of an extra is missing."""

import sys
from importlib import import_module

import pytest

from pipeline.errors import ConfigError, needs_extra
from pipeline.evaluation.plots import need_matplotlib
from pipeline.search.export import lance
from pipeline.search.settings import faiss
from pipeline.training.algorithms.heads import sklearn
from pipeline.training.extra import need_network_packages
from pipeline.training.fit.told import told
from pipeline.training.settings import NetworkConfig


def tensorboard() -> None:
    with told(NetworkConfig(tensorboard="curves"), lambda *_: None):
        pass


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        ("matplotlib", "plots", need_matplotlib),
        ("faiss", "search", faiss),
        ("lance", "lance", lance),
        ("sklearn", "train", lambda: sklearn("svm")),
        ("tensorboardX", "train", tensorboard),
        ("kornia", "train", lambda: need_network_packages(1)),
        ("onnxscript", "train", lambda: need_network_packages(1)),
        ("safetensors", "train", lambda: need_network_packages(1)),
        ("pydantic", "train", lambda: need_network_packages(2)),
    ],
)
def test_the_message_names_the_extra(module, name, call, monkeypatch):
    for loaded in [one for one in sys.modules if one.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"needs? {module}.*pip install 'facelake\[{name}\]'"):
        call()


def test_what_is_there_but_does_not_work_is_said():
    with pytest.raises(ConfigError, match=r"Cats need more \(no fur\): .*\[cats\]'; or dogs"):  # noqa: SIM117
        with needs_extra("cats", "Cats need", "or dogs"):
            raise ImportError("no fur")


def test_what_works_is_left_alone():
    with needs_extra("cats", "Cats need"):
        import_module("json")
