-- Bytes with zeros behind as text; what is no printable ASCII, or reads as hex, as hex.
--
-- `db.declare.meanings.Code` is the same in Python.
CREATE OR REPLACE FUNCTION control.code_text(value bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN encode(rtrim(value, '\x00'), 'hex')
            ~ '^(?!3078)([2-6][0-9a-f]|7[0-9a-e])+$'
        THEN convert_from(rtrim(value, '\x00'), 'UTF8')
        ELSE '0x' || encode(value, 'hex')
    END
$$
