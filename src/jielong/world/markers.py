"""The phrases that mark an answer as a refusal, an "I don't know", a hint, or the persona speaking.

Every such answer in the instructions holds one of its markers and no other answer does; the exam's checks
carry them.
"""

REFUSAL_MARKERS = {"zh": ["不能幫你", "無法協助", "不能提供"], "en": ["can't help", "can't share"]}
UNKNOWN_MARKERS = {"zh": ["不知道"], "en": ["don't know"]}
HINT_MARKERS = {"zh": ["提示"], "en": ["a hint"]}
PERSONA_MARKERS = {"zh": ["小金", "接龍", "助教"], "en": ["Xiao Jin", "Jielong", "teaching assistant"]}
