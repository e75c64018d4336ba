"""PixelRec's way of training, written by us after its description: what the other benchmarks measure ours against.

Nothing of PixelRec's code is in here. Its way, for a sequence of up to 11 items: 22 slots, 11 for the items and 11 for
sampled negatives (the first of them always padding), padded on the left. For each slot a worker process takes a pickled
raw picture out of LMDB, makes a PIL picture of it, and of that by Resize, ToTensor and Normalize(0.5, 0.5) float32;
padding is a picture of zeros. Slots are stacked per sequence, sequences per batch. The encoder then encodes every slot
of the batch, padding and repeats included, and recomputes its frozen part for each. The loss is BPR at each position,
one negative to a positive.

Left out in its favour: ``CUDA_LAUNCH_BLOCKING``, a finite check of each step's loss, and worker processes that start
anew each epoch. Its frozen parts stay in training mode; here they are in eval mode, as ours.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from recbole_pixel.encoder import ImageEncoder

MAX_LENGTH = 10  # MAX_ITEM_LIST_LENGTH of every configuration
MAP_BYTES_PER_PICTURE = 2**20


class PickledPicture:
    """What a value of the LMDB file unpickles to: raw bytes of a picture, and its shape."""

    def __init__(self, pixels: np.ndarray, token: str) -> None:
        self.image, self.token = pixels.tobytes(), token
        self.size, self.channels = pixels.shape[:2], pixels.shape[2]

    def get_image(self) -> np.ndarray:
        """The picture: uint8, (H, W, 3)."""
        return np.frombuffer(self.image, dtype=np.uint8).reshape(*self.size, self.channels)


def write_pickles(path: Path, pictures: Iterable[tuple[str, np.ndarray]], n_pictures: int) -> None:
    """Writes an LMDB file of pickled raw pictures.

    Args:
        path: the file's folder.
        pictures: token and uint8 (H, W, 3) of each.
        n_pictures: how many they are.
    """
    with lmdb.open(str(path), map_size=n_pictures * MAP_BYTES_PER_PICTURE) as environment:
        transaction = environment.begin(write=True)
        for number, (token, pixels) in enumerate(pictures):
            transaction.put(token.encode("ascii"), pickle.dumps(PickledPicture(pixels, token)))
            if number % 1000 == 999:
                transaction.commit()
                transaction = environment.begin(write=True)
        transaction.commit()


class PickleReader:
    """Reads pictures as the reference does, each to normalised float32.

    Args:
        path: what :func:`write_pickles` wrote.
        size: side of the result in pixels.
    """

    def __init__(self, path: Path, size: int = 224) -> None:
        self.path, self.size, self._pid = path, size, 0
        self._environment: Any = None
        steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
        self.transform = transforms.Compose(steps)

    def read(self, token: str) -> Tensor:
        """The picture of an item: float32, (3, size, size)."""
        with self._opened().begin() as transaction:
            stored = pickle.loads(transaction.get(token.encode("ascii")))
        return self.transform(Image.fromarray(stored.get_image()).convert("RGB"))

    def close(self) -> None:
        """Closes the file; it is opened again by the next reading."""
        if self._environment is not None and self._pid == os.getpid():
            self._environment.close()
        self._environment, self._pid = None, 0

    def _opened(self) -> Any:
        if self._pid != os.getpid():
            if self._environment is not None:  # inherited: LMDB must not be used across a fork, nor opened twice
                self._environment.close()
            self._environment = lmdb.open(str(self.path), readonly=True, lock=False, readahead=False, meminit=False)
            self._pid = os.getpid()
        return self._environment


def reference_chunks(histories: Iterable[Sequence[int]], max_length: int = MAX_LENGTH) -> list[list[int]]:
    """Training sequences: histories of up to ``max_length + 1`` items whole, longer ones in pieces of that length.

    The oldest items that fill no piece are dropped.
    """
    whole, chunks = max_length + 1, []
    for items in map(list, histories):
        kept = items if len(items) <= whole else items[len(items) % whole :]
        chunks += [kept[start : start + whole] for start in range(0, len(kept), whole)]
    return chunks


class ReferenceDataset(Dataset):
    """Sequences with the pictures of all their slots.

    Args:
        chunks: item ids >= 1 of each sequence, at most ``max_length + 1``.
        tokens: the token of each item id; entry 0 is the padding's.
        reader: of pictures.
        max_length: inputs of a sequence.
    """

    def __init__(
        self, chunks: list[list[int]], tokens: Sequence[str], reader: PickleReader, max_length: int = MAX_LENGTH
    ) -> None:
        self.chunks, self.tokens, self.reader, self.max_length = chunks, tokens, reader, max_length
        self.nothing = torch.zeros(3, reader.size, reader.size)

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Pictures (2, 11, 3, H, W), of the items and of their negatives, and which inputs are real, (10,)."""
        items = self.chunks[index]
        n_padding = self.max_length + 1 - len(items)
        negatives = [self._negative(items) for _ in items[1:]]
        slots = [*[0] * n_padding, *items, *[0] * (n_padding + 1), *negatives]
        pictures = torch.stack([self._picture(item) for item in slots])
        mask = torch.tensor([0] * n_padding + [1] * (len(items) - 1))
        return pictures.view(2, self.max_length + 1, *pictures.shape[1:]), mask

    def _negative(self, items: list[int]) -> int:
        while True:
            drawn = random.randint(1, len(self.tokens) - 1)
            if drawn not in items:
                return drawn

    def _picture(self, item: int) -> Tensor:
        return self.reader.read(self.tokens[item]) if item else self.nothing


