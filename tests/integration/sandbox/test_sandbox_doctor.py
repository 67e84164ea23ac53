"""What `doctor` says of sandboxes: each engine tried for real, by the policy, and why one cannot be used."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.second_docker import second_docker

from agent_pipeline.cli import sandboxes_found
from agent_pipeline.config import Config
from agent_pipeline.documents.policy import Policy
from agent_pipeline.errors import SandboxError
from agent_pipeline.policy import load, starter
from agent_pipeline.sandbox.contract import Image, Spec
from agent_pipeline.sandbox.docker import Docker

pytestmark = pytest.mark.containers


@pytest.fixture
def policy() -> Policy:
    return load(starter.render(starter.Start(("true",), 1, (), (), {}, ("fix@1",), "python")))


def found(config: Config, policy: Policy | None, image: Image | None) -> dict[str, tuple[bool, str, str]]:
    return {one.name: (one.ok, one.said, one.mend) for one in sandboxes_found.engines(config, policy, image)}


def test_each_engine_is_tried(config: Config, image: Image) -> None:
    said = found(config, None, image)
    assert {name: one[0] for name, one in said.items()} == {"docker": True, "bubblewrap": True}
    assert all(one[1].startswith("works: a sandbox proved its walls") for one in said.values())
    assert not list(config.runs.glob("agent-pipeline-workspace-*doctor*"))


def test_without_an_image_it_says_that_nothing_was_tried(config: Config) -> None:
    assert all(one[1].startswith("is there, but was not tried") for one in found(config, None, None).values())


def test_what_the_policy_asks_for_is_taken_into_account(config: Config, image: Image, policy: Policy) -> None:
    assert all(one[0] for one in found(config, policy, image).values())
    narrow = replace(policy, sandbox=replace(policy.sandbox, backends=("bubblewrap",), runtime="runsc"))
    said = found(config, narrow, image)
    assert not said["docker"][0]
    assert "has no runtime runsc" in said["docker"][1]
    assert "it has" in said["docker"][2]
    assert "runc" in said["docker"][2]
    assert "bubblewrap has no runtimes" in said["bubblewrap"][1]
    assert said["sandbox"][1].startswith("no engine works here, or none that the policy takes")
    only = found(config, replace(policy, sandbox=replace(policy.sandbox, backends=("bubblewrap",))), image)
    assert (only["docker"][0], only["bubblewrap"][0]) == (False, True)
    assert "the policy does not allow it" in only["docker"][1]


def test_a_bound_that_the_policy_requires_and_nothing_holds_is_a_no(
    config: Config, image: Image, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Docker, "unenforced", lambda _: ("cpu",))
    strict = replace(policy, sandbox=replace(policy.sandbox, require=("memory", "cpu")))
    ok, said, _ = found(config, strict, image)["docker"]
    assert not ok
    assert "the policy requires cpu (`sandbox.require`): nothing starts here" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="a second Docker engine takes root")
def test_an_engine_that_maps_users_is_refused_in_a_clear_sentence(
    config: Config, image: Image, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = "for f in subuid subgid; do echo nobody:200000:65536 >$0/$f; mount --bind $0/$f /etc/$f; done"
    with second_docker(mapped, "--userns-remap=nobody:nogroup") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        ok, said, _ = found(config, None, image)["docker"]
        assert not ok
        assert "userns-remap" in said
        assert "use bubblewrap" in said
        with pytest.raises(SandboxError, match="userns-remap"):
            Docker(config).start(spec)


def test_a_socket_that_is_not_there_is_named_with_what_mends_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    said = found(config, None, None)["docker"][1]
    assert f"{tmp_path}/none.sock, which DOCKER_HOST names, does not exist" in said
    assert "start it" in said
