import pytest
from support.agent_cases import FILES, claude_job, policy, request
from support.local_sandbox import LocalSandbox

from agent_pipeline.agent.endpoint import allowed, origin
from agent_pipeline.agent.job import Job
from agent_pipeline.agent.run import check
from agent_pipeline.documents.request import EngineChoice
from agent_pipeline.errors import AgentPipelineError, PolicyError, UsageError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("HTTPS://API.Anthropic.com:443/v1/", "https://api.anthropic.com"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://host:80", "http://host"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin(url: str, expected: str) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.anthropic.com",
        "ftp://x",
        "https://",
        "https://user:pw@x",
        "https://x:99999",
        "https://x?a",
        "file:///x",
    ],
)
def test_no_origin_is_wrong_use(url: str) -> None:
    with pytest.raises(UsageError):
        origin(url)


def test_a_password_in_the_url_is_not_repeated() -> None:
    with pytest.raises(UsageError) as raised:
        origin("https://user:" + "hunter2@x")
    assert "hunter2" not in raised.value.message


def test_only_listed_endpoints() -> None:
    assert allowed(policy(), "https://api.anthropic.com/") == "https://api.anthropic.com"
    with pytest.raises(PolicyError, match=r"models\.endpoints"):
        allowed(policy(), "https://api.anthropic.com.evil.example")


class Nowhere:
    url = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"api_key": None}, UsageError, "no API key"),
        ({"api_key": ""}, UsageError, "no API key"),
        ({"base_url": "http://127.0.0.1:2"}, PolicyError, "models.endpoints"),
        ({"request": request(EngineChoice("claude", model="claude-x", prompt="fix@1"))}, PolicyError, "models.allow"),
        (
            {"request": request(EngineChoice("claude", model="claude-sonnet-5-5", prompt="docs@1"))},
            PolicyError,
            "models.prompts",
        ),
        ({"request": request(EngineChoice("claude"))}, UsageError, "needs a model and a prompt"),
    ],
)
def test_what_is_missing_is_found_before_anything_runs(
    changes: dict[str, object], error: type[AgentPipelineError], message: str
) -> None:
    with LocalSandbox(FILES) as sandbox:
        ours: Job = claude_job(Nowhere(), sandbox, **changes)  # type: ignore[arg-type]
        with pytest.raises(error, match=message) as raised:
            check(ours)
        assert raised.value.hint
