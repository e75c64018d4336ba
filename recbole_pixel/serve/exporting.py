"""Vectors, and indexes of them, as files that other programs read; the tokens of the rows beside."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.store.new_file import new_file

VECTOR_FORMS, INDEX_FORMS = ("npy", "parquet"), ("faiss", "usearch")
FORMS: dict[str, tuple[str, ...]] = {
    "item_vectors": VECTOR_FORMS,
    "user_vectors": VECTOR_FORMS,
    "index": INDEX_FORMS,
}
"""What can be exported, and how; the first form is the default."""


def form_of(what: str, path: Path, form: str | None) -> str:
    """The form to write ``what`` in: the one asked for, or that of the ending of ``path``, or the default.

    Raises:
        ValueError: ``what`` is none of :data:`FORMS`, or has no such form.
        IsADirectoryError: ``path`` is a folder.
    """
    if what not in FORMS:
        raise ValueError(f"{what!r} cannot be exported; expected one of {', '.join(FORMS)}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it, such as {path / what}.{FORMS[what][0]}")
    ending = path.suffix.removeprefix(".")
    chosen = form or (ending if ending in FORMS[what] else FORMS[what][0])
    if chosen not in FORMS[what]:
        raise ValueError(f"{what} cannot be exported as {chosen}; expected one of {', '.join(FORMS[what])}")
    return chosen


def export(vectors: np.ndarray, tokens: Sequence[str], path: Path, form: str) -> Path:
    """Writes vectors (n, D) in a form of :data:`FORMS`, and their tokens beside; returns ``path``.

    Raises:
        ImportError: the form needs a package that is not installed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write = WRITERS[form]
    _replaced(path, lambda partial: write(vectors, tokens, partial))
    _replaced(tokens_path(path), lambda partial: partial.write_text("".join(f"{token}\n" for token in tokens), "utf-8"))
    return path


def tokens_path(path: Path) -> Path:
    """Where the tokens of the rows of an exported file are, its own alone: one a line, in UTF-8."""
    return path.with_name(f"{path.name}.tokens.txt")


def _replaced(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` write under a temporary name first: a reader never meets half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    new_file(partial).close()
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_npy(vectors: np.ndarray, tokens: Sequence[str], path: Path) -> None:
    with path.open("wb") as file:  # numpy would add .npy to a name
        np.save(file, vectors)


def _write_parquet(vectors: np.ndarray, tokens: Sequence[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = {"token": pa.array(list(tokens)), "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    parquet.write_table(pa.table(columns), path)


def _write_faiss(vectors: np.ndarray, tokens: Sequence[str], path: Path) -> None:
    faiss = _optional("faiss", "faiss")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    faiss.write_index(index, str(path))


def _write_usearch(vectors: np.ndarray, tokens: Sequence[str], path: Path) -> None:
    package = _optional("usearch.index", "usearch")
    index = package.Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors, dtype=np.float32))
    index.save(str(path))


def _optional(module: str, extra: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"an index of the form {extra} needs a package that is not installed: pip install 'recbole-pixel[{extra}]'"
        ) from error


WRITERS: dict[str, Callable[[np.ndarray, Sequence[str], Path], None]] = {
    "npy": _write_npy,
    "parquet": _write_parquet,
    "faiss": _write_faiss,
    "usearch": _write_usearch,
}
