"""The tokenizer: text <-> token ids, chats -> token ids and what of them is to be learned."""

import functools
import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import Encoding
from tokenizers import Tokenizer as Backend

from jielong.core.errors import JielongError
from jielong.core.files import hash_json, to_json, write_atomically
from jielong.core.model_folder import base_of
from jielong.tokenizer import folder as folders
from jielong.tokenizer.byte_level import bytes_of_token
from jielong.tokenizer.chat_template import ChatTemplate, Message, Rendered
from jielong.tokenizer.special_tokens import END_OF_TEXT

_NOT_UNICODE = "cannot tokenize text with lone surrogates (half of a UTF-16 pair): it is not valid Unicode"

Tools = Sequence[Mapping[str, Any]] | None


class Tokenizer:
    """A `tokenizers.Tokenizer`, its special tokens and its chat template. Immutable.

    Args:
        backend_json: the text of a tokenizer.json.
        config: the object of a tokenizer_config.json; `eos_token` is required.
        template: Jinja source of the chat template, or None for a model without one.
        where: names the tokenizer in errors.
    """

    def __init__(
        self,
        backend_json: str,
        config: Mapping[str, Any],
        template: str | None = None,
        where: str = "tokenizer",
    ) -> None:
        self.config = dict(config)
        self._backend_json = backend_json
        self._where = where
        self._backend = folders.parse_backend(backend_json, where)
        named = {
            key: value for key, value in config.items() if key.endswith("_token") and isinstance(value, str)
        }
        self._template = ChatTemplate(template, named) if template is not None else None
        self.vocab_size: int = max(self._backend.get_vocab().values()) + 1
        self.eos_id: int = self._id_of("eos_token")
        fallback = self._backend.token_to_id(END_OF_TEXT)
        fallback = self.eos_id if fallback is None else fallback
        self.bos_id: int = self._id_of("bos_token") if "bos_token" in named else fallback
        self.pad_id: int = self._id_of("pad_token") if "pad_token" in named else fallback
        self._control = self._control_tokens()
        self._plain = self._make_plain_backend()
        self.derived: dict[Hashable, Any] = {}
        """What other rooms work out from the vocabulary once, kept here under keys of their own."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the tokenizer of a model folder, ours or any other's; an adapter's may be its base's.

        Raises:
            JielongError: a file is missing or broken, or no end-of-sequence token is named.
        """
        folder = Path(folder)
        if not any((folder / name).exists() for name in (folders.TOKENIZER, "vocab.json")):
            folder = base_of(folder) or folder
        files = folders.read_tokenizer_files(folder)
        return cls(files.backend_json, files.config, files.template, str(folder / folders.TOKENIZER))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json (as loaded), tokenizer_config.json and chat_template.jinja into a folder."""
        folder = Path(folder)
        write_atomically(folder / folders.TOKENIZER, self._backend_json)
        write_atomically(folder / folders.CONFIG, to_json(self.config))
        if self._template is not None:
            write_atomically(folder / folders.TEMPLATE, self._template.source)

    def with_chat_template(self, template: str) -> Self:
        """The same tokenizer with another chat template."""
        return type(self)(self._backend_json, self.config, template, self._where)

    def with_max_length(self, tokens: int) -> Self:
        """The same tokenizer, saying in its config how long a context its model reads."""
        config = self.config | {"model_max_length": tokens}
        return type(self)(self._backend_json, config, self.chat_template, self._where)

    @property
    def chat_template(self) -> str | None:
        """Jinja source of the chat template, or None."""
        return None if self._template is None else self._template.source

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary and the chat template: equal ones encode alike."""
        return hash_json([self._backend_json, self.chat_template])

    @property
    def special_tokens(self) -> dict[str, int]:
        """Texts and ids of the tokens that plain text can never become."""
        return {text: token for token, text in self._control.items()}

    def token_id(self, token: str) -> int | None:
        """The id of a token given as the vocabulary writes it, or None."""
        found: int | None = self._backend.token_to_id(token)
        return found

    # Text

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Token ids of a text, without any token added at its ends.

        Args:
            text: any Unicode text without lone surrogates.
            special: whether "<|im_end|>" in the text becomes the special token. Never for text that a person
                or a web page gave.
        """
        backend = self._backend if special else self._plain
        return list(self._encode_batch(backend, [text])[0].ids)

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Token ids of many plain texts, computed in parallel."""
        return [encoding.ids for encoding in self._encode_batch(self._plain, list(texts))]

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of token ids; bytes that are not valid UTF-8 become U+FFFD."""
        self._check_ids(ids)
        text: str = self._backend.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; special tokens stand for their names."""
        self._check_ids([token_id])
        token = self._backend.id_to_token(token_id)
        if token is None:
            return b""
        if token_id in self._added:
            return str(token).encode()
        if self._is_byte_level:
            return bytes_of_token(token)
        if re.fullmatch(r"<0x[0-9A-F]{2}>", token):
            return bytes([int(token[3:5], 16)])
        return str(token).replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()

    def is_special(self, token_id: int) -> bool:
        """Whether decoding with `skip_special` leaves this token out."""
        return self._added.get(token_id, False)

    # Chats

    def render_chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Tools = None
    ) -> str:
        """The chat as text, equal to transformers' `apply_chat_template(tokenize=False)`."""
        return self._need_template().render(
            messages, tools=tools, add_generation_prompt=add_generation_prompt
        )

    def encode_chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: Tools = None
    ) -> list[int]:
        """Token ids of a chat. Special tokens come from the template alone, never out of a message's text."""
        rendered = self._need_template().render_with_spans(
            messages, self._control_texts, tools=tools, add_generation_prompt=add_generation_prompt
        )
        return self._encode_rendered(rendered)[0]

    def encode_chat_with_mask(
        self, messages: Sequence[Message], *, tools: Tools = None
    ) -> tuple[list[int], list[bool]]:
        """Token ids of a chat, and for each whether the assistant has to learn it (its end of turn included).

        The mask comes from the template's `{% generation %}` marks or, without marks, from rendering
        prefixes of the chat. An assistant message with `"weight": 0` (OpenAI's convention) is not learned.

        Raises:
            JielongError: nothing in the chat is to be learned.
        """
        rendered = self._need_template().render_with_spans(
            messages, self._control_texts, tools=tools, end_of_turn=self.config["eos_token"]
        )
        ids, offsets = self._encode_rendered(rendered)
        mask = _mask_of(offsets, _wanted_spans(messages, rendered))
        if not any(mask):
            roles = ", ".join(str(message.get("role")) for message in messages)
            raise JielongError(f"nothing to learn in this chat: no assistant text in its turns ({roles})")
        return ids, mask

    # Inside

    @functools.cached_property
    def _added(self) -> dict[int, bool]:
        """Added tokens: id -> whether it is left out of decoded text."""
        tokens = self._backend.get_added_tokens_decoder()
        return {token_id: bool(token.special) for token_id, token in tokens.items()}

    @functools.cached_property
    def _is_byte_level(self) -> bool:
        return '"ByteLevel"' in json.dumps(json.loads(self._backend_json).get("decoder"))

    @functools.cached_property
    def _control_texts(self) -> tuple[str, ...]:
        return tuple(self._control.values())

    def _need_template(self) -> ChatTemplate:
        if self._template is None:
            raise JielongError(
                f"{self._where} has no chat template, so it cannot chat yet; `jielong sft` teaches it"
            )
        return self._template

    def _id_of(self, key: str) -> int:
        token = self.config.get(key)
        if not isinstance(token, str):
            raise JielongError(f"{self._where}: {key} is not named in tokenizer_config.json")
        found: int | None = self._backend.token_to_id(token)
        if found is None:
            raise JielongError(f"{self._where}: {key} {token!r} is not in the vocabulary")
        return found

    def _control_tokens(self) -> dict[int, str]:
        """Added tokens that have a meaning for the model.

        These are the special ones and those that the chat template writes (<think>); others are shortcuts for
        ordinary text, such as the runs of spaces of GPT-NeoX.
        """
        written = self._template.literal_text if self._template is not None else ""
        return {
            token_id: token.content
            for token_id, token in self._backend.get_added_tokens_decoder().items()
            if token.special or (token.content in written and not token.content.isspace())
        }

    def _make_plain_backend(self) -> Backend:
        """A second tokenizer that does not recognise the control tokens in a text."""
        tree = json.loads(self._backend_json)
        for token in tree.get("added_tokens", []):
            token["special"] = token["id"] in self._control
        plain = folders.parse_backend(json.dumps(tree, ensure_ascii=False), self._where)
        plain.encode_special_tokens = True
        return plain

    def _encode_batch(self, backend: Backend, texts: list[str]) -> list[Encoding]:
        try:
            found: list[Encoding] = backend.encode_batch_fast(texts, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            raise JielongError(_NOT_UNICODE) from None
        return found

    def _encode_rendered(self, rendered: Rendered) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and character spans; typed special tokens are spelled out as plain text."""
        try:
            encoding = self._backend.encode(rendered.text, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            raise JielongError(_NOT_UNICODE) from None
        ids, offsets = encoding.ids, encoding.offsets
        if not rendered.typed and not rendered.cuts:
            return ids, offsets
        plain_ids: list[int] = []
        plain_offsets: list[tuple[int, int]] = []
        for token_id, (start, end) in zip(ids, offsets, strict=True):
            if token_id in self._control and rendered.is_plain(start, end):
                spelled = self._spell_out(rendered.text[start:end])
                plain_ids += spelled
                plain_offsets += [(start, end)] * len(spelled)
            else:
                plain_ids.append(token_id)
                plain_offsets.append((start, end))
        return plain_ids, plain_offsets

    def _spell_out(self, text: str) -> list[int]:
        ids = self.encode(text)
        if self._control.keys() & set(ids):
            # A model such as Unigram may find the token in its ordinary vocabulary; in two pieces it cannot.
            ids = self.encode(text[:1]) + self.encode(text[1:])
        return ids

    def _check_ids(self, ids: Sequence[int]) -> None:
        for token_id in ids:
            if not 0 <= token_id < self.vocab_size:
                raise JielongError(f"token id {token_id} is not in this vocabulary of {self.vocab_size}")


def _wanted_spans(messages: Sequence[Message], rendered: Rendered) -> list[tuple[int, int]]:
    turns = [message for message in messages if message.get("role") == "assistant"]
    if len(turns) != len(rendered.learned):
        return list(rendered.learned)
    return [span for span, turn in zip(rendered.learned, turns, strict=True) if turn.get("weight", 1) != 0]


def _mask_of(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Mark the tokens that share a character with one of the spans (both in order of the text)."""
    mask, index = [], 0
    for start, end in offsets:
        while index < len(spans) and spans[index][1] <= start:
            index += 1
        mask.append(index < len(spans) and spans[index][0] < max(end, start + 1))
    return mask
