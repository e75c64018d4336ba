from __future__ import annotations

import pytest
import torch

from recbole_pixel.catalogue import StepCatalogue


@pytest.fixture
def catalogue() -> StepCatalogue:
    return StepCatalogue(torch.tensor([0, 3, 7, 9]), torch.arange(8.0).view(4, 2))


def test_lookup_finds_vectors_by_id(catalogue):
    found = catalogue.lookup(torch.tensor([[9, 0], [3, 7]]))
    assert found.tolist() == [[[6, 7], [0, 1]], [[2, 3], [4, 5]]]


@pytest.mark.parametrize("absent", [1, 8, 10])
def test_an_item_outside_the_catalogue_is_named(catalogue, absent):
    with pytest.raises(LookupError, match=rf"\[{absent}\]"):
        catalogue.lookup(torch.tensor([3, absent]))
