"""What processes in test_compiled.py do: train a compiled network, without blocks: few kernels."""

import os
import sys

import torch
from safetensors.torch import save_file

from jielong.core.errors import JielongError
from jielong.data import pack
from jielong.models import Transformer, qwen3_config
from jielong.training.batches import PackedBatches
from jielong.training.loop import Trainer
from jielong.training.losses import next_token_loss
from jielong.training.settings import TrainingSettings


def train(run, cache, resume=False, compiler=None, **settings):
    """One run with compiled code in `cache`; its weights go to weights.safetensors, an error to log.txt."""
    run.mkdir(exist_ok=True)
    log = os.open(run / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    torch.set_num_threads(1)
    if compiler:
        from torch._inductor import config

        config.cpp.cxx = (compiler,)
    context = settings.get("context", 16)
    sequences = [[1 + (7 * row + i * i) % 97 for i in range(context - 1)] for row in range(40)]
    values = {"steps": 12, "batch_rows": 2, "context": 16, "schedule": {"warmup": 2}, "precision": "float32",
              "compile": "yes", "device": "cpu", "checkpoint_every": 1, **settings}  # fmt: skip
    model = Transformer(qwen3_config(64, 1, 100, context), seed=0)
    model.blocks = torch.nn.ModuleList()
    trainer = Trainer(
        model=model,
        batches=PackedBatches(pack(sequences, None, context), values["batch_rows"], seed=0),
        objective=next_token_loss,
        settings=TrainingSettings.parse(values),
        folder=run,
    )
    try:
        trainer.run(resume)
    except JielongError as error:
        print(error, flush=True)
        sys.exit(error.exit_status)
    save_file(dict(trainer.model.state_dict()), run / "weights.safetensors")
    (run / "compiled").write_text(str(trainer.compiled))
