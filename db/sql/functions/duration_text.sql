-- Seconds as a duration of ISO 8601, in days, hours, minutes and seconds.
--
-- `db.declare.meanings.Duration` is the same in Python.
CREATE OR REPLACE FUNCTION control.duration_text(seconds numeric) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    days CONSTANT numeric := div(abs(seconds), 86400);
    rest CONSTANT int := mod(abs(seconds), 86400);
    clock CONSTANT text := coalesce(nullif(rest / 3600, 0) || 'H', '')
        || coalesce(nullif(rest / 60 % 60, 0) || 'M', '')
        || coalesce(nullif(rest % 60, 0) || 'S', '');
BEGIN
    IF seconds = 0 THEN
        RETURN 'PT0S';
    END IF;
    RETURN CASE WHEN seconds < 0 THEN '-P' ELSE 'P' END
        || CASE WHEN days > 0 THEN days || 'D' ELSE '' END
        || CASE WHEN rest > 0 THEN 'T' || clock ELSE '' END;
END $$
