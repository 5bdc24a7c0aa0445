/* The configuration: one account at ["config"], written by the admin alone. */
#ifndef CONFIG_H
#define CONFIG_H

#include "token.h"

#define BASIS_POINTS 10000ULL
#define NAME_MAX 22 /* with ` #` and eight hex digits: 32, what wallets show */
#define SYMBOL_MAX 10
#define URI_BASE_MAX 128

/* Where the fields are; the last three are strings, one after the other. */
enum {
    CONFIG_ADMIN = 8,
    CONFIG_PENDING = 40,
    CONFIG_AUTHORITY = 72,
    CONFIG_USDC = 104,
    CONFIG_FEE = 136,
    CONFIG_TEXTS = 138,
    CONFIG_BYTES = CONFIG_TEXTS + 3 * 4 + NAME_MAX + SYMBOL_MAX + URI_BASE_MAX,
};

/* The program data account of the upgradeable loader: tag (u32), slot (u64), and the
 * upgrade authority as an option. Source: solana-loader-v3-interface, state.rs. */
enum { PROGRAM_DATA_TAG = 3, PROGRAM_DATA_OPTION = 12, PROGRAM_DATA_AUTHORITY = 13, PROGRAM_DATA_BYTES = 45 };

/* BPFLoaderUpgradeab1e11111111111111111111111 */
static const Key LOADER = {{2, 168, 246, 145, 78, 136, 161, 176, 226, 16, 21, 62, 247, 99, 174, 43,
                            0, 194, 185, 61, 22, 193, 36, 210, 192, 83, 122, 16, 4, 128, 0, 0}};

INLINE const Key *config_key(const Account *config, u64 field) {
    return (const Key *)(config->data + field);
}

/* Only this program makes accounts with the discriminator, and it makes one. */
INLINE u64 check_config(const Input *input, const Account *config) {
    if (is_system(config->owner)) return ANCHOR_NOT_INITIALIZED;
    if (!same(config->owner, input->program)) return ANCHOR_OWNED_BY_WRONG_PROGRAM;
    if (config->data_len != CONFIG_BYTES || load64(config->data) != ACCOUNT_CONFIG)
        return ANCHOR_DISCRIMINATOR_MISMATCH;
    return 0;
}

/* Whether bytes are UTF-8 (RFC 3629): what is not stops every reader of strings. */
CALLED int is_utf8(const u8 *text, u64 len) {
    for (u64 i = 0; i < len;) {
        u8 lead = text[i++];
        if (lead < 0x80) continue;
        u64 more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || more > len - i) return 0;
        u8 next = text[i];
        if ((lead == 0xe0 && next < 0xa0) || (lead == 0xed && next > 0x9f)
            || (lead == 0xf0 && next < 0x90) || (lead == 0xf4 && next > 0x8f))
            return 0;
        for (; more; more--)
            if ((text[i++] & 0xc0) != 0x80) return 0;
    }
    return 1;
}

INLINE int take_text(Reader *reader, u64 max) {
    Slice text = take_bytes(reader);
    return !reader->failed && text.len && text.len <= max && is_utf8(text.addr, text.len);
}

/* Write the argument `settings`, which has the fields of the account but the mint. */
CALLED u64 write_settings(const Input *input, const Account *config, const Key *usdc) {
    Reader reader = {input->data + 8, input->data + input->data_len, 0};
    const Key *authority = (const Key *)take(&reader, 32);
    const u8 *rest = reader.at;
    u64 fee = take16(&reader);
    int texts = take_text(&reader, NAME_MAX) && take_text(&reader, SYMBOL_MAX)
        && take_text(&reader, URI_BASE_MAX);
    if (reader.failed || (texts && reader.at != reader.end)) return ANCHOR_DID_NOT_DESERIALIZE;
    if (fee > BASIS_POINTS) return ERROR_FEE_TOO_HIGH;
    if (!texts) return ERROR_WRONG_TEXT;
    u8 *data = config->data;
    u64 len = reader.at - rest;
    copy_key(data + CONFIG_AUTHORITY, authority);
    copy_key(data + CONFIG_USDC, usdc);
    sol_memcpy_(data + CONFIG_FEE, rest, len);
    for (u64 i = CONFIG_FEE + len; i < CONFIG_BYTES; i++) data[i] = 0;
    return 0;
}

/* Say what the configuration is now; `at` is the event authority's place among the
 * accounts, and the program comes after it. */
CALLED u64 say_config(const Input *input, const Account *config, u64 at) {
    const Account *accounts = input->accounts;
    if (!same(accounts[at + 1].key, input->program)) return ANCHOR_INVALID_PROGRAM_ID;
    Reader reader = {config->data + CONFIG_TEXTS, config->data + CONFIG_BYTES, 0};
    for (int i = 0; i < 3; i++) take_bytes(&reader);
    u64 len = reader.at - config->data;
    u8 *event = HEAP + 8;
    sol_memcpy_(event, config->data, len);
    store64(event, EVENT_CONFIG_CHANGED);
    return emit_call(input, &accounts[at], HEAP, len);
}

/* Check that the first account signs as the admin, and that the second is the
 * configuration, which can be written. */
