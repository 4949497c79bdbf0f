"""Programs and packages that services need. Packages are fetched once, for all runs of the tests."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


class Missing(Exception):
    """Something is not installed and cannot be fetched."""


def need(program, hint):
    if not shutil.which(program):
        raise Missing(f"{program} is missing\n    {hint}")


def maven(name, artifacts):
    """The class path of these artifacts, `group:artifact:version[:classifier]`, and all they depend on."""

    def fetch(folder):
        need("mvn", "Debian, Ubuntu: apt-get install maven")
        tags = ("groupId", "artifactId", "version", "classifier")
        dependencies = (
            "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, artifact.split(":")))
            for artifact in artifacts
        )
        (folder / "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
            f"<groupId>streamrun</groupId><artifactId>{name}</artifactId><version>1</version>\n<dependencies>\n"
            + "".join(f"<dependency>{dependency}</dependency>\n" for dependency in dependencies)
            + "</dependencies></project>\n"
        )
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
        copy = [f"{plugin}:copy-dependencies", f"-DoutputDirectory={folder}/jars"]
        run("mvn", "-B", "-q", "-f", folder / "pom.xml", *copy)

    return f"{fetched(name, artifacts, fetch)}/jars/*"


def pip(name, requirements):
    """A Python that has these packages."""

    def fetch(folder):
        run(sys.executable, "-m", "venv", folder / "venv")
        run(folder / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements)

    # An environment works only with the Python that made it.
    python = [sys.base_prefix, sys.version]
    return fetched(name, python + requirements, fetch) / "venv/bin/python"


def fetched(name, contents, fetch):
    """A folder that `fetch` has filled. Other contents get another folder: nothing in use is ever changed."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get("STREAMRUN_SERVICES") or Path(cache, "streamrun/services")).resolve() / name
    folder = root / hashlib.sha256("\n".join(contents).encode()).hexdigest()[:12]
    complete = folder / "complete"
    if complete.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)  # So that a fetch which outlives this process still holds it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            print(f"{name}: fetching packages into {folder}", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fetch(folder)
            complete.touch()
    return folder


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, close_fds=False)
    if done.returncode != 0:
        said = "\n    ".join(done.stdout.splitlines()[-15:])
        raise Missing(f"packages cannot be fetched: {' '.join(map(str, command))}\n    {said}")
