"""Plugins installed for real; a real sshd; a real API server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.plugins.install import Place, default_cache, install
from tests.control_plane import ControlPlane, control_plane, missing_programs, program
from tests.plugins.project import Project
from tests.plugins.sshd import SshServer, no_sshd, ssh_server


@pytest.fixture(scope="session")
def pulumi() -> Path:
    found = program("pulumi")
    if found is None:
        pytest.skip("pulumi is not built: make setup")
    return found


@pytest.fixture(scope="session")
def pulumi_home(tmp_path_factory: pytest.TempPathFactory, pulumi: Path) -> Path:
    """A home for Pulumi with the stand-ins installed in it."""
    home = tmp_path_factory.mktemp("pulumi-home")
    python = Path(getattr(sys, "_base_executable", sys.executable))
    place = Place(pulumi_home=home, pulumi=pulumi, python=python, cache=default_cache())
    install(place, offline=True)
    return home


@pytest.fixture(scope="session")
def empty_project(
    tmp_path_factory: pytest.TempPathFactory, pulumi_home: Path, pulumi: Path
) -> Project:
    return Project(tmp_path_factory.mktemp("empty") / "project", pulumi_home, pulumi)


@pytest.fixture
def project(tmp_path: Path, empty_project: Project) -> Project:
    home, pulumi = empty_project.home, empty_project.pulumi
    return Project(tmp_path / "project", home, pulumi, like=empty_project)


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """One sshd for all tests together."""
    if reason := no_sshd():
        pytest.skip(reason)
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, kube-apiserver and kube-controller-manager, for all tests together."""
    if missing := missing_programs():
        pytest.skip(f"not built: {', '.join(missing)}: make setup")
    directory = tmp_path_factory.mktemp("cluster")
    with control_plane(directory, controllers=True) as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)
