"""Ranges in RecBole's format mean what they mean to RecBole, and are never evaluated as code."""

from __future__ import annotations

import math

import pytest

from recbole_pixel.tuning.space import (
    Choice,
    LogUniform,
    Steps,
    Uniform,
    as_grid,
    check_names,
    grid_size,
    parse_param,
    read_space,
    settings_at,
)


def test_a_file_of_recbole_is_read_as_recbole_reads_it(tmp_path):
    """The example of RecBole's repository (hyper.test), and the two further kinds."""
    path = tmp_path / "hyper.test"
    path.write_text(
        "learning_rate loguniform -8,0\nembedding_size choice [64,96 ,128]\n# a remark\n\n"
        "mlp_hidden_size choice ['[64,64,64]','[128,128]']\ndropout uniform 0,0.5\nn_layers quniform 1,4,1\n"
        "loss_type choice ['CE', 'BPR']\n"
    )
    space = read_space(path)
    assert space["learning_rate"] == LogUniform(math.exp(-8), 1.0)
    assert space["embedding_size"] == Choice((64, 96, 128))
    assert space["mlp_hidden_size"] == Choice(([64, 64, 64], [128, 128]))
    assert space["dropout"] == Uniform(0.0, 0.5)
    assert space["n_layers"] == Steps(1.0, 4.0, 1.0)
    assert space["loss_type"] == Choice(("CE", "BPR"))


def test_the_same_bounds_as_hyperopts(tmp_path):
    hyper_tuning = pytest.importorskip("recbole.trainer.hyper_tuning")
    pytest.importorskip("hyperopt", reason="needs the extra recbole-pixel[tune]")
    import numpy as np
    from hyperopt.pyll.stochastic import sample

    path = tmp_path / "hyper.test"
    path.write_text("learning_rate loguniform -8,-2\nstep quniform 10,50,16\n")
    theirs, ours = hyper_tuning.HyperTuning._build_space_from_file(path), read_space(path)
    rng = np.random.default_rng(0)
    drawn = [sample(theirs, rng) for _ in range(200)]
    rate, step = ours["learning_rate"], ours["step"]
    assert isinstance(rate, LogUniform)
    assert isinstance(step, Steps)
    rates = [point["learning_rate"] for point in drawn]
    assert rate.low < min(rates) < 1.5 * rate.low
    assert rate.high > max(rates) > 0.8 * rate.high
    assert {point["step"] for point in drawn} == {count * step.step for count in step.counts} == {16, 32, 48}


def test_parameters_on_the_command_line_are_the_values_themselves():
    assert parse_param("learning_rate=loguniform:1e-4,1e-2") == ("learning_rate", LogUniform(1e-4, 1e-2))
    assert parse_param("tune=choice:frozen,top:1,lora:8") == ("tune", Choice(("frozen", "top:1", "lora:8")))
    assert parse_param("topk=choice:[[5],[5,10]]") == ("topk", Choice(([5], [5, 10])))
    assert parse_param("weight_decay=uniform:0,1e-1") == ("weight_decay", Uniform(0, 0.1))


def test_a_point_stands_for_settings():
    space = {"a": Choice(("x", [1, 2])), "b": Steps(0, 0.5, 0.1), "c": Steps(16, 64, 16), "d": Uniform(0, 1)}
    assert settings_at(space, {"a": 1, "b": 0.1 * 3, "c": 48.0, "d": 0.25}) == {
        "a": [1, 2],
        "b": 0.3,
        "c": 48,
        "d": 0.25,
    }
    assert isinstance(settings_at(space, {"a": 0, "b": 0.0, "c": 48.0, "d": 1})["c"], int)


def test_a_grid_lists_all_steps_and_refuses_what_has_none():
    grid = as_grid({"a": Choice((1, 2)), "b": Steps(0, 0.3, 0.1)})
    assert grid["b"] == Choice((0.0, 0.1, 0.2, 0.3))
    assert grid_size(grid) == 8
    with pytest.raises(ValueError, match="a grid cannot try all of rate"):
        as_grid({"rate": Uniform(0, 1)})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate loguniform", "line 1: expected NAME KIND ARGUMENTS"),
        ("learning_rate normal 0,1", "there is no kind 'normal'; expected one of choice, uniform"),
        ("learning_rate uniform 1", "uniform is '1'; expected LOW,HIGH"),
        ("learning_rate uniform 1,0", "uniform is '1,0'; expected LOW,HIGH"),
        ("n_layers quniform 1,2", "expected LOW,HIGH,STEP"),
        ("n_layers quniform 1,2,0", "the step of quniform is 0.0"),
        ("n_layers choice 3", "expected a list of values"),
        ("n_layers choice [__import__('os').getpid()]", "cannot read .* as choice"),
        ("n_layers choice [1]\nn_layers choice [2]", "line 2: n_layers stands twice"),
        ("# nothing", "holds no ranges"),
    ],
)
def test_what_is_no_range_is_refused(tmp_path, line, message):
    path = tmp_path / "hyper.test"
    path.write_text(line)
    with pytest.raises(ValueError, match=message):
        read_space(path)


def test_parameters_that_are_none_are_refused():
    with pytest.raises(ValueError, match="expected NAME=KIND:ARGUMENTS"):
        parse_param("learning_rate")
    with pytest.raises(ValueError, match=r"a loguniform begins at -8.0; expected more than 0"):
        parse_param("learning_rate=loguniform:-8,-2")
    with pytest.raises(ValueError, match="SASRec has no setting 'n_layer' to search over; the nearest is n_layers"):
        check_names({"n_layer": Uniform(0, 1)}, ["n_layers", "n_heads"], "SASRec")
