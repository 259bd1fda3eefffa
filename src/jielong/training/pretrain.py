"""Pretraining: documents in, a base model out."""

from collections.abc import Sequence

from jielong.core.errors import JielongError
from jielong.core.files import find_model
from jielong.core.progress import console
from jielong.data import (
    Document,
    Packed,
    Problems,
    cut_documents,
    fingerprint_documents,
    pack,
    read_documents,
    require_some,
    sample_documents,
    split_heldout,
)
from jielong.generation import Engine, SamplingSettings
from jielong.models import Transformer, qwen3_config
from jielong.tokenizer import Tokenizer, train_tokenizer
from jielong.training.batches import PackedBatches
from jielong.training.identity import RunIdentity, plain_recipe
from jielong.training.loop import Sampler, Trainer
from jielong.training.losses import next_token_loss
from jielong.training.settings import PretrainSettings
from jielong.training.stage import (
    StageResult,
    fingerprint_tokenizer,
    finish_run,
    listed_files,
    load_parent,
    start_run,
)
from jielong.training.validation import BitsPerByte, token_lengths

_TOKENIZER_SAMPLE = 60_000_000  # characters that a new tokenizer is trained on


def run_pretraining(
    settings: PretrainSettings, resume: bool = False, quiet: bool = False, force: bool = False
) -> StageResult:
    """Read documents, train, and write `out/model`.

    Args:
        settings: the recipe.
        resume: go on from the newest checkpoint of `out`.
        quiet: no progress on standard error.
        force: resume though recipe or data changed, or begin anew over an unfinished run.

    Raises:
        JielongError: nothing to train on, or training failed.
    """
    start_run(settings, settings.out, resume, force)
    problems = Problems()
    train, heldout = read_split(settings, problems)
    if not quiet:
        report_problems(problems)
    model, tokenizer = _build(settings, train)
    context = settings.training.context
    packed = pack_documents(tokenizer, train, context)
    packed_heldout = pack_documents(tokenizer, heldout, context) if heldout else None
    hashes = [
        {"name": name, "documents": len(documents), "sha256": fingerprint_documents(documents)}
        for name, documents in (("data", train), ("heldout", heldout))
    ]
    read = [{**hashes[0], "files": listed_files(settings.data)}, *hashes[1:]]
    trainer = Trainer(
        model=model,
        batches=PackedBatches(packed, settings.training.batch_rows, settings.seed),
        objective=next_token_loss,
        settings=settings.training,
        folder=settings.out,
        identity=RunIdentity(plain_recipe(settings), [*read, fingerprint_tokenizer(tokenizer)]),
        validation=BitsPerByte(packed_heldout, token_lengths(tokenizer)) if packed_heldout else None,
        sampler=continue_prompts(tokenizer, settings.sample_prompts or _openings(heldout)),
        title="pretraining",
        quiet=quiet,
    )
    result = trainer.run(resume, force)
    parent = find_model(settings.parent) if settings.parent else None
    return finish_run("pretrain", settings, trainer, result, tokenizer, hashes, problems, parent)


def read_split(settings: PretrainSettings, problems: Problems) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents of a recipe."""
    documents = list(cut_documents(read_documents(settings.data, problems)))
    require_some(len(documents), problems, f"documents in {', '.join(map(str, settings.data))}")
    if settings.heldout:
        return _limited(settings, documents), list(read_documents(settings.heldout, problems))
    train, heldout = split_heldout(documents, fraction=settings.heldout_share, seed=settings.seed)
    if not train:
        raise JielongError(f"only {len(documents)} document(s) to train on; give more text")
    return _limited(settings, train), heldout


def _limited(settings: PretrainSettings, documents: list[Document]) -> list[Document]:
    if settings.max_characters is None:
        return documents
    return sample_documents(documents, settings.max_characters, settings.seed)


def pack_documents(tokenizer: Tokenizer, documents: Sequence[Document], context: int) -> Packed:
    """Each document between the start and the end token, packed into rows of `context` tokens."""
    encoded = tokenizer.encode_batch([document.text for document in documents])
    sequences = [[tokenizer.bos_id, *ids, tokenizer.eos_id] for ids in encoded]
    return pack(sequences, None, context, bos=tokenizer.bos_id, pad=tokenizer.pad_id)


def continue_prompts(tokenizer: Tokenizer, prompts: Sequence[str]) -> Sampler | None:
    """A sampler that lets the model continue some texts."""
    if not prompts:
        return None
    settings = SamplingSettings(max_tokens=48, temperature=0.7, top_p=0.95, seed=0)

    def sample(model: Transformer) -> list[dict[str, str]]:
        ids = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in prompts]
        completions = Engine(model, tokenizer).generate(ids, settings)
        return [
            {"prompt": prompt, "text": completion.text}
            for prompt, completion in zip(prompts, completions, strict=True)
        ]

    return sample


def report_problems(problems: Problems) -> None:
    """Say on standard error what was skipped and why."""
    for line in problems.lines():
        console().print(line)


def _build(settings: PretrainSettings, train: list[Document]) -> tuple[Transformer, Tokenizer]:
    if settings.parent is not None:
        return load_parent(find_model(settings.parent))
    tokenizer = Tokenizer.load(settings.tokenizer) if settings.tokenizer else _new_tokenizer(settings, train)
    shape = settings.model
    context = max(shape.max_context, settings.training.context)
    config = qwen3_config(shape.width, shape.layers, tokenizer.vocab_size, context)
    return Transformer(config, seed=settings.seed), tokenizer


def _new_tokenizer(settings: PretrainSettings, train: list[Document]) -> Tokenizer:
    step = max(1, sum(len(document.text) for document in train) // _TOKENIZER_SAMPLE)
    return train_tokenizer((document.text for document in train[::step]), settings.vocab_size)


def _openings(heldout: Sequence[Document], count: int = 4, characters: int = 24) -> list[str]:
    """The beginnings of some held-out documents, in both scripts where there are both."""
    chinese = [d.text[:characters] for d in heldout if any("一" <= c <= "鿿" for c in d.text[:characters])]
    others = [d.text[: 2 * characters] for d in heldout if d.text[:characters].isascii()]
    return [*chinese[: count // 2], *others[: count // 2]]
