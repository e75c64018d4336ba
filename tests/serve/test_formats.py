"""Answers as text."""

from __future__ import annotations

import json

from recbole_pixel.serve.answers import Neighbours
from recbole_pixel.serve.formats import as_csv, as_json


def test_each_pair_has_a_line_and_no_answers_have_none():
    answers = [Neighbours("i1", ["i2", "i3"], [0.5, 0.25])]
    assert as_csv(answers).splitlines() == ["item,rank,neighbour,similarity", "i1,1,i2,0.5", "i1,2,i3,0.25"]
    assert as_csv([]) == ""
    assert json.loads(as_json([])) == []
