"""`pytest -k`: parameters are dropped before they become tests, and never one that matches."""

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent.parent)

TESTS = """
import pytest

def pytest_generate_tests(metafunc):
    if "late" in metafunc.fixturenames:
        metafunc.parametrize("late", ["Exp", "log"])

def test_plain(): ...
def test_exp(): ...
test_plain.attribute = 1

@pytest.mark.parametrize("name", ["exp", "EXPM1", "log[2]", "log[2]", "a-b", ""])
def test_op(name): ...

@pytest.mark.parametrize("x", [1, 2])
@pytest.mark.parametrize("y", ["exp", pytest.param("log", marks=pytest.mark.slow)])
def test_product(x, y): ...

@pytest.mark.parametrize("x", [pytest.param(1, id=pytest.HIDDEN_PARAM)])
def test_hidden(x): ...

@pytest.mark.parametrize("x", [])
def test_none(x): ...

@pytest.fixture(params=["exp", "sgd"])
def rule(request): ...

def test_rule(rule): ...
def test_late(late, rule): ...

class TestLog:
    @pytest.mark.parametrize("x", [0.5, None])
    def test_value(self, x): ...
"""

CHOICES = (
    "exp", "Exp", "not exp", "not log", "exp and 1", "1-exp", "exp or log", "slow", "not slow",
    "attribute", "TestLog and None", "not (exp or log)", "test_cases", "nothing", "not nothing",
    "log[2]0", "op and not op[exp]", "a-b", "hidden", "late and sgd and exp", "test_hidden[",
)  # fmt: skip

SCRIPT = """
import json, sys
import pytest
from _pytest.mark import KeywordMatcher
from _pytest.mark.expression import Expression

class Chosen:
    made = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc):
        yield
        self.made += len(metafunc._calls)

    def pytest_collection_finish(self, session):
        self.items = session.items

def collect(plugin, *arguments):
    options = ["-qq", "--collect-only", "-p", "no:cacheprovider", *arguments]
    pytest.main(options, plugins=[plugin, conftest])
    return plugin

sys.path[:0] = sys.argv[1:3]
import conftest
found, every = [], collect(Chosen()).items
for choice in json.loads(sys.argv[3]):
    early = collect(Chosen(), "-k", choice)
    expression = Expression.compile(choice)
    chosen = [item for item in every if expression.evaluate(KeywordMatcher.from_item(item))]
    names = [[item.nodeid for item in items] for items in (chosen, early.items)]
    found.append((choice, *names, early.made))
print("FOUND", json.dumps(found))
"""


def test_k_chooses_the_same_tests_and_makes_few_others(tmp_path):
    tmp_path.joinpath("test_cases.py").write_text(TESTS, encoding="utf-8")
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\nmarkers = slow\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, FOLDER, f"{FOLDER}/helpers", json.dumps(CHOICES)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chosen, made = {}, {}
    for choice, late, early, made[choice] in json.loads(done.stdout.rpartition("FOUND ")[2]):
        assert early == late, choice
        chosen[choice] = len(early)
    assert chosen["nothing"] == 0 < chosen["exp"] < chosen["not nothing"]
    functions = TESTS.count("def test_") - 2  # two have no parameters
    assert made["nothing"] == functions < made["exp"] < made["not nothing"]
