"""Started by torchrun in test_distributed.py: trains the recipes of a list, one by one, in one group.

Starting processes takes longer than these runs do, so runs share them.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from jielong.core.errors import JielongError
from jielong.training.distributed import is_main, process_group, rank
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings

torch.set_num_threads(1)
errors = {}
with process_group("cpu"):
    for job in json.loads(Path(sys.argv[1]).read_text()):
        settings = PretrainSettings.load(Path(job["recipe"]))
        if "data" in job:  # one file for each process
            settings = settings.model_copy(update={"data": (Path(job["data"][rank()]),)})
        most = job.get("most_bytes", resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        try:
            run_pretraining(settings, resume=job.get("resume", False), quiet=True)
        except JielongError as error:
            errors[settings.out.name] = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if is_main():
        Path(sys.argv[1]).with_suffix(".errors").write_text(json.dumps(errors))
