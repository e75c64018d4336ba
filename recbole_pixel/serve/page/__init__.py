"""Pieces of pages with pictures: what an item looks like on one, cards, and the frame around them."""
