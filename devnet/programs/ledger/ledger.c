/* A program for tests and demonstrations: says things, and keeps one receipt for each id.
 * Its interface is idl/ledger.json; the build takes discriminators and errors from there. */
#include "../program.h"

#define ACCOUNTS_MAX 40
#define SHARES_MAX 12
#define NOTE_MAX 256
#define RECEIPT_BYTES 122

/* The accounts that instructions name, before the recipients. */
enum { AUTHOR, EMIT_REFERRER, EMIT_RECIPIENTS };
enum { CALL_AUTHORITY = 2, CALL_PROGRAM, CALL_RECIPIENTS };
enum { RECEIPT = 1, RECORD_REFERRER, SYSTEM, RECORD_AUTHORITY, RECORD_PROGRAM, RECORD_RECIPIENTS };

/* Write the event `Recorded` from the arguments (id, entry) and the accounts; its length
 * goes to `len`. The entry is copied as it came up to its last field, the amounts. */
CALLED u64 write_recorded(const Input *input, u64 referrer, u64 recipients, u8 *out, u64 *len) {
    if (input->count < recipients) return ANCHOR_NOT_ENOUGH_KEYS;
    const Account *accounts = input->accounts;
    if (!accounts[AUTHOR].is_signer) return ANCHOR_NOT_SIGNER;
    Reader reader = {input->data + 8, input->data + input->data_len, 0};
    const u8 *id = take(&reader, 32);
    const u8 *entry = reader.at;
    u64 amount = take64(&reader);
    take8(&reader);                                 /* level */
    take_tag(&reader, 2);                           /* urgent */
    Slice note = take_bytes(&reader);
    if (take_tag(&reader, 2)) take64(&reader);      /* limit */
    u8 kind = take_tag(&reader, 3);
    if (kind == 1) { take64(&reader); take_tag(&reader, 2); }
    if (kind == 2) { take8(&reader); take64(&reader); }
    u64 entry_len = reader.at - entry;
    u64 count = take32(&reader);
    const u8 *amounts = count <= SHARES_MAX ? take(&reader, count * 8) : NULL;
    if (count > SHARES_MAX) return ERROR_SHARES;
    if (reader.failed || reader.at != reader.end) return ANCHOR_DID_NOT_DESERIALIZE;
    if (note.len > NOTE_MAX) return ERROR_NOTE;
    if (!amount) return ERROR_AMOUNT;
    if (!count || count != input->count - recipients) return ERROR_SHARES;

    u8 *at = out;
    store64(at, EVENT_RECORDED);
    copy_key(at + 8, accounts[AUTHOR].key);
    copy_key(at + 40, (const Key *)id);
    at += 72;
    sol_memcpy_(at, entry, entry_len);
    at += entry_len;
    int named = !same(accounts[referrer].key, input->program);
    *at++ = (u8)named;
    if (named) { copy_key(at, accounts[referrer].key); at += 32; }
    store32(at, (u32)count);
    at += 4;
    u64 sum = 0;
    for (u64 i = 0; i < count; i++, at += 40) {
        u64 share = load64(amounts + i * 8);
        copy_key(at, accounts[recipients + i].key);
        store64(at + 32, share);
        if (share > amount - sum) return ERROR_SUM;
        sum += share;
    }
    *len = at - out;
    return sum == amount ? 0 : ERROR_SUM;
}

INLINE u64 check_program(const Input *input, u64 index) {
    return same(input->accounts[index].key, input->program) ? 0 : ANCHOR_INVALID_PROGRAM_ID;
}

CALLED u64 emit(const Input *input) {
    u8 *event = HEAP + 8;
    u64 len = 0;
    u64 error = write_recorded(input, EMIT_REFERRER, EMIT_RECIPIENTS, event, &len);
    if (!error) emit_line(event, len);
    return error;
}

CALLED u64 emit_by_call(const Input *input) {
    u8 *event = HEAP + 8;
    u64 len = 0;
    u64 error = write_recorded(input, EMIT_REFERRER, CALL_RECIPIENTS, event, &len);
    if (!error) error = check_program(input, CALL_PROGRAM);
    return error ? error : emit_call(input, &input->accounts[CALL_AUTHORITY], HEAP, len);
}

