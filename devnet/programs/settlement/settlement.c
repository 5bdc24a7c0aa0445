/* Settles a purchase: one NFT to its buyer and the shares of its USDC to the recipients,
 * all or nothing, once. The interface is idl/settlement.json; the build takes
 * discriminators, errors and addresses from there.
 *
 * No account is believed because of its place: programs, owners, mints, addresses and
 * flags are checked. A recipient's account must be the associated one of its owner, so
 * that its address names the owner, and one that was given to somebody else is refused.
 */
#include "config.h"

#define ACCOUNTS_MAX 40
#define SHARES_MAX 12
#define PAYOUT_BYTES 42

/* The accounts of `settle_purchase`; recipients come after them. */
enum {
    PAYER, AUTHORITY, CONFIG, TREASURY, USDC, RECEIPT, MINT, BUYER, BUYER_ACCOUNT, TOKEN,
    NFT_TOKEN, ASSOCIATED, SYSTEM, EVENT_AUTHORITY, PROGRAM, RECIPIENTS
};

/* Where the fields of a receipt are. */
enum {
    RECEIPT_PURCHASE = 8,
    RECEIPT_BUYER = 24,
    RECEIPT_AMOUNT = 56,
    RECEIPT_PAID = 64,
    RECEIPT_FEE = 72,
    RECEIPT_COUNT = 74,
    RECEIPT_BUMP = 75,
    RECEIPT_SLOT = 76,
    RECEIPT_TIME = 84,
    RECEIPT_HASHES = 92,
    RECEIPT_TERMS = 156,
    RECEIPT_BYTES = 188,
};

typedef struct {
    const u8 *purchase; /* 16 bytes */
    const u8 *hashes;   /* of the payment, and of the metadata */
    const u8 *shares;   /* two bytes each */
    u64 amount;
    u64 count;
    u64 fee_bps;
    u64 fee;
    u64 paid;
    u64 dust;
    u8 receipt_bump;
    u8 mint_bump;
} Purchase;

/* `amount` * `bps` / 10,000, rounded down; no product is above 64 bits. */
INLINE u64 part(u64 amount, u64 bps) {
    return amount / BASIS_POINTS * bps + amount % BASIS_POINTS * bps / BASIS_POINTS;
}

CALLED u64 read_purchase(const Input *input, Purchase *asked) {
    Reader reader = {input->data + 8, input->data + input->data_len, 0};
    asked->purchase = take(&reader, 16);
    asked->amount = take64(&reader);
    asked->hashes = take(&reader, 64);
    asked->count = take32(&reader);
    asked->shares = take(&reader, asked->count * 2);
    if (reader.failed || reader.at != reader.end) return ANCHOR_DID_NOT_DESERIALIZE;
    if (input->count < RECIPIENTS) return ANCHOR_NOT_ENOUGH_KEYS;
    if (!asked->count || asked->count > SHARES_MAX || asked->count != input->count - RECIPIENTS)
        return ERROR_SHARES_COUNT;
    if (!asked->amount) return ERROR_AMOUNT_ZERO;
    u64 sum = 0;
    for (u64 i = 0; i < asked->count; i++) {
        u64 share = ((const u16 *)asked->shares)[i];
        if (!share) return ERROR_SHARES_SUM;
        sum += share;
    }
    return sum == BASIS_POINTS ? 0 : ERROR_SHARES_SUM;
}

INLINE u64 check_programs(const Account *accounts, const Key *program) {
    return same(accounts[TOKEN].key, &TOKEN_KEY) && same(accounts[NFT_TOKEN].key, &NFT_TOKEN_KEY)
            && same(accounts[ASSOCIATED].key, &ASSOCIATED_KEY) && is_system(accounts[SYSTEM].key)
            && same(accounts[PROGRAM].key, program)
        ? 0 : ANCHOR_INVALID_PROGRAM_ID;
}

