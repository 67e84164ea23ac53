"""Push and pull against a registry that may be anything: what comes in is what its digests say, or refused."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images
from support import registry as registries
from support.registry import Answer, Asked, Fault, Simulated

from agent_pipeline.documents import strict
from agent_pipeline.documents.images_lock import LockedImage
from agent_pipeline.errors import (
    AgentPipelineError,
    RejectedError,
    SandboxError,
    SchemaError,
    UnavailableError,
    UsageError,
)
from agent_pipeline.sandbox.contract import Image
from agent_pipeline.sandbox.images.layers import FILE, Entry
from agent_pipeline.sandbox.images.registry import manifest, reference
from agent_pipeline.sandbox.images.registry.pull import locked_pull, pull
from agent_pipeline.sandbox.images.registry.push import push
from agent_pipeline.sandbox.images.store import Store

A, B = [Entry("usr/a", FILE, content=b"1" * 3000)], [Entry("usr/b", FILE, content=b"2")]
USER = ("alice", "correct horse:battery")


def silent(_: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(images.config(tmp_path))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Store:
    return Store(images.config(tmp_path / "elsewhere"))


@pytest.fixture
def image(store: Store) -> Image:
    return images.add(store, A, B)


@pytest.fixture
def registry() -> Iterator[Simulated]:
    with registries.simulated() as simulated:
        yield simulated


def place(registry: Simulated) -> reference.Reference:
    return reference.parse(f"{registry.host}/team/small")


def log_in(tmp_path: Path, registry: Simulated, user: tuple[str, str] = USER) -> None:
    registries.log_in(tmp_path / "docker", registry.host, user)


def nothing_is_left(store: Store) -> None:
    assert store.list() == ()
    assert list(store.folder.glob(".staging-*")) == []


def same_files(one: Image, two: Image) -> bool:
    return {path.name: path.read_bytes() for path in (one.folder / "layers").iterdir()} == {
        path.name: path.read_bytes() for path in (two.folder / "layers").iterdir()
    }


def test_what_was_pushed_is_pulled_by_digest(image: Image, elsewhere: Store, registry: Simulated) -> None:
    there = push(image, place(registry), silent)
    assert str(there).startswith(f"{registry.host}/team/small@sha256:")
    pulled = pull(elsewhere, there, image.identity, silent)
    assert pulled.identity == image.identity
    assert same_files(pulled, image)
    assert {image.identity, f"sha256:{there.digest}"} == set(registry.manifests)
    assert registry.open_uploads == set()


def test_the_manifest_is_a_function_of_the_image(image: Image, elsewhere: Store, registry: Simulated) -> None:
    again = images.add(elsewhere, A, B)
    assert again.identity == image.identity
    assert push(image, place(registry), silent) == push(again, place(registry), silent)
    data, _ = manifest.of(image)
    assert strict.sha256(data) == push(image, place(registry), silent).digest
    kind = registry.manifests[image.identity][0]
    assert kind == json.loads(data)["mediaType"] == registries.OCI_MANIFEST


def test_what_the_registry_has_is_not_sent_again(store: Store, image: Image, registry: Simulated) -> None:
    push(image, place(registry), silent)
    sent, lines = registry.count("PUT", "/blobs/"), list[str]()
    assert sent == 3
    push(image, place(registry), lines.append)
    assert registry.count("PUT", "/blobs/") == sent
    assert sum("is there" in line for line in lines) == 2
    push(images.add(store, A, [Entry("usr/c", FILE)]), place(registry), silent)
    assert registry.count("PUT", "/blobs/") == sent + 2  # a layer and a configuration, not the shared layer


def test_layers_that_are_here_are_not_fetched(image: Image, elsewhere: Store, registry: Simulated) -> None:
    images.add(elsewhere, A)
    there = push(image, place(registry), silent)
    before = registry.count("GET", "/blobs/")
    assert pull(elsewhere, there, None, silent).identity == image.identity
    assert registry.count("GET", "/blobs/") == before + 2  # the configuration and one layer


def test_a_layer_that_is_damaged_here_is_fetched_anew(image: Image, elsewhere: Store, registry: Simulated) -> None:
    other = images.add(elsewhere, A)
    layer = next((other.folder / "layers").iterdir())
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes().replace(b"1", b"9"))
    pulled = pull(elsewhere, push(image, place(registry), silent), None, silent)
    assert same_files(pulled, image)


def test_what_the_docker_engine_pushed_is_pulled_too(image: Image, elsewhere: Store, registry: Simulated) -> None:
    pulled = pull(elsewhere, reference.parse(registry.add(image)), image.identity, silent)
    assert same_files(pulled, image)


def test_gzip_in_several_members_is_one_layer(image: Image, elsewhere: Store, registry: Simulated) -> None:
    config = (image.folder / "config.json").read_bytes()
    names = [name.removeprefix("sha256:") for name in json.loads(config)["rootfs"]["diff_ids"]]
    plain = [(image.folder / "layers" / f"{name}.tar").read_bytes() for name in names]
    pieces = [b"".join(gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700)) for data in plain]
    assert pull(elsewhere, reference.parse(registry.hold(config, pieces)), None, silent).identity == image.identity


def on(method: str, part: str, answer: Answer) -> Fault:
    return lambda asked: answer if asked.method == method and part in asked.path else None


ENDLESS = Answer(200, b"x" * 65536, endless=True)
HOSTILE = {
    "another manifest": (on("GET", "/manifests/", Answer(200, b"{}")), RejectedError, "another manifest"),
    "an endless manifest": (on("GET", "/manifests/", ENDLESS), RejectedError, "more than"),
    "other bytes": (on("GET", "/blobs/", Answer(200, b"x" * 10)), RejectedError, "announced with '10' bytes"),
    "an endless blob": (on("GET", "/blobs/", ENDLESS), RejectedError, "more than"),
    "a redirect of a manifest": (
        on("GET", "/manifests/", Answer(307, headers={"Location": "https://elsewhere.example/"})),
        RejectedError,
        "redirects elsewhere",
    ),
    "a redirect to plain text": (
        on("GET", "/blobs/", Answer(307, headers={"Location": "http://elsewhere.example/"})),
        RejectedError,
        "redirects elsewhere, to http://elsewhere.example",
    ),
    "a redirect to a file": (
        on("GET", "/blobs/", Answer(302, headers={"Location": "file:///etc/passwd"})),
        RejectedError,
        "redirects elsewhere, to file:",
    ),
    "a redirect in a circle": (
        on("GET", "/blobs/", Answer(307, headers={"Location": "/v2/team/small/blobs/x"})),
        RejectedError,
        "more than 3 times",
    ),
    "an encoding": (
        on("GET", "/blobs/", Answer(200, headers={"Content-Encoding": "gzip"})),
        RejectedError,
        "announced|encoding",
    ),
    "a server that is broken": (on("GET", "/blobs/", Answer(500, b"secret words")), UnavailableError, "answered 500"),
    "nothing there": (on("GET", "/manifests/", Answer(404)), UnavailableError, "is not there"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_registry_is_refused(name: str, image: Image, elsewhere: Store, registry: Simulated) -> None:
    fault, kind, said = HOSTILE[name]
    there = push(image, place(registry), silent)
    registry.fault = fault
    with pytest.raises(kind, match=said) as caught:
        pull(elsewhere, there, image.identity, silent)
    assert "secret words" not in caught.value.message
    nothing_is_left(elsewhere)
    registry.fault = None
    assert pull(elsewhere, there, image.identity, silent).identity == image.identity


def test_a_blob_of_the_right_length_and_other_bytes_is_refused(
    image: Image, elsewhere: Store, registry: Simulated
) -> None:
    there = push(image, place(registry), silent)
    layer = max((name for name in registry.blobs), key=lambda name: len(registry.blobs[name]))
    whole = registry.blobs[layer]
    registry.blobs[layer] = whole[:-1] + b"\1"
    with pytest.raises(RejectedError, match="as the blob sha256"):
        pull(elsewhere, there, None, silent)
    nothing_is_left(elsewhere)


def test_a_blob_that_is_cut_off_is_refused_and_can_be_repeated(
    image: Image, elsewhere: Store, registry: Simulated
) -> None:
    there = push(image, place(registry), silent)
    layer = max((name for name in registry.blobs), key=lambda name: len(registry.blobs[name]))
    whole = registry.blobs[layer]
    registry.fault = on("GET", layer, Answer(200, whole[:100], length=len(whole)))
    with pytest.raises(UnavailableError, match="cut off"):
        pull(elsewhere, there, None, silent)
    nothing_is_left(elsewhere)
    registry.fault = None
    assert pull(elsewhere, there, None, silent).identity == image.identity


def test_an_interrupt_leaves_nothing_half_pulled(image: Image, elsewhere: Store, registry: Simulated) -> None:
    there = push(image, place(registry), silent)

    def interrupt(line: str) -> None:
        if "fetching" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(elsewhere, there, None, interrupt)
    nothing_is_left(elsewhere)


def test_a_manifest_of_another_image_is_refused_before_its_layers(
    store: Store, elsewhere: Store, registry: Simulated
) -> None:
    other = push(images.add(store, B), place(registry), silent)
    before = registry.count("GET", "/blobs/")
    with pytest.raises(RejectedError, match="the lock has ffffffffffff"):
        pull(elsewhere, other, "f" * 64, silent)
    assert registry.count("GET", "/blobs/") == before


def test_a_manifest_whose_layers_are_not_the_configurations_is_refused(
    store: Store, image: Image, elsewhere: Store, registry: Simulated
) -> None:
    config = (image.folder / "config.json").read_bytes()
    stranger = next((images.add(store, [Entry("usr/evil", FILE)]).folder / "layers").iterdir()).read_bytes()
    swapped = registry.hold(config, [gzip.compress(stranger), gzip.compress(stranger)])
    with pytest.raises(RejectedError, match="is not the layer"):
        pull(elsewhere, reference.parse(swapped), None, silent)
    with pytest.raises(RejectedError, match="1 layers, the configuration names 2"):
        pull(elsewhere, reference.parse(registry.hold(config, [gzip.compress(stranger)])), None, silent)
    nothing_is_left(elsewhere)


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (gzip.compress(bytes(64 << 20)), "unpacks to more than"),
        (gzip.compress(b"x" * 5000)[:-12], "ends in the middle"),
        (gzip.compress(b"x" * 5000) + b"more", "is no gzip"),
        (zlib.compress(b"x" * 5000), "is no gzip"),
    ],
    ids=["explodes", "cut", "goes on", "no gzip"],
)
def test_gzip_that_explodes_or_is_none_is_refused(
    packed: bytes, said: str, image: Image, elsewhere: Store, registry: Simulated
) -> None:
    config = (image.folder / "config.json").read_bytes()
    there = registry.hold(config, [packed, gzip.compress(b"")])
    with pytest.raises(RejectedError, match=said):
        pull(elsewhere, reference.parse(there), None, silent)
    nothing_is_left(elsewhere)


def test_a_configuration_that_is_not_ours_is_refused(elsewhere: Store, registry: Simulated) -> None:
    config = b'{"architecture":"amd64","config":{"Entrypoint":["/bin/sh"]},"os":"linux","rootfs":{}}'
    with pytest.raises(SchemaError, match="not one of ours"):
        pull(elsewhere, reference.parse(registry.hold(config, [gzip.compress(b"x")])), None, silent)


def test_an_index_of_images_is_refused_with_what_to_give(elsewhere: Store, registry: Simulated) -> None:
    there = registry.hold_manifest(b'{"schemaVersion":2,"manifests":[]}')
    with pytest.raises(RejectedError, match="a list of images"):
        pull(elsewhere, reference.parse(there), None, silent)


def test_a_tag_is_not_pulled(elsewhere: Store) -> None:
    with pytest.raises(UsageError, match="names no digest"):
        pull(elsewhere, reference.parse("ghcr.io/team/sandbox:latest"), None, silent)


def test_a_blob_is_fetched_from_an_object_store_without_credentials(
    tmp_path: Path, image: Image, elsewhere: Store, registry: Simulated
) -> None:
    with registries.simulated() as objects:
        log_in(tmp_path, registry)
        registry.user = USER
        there = push(image, place(registry), silent)
        objects.blobs = dict(registry.blobs)

        def away(asked: Asked) -> Answer | None:
            if asked.method == "GET" and "/blobs/" in asked.path and "authorization" in asked.headers:
                return Answer(307, headers={"Location": f"http://{objects.host}{asked.path}?signed=1"})
            return None

        registry.fault = away
        assert pull(elsewhere, there, image.identity, silent).identity == image.identity
        assert objects.count("GET", "/blobs/") == 3
        assert all("authorization" not in asked.headers for asked in objects.asked)


def test_basic_credentials_are_dockers_own(tmp_path: Path, image: Image, elsewhere: Store, registry: Simulated) -> None:
    registry.user = USER
    with pytest.raises(UnavailableError, match=r"refuses without credentials \(401\)"):
        push(image, place(registry), silent)
    log_in(tmp_path, registry, ("alice", "wrong"))
    with pytest.raises(UnavailableError, match=r"refuses with the credentials") as caught:
        push(image, place(registry), silent)
    assert caught.value.hint == f"docker login {registry.host}"
    log_in(tmp_path, registry)
    assert pull(elsewhere, push(image, place(registry), silent), None, silent).identity == image.identity


def test_a_token_is_asked_for_with_our_own_scope_and_again_when_it_has_run_out(
    tmp_path: Path, image: Image, elsewhere: Store, registry: Simulated
) -> None:
    registry.user, registry.bearer, registry.token_lasts = USER, True, 3
    log_in(tmp_path, registry)
    there = push(image, place(registry), silent)
    assert len(registry.tokens) > 1
    assert registry.open_uploads == set()
    registry.token_lasts = 1000
    assert pull(elsewhere, there, None, silent).identity == image.identity
    scopes = {asked.query["scope"] for asked in registry.asked if asked.path == "/token"}
    assert scopes == {"repository:team/small:pull,push", "repository:team/small:pull"}


def test_an_identity_token_becomes_a_token(tmp_path: Path, image: Image, registry: Simulated) -> None:
    registry.refresh, registry.bearer = "an-identity-token", True
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(
        json.dumps({"auths": {registry.host: {"identitytoken": registry.refresh}}})
    )
    push(image, place(registry), silent)
    assert len(registry.tokens) == 1


def test_a_credential_helper_is_asked(
    tmp_path: Path, image: Image, registry: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.user = USER
    helper = tmp_path / "bin" / "docker-credential-ours"
    helper.parent.mkdir()
    helper.write_text(f"""#!/bin/sh\ncat >/dev/null\necho '{json.dumps({"Username": USER[0], "Secret": USER[1]})}'\n""")
    helper.chmod(0o755)
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "ours"}}))
    with pytest.raises(UnavailableError, match="cannot be read"):
        push(image, place(registry), silent)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    push(image, place(registry), silent)


