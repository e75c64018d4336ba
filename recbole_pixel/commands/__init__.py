"""The commands of ``recbole-pixel``; each module adds its own parser and imports what it needs when it runs."""