INLINE u64 check_flags(const Account *accounts) {
    if (!accounts[PAYER].is_signer || !accounts[AUTHORITY].is_signer) return ANCHOR_NOT_SIGNER;
    return accounts[PAYER].is_writable && accounts[TREASURY].is_writable
            && accounts[RECEIPT].is_writable && accounts[MINT].is_writable
            && accounts[BUYER_ACCOUNT].is_writable
        ? 0 : ANCHOR_CONSTRAINT_MUT;
}

/* Find the addresses that belong to the purchase. */
CALLED u64 check_addresses(const Input *input, Purchase *asked) {
    const Account *accounts = input->accounts;
    Key found;
    Slice receipt[2] = {BYTES("receipt"), {asked->purchase, 16}};
    if (find_address(receipt, 2, input->program, &found, &asked->receipt_bump)
        || !same(&found, accounts[RECEIPT].key))
        return ANCHOR_CONSTRAINT_SEEDS;
    Slice mint[2] = {BYTES("mint"), {asked->purchase, 16}};
    if (find_address(mint, 2, input->program, &found, &asked->mint_bump)
        || !same(&found, accounts[MINT].key))
        return ANCHOR_CONSTRAINT_SEEDS;
    return 0;
}

/* Hash the terms: buyer, fee rate, arguments, and the recipients' token accounts, whose
 * addresses stand for their owners whatever has become of them. */
CALLED void hash_terms(const Input *input, u16 fee_bps, u8 *digest) {
    const Account *accounts = input->accounts;
    Slice parts[3 + SHARES_MAX] = {{accounts[BUYER].key->x, 32},
                                   {(const u8 *)&fee_bps, 2},
                                   {input->data + 8, input->data_len - 8}};
    u64 len = 3;
    for (u64 i = RECIPIENTS; i < input->count; i++, len++) parts[len] = (Slice){accounts[i].key->x, 32};
    sol_sha256(parts, len, digest);
}

/* Refuse a purchase that has a receipt, and say whether the terms are the same. The fee
 * rate is that of the receipt: the caller does not choose it, so it makes no difference. */
CALLED u64 check_unsettled(const Input *input) {
    const Account *receipt = &input->accounts[RECEIPT];
    if (!same(receipt->owner, input->program)) return 0;
    Key terms;
    hash_terms(input, *(const u16 *)(receipt->data + RECEIPT_FEE), terms.x);
    return same(&terms, (const Key *)(receipt->data + RECEIPT_TERMS)) ? ERROR_ALREADY_SETTLED
                                                                        : ERROR_SETTLED_DIFFERENTLY;
}

CALLED u64 check_treasury(const Input *input) {
    const Account *accounts = input->accounts, *treasury = &accounts[TREASURY];
    if (!is_usdc_mint(&accounts[USDC])
        || !same(accounts[USDC].key, config_key(&accounts[CONFIG], CONFIG_USDC)))
        return ERROR_NOT_USDC;
    if (!is_token_account(treasury, accounts[USDC].key) || token_frozen(treasury)
        || !same(token_owner(treasury), accounts[AUTHORITY].key))
        return ERROR_NOT_TREASURY;
    return 0;
}

CALLED u64 check_recipient(const Input *input, u64 index) {
    const Account *accounts = input->accounts, *account = &accounts[index];
    const Key *usdc = accounts[USDC].key;
    if (!account->is_writable) return ANCHOR_CONSTRAINT_MUT;
    if (!is_token_account(account, usdc)
        || !is_associated(account, token_owner(account), &TOKEN_KEY, usdc))
        return ERROR_NOT_RECIPIENT;
    if (same(token_owner(account), accounts[AUTHORITY].key)) return ERROR_RECIPIENT_IS_TREASURY;
    if (token_frozen(account)) return ERROR_RECIPIENT_FROZEN;
    for (u64 i = RECIPIENTS; i < index; i++)
        if (same(accounts[i].key, account->key)) return ERROR_RECIPIENT_REPEATED;
    return 0;
}

