-- Seconds since 1970 as a timestamptz; infinity where it can hold no such time.
CREATE OR REPLACE FUNCTION control.moment(seconds numeric) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN seconds < -210866803200 THEN '-infinity'::timestamptz
        WHEN seconds > 9224318015999 THEN 'infinity'::timestamptz
        ELSE to_timestamp(seconds::double precision)
    END
$$
