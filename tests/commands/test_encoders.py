"""`encoders` as a user types it."""

from __future__ import annotations

import json

import pytest

from recbole_pixel.cli import main
from recbole_pixel.encoder.presets import PRESETS


def table(text: str) -> list[dict[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_the_presets_are_listed_with_their_cost(capsys):
    assert main(["encoders"]) == 0
    text = capsys.readouterr().out
    rows = {row["encoder"]: row for row in table(text)}
    assert list(rows) == [preset.name for preset in PRESETS]
    assert rows["ResNet50"] == {
        "encoder": "ResNet50",
        "timm name": "resnet50.a1_in1k",
        "input px": "224",
        "tune": "top:2",
        "learns": "layer3 layer4",
        "M params": "23.5",
        "M trained": "22.1",
        "GFLOPs": "8.2",
        "GFLOPs of the head": "4.5",
        "trunk cache kB/item": "1605.6",
        "licence of the weights": "Apache-2.0",
    }
    assert rows["RN50x64"]["input px"] == "448"
    assert "Meta" in rows["DINOv3"]["licence of the weights"]
    assert "2 FLOPs to a multiply-add" in text


def test_json_holds_counts(capsys):
    assert main(["encoders", "vit-b/32", "resnet18", "--tune", "top:1", "--image_size", "64", "--json"]) == 0
    vit, resnet = json.loads(capsys.readouterr().out)
    assert (vit["encoder"], vit["timm_name"]) == ("vit-b/32", "vit_base_patch32_clip_224.openai")
    assert vit["trunk_bytes"] == (64 // 32 * 64 // 32 + 1) * 768 * 4
    assert (resnet["tune"], resnet["image_size"], resnet["trunk_bytes"]) == ("top:1", 64, 256 * 4 * 4 * 4)


def test_a_filter_finds_presets_and_models_of_timm(capsys):
    assert main(["encoders", "--filter", "swin_tiny", "--json"]) == 0
    names = [row["encoder"] for row in json.loads(capsys.readouterr().out)]
    assert names[0] == "Swin-T"
    assert "swin_tiny_patch4_window7_224.ms_in22k" in names
    assert "swin_tiny_patch4_window7_224.ms_in1k" not in names, "that is Swin-T"


def test_a_family_that_cannot_be_cut_is_listed_as_frozen_with_the_reason(capsys):
    assert main(["encoders", "xcit_nano_12_p16_224"]) == 0
    text = capsys.readouterr().out
    assert [(row["tune"], row["M trained"]) for row in table(text)] == [("frozen", "0.0")]
    assert "use frozen or full" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RN51"], "nearest names are RN50"),
        (["--filter", "vit"], "narrow it down to at most 60"),
        (["--filter", "nothing_like_it"], "no preset and no pretrained model"),
        (["ResNet50", "--tune", "top:9"], "the encoder has 4 stages"),
        (["ResNet50", "--tune", "half"], "expected frozen, full, or top:K"),
        (["RN50", "--image_size", "-5"], "image_size is -5; expected a side in pixels"),
        (["RN50", "--image_size", "0"], "image_size is 0; expected a side in pixels"),
        (["Swin-T", "--image_size", "10"], "of a multiple of 4 pixels, such as 8, 12 or 224"),
        (["ViT-B/32", "--image_size", "225"], "of a multiple of 32 pixels, such as 224 or 256"),
        (["vgg11", "--image_size", "8"], "vgg11 takes 32 or 224"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, arguments, message):
    assert main(["encoders", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
