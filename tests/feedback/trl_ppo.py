"""PPO by TRL 1.12, the last version that has it, on given answers; prints its losses as JSON.

Run: python trl_ppo.py TASK.json FOLDER_WITH_TRL
"""

import json
import sys
from pathlib import Path

import torch

task = json.loads(Path(sys.argv[1]).read_text())
sys.path.insert(0, sys.argv[2])

from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # noqa: E402

ANSWERS = {
    (number, *prompt): answer
    for number, answers in enumerate(task["answers"])
    for prompt, answer in zip(task["prompts"], answers, strict=True)
}
rollouts = iter(range(len(task["answers"])))


def given_answers(model, queries, _rows, pad_token_id, config):
    """What `batch_generation` gives, of answers that are given; the logits are the policy's."""
    number = next(rollouts)
    chats = [[token for token in query if token != pad_token_id] for query in queries.tolist()]
    answers = torch.tensor([ANSWERS[number, *chat] for chat in chats])
    both = torch.cat([queries, answers], 1)
    with torch.no_grad():
        logits = ppo_trainer.forward(model, both, pad_token_id).logits[:, queries.shape[1] - 1 : -1]
    return both, logits / config.temperature


class Noting(PPOTrainer):
    def log(self, logs, *_):
        self.logged = [*getattr(self, "logged", []), logs]


def noted(tensor_name):
    return [row[tensor_name] for row in trainer.logged]


ppo_trainer.batch_generation = given_answers
tokenizer = AutoTokenizer.from_pretrained(task["policy"], padding_side="left")
count = len(task["prompts"])
trainer = Noting(
    args=PPOConfig(
        **task["arguments"], per_device_train_batch_size=count, gradient_accumulation_steps=1,
        num_ppo_epochs=2,
        num_mini_batches=1, total_episodes=count * len(task["answers"]), temperature=1.0, kl_coef=task["kl"],
        response_length=len(task["answers"][0][0]), vf_coef=task["value_weight"], num_sample_generations=0,
    ),
    processing_class=tokenizer,
    model=AutoModelForCausalLM.from_pretrained(task["policy"]),
    ref_model=AutoModelForCausalLM.from_pretrained(task["policy"]),
    reward_model=AutoModelForSequenceClassification.from_pretrained(task["scorer"]),
    value_model=AutoModelForSequenceClassification.from_pretrained(task["critic"]),
    train_dataset=Dataset.from_list([{"input_ids": ids} for ids in task["prompts"]]),
)  # fmt: skip
trainer.train()
print(
    json.dumps(
        {
            "policy": noted("loss/policy_avg"),
            "value": noted("loss/value_avg"),
            "score": noted("objective/scores"),
            "kl": noted("objective/kl"),
        }
    )
)
