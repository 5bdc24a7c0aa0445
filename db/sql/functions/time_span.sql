-- Seconds as an interval; the longest there is where it can hold no such length.
CREATE OR REPLACE FUNCTION control.time_span(seconds numeric) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN seconds < -185542587187199 THEN '-178000000 years'::interval
        WHEN seconds > 185542587187199 THEN '178000000 years'::interval
        ELSE make_interval(days => div(seconds, 86400)::int,
            secs => mod(seconds, 86400)::double precision)
    END
$$
