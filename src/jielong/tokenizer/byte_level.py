"""The byte alphabet of GPT-2's BPE: every byte has a visible character that stands for it."""

import functools


@functools.cache
def byte_of_character() -> dict[str, int]:
    """Map the 256 stand-in characters to their bytes (openai/gpt-2, `bytes_to_unicode`)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    characters = [chr(byte) for byte in visible] + [chr(256 + index) for index in range(len(hidden))]
    return dict(zip(characters, visible + hidden, strict=True))


@functools.cache
def alphabet() -> list[str]:
    """The 256 stand-in characters in order of their bytes."""
    return sorted(byte_of_character(), key=byte_of_character().__getitem__)


def bytes_of_token(token: str) -> bytes:
    """The bytes that a byte-level token stands for; text outside the alphabet stands for itself."""
    table = byte_of_character()
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    return token.encode()


def characters_of_bytes(data: bytes) -> str:
    """The stand-in characters of some bytes."""
    characters = alphabet()
    return "".join(characters[byte] for byte in data)
