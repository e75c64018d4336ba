"""Evaluation by RecBole's evaluator: histories masked, cold items ranked."""
