"""A conversation: what is remembered, what gives way, what is refused."""

import pytest

from jielong.generation import ChatSession, Engine, MessageTooLongError, SamplingSettings

SHORT = SamplingSettings(max_tokens=8, temperature=1.2)


def test_answer_is_what_the_engine_generates(engine: Engine) -> None:
    session = ChatSession(engine, SHORT, system="小金")
    answer = session.ask("山")
    text = "".join(step.text for step in answer)
    messages = [{"role": "system", "content": "小金"}, {"role": "user", "content": "山"}]
    prompt = engine.tokenizer.encode_chat(messages, add_generation_prompt=True)
    assert text == answer.text == engine.generate([prompt], SHORT)[0].text
    assert session.messages == [*messages, {"role": "assistant", "content": text}]
    assert answer.finish_reason is not None


def test_the_same_question_rolls_anew_but_a_session_repeats(engine: Engine) -> None:
    def talk() -> list[str]:
        session = ChatSession(engine, SHORT)
        texts = []
        for _ in range(4):
            texts.append("".join(step.text for step in session.ask("山")))
            session.reset()
        return texts

    assert len(set(talk())) > 1
    assert talk() == talk()


def test_whole_turns_give_way_and_the_system_text_stays(engine: Engine) -> None:
    session = ChatSession(engine, SHORT, system="山")
    told = 0
    for number in range(12):
        before = list(session.turns)
        answer = session.ask(f"{number} 玉山")
        told += answer.dropped_turns
        for _ in answer:
            pass
        assert session.turns[: len(before) - 2 * answer.dropped_turns] == before[2 * answer.dropped_turns :]
        assert len(before) // 2 + 1 - answer.dropped_turns == len(session.turns) // 2
        prompt = engine.tokenizer.encode_chat(session.messages[:-1], add_generation_prompt=True)
        assert len(prompt) + SHORT.max_tokens <= engine.context_length
    assert told == 12 - len(session.turns) // 2 > 0
    assert session.messages[0] == {"role": "system", "content": "山"}
    assert session.turns[-2]["content"] == "11 玉山"


def test_a_message_that_does_not_fit_alone_is_refused_and_changes_nothing(engine: Engine) -> None:
    session = ChatSession(engine, SHORT)
    list(session.ask("山"))
    before = list(session.turns)
    with pytest.raises(MessageTooLongError, match="does not fit") as raised:
        session.ask("🐉" * engine.context_length)
    assert raised.value.tokens > raised.value.context == engine.context_length
    assert session.turns == before


def test_an_interrupted_answer_is_remembered_as_far_as_it_was_read(engine: Engine) -> None:
    session = ChatSession(engine, SamplingSettings(max_tokens=60, temperature=1.2))
    answer = session.ask("玉山")
    for step in answer:
        if step.text and len(answer.steps) >= 3:
            break
    answer.close()
    answer.close()
    assert list(answer) == []
    assert answer.finish_reason is None
    assert session.turns == [
        {"role": "user", "content": "玉山"},
        {"role": "assistant", "content": answer.text},
    ]
    assert len(session.ask("再一次").steps) == 0


def test_a_question_whose_answer_never_began_is_taken_back(engine: Engine) -> None:
    session = ChatSession(engine, SHORT)
    list(session.ask("山"))
    before = list(session.turns)
    session.ask("水").close()
    assert session.turns == before
    session.ask("水")
    assert [turn["content"] for turn in session.turns if turn["role"] == "user"] == ["山", "水"]
    list(session.ask("木"))
    assert [turn["content"] for turn in session.turns if turn["role"] == "user"] == ["山", "木"]


class LikesLength:
    """A teacher who prefers long answers."""

    def __init__(self):
        self.asked = []

    def score(self, conversations):
        self.asked.append(conversations)
        return [float(len(chat[-1]["content"])) for chat in conversations]


def test_of_several_answers_the_one_that_the_teacher_likes_best_is_given(engine):
    teacher = LikesLength()
    settings = SamplingSettings(max_tokens=8, temperature=1.5, seed=3)
    session = ChatSession(engine, settings, "be kind", teacher, samples=5)
    answer = session.ask("hello")
    shown = "".join(step.text for step in answer)
    assert [candidate.score for candidate in answer.candidates] == sorted(
        (len(candidate.text) for candidate in answer.candidates), reverse=True
    )
    assert len(answer.candidates) == 5
    assert shown == answer.candidates[0].text
    assert session.turns[-1] == {"role": "assistant", "content": shown}
    (chats,) = teacher.asked
    assert [turn["role"] for turn in chats[0]] == ["system", "user", "assistant"]
    # They are the answers that single questions would have got with these numbers.
    alone = ChatSession(engine, settings, "be kind")
    assert "".join(step.text for step in alone.ask("hello")) in {c.text for c in answer.candidates}
