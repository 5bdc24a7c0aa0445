"""Environments beside the product's: made once, remade when their file changes."""

from __future__ import annotations

import threading
import time

import pytest

from devnet.solana import environment


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A file of requirements, and a place of its own for what is made from it."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    monkeypatch.setattr(environment, "REQUIREMENTS", {"some": requirements})
    monkeypatch.setattr(environment, "_home", lambda: tmp_path / "made")
    return tmp_path


def test_many_at_once_make_it_once(home, monkeypatch):
    made = []

    def make(folder, requirements):
        made.append(requirements.read_text())
        time.sleep(0.1)
        folder.mkdir(exist_ok=True)

    monkeypatch.setattr(environment, "_make", make)
    threads = [
        threading.Thread(target=environment.ensure, args=["some"]) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == [""]
    (home / "requirements.txt").write_text("other==1")
    environment.ensure("some")
    assert made == ["", "other==1"]


def test_a_package_that_cannot_be_written_has_them_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "installed")
    monkeypatch.chdir(tmp_path)

    assert environment._home() == tmp_path / ".chainfold" / "devnet" / "environments"


@pytest.mark.slow
def test_what_cannot_be_installed_is_told(home):
    (home / "requirements.txt").write_text("./nowhere\n")

    with pytest.raises(environment.MissingEnvironment, match="package index"):
        environment.ensure("some")
    assert not (home / "made" / "some" / environment.STAMP).exists()
