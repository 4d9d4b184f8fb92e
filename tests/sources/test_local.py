"""Folders and files on this machine, friendly and hostile."""

from __future__ import annotations

import mmap
import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import AccessDenied, SourceError, SourceNotFound, Truncated
from steelyard.sources.base import SkippedFile, SkipReason
from steelyard.sources.local import LocalReader, open_local
from steelyard.sources.network import Tally
from steelyard.sources.walking import list_folder
from tests.sources.listed import paths, reasons


class TestFolder:
    def test_lists_files_sorted_with_sizes(self, model: Path) -> None:
        source = open_local(str(model))
        assert [(file.path, file.size) for file in source.files] == [
            ("config.json", 2),
            ("model.safetensors", 16384),
            ("sub/a.txt", 1),
            ("sub/deeper/empty", 0),
        ]
        assert (source.kind, source.revision, source.spec) == ("folder", None, str(model))
        assert source.skipped == ()
        assert source.bytes_read == 0

    def test_empty_folder(self, tmp_path: Path) -> None:
        source = open_local(str(tmp_path))
        assert (source.files, source.skipped) == ((), ())

    def test_noise_is_passed_over(self, model: Path) -> None:
        for name in (".git", ".cache", "sub/__pycache__"):
            (model / name).mkdir()
            (model / name / "x").write_bytes(b"x")
        (model / ".DS_Store").write_bytes(b"x")
        source = open_local(str(model))
        assert len(source.files) == 4
        assert source.skipped == ()

    def test_local_path_is_resolved(self, model: Path) -> None:
        (model / "link.json").symlink_to("config.json")
        source = open_local(str(model))
        assert source.local_path("link.json") == (model / "config.json").resolve()
        assert source.local_path("nothing") is None

    def test_unlisted_paths_cannot_be_opened(self, model: Path) -> None:
        source = open_local(str(model))
        for path in ("nothing", "../model/config.json", "/etc/passwd", "", "sub"):
            with pytest.raises(SourceNotFound):
                source.open(path)