/* Check the recipients and write what each gets, as the event's payouts, at `at`. */
CALLED u64 share_out(const Input *input, Purchase *asked, u8 *at) {
    asked->fee = part(asked->amount, asked->fee_bps);
    u64 pool = asked->amount - asked->fee;
    for (u64 i = 0; i < asked->count; i++, at += PAYOUT_BYTES) {
        u64 error = check_recipient(input, RECIPIENTS + i);
        if (error) return error;
        u16 share = ((const u16 *)asked->shares)[i];
        u64 amount = part(pool, share);
        copy_key(at, token_owner(&input->accounts[RECIPIENTS + i]));
        store64(at + 32, amount);
        *(u16 *)(at + 40) = share;
        asked->paid += amount;
    }
    asked->dust = pool - asked->paid;
    return token_amount(&input->accounts[TREASURY]) < asked->paid ? ERROR_TREASURY_TOO_LOW : 0;
}

/* Write the event up to the payouts and return where they begin. */
INLINE u8 *write_head(const Input *input, const Purchase *asked, u8 *event) {
    const Account *accounts = input->accounts;
    store64(event, EVENT_PURCHASE_SETTLED);
    sol_memcpy_(event + 8, asked->purchase, 16);
    copy_key(event + 24, accounts[BUYER].key);
    copy_key(event + 56, accounts[MINT].key);
    copy_key(event + 88, accounts[TREASURY].key);
    store64(event + 120, asked->amount);
    *(u16 *)(event + 136) = (u16)asked->fee_bps;
    sol_memcpy_(event + 146, asked->hashes, 64);
    store32(event + 210, (u32)asked->count);
    return event + 214;
}

CALLED u64 write_receipt(const Input *input, const Purchase *asked) {
    const Account *accounts = input->accounts, *receipt = &accounts[RECEIPT];
    Slice seeds[3] = {BYTES("receipt"), {asked->purchase, 16}, {&asked->receipt_bump, 1}};
    Signer signer = {seeds, 3};
    u64 error = create_owned(input, &accounts[PAYER], receipt, RECEIPT_BYTES, &signer);
    if (error) return error;
    Clock clock;
    sol_get_clock_sysvar(&clock);
    u8 *at = receipt->data;
    store64(at, ACCOUNT_RECEIPT);
    sol_memcpy_(at + RECEIPT_PURCHASE, asked->purchase, 16);
    copy_key(at + RECEIPT_BUYER, accounts[BUYER].key);
    store64(at + RECEIPT_AMOUNT, asked->amount);
    store64(at + RECEIPT_PAID, asked->paid);
    *(u16 *)(at + RECEIPT_FEE) = (u16)asked->fee_bps;
    at[RECEIPT_COUNT] = (u8)asked->count;
    at[RECEIPT_BUMP] = asked->receipt_bump;
    store64(at + RECEIPT_SLOT, clock.slot);
    store64(at + RECEIPT_TIME, clock.unix_time);
    sol_memcpy_(at + RECEIPT_HASHES, asked->hashes, 64);
    hash_terms(input, (u16)asked->fee_bps, at + RECEIPT_TERMS);
    return 0;
}

INLINE u8 *put_hex(u8 *at, const u8 *bytes, u64 len) {
    static const char digits[] = "0123456789abcdef";
    for (u64 i = 0; i < len; i++) {
        *at++ = (u8)digits[bytes[i] >> 4];
        *at++ = (u8)digits[bytes[i] & 15];
    }
    return at;
}

/* Mint the NFT to the buyer. Its name is the collection's and the beginning of the
 * purchase's id; its URI the base, the hash of the metadata, and `.json`. */
CALLED u64 mint_nft(const Input *input, const Purchase *asked) {
    const Account *accounts = input->accounts, *config = &accounts[CONFIG], *mint = &accounts[MINT];
    Reader reader = {config->data + CONFIG_TEXTS, config->data + CONFIG_BYTES, 0};
    Slice collection = take_bytes(&reader), symbol = take_bytes(&reader), base = take_bytes(&reader);
    u8 *name = HEAP + 2048, *uri = HEAP + 2304;
    sol_memcpy_(name, collection.addr, collection.len);
    u8 *end = name + collection.len;
    *end++ = ' ';
    *end++ = '#';
    end = put_hex(end, asked->purchase, 4);
    sol_memcpy_(uri, base.addr, base.len);
    u8 *uri_end = put_hex(uri + base.len, asked->hashes + 32, 32);
    sol_memcpy_(uri_end, (const u8 *)".json", 5);
    Metadata metadata = {{name, end - name}, symbol, {uri, uri_end + 5 - uri}};
    Slice seeds[3] = {BYTES("mint"), {asked->purchase, 16}, {&asked->mint_bump, 1}};
    Signer signer = {seeds, 3};
    u64 error = make_nft(input, &accounts[PAYER], mint, &metadata, &signer);
    if (error) return error;
    error = make_associated(input, &accounts[PAYER], &accounts[BUYER_ACCOUNT],
                            accounts[BUYER].key, mint->key);
    return error ? error : seal_nft(input, mint, &accounts[BUYER_ACCOUNT], &signer);
}

