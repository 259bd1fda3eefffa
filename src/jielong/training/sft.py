"""Supervised fine-tuning: conversations in, a model that answers out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jielong.core.errors import JielongError
from jielong.core.files import find_model, hash_json
from jielong.core.progress import console
from jielong.data import (
    Conversation,
    Packed,
    Problems,
    cut_documents,
    fingerprint_documents,
    pack,
    read_conversations,
    read_documents,
    require_some,
    sample_documents,
    split_heldout,
)
from jielong.generation import Engine, SamplingSettings
from jielong.models import Transformer
from jielong.tokenizer import Tokenizer
from jielong.training.batches import PackedBatches
from jielong.training.identity import RunIdentity, plain_recipe
from jielong.training.loop import Sampler, Trainer
from jielong.training.losses import next_token_loss
from jielong.training.pretrain import pack_documents, report_problems
from jielong.training.settings import SftSettings
from jielong.training.stage import (
    StageResult,
    fingerprint_tokenizer,
    finish_run,
    listed_files,
    load_parent,
    start_run,
)
from jielong.training.validation import BitsPerByte, token_lengths

_TEMPERATURE = 0.3
"""Default for the chat: small models know facts by heart or not at all, and a wild die makes them up."""


def run_sft(
    settings: SftSettings, resume: bool = False, quiet: bool = False, force: bool = False
) -> StageResult:
    """Read conversations, fine-tune the parent, and write `out/model`.

    Args:
        settings: the recipe.
        resume: go on from the newest checkpoint of `out`.
        quiet: no progress on standard error.
        force: resume though recipe or data changed, or begin anew over an unfinished run.

    Raises:
        JielongError: no usable conversation, or training failed.
    """
    start_run(settings, settings.out, resume, force)
    problems = Problems()
    conversations = list(read_conversations(settings.data, problems))
    require_some(len(conversations), problems, f"conversations in {', '.join(map(str, settings.data))}")
    train, heldout = split_heldout(conversations, fraction=settings.heldout_share, seed=settings.seed)
    parent = find_model(settings.parent)
    model, tokenizer = load_parent(parent)
    context = settings.training.context
    packed = pack_conversations(tokenizer, train, context, problems)
    hashes: list[dict[str, Any]] = [
        {"name": "data", "sha256": hash_json([conversation.messages for conversation in train])}
    ]
    if settings.replay:
        documents = list(cut_documents(read_documents(settings.replay, problems)))
        require_some(len(documents), problems, f"documents in {', '.join(map(str, settings.replay))}")
        # A token is seldom more than eight characters; what is more than the share needs is not encoded.
        needed = 8 * packed.tokens.size * settings.replay_share / (1 - settings.replay_share)
        documents = sample_documents(documents, round(needed), settings.seed)
        hashes.append({"name": "replay", "sha256": fingerprint_documents(documents)})
        packed = mix(
            packed, pack_documents(tokenizer, documents, context), settings.replay_share, settings.seed
        )
    read = [{**hashes[0], "files": listed_files(settings.data)}, *hashes[1:]]
    packed_heldout = pack_conversations(tokenizer, heldout, context, problems) if heldout else None
    if not quiet:
        report_problems(problems)
    trainer = Trainer(
        model=model,
        batches=PackedBatches(packed, settings.training.batch_rows, settings.seed),
        objective=next_token_loss,
        settings=settings.training,
        folder=settings.out,
        identity=RunIdentity(plain_recipe(settings), [*read, fingerprint_tokenizer(tokenizer)]),
        validation=BitsPerByte(packed_heldout, token_lengths(tokenizer)) if packed_heldout else None,
        sampler=answer_prompts(tokenizer, settings.sample_prompts or _questions(heldout)),
        title="fine-tuning",
        quiet=quiet,
    )
    result = trainer.run(resume, force)
    return finish_run("sft", settings, trainer, result, tokenizer, hashes, problems, parent, _TEMPERATURE)


def pack_conversations(
    tokenizer: Tokenizer, conversations: Sequence[Conversation], context: int, problems: Problems
) -> Packed:
    """Each conversation rendered with the chat template, its assistant tokens to be learned, in packed rows.

    A conversation longer than a row is left out and counted: cutting it would teach answers to questions
    that the model cannot see.
    """
    sequences: list[list[int]] = []
    masks: list[list[bool]] = []
    for conversation in conversations:
        ids, mask = tokenizer.encode_chat_with_mask(conversation.messages, tools=conversation.tools)
        if len(ids) > context:
            problems.add("conversation longer than training.context", conversation.id)
            continue
        sequences.append(ids)
        masks.append(mask)
    if not sequences:
        raise JielongError(f"no conversation fits into training.context = {context} tokens; raise it")
    return pack(sequences, masks, context, pad=tokenizer.pad_id)


def mix(packed: Packed, replayed: Packed, share: float, seed: int) -> Packed:
    """Add so many randomly chosen rows of `replayed` that they are `share` of all (or all of them)."""
    wanted = round(len(packed.tokens) * share / (1 - share))
    order = np.random.default_rng(seed).permutation(len(replayed.tokens))[:wanted]
    return Packed(
        *(
            np.concatenate([getattr(packed, part), getattr(replayed, part)[order]])
            for part in ("tokens", "positions", "segments", "targets")
        )
    )


def answer_prompts(tokenizer: Tokenizer, questions: Sequence[str]) -> Sampler | None:
    """A sampler that lets the model answer some questions."""
    if not questions:
        return None
    settings = SamplingSettings(max_tokens=48, temperature=0.0)

    def sample(model: Transformer) -> list[dict[str, str]]:
        chats: list[list[dict[str, Any]]] = [
            [{"role": "user", "content": question}] for question in questions
        ]
        ids = [tokenizer.encode_chat(chat, add_generation_prompt=True) for chat in chats]
        completions = Engine(model, tokenizer).generate(ids, settings)
        return [
            {"prompt": question, "text": completion.text}
            for question, completion in zip(questions, completions, strict=True)
        ]

    return sample


def _questions(heldout: Sequence[Conversation], count: int = 4) -> list[str]:
    first = [c.messages[0]["content"] for c in heldout if c.messages and c.messages[0]["role"] == "user"]
    if not first:
        console().print("no held-out conversation to sample from")
    return first[:count]
