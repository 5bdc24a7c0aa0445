/* Helpers for small Solana programs in C that speak the wire format of the Anchor
 * framework: eight-byte discriminators, borsh, events as "Program data:" lines and as
 * calls of the program to itself. Everything is static inline; there is no libc.
 *
 * Sources: the input layout and the C ABI of calls are those of the BPF loader (agave,
 * program-runtime and programs/bpf_loader); loads of unaligned words are allowed by
 * the virtual machine and cheaper than byte-wise copies.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define NULL ((void *)0)
#define INLINE static inline __attribute__((always_inline))
#define CALLED static __attribute__((noinline))

/* Errors of the runtime (ProgramError) and of Anchor that programs share. */
#define ERROR_INVALID_ARGUMENT (2ULL << 32)
#define ERROR_NOT_ENOUGH_KEYS (11ULL << 32)
#define ANCHOR_FALLBACK_NOT_FOUND 101
#define ANCHOR_DID_NOT_DESERIALIZE 102
#define ANCHOR_CONSTRAINT_MUT 2000
#define ANCHOR_CONSTRAINT_SEEDS 2006
#define ANCHOR_DISCRIMINATOR_MISMATCH 3002
#define ANCHOR_NOT_ENOUGH_KEYS 3005
#define ANCHOR_OWNED_BY_WRONG_PROGRAM 3007
#define ANCHOR_INVALID_PROGRAM_ID 3008
#define ANCHOR_NOT_SIGNER 3010
#define ANCHOR_NOT_INITIALIZED 3012

/* Heap of 32 KiB at a fixed address, one for each invocation. */
#define HEAP ((u8 *)0x300000000ULL)

/* The tag of an event by self-call: sha256("anchor:event")[:8], as a little-endian word. */
#define EVENT_CALL_TAG 0x1d9acb512ea545e4ULL

typedef struct { u8 x[32]; } Key;

typedef struct {
    const Key *key;
    u64 *lamports;
    u64 data_len;
    u8 *data;
    const Key *owner;
    u64 rent_epoch;
    u8 is_signer;
    u8 is_writable;
    u8 executable;
} Account;

typedef struct { const Key *key; u8 is_writable; u8 is_signer; } Meta;
typedef struct { const u8 *addr; u64 len; } Slice;
typedef struct { const Slice *seeds; u64 len; } Signer;
typedef struct {
    const Key *program;
    const Meta *metas;
    u64 metas_len;
    const u8 *data;
    u64 data_len;
} Call;
typedef struct { u64 slot; u64 epoch_start; u64 epoch; u64 leader_epoch; u64 unix_time; } Clock;
typedef struct { u64 per_byte_year; u64 years; u8 burn; } Rent; /* years: a double */

/* System calls: every undefined symbol is one, by its name. */
void sol_log_(const char *text, u64 len);
void sol_log_data(const Slice *fields, u64 len);
u64 sol_invoke_signed_c(const Call *call, const Account *accounts, int accounts_len,
                        const Signer *signers, int signers_len);
u64 sol_try_find_program_address(const Slice *seeds, u64 len, const Key *program,
                                 Key *found, u8 *bump);
u64 sol_sha256(const Slice *parts, u64 len, u8 *digest);
u64 sol_get_clock_sysvar(Clock *clock);
u64 sol_get_rent_sysvar(Rent *rent);
void sol_memcpy_(u8 *to, const u8 *from, u64 len);
void sol_set_return_data(const u8 *data, u64 len);

#define LOG(text) sol_log_(text, sizeof(text) - 1)
#define BYTES(text) ((Slice){(const u8 *)(text), sizeof(text) - 1})

