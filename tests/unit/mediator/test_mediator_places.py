import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_cases import policy

from agent_pipeline.mediator.places import ToolError, locate, writable


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("src/a.py", "src/a.py"),
        ("./src//a.py", "src/a.py"),
        ("/workspace/src/a.py", "src/a.py"),
        ("/workspace/./src/a.py", "src/a.py"),
        ("/workspace//src/a.py", "src/a.py"),
        ("/workspace", ""),
        ("/workspace/", ""),
        (".", ""),
        ("src/", "src"),
    ],
)
def test_paths_of_the_workspace(written: str, meant: str) -> None:
    assert locate(written) == meant


@pytest.mark.parametrize(
    "path", ["", "/", "/etc/passwd", "/workspaces/x", "../x", "src/../../x", "/workspace/../etc", "a\0b", "//etc"]
)
def test_paths_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ToolError):
        locate(path)


@given(st.text(max_size=60))
def test_no_path_leads_out(path: str) -> None:
    try:
        found = locate(path)
    except ToolError:
        return
    assert not found.startswith("/")
    assert ".." not in found.split("/")


@pytest.mark.parametrize("path", ["src/a.py", "/workspace/tests/test_a.py", "src/new/deep/file.txt"])
def test_what_the_policy_allows(path: str) -> None:
    assert writable(policy(), path, ()) == path.removeprefix("/workspace/")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("README", "does not allow"),
        ("src/vendored/x.py", "denies"),
        (".agent-pipeline/policy.yaml", "never changed"),
        ("src/.gitattributes", "no proposal may carry"),
        ("src/.git/config", "no proposal may carry"),
        ("src/a\u202e.py", "no proposal may carry"),
        ("/workspace", "is a directory"),
    ],
)
def test_what_it_does_not_is_refused_with_its_reason(path: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        writable(policy(), path, ())


def test_only_narrows_further() -> None:
    with pytest.raises(ToolError, match="--only"):
        writable(policy(), "tests/test_a.py", ("src/",))
