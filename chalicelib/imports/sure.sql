-- What of a file's values is good beyond doubt, and what the lake keeps of it: the API's rules for the spellings that
-- nearly every file has. What a macro does not call good is judged again, row by row, by the rules themselves.

-- RFC 3339, with the offsets that databases write; digits past the microsecond are left to the slower way.
CREATE MACRO instant_of(t) AS make_timestamp(epoch_us(TRY_CAST(t AS TIMESTAMPTZ)));
CREATE MACRO is_instant(t) AS
    regexp_full_match(t, '[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?( ?UTC|Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)')
    AND instant_of(t) BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999';

-- A day, also one that was written as its midnight.
CREATE MACRO is_day(t) AS
    regexp_full_match(t, '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]00:00:00(\.0{1,6})?)?')
    AND TRY_CAST(t[:10] AS DATE) >= DATE '0001-01-01';

-- A number that a double keeps digit by digit: fifteen of them fit into every double.
CREATE MACRO shows_itself(t) AS CAST(TRY_CAST(t AS DOUBLE) AS VARCHAR) = t;
CREATE MACRO is_number(t) AS
    regexp_full_match(t, '-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?') AND (length(t) <= 15 OR shows_itself(t));

CREATE MACRO is_short(t) AS strlen(t) <= 65536 AND NOT contains(t, chr(0));
CREATE MACRO is_label(t) AS length(t) BETWEEN 1 AND 128 AND NOT contains(t, chr(0));
CREATE MACRO is_participant_id(t) AS regexp_full_match(t, '[A-Za-z0-9._:@|+=~-]{1,128}');
CREATE MACRO is_membership(t) AS t IN ('subscribed', 'unsubscribed', 'purged', 'one_time');
CREATE MACRO is_email(t) AS length(t) <= 320 AND NOT contains(t, chr(0));

-- A cell of a param: a number or a boolean where that loses nothing, else the text. NaN and the infinities are for the
-- slower way.
CREATE MACRO is_param(t) AS
    is_short(t) AND t NOT IN ('NaN', 'nan', 'inf', '-inf', '+inf', 'Infinity', '-Infinity', '+Infinity');
CREATE MACRO json_text(t) AS CAST(to_json(t) AS VARCHAR);
CREATE MACRO param_json(t) AS CASE
    WHEN regexp_full_match(t, '(0|-?[1-9][0-9]{0,14})|true|false') THEN t
    WHEN regexp_full_match(t, '-?(0|[1-9][0-9]{0,15})\.[0-9]{1,20}') AND shows_itself(t) THEN t
    ELSE json_text(t)
END;

-- Choices: `texts` are the spellings and `codes` the codes that they stand for, as JSON, at the same places.
CREATE MACRO code_of(t, texts, codes) AS codes[list_position(texts, t)];
-- `places` are those of the choices among all, by which several are ordered; NULL where one is none.
CREATE MACRO places_of(t, texts, places) AS list_sort(list_distinct(
    list_transform(string_split(t, ';'), lambda one: coalesce(places[list_position(texts, trim(one))], 0))
));
CREATE MACRO codes_at(found, codes) AS
    '[' || array_to_string(list_transform(found, lambda place: codes[place]), ',') || ']';
