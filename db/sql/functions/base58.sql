-- Bytes in base58, as Solana writes keys, hashes and signatures.
--
-- Digits are taken ten at a time: 58^10 is less than 2^63, so that all but the division
-- of the whole number is arithmetic of machine words.
CREATE OR REPLACE FUNCTION control.base58(value bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    alphabet CONSTANT text :=
        '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
    limbs CONSTANT int := (length(value) + 6) / 7;
    digits CONSTANT text := lpad(encode(value, 'hex'), 14 * limbs, '0');
    number numeric := 0;
    ten bigint;
    written text := '';
    zeros int := 0;
BEGIN
    WHILE zeros < length(value) AND get_byte(value, zeros) = 0 LOOP
        zeros := zeros + 1;
    END LOOP;
    FOR limb IN 0 .. limbs - 1 LOOP
        number := number * 72057594037927936
            + ('x' || substr(digits, 14 * limb + 1, 14))::bit(56)::bigint;
    END LOOP;
    WHILE number > 0 LOOP
        ten := number % 430804206899405824;
        number := div(number, 430804206899405824);
        FOR digit IN 1 .. 10 LOOP
            written := substr(alphabet, (ten % 58)::int + 1, 1) || written;
            ten := ten / 58;
        END LOOP;
    END LOOP;
    RETURN repeat('1', zeros) || ltrim(written, '1');
END
$$
