"""Claims about what is stored under an older meaning: it is read from the events, then folded again, untouched by hand."""

from dataclasses import replace

import pytest

from chalicelib.base.table import Column
from chalicelib.datasets import fold, participants
from chalicelib.intake import attributes
from chalicelib.lake import compaction, manifest
from tests.deployed import Community
from tests.lake.history import compacted, happened, someone

QUESTIONS = "COUNT(CASE WHEN name = 'question_answered' THEN 1 END) AS questions,"


@pytest.fixture
def panel(community: Community) -> Community:
    """Two participants with some history, compacted by the release before."""
    community.report(someone(1), someone(2))
    told = [happened(n, 1 + n % 2, "chat_invited", n) for n in range(7)]
    told += [happened(10 + n, 1, "question_answered", 10 + n, question_id=f"q{n}") for n in range(5)]
    told += [happened(20, 2, "chat_completed", 20)]
    community.tell(*told)
    compacted(community)
    return community


def meaning_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose fold counts answered questions too, and shows them as a thirteenth metric."""
    metrics = participants._metrics(True)
    counted = f"SELECT known.*, COALESCE(answered.questions, 0) AS QuestionsAnswered FROM (\n{metrics}\n) AS known " \
              "LEFT JOIN (SELECT participant_id, CAST(SUM(questions) AS BIGINT) AS questions FROM fold " \
              "GROUP BY participant_id) AS answered ON answered.participant_id = known.participant_id"  # fmt: skip
    column = Column("QuestionsAnswered", "Questions answered", "integer", "participation")
    text = fold.fold().replace("COUNT(CASE", f"{QUESTIONS}\n    COUNT(CASE", 1)
    monkeypatch.setattr(fold, "VERSION", fold.VERSION + 1)
    monkeypatch.setattr(fold, "COLUMNS", {**fold.COLUMNS, "questions": "BIGINT"})
    monkeypatch.setattr(fold, "fold", lambda: text)
    monkeypatch.setattr(participants, "_metrics", lambda folded: counted)
    monkeypatch.setattr(participants, "PARTICIPATION", (*participants.PARTICIPATION, column))


def test_a_fold_of_an_older_version_gives_the_same_answers_before_and_after_compaction(panel, monkeypatch):
    before = panel.rows()
    (old,) = manifest.current(panel.deployment.services, panel.domain).events
    monkeypatch.setattr(fold, "VERSION", fold.VERSION + 1)
    assert panel.rows() == before
    (new,) = compacted(panel).events
    assert new.fold_version == old.fold_version + 1
    assert new.fold != old.fold
    assert (new.participation, new.others, new.ids) == (old.participation, old.others, old.ids)
    assert panel.rows() == before


def test_a_thirteenth_metric_needs_no_stored_part_touched(panel, monkeypatch):
    meaning_changed(monkeypatch)
    told = [row["QuestionsAnswered"] for row in panel.rows()]
    assert told == ["5", "0"]
    panel.tell(happened(30, 2, "question_answered", 30, question_id="q9"))
    assert [row["QuestionsAnswered"] for row in panel.rows()] == ["5", "1"]
    assert {part.fold_version for part in compacted(panel).events} == {fold.VERSION}
    assert [row["QuestionsAnswered"] for row in panel.rows()] == ["5", "1"]


def test_parts_of_two_versions_are_read_beside_each_other_and_folded_again_one_a_step(panel, monkeypatch):
    monkeypatch.setattr(compaction, "FACTOR", 0.01)  # nothing is rewritten for its size
    panel.tell(happened(40, 1, "chat_invited", 40))
    assert len(compacted(panel).events) == 2
    meaning_changed(monkeypatch)
    expected = [("5", "5"), ("3", "0")]

    def told() -> list[tuple[str, str]]:
        return [(row["ChatsInvited"], row["QuestionsAnswered"]) for row in panel.rows()]

    services, seen = panel.deployment.services, []
    assert told() == expected
    while (state := manifest.current(services, panel.domain)) and compaction.outdated_folds(state.events):
        seen.append(len(compaction.outdated_folds(state.events)))
        compaction.compact(services, panel.domain, lambda: (attributes.catalog(services, panel.domain), []))
        assert told() == expected
    assert seen == [2, 1]


def test_a_manifest_of_a_later_release_is_read_without_what_it_adds(panel):
    state = manifest.current(panel.deployment.services, panel.domain)
    later = state.text().replace('"fold_version":', '"shape":{"new":1},"fold_version":')
    assert manifest.read(later) == state


def test_a_manifest_without_versions_has_the_first(panel):
    state = manifest.current(panel.deployment.services, panel.domain)
    earlier = state.text().replace(f'"fold_version":{fold.VERSION},', "")
    assert earlier != state.text()
    assert manifest.read(earlier).events == tuple(replace(part, fold_version=1) for part in state.events)