INLINE u64 load64(const u8 *at) { return *(const u64 *)at; }
INLINE u32 load32(const u8 *at) { return *(const u32 *)at; }
INLINE void store64(u8 *at, u64 value) { *(u64 *)at = value; }
INLINE void store32(u8 *at, u32 value) { *(u32 *)at = value; }
INLINE int same(const Key *a, const Key *b) {
    const u64 *p = (const u64 *)a, *q = (const u64 *)b;
    return p[0] == q[0] && p[1] == q[1] && p[2] == q[2] && p[3] == q[3];
}
INLINE void copy_key(u8 *to, const Key *from) {
    const u64 *p = (const u64 *)from;
    for (int i = 0; i < 4; i++) ((u64 *)to)[i] = p[i];
}

/* The system program's key is all zeroes. */
INLINE int is_system(const Key *key) {
    const u64 *p = (const u64 *)key;
    return !(p[0] | p[1] | p[2] | p[3]);
}

typedef struct {
    Account *accounts;
    u64 count;
    const u8 *data;
    u64 data_len;
    const Key *program;
} Input;

/* Read what the loader hands over; 0, or an error when there are more than `max`. */
INLINE u64 read_input(u8 *at, Account *accounts, u64 max, Input *input) {
    u64 count = load64(at);
    at += 8;
    if (count > max) return ERROR_INVALID_ARGUMENT;
    for (u64 i = 0; i < count; i++) {
        if (at[0] != 0xff) { /* the same account as an earlier one */
            accounts[i] = accounts[at[0]];
            at += 8;
            continue;
        }
        Account *account = &accounts[i];
        account->is_signer = at[1];
        account->is_writable = at[2];
        account->executable = at[3];
        account->key = (const Key *)(at + 8);
        account->owner = (const Key *)(at + 40);
        account->lamports = (u64 *)(at + 72);
        account->data_len = load64(at + 80);
        account->data = at + 88;
        at += 88 + ((account->data_len + 10240 + 7) & ~7ULL);
        account->rent_epoch = load64(at);
        at += 8;
    }
    input->accounts = accounts;
    input->count = count;
    input->data_len = load64(at);
    input->data = at + 8;
    input->program = (const Key *)(at + 8 + input->data_len);
    return 0;
}

/* Reading borsh: a reader that has failed stays failed and gives zeroes. */
typedef struct { const u8 *at; const u8 *end; u8 failed; } Reader;

INLINE const u8 *take(Reader *reader, u64 len) {
    if (len > (u64)(reader->end - reader->at)) {
        reader->failed = 1;
        reader->at = reader->end;
        return NULL;
    }
    const u8 *here = reader->at;
    reader->at += len;
    return here;
}
INLINE u8 take8(Reader *reader) {
    const u8 *at = take(reader, 1);
    return at ? *at : 0;
}
INLINE u16 take16(Reader *reader) {
    const u8 *at = take(reader, 2);
    return at ? *(const u16 *)at : 0;
}
INLINE u32 take32(Reader *reader) {
    const u8 *at = take(reader, 4);
    return at ? load32(at) : 0;
}
INLINE u64 take64(Reader *reader) {
    const u8 *at = take(reader, 8);
    return at ? load64(at) : 0;
}
/* A byte that says one of `count` things: bool and option have two. */
INLINE u8 take_tag(Reader *reader, u8 count) {
    u8 tag = take8(reader);
    if (tag >= count) reader->failed = 1;
    return tag;
}
/* Bytes or text with their length before them. */
INLINE Slice take_bytes(Reader *reader) {
    u64 len = take32(reader);
    Slice slice = {take(reader, len), len};
    return slice;
}

/* Find the address of seeds under a program; the bump goes to `bump`. */
INLINE u64 find_address(const Slice *seeds, u64 len, const Key *program, Key *found, u8 *bump) {
    return sol_try_find_program_address(seeds, len, program, found, bump);
}

INLINE u64 event_authority(const Key *program, Key *found, u8 *bump) {
    Slice seed = BYTES("__event_authority");
    return find_address(&seed, 1, program, found, bump);
}

/* Write an event as a "Program data:" line. */
INLINE void emit_line(const u8 *event, u64 len) {
    Slice field = {event, len};
    sol_log_data(&field, 1);
}