CALLED u64 pay_recipients(const Input *input, const Purchase *asked, const u8 *payouts) {
    const Account *accounts = input->accounts;
    Meta metas[4] = {{accounts[TREASURY].key, 1, 0}, {accounts[USDC].key, 0, 0},
                     {NULL, 1, 0}, {accounts[AUTHORITY].key, 0, 1}};
    for (u64 i = 0; i < asked->count; i++) {
        u64 amount = load64(payouts + i * PAYOUT_BYTES + 32);
        u64 error = pay(input, metas, &accounts[RECIPIENTS + i], amount);
        if (error) return error;
    }
    return 0;
}

CALLED u64 check_settlement(const Input *input, Purchase *asked) {
    const Account *accounts = input->accounts;
    u64 error = read_purchase(input, asked);
    if (!error) error = check_programs(accounts, input->program);
    if (!error) error = check_config(input, &accounts[CONFIG]);
    if (!error) error = check_flags(accounts);
    if (error) return error;
    if (!same(accounts[AUTHORITY].key, config_key(&accounts[CONFIG], CONFIG_AUTHORITY)))
        return ERROR_NOT_TREASURY_AUTHORITY;
    asked->fee_bps = *(const u16 *)(accounts[CONFIG].data + CONFIG_FEE);
    error = check_addresses(input, asked);
    if (!error) error = check_unsettled(input);
    return error ? error : check_treasury(input);
}

CALLED u64 settle_purchase(const Input *input) {
    Purchase asked = {0};
    u8 *event = HEAP + 8;
    u64 error = check_settlement(input, &asked);
    if (error) return error;
    u8 *payouts = write_head(input, &asked, event);
    error = share_out(input, &asked, payouts);
    if (error) return error;
    store64(event + 128, asked.fee);
    store64(event + 138, asked.dust);
    error = write_receipt(input, &asked);
    if (!error) error = mint_nft(input, &asked);
    if (!error) error = pay_recipients(input, &asked, payouts);
    if (error) return error;
    u64 len = payouts + asked.count * PAYOUT_BYTES - event;
    return emit_call(input, &input->accounts[EVENT_AUTHORITY], HEAP, len);
}

u64 entrypoint(u8 *raw) {
    Account accounts[ACCOUNTS_MAX];
    Input input;
    u64 error = read_input(raw, accounts, ACCOUNTS_MAX, &input);
    if (error) return error;
    if (is_event_call(&input)) return accept_event_call(&input);
    if (input.data_len < 8) return ANCHOR_FALLBACK_NOT_FOUND;
    u64 name = load64(input.data);
    if (name == INSTRUCTION_SETTLE_PURCHASE) { LOG("Instruction: SettlePurchase"); return settle_purchase(&input); }
    if (name == INSTRUCTION_INITIALIZE) { LOG("Instruction: Initialize"); return initialize(&input); }
    if (name == INSTRUCTION_CONFIGURE) { LOG("Instruction: Configure"); return configure(&input); }
    if (name == INSTRUCTION_PROPOSE_ADMIN) { LOG("Instruction: ProposeAdmin"); return propose_admin(&input); }
    if (name == INSTRUCTION_ACCEPT_ADMIN) { LOG("Instruction: AcceptAdmin"); return accept_admin(&input); }
    return ANCHOR_FALLBACK_NOT_FOUND;
}
