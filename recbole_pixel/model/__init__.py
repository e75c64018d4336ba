"""Pixel models, in RecBole's own folders."""