@pytest.mark.parametrize(
    "realm", ["http://elsewhere.example/token", "https://elsewhere.example/token", "file:///x", ""]
)
def test_a_place_for_tokens_that_is_not_safe_gets_no_password(
    realm: str, tmp_path: Path, image: Image, registry: Simulated
) -> None:
    log_in(tmp_path, registry)
    registry.fault = on("HEAD", "/blobs/", Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'}))
    with pytest.raises(RejectedError, match="sends for a token to"):
        push(image, place(registry), silent)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token": "a b"}', b'{"token": 1}', b"[]", b"x" * (1 << 20)])
def test_what_is_no_token_is_said(body: bytes, tmp_path: Path, image: Image, registry: Simulated) -> None:
    registry.user, registry.bearer = USER, True
    log_in(tmp_path, registry)
    registry.fault = on("GET", "/token", Answer(200, body))
    with pytest.raises(UnavailableError, match="no token"):
        push(image, place(registry), silent)


def test_an_upload_that_is_wanted_elsewhere_is_refused(image: Image, registry: Simulated) -> None:
    registry.fault = on("POST", "/uploads/", Answer(202, headers={"Location": "https://elsewhere.example/up"}))
    with pytest.raises(RejectedError, match=r"it wants it elsewhere, at https://elsewhere\.example"):
        push(image, place(registry), silent)


def test_an_upload_that_fails_is_taken_back_and_can_be_repeated(image: Image, registry: Simulated) -> None:
    registry.fault = on("PUT", "/uploads/", Answer(500))
    with pytest.raises(UnavailableError, match="does not take"):
        push(image, place(registry), silent)
    assert registry.open_uploads == set()
    assert registry.manifests == {}
    registry.fault = None
    push(image, place(registry), silent)


def test_a_registry_that_gives_back_another_manifest_is_noticed(image: Image, registry: Simulated) -> None:
    registry.fault = on("GET", "/manifests/", Answer(200, b"{}"))
    with pytest.raises(RejectedError, match="another manifest"):
        push(image, place(registry), silent)


def test_a_damaged_layer_is_not_pushed(image: Image, registry: Simulated) -> None:
    for layer in (image.folder / "layers").iterdir():
        layer.chmod(0o644)
        layer.write_bytes(layer.read_bytes().replace(b"usr/", b"etc/"))
    with pytest.raises(SandboxError, match="changed on disk"):
        push(image, place(registry), silent)
    assert registry.blobs == {}


def test_no_password_is_in_any_message(tmp_path: Path, image: Image, registry: Simulated) -> None:
    """Whatever is answered at whatever point, echoes of what was sent included."""
    log_in(tmp_path, registry)
    registry.user = USER
    secret = registries.basic(USER).removeprefix("Basic ")

    for step in range(1, 12):

        def echo(asked: Asked, step: int = step) -> Answer | None:
            if len(registry.asked) < step:
                return None
            return Answer(418, json.dumps(asked.headers).encode(), {"Location": secret, "X-Echo": USER[1]})

        registry.asked.clear()
        registry.blobs.clear()
        registry.fault = echo
        lines: list[str] = []
        with pytest.raises(AgentPipelineError) as caught:
            push(image, place(registry), lines.append)
        said = " ".join([*lines, caught.value.message, caught.value.hint or "", repr(caught.value)])
        assert secret not in said
        assert USER[1] not in said


def test_a_registry_that_does_not_answer_is_said(elsewhere: Store) -> None:
    nowhere = reference.parse(f"127.0.0.1:9/team/small@sha256:{'a' * 64}")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 does not answer: Connection refused"):
        pull(elsewhere, nowhere, None, silent)


def test_what_the_lock_names_is_pulled_or_something_else_is_done(
    image: Image, elsewhere: Store, registry: Simulated
) -> None:
    lines: list[str] = []
    assert locked_pull(elsewhere, LockedImage(image.identity, {}), lines.append, "making it") is None
    assert lines == []
    there = str(push(image, place(registry), silent))
    gone = f"127.0.0.1:9/team/small@sha256:{'a' * 64}"
    assert locked_pull(elsewhere, LockedImage(image.identity, {}, registry=gone), lines.append, "making it") is None
    assert lines[-1].endswith("; making it instead")
    pulled = locked_pull(elsewhere, LockedImage(image.identity, {}, registry=there), silent, "making it")
    assert pulled is not None
    assert pulled.identity == image.identity
    with pytest.raises(RejectedError, match="the lock has"):
        locked_pull(elsewhere, LockedImage("f" * 64, {}, registry=there), silent, "making it")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("ghcr.io/team/sandbox", "https://ghcr.io"),
        ("docker.io/library/x:1", "https://registry-1.docker.io"),
        ("localhost/x", "http://localhost"),
        ("localhost:5000/x/y", "http://localhost:5000"),
        ("127.1.2.3:80/x", "http://127.1.2.3:80"),
        ("[::1]:5000/x", "http://[::1]:5000"),
        (f"registry.example:8443/a.b/c__d/e-f@sha256:{'a' * 64}", "https://registry.example:8443"),
        ("127.0.0.1.example.org/x", "https://127.0.0.1.example.org"),
        ("localhost.example.org/x", "https://localhost.example.org"),
    ],
)
def test_only_loopback_is_spoken_to_in_plain_text(text: str, origin: str) -> None:
    parsed = reference.parse(text)
    assert parsed.origin == origin
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "sandbox", "team/sandbox", "ghcr.io/", "ghcr.io/Team/x", "https://ghcr.io/x", "user:pass@ghcr.io/x",
        "ghcr.io/x@sha256:short", "ghcr.io/x@md5:" + "a" * 64, "ghcr.io/../x", "ghcr.io/x//y", "ghcr.io/x?y",
        "ghcr.io/x#y", "ghcr.io/x\n", "ghcr.io\\@evil/x", "-a.io/x", "ghcr.io:/x", "",
    ],
)  # fmt: skip
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no place"):
        reference.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except UsageError:
        return
    assert str(parsed) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
)
NAMES = st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "digest", "size", "manifests"])


@given(st.binary(max_size=200) | st.dictionaries(NAMES, JSON, max_size=5).map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    with pytest.raises(RejectedError):
        manifest.read(data)


def test_every_member_of_a_manifest_is_looked_at(image: Image) -> None:
    data, _ = manifest.of(image)
    manifest.read(data)
    for old, new in [
        (b'"schemaVersion":2', b'"schemaVersion":1'),
        (b"image.config.v1", b"image.other.v1"),
        (b"layer.v1.tar", b"layer.v1.tar+zstd"),
        (b'"sha256:', b'"sha512:'),
        (b'"size":', b'"size":-'),
        (b'"size":', b'"size":9999999999999'),
    ]:
        assert old in data
        with pytest.raises(RejectedError):
            manifest.read(data.replace(old, new, 1))
