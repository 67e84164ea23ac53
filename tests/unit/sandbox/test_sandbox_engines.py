from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent_pipeline.config import Config
from agent_pipeline.errors import PolicyError, SandboxError, UsageError
from agent_pipeline.sandbox import engines, layout
from agent_pipeline.sandbox.contract import Bounds, Image, Spec


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "c", tmp_path / "cache", tmp_path / "s", None, None, None, None)


def test_an_engine_is_returned_without_being_asked(config: Config) -> None:
    assert [engines.engine(name, config).name for name in engines.NAMES] == ["docker", "bubblewrap"]


def test_an_unknown_engine_is_wrong_usage(config: Config) -> None:
    with pytest.raises(UsageError, match="podman"):
        engines.engine("podman", config)
    with pytest.raises(UsageError, match="podman"):
        engines.choose(config, ["docker"], "podman")


def test_an_engine_that_the_policy_does_not_list_is_refused(config: Config) -> None:
    with pytest.raises(PolicyError, match="bubblewrap"):
        engines.choose(config, ["docker"], "bubblewrap")


def test_an_engine_that_does_not_answer_is_no_engine(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{config.cache_dir}/nobody.sock")
    with pytest.raises(SandboxError, match="docker: the Docker engine"):
        engines.choose(config, ["docker"], None)


def test_a_socket_where_nobody_listens_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config.cache_dir.mkdir()
    path = config.cache_dir / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    long = "x" * 200
    for name, said in (("left.sock", "does not listen on"), ("none.sock", "does not exist"), (long, "cannot be asked")):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{config.cache_dir}/{name}")
        reason = engines.engine("docker", config).available()
        assert reason is not None
        assert said in reason
        assert str(config.cache_dir) in reason
        assert "unset DOCKER_HOST" in reason


def test_tls_and_ports_that_are_none_are_refused_in_a_sentence(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2376")
    assert "asks for TLS" in str(engines.engine("docker", config).available())
    monkeypatch.delenv("DOCKER_TLS_VERIFY")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:99999")
    assert "no Docker engine answers at tcp://127.0.0.1:99999" in str(engines.engine("docker", config).available())


def test_an_engine_on_another_host_is_no_engine_here(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (
        "tcp://192.0.2.1:2375",
        "https://127.0.0.1:9",
        "ssh://nobody@127.0.0.1",
        "tcp://127.0.0.1.example.org:9",
    ):
        monkeypatch.setenv("DOCKER_HOST", address)
        reason = engines.engine("docker", config).available()
        assert reason is not None
        assert "not on this host" in reason


def test_without_the_tools_there_is_no_bubblewrap(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(config.cache_dir))
    reason = engines.engine("bubblewrap", config).available()
    assert reason is not None
    assert "bwrap" in reason


def test_nothing_allowed_is_an_error(config: Config) -> None:
    with pytest.raises(SandboxError, match="no sandbox engine"):
        engines.choose(config, [], None)


def test_the_environment_is_the_images(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {"Env": ["PATH=/usr/bin", "A=b=c"]}}')
    assert layout.environment(Image("x", "0" * 64, tmp_path)) == {"PATH": "/usr/bin", "A": "b=c"}


@pytest.mark.parametrize("text", ["", "{}", '{"config": {"Env": [1]}}', '{"config": {"Env": ["A"]}}', "[]"])
def test_an_image_whose_configuration_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SandboxError, match="cannot be read"):
        layout.environment(Image("x", "0" * 64, tmp_path))


def test_a_bound_that_is_required_and_not_held_starts_nothing(tmp_path: Path) -> None:
    bounds = Bounds(memory_mb=1, pids=1, cpus="1", disk_mb=1, seconds=1, require=("memory", "disk"))
    spec = Spec(Image("x", "0" * 64, tmp_path), tmp_path, bounds, "run")
    layout.refuse(spec, ("cpu",))
    with pytest.raises(SandboxError, match="memory"):
        layout.refuse(spec, ("memory", "cpu"))


@pytest.mark.parametrize("run", ["", "a b", "../x", "-x", "a/b", "a\n", "x" * 65, "é"])
def test_a_run_has_a_name_that_any_engine_takes(tmp_path: Path, run: str) -> None:
    spec = Spec(Image("x", "0" * 64, tmp_path), tmp_path, Bounds(1, 1, "1", 1, 1), run)
    with pytest.raises(SandboxError, match="named"):
        layout.refuse(spec, ())
