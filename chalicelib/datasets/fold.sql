-- What happened up to $as_of between one participant and one conversation.
--   participant_id, conversation_id VARCHAR   the key
--   invitations BIGINT                        number of chat_invited, 0 if none
--   invited_at, started_at, interacted_at, completed_at, disqualified_at, over_quota_at TIMESTAMP   latest, or null
-- It is all that the metrics need of the events, and folds merge: those of distinct events give the fold of them all,
-- by SUM of invitations and MAX of each instant. That is why the lake can keep it and need not read history again.
SELECT
    participant_id,
    conversation_id,
    COUNT(CASE WHEN name = 'chat_invited' THEN 1 END) AS invitations,
    MAX(CASE WHEN name = 'chat_invited' THEN occurred_at END) AS invited_at,
    MAX(CASE WHEN name = 'chat_started' THEN occurred_at END) AS started_at,
    MAX(CASE WHEN name IN ('chat_interacted', 'question_answered') THEN occurred_at END) AS interacted_at,
    MAX(CASE WHEN name = 'chat_completed' THEN occurred_at END) AS completed_at,
    MAX(CASE WHEN name = 'chat_disqualified' THEN occurred_at END) AS disqualified_at,
    MAX(CASE WHEN name = 'chat_over_quota' THEN occurred_at END) AS over_quota_at
FROM participation
WHERE occurred_at <= $as_of
GROUP BY participant_id, conversation_id
