/* SPL Token and Token-2022: reading their accounts, and the calls that are made of them.
 *
 * Sources: state.rs and instruction.rs of spl-token and spl-token-2022, and
 * spl-token-metadata-interface, whose discriminators are sha256 of
 * "spl_token_metadata_interface:<name>".
 */
#ifndef TOKEN_H
#define TOKEN_H

#include "../program.h"

#define USDC_DECIMALS 6
#define MINT_BYTES 82
#define TOKEN_ACCOUNT_BYTES 165
#define METADATA_INITIALIZE 0x8d4db858a21ee1d2ULL
#define METADATA_UPDATE_AUTHORITY 0x7b566454e4a6e4d7ULL

/* A mint with the extension MetadataPointer: padded to the size of an account, a byte
 * for its kind, and two keys after type and length. TokenMetadata is added to it: type,
 * length, two keys, four lengths, and the texts. */
#define NFT_BYTES (TOKEN_ACCOUNT_BYTES + 1 + 4 + 64)
#define NFT_METADATA_BYTES (4 + 64 + 4 * 4)

static const Key TOKEN_KEY = {ADDRESS_TOKEN_PROGRAM};
static const Key NFT_TOKEN_KEY = {ADDRESS_NFT_TOKEN_PROGRAM};
static const Key ASSOCIATED_KEY = {ADDRESS_ASSOCIATED_TOKEN_PROGRAM};

enum { STATE_FROZEN = 2 };

/* Where calls are written: free bytes of the heap, after the event. */
#define CALL_ROOM (HEAP + 4096)

INLINE int is_usdc_mint(const Account *mint) {
    return same(mint->owner, &TOKEN_KEY) && mint->data_len == MINT_BYTES
        && mint->data[44] == USDC_DECIMALS && mint->data[45];
}

/* Whether it is a token account of SPL Token for a mint; 165 bytes are nothing else. */
INLINE int is_token_account(const Account *account, const Key *mint) {
    return same(account->owner, &TOKEN_KEY) && account->data_len == TOKEN_ACCOUNT_BYTES
        && account->data[108] && same((const Key *)account->data, mint);
}
INLINE const Key *token_owner(const Account *account) {
    return (const Key *)(account->data + 32);
}
INLINE u64 token_amount(const Account *account) { return load64(account->data + 64); }
INLINE int token_frozen(const Account *account) { return account->data[108] == STATE_FROZEN; }

/* Whether an account is at the associated address of an owner. */
CALLED int is_associated(const Account *account, const Key *owner, const Key *token,
                         const Key *mint) {
    Key found;
    u8 bump;
    Slice seeds[3] = {{owner->x, 32}, {token->x, 32}, {mint->x, 32}};
    return !find_address(seeds, 3, &ASSOCIATED_KEY, &found, &bump) && same(&found, account->key);
}

/* One call of a token program; `signer` may be NULL. */
INLINE u64 call_token(const Input *input, const Key *program, const Meta *metas, u64 metas_len,
                      u64 len, const Signer *signer) {
    Call call = {program, metas, metas_len, CALL_ROOM, len};
    return sol_invoke_signed_c(&call, input->accounts, (int)input->count, signer, signer ? 1 : 0);
}

INLINE u8 *put_text(u8 *at, Slice text) {
    store32(at, (u32)text.len);
    sol_memcpy_(at + 4, text.addr, text.len);
    return at + 4 + text.len;
}

typedef struct { Slice name, symbol, uri; } Metadata;

/* Make a mint of Token-2022 at an address that signs with its seeds: no decimals,
 * metadata on the mint itself. The mint is its own authority until `seal_nft`. */
CALLED u64 make_nft(const Input *input, const Account *payer, const Account *mint,
                    const Metadata *metadata, const Signer *signer) {
    const Key *key = mint->key;
    u64 texts = metadata->name.len + metadata->symbol.len + metadata->uri.len;
    Creation wanted = {payer, mint, &NFT_TOKEN_KEY, NFT_BYTES, NFT_BYTES + NFT_METADATA_BYTES + texts};
    u64 error = create_account(input, &wanted, signer);
    if (error) return error;
    u8 *data = CALL_ROOM;
    Key nobody = {{0}};
    Meta metas[4] = {{key, 1, 0}, {key, 0, 0}, {key, 0, 0}, {key, 0, 1}};
    data[0] = 39; /* MetadataPointerExtension */
    data[1] = 0;  /* Initialize: the authority, and where the metadata is */
    copy_key(data + 2, &nobody);
    copy_key(data + 34, key);
    if ((error = call_token(input, &NFT_TOKEN_KEY, metas, 1, 66, NULL))) return error;
    data[0] = 20; /* InitializeMint2: decimals, mint authority, freeze authority */
    data[1] = 0;
    copy_key(data + 2, key);
    data[34] = 0;
    if ((error = call_token(input, &NFT_TOKEN_KEY, metas, 1, 35, NULL))) return error;
    store64(data, METADATA_INITIALIZE);
    u8 *end = put_text(data + 8, metadata->name);
    end = put_text(end, metadata->symbol);
    end = put_text(end, metadata->uri);
    return call_token(input, &NFT_TOKEN_KEY, metas, 4, end - data, signer);
}

/* Mint the one token, then leave nobody who could mint more or change the metadata. */
CALLED u64 seal_nft(const Input *input, const Account *mint, const Account *account,
                    const Signer *signer) {
    const Key *key = mint->key;
    u8 *data = CALL_ROOM;
    Meta to[3] = {{key, 1, 0}, {account->key, 1, 0}, {key, 0, 1}};
    Meta own[2] = {{key, 1, 0}, {key, 0, 1}};
    u64 error;
    data[0] = 7; /* MintTo */
    store64(data + 1, 1);
    if ((error = call_token(input, &NFT_TOKEN_KEY, to, 3, 9, signer))) return error;
    data[0] = 6; /* SetAuthority */
    data[1] = 0; /* of minting */
    data[2] = 0; /* to nobody */
    if ((error = call_token(input, &NFT_TOKEN_KEY, own, 2, 3, signer))) return error;
    Key nobody = {{0}};
    store64(data, METADATA_UPDATE_AUTHORITY);
    copy_key(data + 8, &nobody);
    return call_token(input, &NFT_TOKEN_KEY, own, 2, 40, signer);
}

/* Make the associated account of an owner, unless it is there (CreateIdempotent). */
CALLED u64 make_associated(const Input *input, const Account *payer, const Account *account,
                           const Key *owner, const Key *mint) {
    Key system = {{0}};
    Meta metas[6] = {{payer->key, 1, 1}, {account->key, 1, 0}, {owner, 0, 0},
                     {mint, 0, 0}, {&system, 0, 0}, {&NFT_TOKEN_KEY, 0, 0}};
    CALL_ROOM[0] = 1;
    return call_token(input, &ASSOCIATED_KEY, metas, 6, 1, NULL);
}

/* Move USDC with the mint checked (TransferChecked). */
CALLED u64 pay(const Input *input, const Meta metas[4], const Account *to, u64 amount) {
    Meta moved[4] = {metas[0], metas[1], {to->key, 1, 0}, metas[3]};
    u8 *data = CALL_ROOM;
    data[0] = 12;
    store64(data + 1, amount);
    data[9] = USDC_DECIMALS;
    return call_token(input, &TOKEN_KEY, moved, 4, 10, NULL);
}

#endif
