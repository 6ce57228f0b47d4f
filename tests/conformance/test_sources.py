"""Every source passes the one conformance suite."""

# The hooks are described by the suite.

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path

from regen.ports import Source
from regen.sources.files import FilesSource
from regen.sources.jsonl import JsonlSource
from regen.testing.sources import SourceConformance


class TestFiles(SourceConformance):
    def make_source(self, tmp_path: Path, documents: Mapping[str, str]) -> Source:
        (tmp_path / "docs").mkdir()
        for doc_id, text in documents.items():
            self.edit(tmp_path, doc_id, text)
        return self.open_source(tmp_path)

    def open_source(self, tmp_path: Path) -> Source:
        return FilesSource(tmp_path / "docs")

    def edit(self, tmp_path: Path, doc_id: str, text: str) -> None:
        file = tmp_path / "docs" / doc_id
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())

    def remove(self, tmp_path: Path, doc_id: str) -> None:
        (tmp_path / "docs" / doc_id).unlink()

    def settle(self, tmp_path: Path) -> None:
        for file in (tmp_path / "docs").rglob("*.md"):
            os.utime(file, (1_700_000_000, 1_700_000_000))

    def spoil(self, tmp_path: Path, doc_id: str) -> None:
        (tmp_path / "docs" / doc_id).write_bytes(b"caf\xe9")


class TestJsonl(SourceConformance):
    no_stamps = "nothing short of reading a line tells whether it has changed"
    no_partial = "a line can only be found by reading all lines before it"
    no_watch = "a change of the file does not tell which lines changed"
    file_name = "corpus.jsonl"

    def make_source(self, tmp_path: Path, documents: Mapping[str, str]) -> Source:
        self._write(tmp_path, [json.dumps({"id": doc_id, "text": text}) for doc_id, text in documents.items()])
        return self.open_source(tmp_path)

    def open_source(self, tmp_path: Path) -> Source:
        return JsonlSource(tmp_path / self.file_name)

    def edit(self, tmp_path: Path, doc_id: str, text: str) -> None:
        self.remove(tmp_path, doc_id)
        self._write(tmp_path, [*self._read(tmp_path), json.dumps({"id": doc_id, "text": text})])

    def remove(self, tmp_path: Path, doc_id: str) -> None:
        self._write(tmp_path, [line for line in self._read(tmp_path) if json.loads(line)["id"] != doc_id])

    def spoil(self, tmp_path: Path, doc_id: str) -> None:
        lines = [line if json.loads(line)["id"] != doc_id else line[:-1] for line in self._read(tmp_path)]
        self._write(tmp_path, lines)

    def _read(self, tmp_path: Path) -> list[str]:
        return (tmp_path / self.file_name).read_bytes().decode().splitlines()

    def _write(self, tmp_path: Path, lines: list[str]) -> None:
        (tmp_path / self.file_name).write_bytes("".join(f"{line}\n" for line in lines).encode())


class TestGzippedJsonl(TestJsonl):
    file_name = "corpus.jsonl.gz"

    def _read(self, tmp_path: Path) -> list[str]:
        return gzip.decompress((tmp_path / self.file_name).read_bytes()).decode().splitlines()

    def _write(self, tmp_path: Path, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        (tmp_path / self.file_name).write_bytes(gzip.compress(data, compresslevel=1))