def reference_loader(dataset: ReferenceDataset, batch_size: int = 16, n_workers: int = 2) -> DataLoader:
    """Batches of (B, 2, 11, 3, H, W) float32 pictures and (B, 10) masks, made by worker processes."""
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=n_workers, pin_memory=torch.cuda.is_available())


class ReferenceItemEncoder(nn.Module):
    """Item vectors as the reference makes them: the whole encoder for every slot, then a projection and ReLU.

    Args:
        encoder: gives the architecture, its weights, and which of them learn; never its trunk's kept output.
        size: D, of an item vector.
    """

    def __init__(self, encoder: ImageEncoder, size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Sequential(nn.Linear(encoder.n_features, size), nn.ReLU())

    def forward(self, pictures: Tensor) -> Tensor:
        """Vectors of normalised pictures: float32 (slots, 3, H, W) to (slots, D)."""
        backbone: Any = self.encoder.backbone
        features = backbone.forward_head(backbone.forward_features(pictures), pre_logits=True)
        return self.projection(features.flatten(1))


class ReferenceModel(nn.Module):
    """SASRec over pictures, as the reference trains it: BPR at every position, summed over them, the mean over rows.

    Args:
        encoder: as of :class:`ReferenceItemEncoder`.
        size: D, of item vectors and states.
        n_layers: Transformer layers, each of RecBole's own kind.
        n_heads: attention heads.
        inner_size: width inside the feed-forward layers.
        max_length: inputs of a sequence.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        size: int = 512,
        n_layers: int = 2,
        n_heads: int = 4,
        inner_size: int = 1024,
        max_length: int = MAX_LENGTH,
    ) -> None:
        from recbole.model.layers import TransformerEncoder

        super().__init__()
        self.items = ReferenceItemEncoder(encoder, size)
        self.positions = nn.Embedding(max_length, size)
        self.norm, self.dropout = nn.LayerNorm(size, eps=1e-12), nn.Dropout(0.1)
        self.layers = TransformerEncoder(n_layers, n_heads, size, inner_size, 0.1, 0.1, "gelu", 1e-12)

    def forward(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """The loss of a batch: pictures (B, 2, 11, 3, H, W), mask (B, 10)."""
        vectors = self.items(pictures.flatten(0, 2)).view(*pictures.shape[:3], -1)
        states = self._states(vectors[:, 0, :-1], mask)
        margins = (states * (vectors[:, 0, 1:] - vectors[:, 1, 1:])).sum(-1)
        return -(nn.functional.logsigmoid(margins) * mask).sum(-1).mean()

    def _states(self, inputs: Tensor, mask: Tensor) -> Tensor:
        length = inputs.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=inputs.device).tril()
        seen = (causal & mask[:, None, None, :].bool()).to(inputs.dtype)
        states = self.dropout(self.norm(inputs + self.positions.weight[:length]))
        return self.layers(states, (1 - seen) * -1e9, output_all_encoded_layers=True)[-1]


class ReferenceStep:
    """A training step of the reference, from a batch of its loader to updated weights.

    Args:
        model: on its device, in training mode.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
    """

    def __init__(self, model: ReferenceModel, learning_rate: float = 1e-4, weight_decay: float = 0.1) -> None:
        self.model = model
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
        self.device = next(model.parameters()).device

    def __call__(self, batch: Sequence[Tensor]) -> Tensor:
        """The loss before the update, detached."""
        pictures, mask = (tensor.to(self.device) for tensor in batch)
        self.optimizer.zero_grad()
        loss = self.model(pictures, mask)
        loss.backward()
        self.optimizer.step()
        return loss.detach()
