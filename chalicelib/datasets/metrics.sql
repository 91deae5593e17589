-- The twelve participation metrics: one row a participant, every column of `participants` and then the metrics.
--
-- Plain SQL, with nothing that only one engine has: this is the definition, wherever it runs.
-- Reads the views `participants` and `other_conversations`, and `fold`: the participation up to $as_of, as fold.sql
-- defines it. All instants are UTC; all bounds inclusive.
--   $new_since      $as_of less 90 times 24 hours
--   $recent_since   $as_of less six calendar months on the wall clock of the export's time zone

WITH

-- How each conversation ended for the participant: its latest ending; of simultaneous ones completed, then
-- disqualified. Conversations of kind other count nowhere; one that was never registered counts as research.
-- (Left out here, not among the events: there are fewer folds than events.)
outcomes AS (
    SELECT
        fold.*,
        CASE
            WHEN completed_at >= COALESCE(disqualified_at, completed_at)
                AND completed_at >= COALESCE(over_quota_at, completed_at) THEN 'completed'
            WHEN disqualified_at >= COALESCE(over_quota_at, disqualified_at) THEN 'disqualified'
            WHEN over_quota_at IS NOT NULL THEN 'over_quota'
        END AS outcome
    FROM fold
    WHERE NOT EXISTS (
        SELECT 1 FROM other_conversations WHERE other_conversations.conversation_id = fold.conversation_id
    )
),

-- Each conversation is one of completed, disqualified, over_quota, incomplete, started_only, or (null) none of them.
standings AS (
    SELECT
        participant_id,
        invitations,
        invited_at,
        started_at,
        completed_at,
        CASE outcome
            WHEN 'completed' THEN completed_at
            WHEN 'disqualified' THEN disqualified_at
            WHEN 'over_quota' THEN over_quota_at
        END AS ended_at,
        CASE
            WHEN outcome IS NOT NULL THEN outcome
            WHEN interacted_at IS NOT NULL THEN 'incomplete'
            WHEN started_at IS NOT NULL THEN 'started_only'
        END AS standing
    FROM outcomes
),

-- A participant's conversations together.
totals AS (
    SELECT
        participant_id,
        MAX(ended_at) AS last_active_at,
        MAX(invited_at) AS last_invited_at,
        MAX(started_at) AS last_started_at,
        MAX(completed_at) AS last_completed_at,
        CAST(SUM(invitations) AS BIGINT) AS invited,
        COUNT(CASE WHEN standing = 'completed' THEN 1 END) AS completed,
        COUNT(CASE WHEN standing = 'disqualified' THEN 1 END) AS disqualified,
        COUNT(CASE WHEN standing = 'over_quota' THEN 1 END) AS over_quota,
        COUNT(CASE WHEN standing = 'incomplete' THEN 1 END) AS incomplete,
        COUNT(CASE WHEN standing = 'started_only' THEN 1 END) AS started_only
    FROM standings
    GROUP BY participant_id
)

SELECT
    participants.*,
    last_active_at AS LastActiveDate,
    last_invited_at AS LastInvitedDate,
    last_started_at AS LastStartedDate,
    last_completed_at AS LastCompletionDate,
    COALESCE(invited, 0) AS ChatsInvited,
    COALESCE(completed, 0) AS ChatsCompleted,
    COALESCE(disqualified, 0) AS ChatsDQ,
    COALESCE(over_quota, 0) AS ChatsOQ,
    COALESCE(started_only, 0) AS ChatsStartedOnly,
    COALESCE(incomplete, 0) AS ChatsIncomplete,
    -- 100 x ended / invited, rounded half-up to hundredths: floor(10,000 x ended / invited + 1/2) of them. Over one
    -- denominator both sides are whole numbers, so that the one division is exact wherever the floor could turn on it.
    CASE
        WHEN invited > 0
            THEN FLOOR(CAST(20000 * (completed + disqualified + over_quota) + invited AS DOUBLE) / (2 * invited)) / 100
    END AS ResponseRate,
    -- 1 New, 2 Active, 3 Inactive, 4 Not Engaged: the first that holds, Inactive being what is left.
    CASE
        WHEN COALESCE(participants.subscribed_at, participants.created_at) >= $new_since THEN 1
        WHEN last_active_at >= $recent_since THEN 2
        WHEN last_invited_at >= $recent_since THEN 3
        ELSE 4
    END AS EngagementStatus
FROM participants
LEFT JOIN totals ON totals.participant_id = participants.participant_id
