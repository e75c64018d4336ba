"""Vision-language models: a picture and a text, read together. Importing this imports transformers."""

from recbole_pixel.encoder.vlm.backbone import VisionLanguageBackbone

__all__ = ["VisionLanguageBackbone"]