class TestHostileFolder:
    def test_links_within_are_followed(self, model: Path) -> None:
        (model / "copy").symlink_to("sub/../config.json")
        (model / "absolute").symlink_to(model / "config.json")
        (model / "folder").symlink_to("sub")
        source = open_local(str(model))
        assert {"copy", "absolute", "folder/a.txt", "folder/deeper/empty"} <= set(paths(source))
        with source.open("copy") as reader:
            assert reader.read(0, 2) == b"{}"

    def test_escaping_links_are_skipped(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "model-next-door").mkdir()
        (model / "relative").symlink_to("../secret")
        (model / "absolute").symlink_to("/etc/passwd")
        (model / "neighbor").symlink_to("../model-next-door")
        (model / "folder").symlink_to("/etc")
        (model / "chain").symlink_to("relative")
        (model / "up").symlink_to("..")
        source = open_local(str(model))
        assert reasons(source) == dict.fromkeys(
            ["absolute", "chain", "folder", "neighbor", "relative", "up"], SkipReason.ESCAPES
        )
        assert len(source.files) == 4

    def test_broken_and_circular_links_are_skipped(self, model: Path) -> None:
        (model / "broken").symlink_to("nowhere")
        (model / "self").symlink_to("self")
        (model / "ping").symlink_to("pong")
        (model / "pong").symlink_to("ping")
        (model / "sub" / "top").symlink_to("..")
        (model / "x").mkdir()
        (model / "y").mkdir()
        (model / "x" / "y").symlink_to("../y")
        (model / "y" / "x").symlink_to("../x")
        found = reasons(open_local(str(model)))
        assert set(found) == {"broken", "self", "ping", "pong", "sub/top", "x/y/x", "y/x/y"}
        assert set(found.values()) == {SkipReason.BROKEN_LINK}

    def test_folders_of_links_to_folders_stay_bounded(self, tmp_path: Path) -> None:
        """Each level links twice to the next: 2 to the power of 30 paths."""
        for level in range(30):
            (tmp_path / f"d{level}").mkdir()
            for twin in "ab":
                (tmp_path / f"d{level}" / twin).symlink_to(f"../d{level + 1}")
        (tmp_path / "d30").mkdir()
        listing = list_folder(tmp_path, max_files=2000)
        assert [each.reason for each in listing.skipped] == [SkipReason.TOO_MANY]

    def test_pipes_and_sockets_are_skipped_and_not_opened(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(model / "pipe")
        (model / "to-pipe").symlink_to("pipe")
        monkeypatch.chdir(model)
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind("socket")
            found = reasons(open_local(str(model)))
        assert found == dict.fromkeys(["pipe", "socket", "to-pipe"], SkipReason.NOT_REGULAR)

    def test_unreadable_files_are_skipped(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The root user may read everything, so permission is denied by hand."""
        allowed = os.access
        monkeypatch.setattr(
            os, "access", lambda path, mode: "config" not in str(path) and allowed(path, mode)
        )
        source = open_local(str(model))
        assert reasons(source) == {"config.json": SkipReason.UNREADABLE}

    def test_unreadable_folders_are_skipped(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scan = os.scandir

        def guarded(path: Path) -> object:
            if path.name in {"sub", "locked"}:
                raise PermissionError(13, "Permission denied")
            return scan(path)

        monkeypatch.setattr(os, "scandir", guarded)
        assert reasons(open_local(str(model))) == {"sub": SkipReason.UNREADABLE}
        with pytest.raises(AccessDenied, match="cannot list"):
            list_folder(model / "sub")

    def test_names_that_are_not_plain_text_are_skipped(self, model: Path) -> None:
        for name in (b"not-\xff-utf8", b"escape-\x1b[2J", b"back\\slash", "\u202efdp".encode()):
            (model / os.fsdecode(name)).write_bytes(b"x")
        source = open_local(str(model))
        assert len(source.files) == 4
        assert list(reasons(source)) == sorted(
            ["not-\\udcff-utf8", "escape-\\x1b[2J", "back\\slash", "\\u202efdp"]
        )

    def test_too_many_files_end_the_walk_with_one_value(self, tmp_path: Path) -> None:
        for number in range(20):
            (tmp_path / f"{number:02}").mkdir()
            (tmp_path / f"{number:02}" / "file").write_bytes(b"")
        listing = list_folder(tmp_path, max_files=25)
        assert sorted(listing.entries) == [f"{number:02}/file" for number in range(5)]
        assert listing.skipped == [
            SkippedFile("05", SkipReason.TOO_MANY, "the folder holds too many entries")
        ]
        assert list_folder(tmp_path, max_files=40).skipped == []

    def test_deep_folders_are_cut(self, tmp_path: Path) -> None:
        (tmp_path / "a/a/a/a").mkdir(parents=True)
        (tmp_path / "a/a/a/file").write_bytes(b"")
        listing = list_folder(tmp_path, max_depth=3)
        assert list(listing.entries) == ["a/a/a/file"]
        assert [(each.path, each.reason) for each in listing.skipped] == [
            ("a/a/a/a", SkipReason.TOO_MANY)
        ]


class TestChangedFiles:
    """What was listed is looked at again when it is opened."""

    def test_swapped_for_a_link(self, model: Path) -> None:
        source = open_local(str(model))
        (model / "config.json").unlink()
        (model / "config.json").symlink_to("/etc/passwd")
        with pytest.raises(SourceError, match="changed after"):
            source.open("config.json")

    def test_folder_swapped_for_a_link(self, model: Path, tmp_path: Path) -> None:
        source = open_local(str(model))
        # The other folder's files are as long and as old, but other files.
        shutil.copytree(model / "sub", tmp_path / "elsewhere")
        (model / "sub").rename(tmp_path / "before")
        (model / "sub").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SourceError, match="changed after"):
            source.open("sub/a.txt")

    def test_numbered_anew_by_the_file_system(self, model: Path) -> None:
        source = open_local(str(model))
        shutil.copy2(model / "config.json", model / "copy")
        (model / "copy").replace(model / "config.json")
        with source.open("config.json") as reader:
            assert reader.read(0, reader.size) == b"{}"

    def test_swapped_for_a_pipe_does_not_hang(self, model: Path) -> None:
        source = open_local(str(model))
        (model / "config.json").unlink()
        os.mkfifo(model / "config.json")
        with pytest.raises(SourceError, match="changed after"):
            source.open("config.json")

    def test_rewritten_or_removed(self, model: Path) -> None:
        source = open_local(str(model))
        (model / "config.json").write_bytes(b"{ }")
        with pytest.raises(SourceError, match="changed after"):
            source.open("config.json")
        (model / "config.json").unlink()
        with pytest.raises(SourceError, match="changed after"):
            source.open("config.json")

    def test_permission_withdrawn(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = open_local(str(model))

        def refuse(path: object, flags: int) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(AccessDenied):
            source.open("config.json")

    def test_shrinking_under_the_reader(self, model: Path) -> None:
        with open_local(str(model)).open("model.safetensors") as reader:
            assert len(reader.view(0, 10)) == 10
            os.truncate(model / "model.safetensors", 5)
            with pytest.raises(SourceError, match="shorter"):
                reader.read(0, 10)
            with pytest.raises(SourceError, match="shorter"):
                reader.view(0, 10)


class TestReader:
    def test_ranges(self, model: Path) -> None:
        source = open_local(str(model))
        data = (model / "model.safetensors").read_bytes()
        with source.open("model.safetensors") as reader:
            assert (reader.name, reader.size) == ("model.safetensors", len(data))
            for offset, length in ((0, 0), (5, 9), (4095, 4098), (16384, 0), (0, 16384)):
                assert reader.read(offset, length) == data[offset : offset + length]
                assert reader.view(offset, length) == data[offset : offset + length]
        assert source.bytes_read == 2 * (9 + 4098 + 16384)

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 3), (3, 0), (-1, 1), (0, -1), (2**70, 1), (1, 2**70)]
    )
    def test_outside_is_truncated(self, model: Path, offset: int, length: int) -> None:
        with open_local(str(model)).open("config.json") as reader:
            with pytest.raises(Truncated):
                reader.read(offset, length)
            with pytest.raises(Truncated):
                reader.view(offset, length)

    def test_empty_file(self, model: Path) -> None:
        with open_local(str(model)).open("sub/deeper/empty") as reader:
            assert reader.read(0, 0) == b""
            assert bytes(reader.view(0, 0)) == b""

    def test_closing_under_a_view(self, model: Path) -> None:
        reader = open_local(str(model)).open("model.safetensors")
        view = reader.view(3, 5)
        reader.close()
        assert view == bytes(range(3, 8))
        reader.close()
        with pytest.raises(SourceError, match="closed"):
            reader.read(0, 1)
        with pytest.raises(SourceError, match="closed"):
            reader.view(0, 1)

    def test_short_reads_are_continued(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read = os.pread
        monkeypatch.setattr(os, "pread", lambda file, length, at: read(file, min(length, 7), at))
        with open_local(str(model)).open("model.safetensors") as reader:
            assert reader.read(1, 100) == bytes(range(1, 101))

    def test_disk_errors_are_source_errors(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(file: int, length: int, at: int) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", fail)
        with (
            open_local(str(model)).open("config.json") as reader,
            pytest.raises(SourceError, match="Input/output"),
        ):
            reader.read(0, 1)

    def test_views_without_memory_maps(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> mmap.mmap:
            raise OSError(19, "No such device")

        monkeypatch.setattr(mmap, "mmap", refuse)
        source = open_local(str(model))
        with source.open("config.json") as reader:
            assert bytes(reader.view(0, 2)) == b"{}"
        assert source.bytes_read == 2

    @given(data=st.binary(max_size=300), offset=st.integers(0, 300), length=st.integers(0, 300))
    def test_read_and_view_agree_with_slices(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, offset: int, length: int
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any"
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        with LocalReader("any", descriptor, len(data), Tally()) as reader:
            if offset + length <= len(data):
                assert reader.read(offset, length) == data[offset : offset + length]
                assert bytes(reader.view(offset, length)) == data[offset : offset + length]
            else:
                with pytest.raises(Truncated):
                    reader.read(offset, length)


class TestFile:
    def test_just_the_file(self, model: Path) -> None:
        source = open_local(str(model / "model.safetensors"))
        assert paths(source) == ["model.safetensors"]
        assert (source.kind, source.revision) == ("file", None)
        with source.open("model.safetensors") as reader:
            assert reader.read(1, 1) == b"\x01"

    def test_a_link_that_the_user_names_is_followed(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "alias.gguf").symlink_to(model / "model.safetensors")
        source = open_local(str(tmp_path / "alias.gguf"))
        assert paths(source) == ["alias.gguf"]
        with source.open("alias.gguf") as reader:
            assert reader.size == 16384

    def test_pipes_and_nothing(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(SourceError, match="neither a folder nor a regular file"):
            open_local(str(tmp_path / "pipe"))
        for spec in ("nothing", "pipe/inside", "x" * 5000):
            with pytest.raises(SourceNotFound):
                open_local(str(tmp_path / spec))
