"""Searches for settings, by Optuna and by RecBole's HyperTuning (hyperopt), over one format of spaces."""