/* Create the receipt of an id, with a hash of the terms: arguments and recipients. */
CALLED u64 write_receipt(const Input *input, const u8 *event, u64 len) {
    const Account *accounts = input->accounts, *receipt = &accounts[RECEIPT];
    const u8 *id = input->data + 8;
    Key found;
    u8 bump;
    Slice seeds[3] = {BYTES("receipt"), {id, 32}, {&bump, 1}};
    if (find_address(seeds, 2, input->program, &found, &bump) || !same(&found, receipt->key))
        return ANCHOR_CONSTRAINT_SEEDS;
    if (!is_system(accounts[SYSTEM].key)) return ANCHOR_INVALID_PROGRAM_ID;
    if (!is_system(receipt->owner)) return ERROR_RECORDED;
    Signer signer = {seeds, 3};
    u64 error = create_owned(input, &accounts[AUTHOR], receipt, RECEIPT_BYTES, &signer);
    if (error) return error;
    Clock clock;
    sol_get_clock_sysvar(&clock);
    u8 *at = receipt->data;
    store64(at, ACCOUNT_RECEIPT);
    copy_key(at + 8, (const Key *)id);
    copy_key(at + 40, accounts[AUTHOR].key);
    store64(at + 72, load64(id + 32)); /* the entry's first field: the amount */
    store64(at + 80, clock.slot);
    at[88] = (u8)(input->count - RECORD_RECIPIENTS);
    at[89] = bump;
    Slice terms = {event + 8, len - 8};
    sol_sha256(&terms, 1, at + 90);
    return 0;
}

CALLED u64 record(const Input *input) {
    u8 *event = HEAP + 8;
    u64 len = 0;
    u64 error = write_recorded(input, RECORD_REFERRER, RECORD_RECIPIENTS, event, &len);
    if (!error) error = check_program(input, RECORD_PROGRAM);
    if (!error) error = write_receipt(input, event, len);
    if (error) return error;
    emit_line(event, len);
    error = emit_call(input, &input->accounts[RECORD_AUTHORITY], HEAP, len);
    if (!error) sol_set_return_data(input->data + 8, 32); /* a call would clear it */
    return error;
}

/* Say two numbers; the shortest event. */
CALLED u64 mark(Reader *reader) {
    u8 *event = HEAP;
    store64(event, EVENT_MARKED);
    store64(event + 8, take64(reader));
    store64(event + 16, take64(reader));
    if (reader->failed) return ANCHOR_DID_NOT_DESERIALIZE;
    emit_line(event, 24);
    return 0;
}

/* Say a number and fail with it: what is said by a failed transaction did not happen. */
CALLED u64 fail(Reader *reader) {
    u32 code = take32(reader);
    if (reader->failed) return ANCHOR_DID_NOT_DESERIALIZE;
    u8 *event = HEAP;
    store64(event, EVENT_MARKED);
    store64(event + 8, code);
    store64(event + 16, 0);
    emit_line(event, 24);
    return code ? code : ERROR_AMOUNT;
}

/* Write lines of one length, to fill the log of the transaction. */
CALLED u64 spam(Reader *reader) {
    u64 lines = take16(reader), len = take16(reader);
    if (reader->failed || len > 10000) return ANCHOR_DID_NOT_DESERIALIZE;
    for (u64 i = 0; i < len; i++) HEAP[i] = 'x';
    for (u64 i = 0; i < lines; i++) sol_log_((const char *)HEAP, len);
    return 0;
}

/* Call the program of the first account with the others and the bytes given. */
CALLED u64 relay(const Input *input, Reader *reader) {
    Slice data = take_bytes(reader);
    if (reader->failed) return ANCHOR_DID_NOT_DESERIALIZE;
    if (input->count < 1) return ANCHOR_NOT_ENOUGH_KEYS;
    Meta *metas = (Meta *)HEAP;
    u64 count = input->count - 1;
    for (u64 i = 0; i < count; i++) {
        const Account *account = &input->accounts[i + 1];
        metas[i] = (Meta){account->key, account->is_writable, account->is_signer};
    }
    Call call = {input->accounts[0].key, metas, count, data.addr, data.len};
    return sol_invoke_signed_c(&call, input->accounts, (int)input->count, NULL, 0);
}

u64 entrypoint(u8 *raw) {
    Account accounts[ACCOUNTS_MAX];
    Input input;
    u64 error = read_input(raw, accounts, ACCOUNTS_MAX, &input);
    if (error) return error;
    if (is_event_call(&input)) return accept_event_call(&input);
    Reader reader = {input.data, input.data + input.data_len, 0};
    u64 name = take64(&reader);
    if (name == INSTRUCTION_EMIT) { LOG("Instruction: Emit"); return emit(&input); }
    if (name == INSTRUCTION_EMIT_BY_CALL) { LOG("Instruction: EmitByCall"); return emit_by_call(&input); }
    if (name == INSTRUCTION_RECORD) { LOG("Instruction: Record"); return record(&input); }
    if (name == INSTRUCTION_MARK) return mark(&reader); /* and no other line */
    if (name == INSTRUCTION_FAIL) { LOG("Instruction: Fail"); return fail(&reader); }
    if (name == INSTRUCTION_SPAM) { LOG("Instruction: Spam"); return spam(&reader); }
    if (name == INSTRUCTION_RELAY) { LOG("Instruction: Relay"); return relay(&input, &reader); }
    return ANCHOR_FALLBACK_NOT_FOUND;
}
