"""GitHub's workflows and forms: they parse, ask for few rights, and run commands that exist."""

import re

import pytest
from repository import ROOT

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which mkdocs brings")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def content(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_there_is_one_for_each_purpose():
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "tests"]
    assert [path.stem for path in FORMS] == ["bug", "config", "feature"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_bounded_and_reads_only(path):
    workflow = content(path)
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs"}  # True: `on`
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "uses" in job:  # another workflow of this repository
            assert (ROOT / job["uses"]).is_file()
            continue
        assert job["timeout-minutes"] <= 60
        more = {name for name, right in job.get("permissions", {}).items() if right == "write"}
        assert more <= {"pages", "id-token"}
        assert not more or "environment" in job
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@(v\d+|release/v\d+)", step["uses"])
            if step.get("uses", "").startswith("actions/checkout@"):  # no token for later steps
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_its_commands_exist(path):
    for command in re.findall(r"\bci/[\w./-]+", path.read_text(encoding="utf-8")):
        assert (ROOT / command).is_file(), command


def test_pythons_are_those_of_the_metadata():
    named = content(ROOT / ".github/workflows/tests.yml")["jobs"]["linux"]["strategy"]["matrix"]
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert named["python"] == re.findall(r"Python :: (3\.\d+)", metadata)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_something(path):
    form = content(path)
    if path.stem == "config":
        assert form["contact_links"][0]["url"].endswith("/security/advisories/new")
        return
    assert {"name", "description", "body"} <= set(form)
    assert any(field.get("validations", {}).get("required") for field in form["body"])
