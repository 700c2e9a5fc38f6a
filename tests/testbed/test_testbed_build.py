"""Building with the real compiler: a module of three lines stands for the large ones."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed import binaries, build
from testbed.errors import BuildError

GOOD = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small Go module that takes the place of the test bed's own; the cache is a temporary one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    monkeypatch.setattr(build, "MODULES", (build.Module("hello", ".", "hello", "-s", 60),))
    monkeypatch.setattr(build, "REPORT_EVERY", 0.2)
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/hello\n\ngo 1.26.0\n")
    (folder / "main.go").write_text(GOOD)
    return folder


@pytest.mark.usefixtures("module")
def test_two_builders_build_once_show_progress_and_leave_only_the_binary() -> None:
    lines: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(build.build, lines.append) for _ in range(2))
        folder = first.result()
        assert second.result() == folder
    assert [path.name for path in folder.iterdir()] == ["hello"]
    assert sum("building hello" in line for line in lines) == 1
    assert any("of ~60 packages" in line for line in lines)
    assert any("done in" in line for line in lines)
    assert build.build(lambda line: pytest.fail(line)) == folder, "a cached build says nothing"


def test_another_source_is_another_build(module: Path) -> None:
    before = build.cached()
    (module / "main.go").write_text(GOOD.replace("hello", "bye"))
    assert build.cached() != before


def test_a_failed_build_shows_the_compilers_words_and_can_be_repeated(module: Path) -> None:
    (module / "main.go").write_text(GOOD.replace("println", "printline"))
    with pytest.raises(BuildError, match=r"undefined: printline(.|\n)*goes on where it stopped") as failure:
        build.build(lambda _: None)
    assert "hello.log" in str(failure.value)
    assert not (build.cached() / "hello").exists()


def test_the_users_envtest_binaries_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in binaries.PROGRAMS:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv(binaries.ENVTEST, str(tmp_path))
    found = binaries.find(lambda line: pytest.fail(line))
    assert found.command == {program: (str(tmp_path / program),) for program in binaries.PROGRAMS}


@pytest.mark.usefixtures("module")
def test_what_envtest_lacks_comes_from_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build.cached()
    folder.mkdir(parents=True)
    (folder / "hello").touch()
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").write_text("#!/bin/sh\n")
    (assets / "etcd").chmod(0o755)
    monkeypatch.setenv(binaries.ENVTEST, str(assets))
    command = binaries.find(lambda _: None).command
    assert command["etcd"] == (str(assets / "etcd"),)
    assert command["kube-scheduler"] == (str(folder / "testbed-server"), "kube-scheduler")
    assert command["kwok"] == (str(folder / "kwok"),)


def test_a_wrong_envtest_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.ENVTEST, "/nowhere")
    with pytest.raises(BuildError, match="KUBEBUILDER_ASSETS=/nowhere is no folder; unset it"):
        binaries.find(lambda _: None)