INLINE u64 check_admin(const Input *input, u64 field, u64 error) {
    const Account *accounts = input->accounts;
    u64 wrong = check_config(input, &accounts[1]);
    if (wrong) return wrong;
    if (!accounts[1].is_writable) return ANCHOR_CONSTRAINT_MUT;
    if (!accounts[0].is_signer) return ANCHOR_NOT_SIGNER;
    return same(accounts[0].key, config_key(&accounts[1], field)) ? 0 : error;
}

/* Whether an account signs as the one who may upgrade this program. Nobody else may
 * make the configuration: whoever did so first would choose the treasury. */
CALLED u64 check_upgrade_authority(const Input *input, const Account *signer, const Account *data) {
    Key found;
    u8 bump;
    Slice seed = {input->program->x, 32};
    if (find_address(&seed, 1, &LOADER, &found, &bump) || !same(&found, data->key))
        return ERROR_NOT_UPGRADE_AUTHORITY;
    if (!signer->is_signer) return ANCHOR_NOT_SIGNER;
    if (!same(data->owner, &LOADER) || data->data_len < PROGRAM_DATA_BYTES
        || load32(data->data) != PROGRAM_DATA_TAG || data->data[PROGRAM_DATA_OPTION] != 1
        || !same((const Key *)(data->data + PROGRAM_DATA_AUTHORITY), signer->key))
        return ERROR_NOT_UPGRADE_AUTHORITY;
    return 0;
}

CALLED u64 initialize(const Input *input) {
    enum { UPGRADE_AUTHORITY, ADMIN, CONFIG, USDC, PROGRAM_DATA, SYSTEM, EVENT_AUTHORITY, COUNT = 8 };
    const Account *accounts = input->accounts, *config = &accounts[CONFIG];
    if (input->count < COUNT) return ANCHOR_NOT_ENOUGH_KEYS;
    u64 error = check_upgrade_authority(input, &accounts[UPGRADE_AUTHORITY], &accounts[PROGRAM_DATA]);
    if (error) return error;
    if (!accounts[ADMIN].is_signer) return ANCHOR_NOT_SIGNER;
    if (!is_system(accounts[SYSTEM].key)) return ANCHOR_INVALID_PROGRAM_ID;
    if (!config->is_writable || !accounts[UPGRADE_AUTHORITY].is_writable) return ANCHOR_CONSTRAINT_MUT;
    Key found;
    u8 bump;
    Slice seeds[2] = {BYTES("config"), {&bump, 1}};
    if (find_address(seeds, 1, input->program, &found, &bump) || !same(&found, config->key))
        return ANCHOR_CONSTRAINT_SEEDS;
    if (!is_system(config->owner)) return ERROR_ALREADY_INITIALIZED;
    if (!is_usdc_mint(&accounts[USDC])) return ERROR_NOT_USDC;
    Signer signer = {seeds, 2};
    error = create_owned(input, &accounts[UPGRADE_AUTHORITY], config, CONFIG_BYTES, &signer);
    if (error) return error;
    store64(config->data, ACCOUNT_CONFIG);
    copy_key(config->data + CONFIG_ADMIN, accounts[ADMIN].key);
    error = write_settings(input, config, accounts[USDC].key);
    return error ? error : say_config(input, config, EVENT_AUTHORITY);
}

CALLED u64 configure(const Input *input) {
    enum { ADMIN, CONFIG, USDC, EVENT_AUTHORITY, COUNT = 5 };
    if (input->count < COUNT) return ANCHOR_NOT_ENOUGH_KEYS;
    const Account *config = &input->accounts[CONFIG], *usdc = &input->accounts[USDC];
    u64 error = check_admin(input, CONFIG_ADMIN, ERROR_NOT_ADMIN);
    if (!error && !is_usdc_mint(usdc)) error = ERROR_NOT_USDC;
    if (!error) error = write_settings(input, config, usdc->key);
    return error ? error : say_config(input, config, EVENT_AUTHORITY);
}

/* Hand-over in two steps: a key that nobody holds can be proposed and never accepts. */
CALLED u64 propose_admin(const Input *input) {
    enum { ADMIN, CONFIG, EVENT_AUTHORITY, COUNT = 4 };
    if (input->count < COUNT) return ANCHOR_NOT_ENOUGH_KEYS;
    const Account *config = &input->accounts[CONFIG];
    u64 error = check_admin(input, CONFIG_ADMIN, ERROR_NOT_ADMIN);
    if (error) return error;
    if (input->data_len != 40) return ANCHOR_DID_NOT_DESERIALIZE;
    copy_key(config->data + CONFIG_PENDING, (const Key *)(input->data + 8));
    return say_config(input, config, EVENT_AUTHORITY);
}

CALLED u64 accept_admin(const Input *input) {
    enum { NEW_ADMIN, CONFIG, EVENT_AUTHORITY, COUNT = 4 };
    if (input->count < COUNT) return ANCHOR_NOT_ENOUGH_KEYS;
    const Account *config = &input->accounts[CONFIG], *next = &input->accounts[NEW_ADMIN];
    u64 error = check_admin(input, CONFIG_PENDING, ERROR_NOT_PENDING_ADMIN);
    if (error) return error;
    if (input->data_len != 8) return ANCHOR_DID_NOT_DESERIALIZE;
    Key nobody = {{0}};
    copy_key(config->data + CONFIG_ADMIN, next->key);
    copy_key(config->data + CONFIG_PENDING, &nobody);
    return say_config(input, config, EVENT_AUTHORITY);
}

#endif
