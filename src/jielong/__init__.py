"""Jielong (接龍): build, teach, equip, examine and change your own ChatGPT."""

__version__ = "0.1.0"
