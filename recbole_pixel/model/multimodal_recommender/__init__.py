"""Models whose users and items are read by a vision-language model."""