/* Write an event as a call to ourselves. `room` holds eight free bytes before it. */
CALLED u64 emit_call(const Input *input, const Account *authority, u8 *room, u64 len) {
    Key found;
    u8 bump;
    if (event_authority(input->program, &found, &bump) || !same(&found, authority->key))
        return ANCHOR_CONSTRAINT_SEEDS;
    store64(room, EVENT_CALL_TAG);
    Meta meta = {authority->key, 0, 1};
    Call call = {input->program, &meta, 1, room, len + 8};
    Slice seeds[2] = {BYTES("__event_authority"), {&bump, 1}};
    Signer signer = {seeds, 2};
    return sol_invoke_signed_c(&call, input->accounts, (int)input->count, &signer, 1);
}

/* Whether this invocation is an event of ours; nobody else can sign as the authority. */
INLINE int is_event_call(const Input *input) {
    return input->data_len >= 8 && load64(input->data) == EVENT_CALL_TAG;
}
INLINE u64 accept_event_call(const Input *input) {
    Key found;
    u8 bump;
    if (input->count < 1) return ANCHOR_NOT_ENOUGH_KEYS;
    if (!input->accounts[0].is_signer) return ANCHOR_NOT_SIGNER;
    if (event_authority(input->program, &found, &bump)) return ANCHOR_CONSTRAINT_SEEDS;
    return same(&found, input->accounts[0].key) ? 0 : ANCHOR_CONSTRAINT_SEEDS;
}

/* One call of the system program on `payer` and `made`, which signs with its seeds. */
INLINE u64 call_system(const Input *input, const Meta *metas, u64 metas_len, Slice data,
                       const Signer *signer) {
    Key system = {{0}};
    Call call = {&system, metas, metas_len, data.addr, data.len};
    return sol_invoke_signed_c(&call, input->accounts, (int)input->count, signer, 1);
}

/* An account to create: `space` bytes, with the rent of `rent_space` bytes when it is to
 * grow, owned by `owner`. */
typedef struct {
    const Account *payer;
    const Account *made;
    const Key *owner;
    u64 space;
    u64 rent_space;
} Creation;

/* Create an account at an address that signs with its seeds. It may have been given
 * lamports before: then it is filled up, given space and owner. */
CALLED u64 create_account(const Input *input, const Creation *wanted, const Signer *signer) {
    Rent rent;
    sol_get_rent_sysvar(&rent);
    /* Rent of two years, or of one where the cluster's price says so (SIMD-0194), for
     * the data and the 128 bytes that every account costs. */
    u64 years = rent.years == 0x4000000000000000ULL ? 2 : 1;
    u64 needed = (wanted->rent_space + 128) * rent.per_byte_year * years;
    u64 held = *wanted->made->lamports;
    Meta metas[2] = {{wanted->payer->key, 1, 1}, {wanted->made->key, 1, 1}};
    u8 data[52];
    if (!held) {
        store32(data, 0);
        store64(data + 4, needed);
        store64(data + 12, wanted->space);
        copy_key(data + 20, wanted->owner);
        return call_system(input, metas, 2, (Slice){data, 52}, signer);
    }
    u64 error = 0;
    if (held < needed) {
        store32(data, 2);
        store64(data + 4, needed - held);
        error = call_system(input, metas, 2, (Slice){data, 12}, signer);
    }
    store32(data, 8);
    store64(data + 4, wanted->space);
    if (!error) error = call_system(input, metas + 1, 1, (Slice){data, 12}, signer);
    store32(data, 1);
    copy_key(data + 4, wanted->owner);
    if (!error) error = call_system(input, metas + 1, 1, (Slice){data, 36}, signer);
    return error;
}

/* Create an account of this program. */
INLINE u64 create_owned(const Input *input, const Account *payer, const Account *made,
                        u64 space, const Signer *signer) {
    Creation wanted = {payer, made, input->program, space, space};
    return create_account(input, &wanted, signer);
}

#endif
