"""Files and folders that are either there in full or not there at all, whatever interrupts the writing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.new_file import new_file

MANIFEST = "manifest.json"
DIGEST, HEADER_DIGEST = "manifest_digest", "header_digest"
OPENING_TRIES = 5
RENAMING_SECONDS = 0.2  # how long a store may be away while another takes its name: two renames

T = TypeVar("T")


def beside(path: Path, suffix: str) -> Path:
    """The neighbour of `path` whose name carries `suffix`: the same file system, so renames are atomic."""
    return path.with_name(path.name + suffix)


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` under a temporary name, flushes it to the disk and renames it to `path`."""
    temporary = beside(path, ".tmp")
    with new_file(temporary, "t", encoding="utf-8") as stream:
        json.dump(value, stream)  # in ASCII: a file name may hold half characters, which UTF-8 cannot have
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Writes the manifest of the store in `folder`, with a digest of itself; returns it."""
    manifest = {**facts, DIGEST: _digest(facts)}
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path, format_name: str) -> dict[str, Any]:
    """The manifest in `folder`, known to be of `format_name`, and as it was written.

    Raises:
        FileNotFoundError: no such folder; the message tells of an interrupted build where there is one.
        StoreError: the folder holds no manifest, or not one of this format, or a damaged one.
    """
    try:
        manifest = json.loads(_manifest_text(folder))
    except (FileNotFoundError, NotADirectoryError):
        if not folder.exists():
            raise FileNotFoundError(f"no store at {folder}{_interrupted(folder, format_name)}") from None
        raise StoreError(f"{folder} is not a store: it holds no {MANIFEST}; {_made(folder, format_name)[1]}") from None
    except ValueError as error:
        raise StoreError(f"{folder / MANIFEST} is damaged ({error}); delete {folder} and build it again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != format_name:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise StoreError(
            f"{folder} holds {found!r}, expected {format_name!r}; point to a store of that kind, "
            f"or delete it and build it again"
        )
    digest = manifest.pop(DIGEST, None)
    # Stores of the first versions have no digest; those that have this one have both, unless its very name is damaged.
    if digest != _digest(manifest) and (digest is not None or HEADER_DIGEST in manifest):
        raise StoreError(f"{folder / MANIFEST} is damaged: its digest differs; delete {folder} and build it again")
    return manifest


def read_one_store(folder: Path, format_name: str, look: Callable[[dict[str, Any]], T]) -> T:
    """What `look` makes of a store's manifest and of the files beside it, all of one store: it may be replaced.

    Raises:
        FileNotFoundError: no such folder.
        StoreError: the store is damaged, or built anew again and again.
    """
    for tries_left in reversed(range(OPENING_TRIES)):
        before = _identity(folder)
        manifest = read_manifest(folder, format_name)
        try:
            seen = look(manifest)
        except (StoreError, OSError):
            if not tries_left or _identity(folder) == before:
                raise
            continue
        if _identity(folder) == before:  # else another store took its name meanwhile
            return seen
    raise StoreError(f"{folder} is built anew again and again; wait for the builds to end")


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Tells a store from the one that takes its name, though it be equal; None while there is none."""
    try:
        status = os.stat(folder / MANIFEST)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("ascii")).hexdigest()[:32]


def _manifest_text(folder: Path) -> str:
    """What the manifest says, as soon as it is there: within the two renames of `replace_folder` no folder is."""
    ends = time.monotonic() + RENAMING_SECONDS
    while True:
        try:
            return (folder / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            is_away = not folder.exists() and beside(folder, ".replaced").exists()
            came_back = (folder / MANIFEST).exists()
            if time.monotonic() > ends or not (is_away or came_back):
                raise
        time.sleep(0.001)


def _interrupted(folder: Path, format_name: str) -> str:
    if beside(folder, ".replaced").exists() or beside(folder, ".partial").exists():
        return ": its build was interrupted; run the same build again and it goes on where it stopped"
    return f"; make it with {_made(folder, format_name)[0]}, or check the path"


def _made(folder: Path, format_name: str) -> tuple[str, str]:
    """What makes a store of a format, and how something else becomes one."""
    if ".arrays." in format_name:
        return (
            "`recbole-pixel features extract` (codes: `features quantize`)",
            "features that others made become a store by `recbole-pixel features import`",
        )
    return (
        "`recbole-pixel images build`",
        f"pictures of any other kind become a store by "
        f"`recbole-pixel images build --source {folder} --out NAME/images.lmdb`",
    )


def check_size(path: Path, expected: int) -> None:
    """Raises StoreError unless `path` holds just `expected` bytes; mapping a shortened file would kill the process."""
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise StoreError(
            f"{path} is missing, its manifest promises {expected:,} bytes; copy the store again whole, "
            f"or delete {path.parent} and build it again"
        ) from None
    if found != expected:
        raise StoreError(
            f"{path} holds {found:,} bytes, its manifest promises {expected:,}: a copy or a disk cut it "
            f"short; copy the store again, or delete {path.parent} and build it again"
        )


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; read by pieces, never mapped."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def ready_to_replace(folder: Path, format_name: str, note: str) -> None:
    """Ends what an earlier build was cut off in, and leaves at `folder` nothing or a store that may be replaced.

    Args:
        folder: the store.
        format_name: of the stores that may be.
        note: file of a build that goes on, which one that was killed as its last act may have left in a store.

    Raises:
        FileExistsError: something else than such a store is there.
    """
    recover(folder)
    refuse_foreign(folder, (format_name,))
    if folder.is_dir():
        (folder / note).unlink(missing_ok=True)


def refuse_foreign(folder: Path, format_names: tuple[str, ...]) -> None:
    """Raises FileExistsError if `folder` is something else than a store of ours, which replacing would destroy."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found not in format_names:
        raise FileExistsError(
            f"{folder} exists and is not a store of this kind: it is not replaced; "
            f"name another place, or remove it yourself"
        )


def recover(folder: Path) -> None:
    """Ends a replacement that was cut off between its two renames, see `replace_folder`."""
    replaced = beside(folder, ".replaced")
    if not replaced.exists():
        return
    if folder.exists():
        shutil.rmtree(replaced)
    else:
        os.rename(replaced, folder)


def replace_folder(new: Path, folder: Path) -> None:
    """Gives `new` the name `folder`; what had that name before goes away, last of all.

    A folder cannot be renamed onto a full one, so an older store steps aside first. Cut off in between, the older one
    is found by `recover`, the new one is still complete under its temporary name.
    """
    replaced = beside(folder, ".replaced")
    if folder.exists():
        os.rename(folder, replaced)
    os.rename(new, folder)
    sync_folder(folder.parent)
    if replaced.exists():
        shutil.rmtree(replaced)
