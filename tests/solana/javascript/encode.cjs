// Instructions that Solana's JavaScript client encodes, with what each of them says.
// One JSON object a line; keys, amounts and signers differ from line to line.
// usage: node encode.cjs <seed> <times>
const path = require('path');
const spl = {
  ...require('@solana/spl-token'),
  // Which its index leaves out.
  ...require(path.join(__dirname,
    'node_modules/@solana/spl-token/lib/cjs/instructions/unwrapLamports.js')),
};
const { Keypair, PublicKey } = require('@solana/web3.js');
const { createHash } = require('crypto');

let drawn = 0;
const seed = process.argv[2];
const bytes = () => createHash('sha256').update(`${seed} ${drawn++}`).digest();
const key = () => new PublicKey(bytes());
const below = (limit) => bytes().readUInt32LE(0) % limit;
const u8 = () => below(256);
const u16 = () => below(65536);
const i16 = () => below(65536) - 32768;
const u64 = () => bytes().readBigUInt64LE(0);
const maybe = (make) => (below(3) ? make() : null);
const signers = () => Array.from({ length: below(4) }, key);
const NONE = '11111111111111111111111111111111'; // an absent key of the extensions

const text = (value) => {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(text);
  return typeof value === 'number' ? value : value.toString();
};

// The parameters of a function, in its order: a name of the IDL, or a pair of the
// JavaScript value and what the IDL calls it.
const both = ['token', 'token_2022'];
const only = ['token_2022'];
const M = { mint: key }, O = { owner: key }, S = { signers }, A = { amount: u64 };
const D = { decimals: u8 };
const calls = [
  [both, 'initialize_mint', 'InitializeMint',
    { ...M, ...D, mint_authority: key, freeze_authority: () => maybe(key) }],
  [both, 'initialize_mint2', 'InitializeMint2',
    { ...M, ...D, mint_authority: key, freeze_authority: () => maybe(key) }],
  [both, 'initialize_account', 'InitializeAccount', { account: key, ...M, ...O }],
  [both, 'initialize_account2', 'InitializeAccount2', { account: key, ...M, ...O }],
  [both, 'initialize_account3', 'InitializeAccount3', { account: key, ...M, ...O }],
  [both, 'initialize_multisig', 'InitializeMultisig',
    { multisig: key, ...S, m: () => 1 + below(11) }],
  [both, 'transfer', 'Transfer',
    { source: key, destination: key, authority: key, ...A, ...S }],
  [both, 'approve', 'Approve', { source: key, delegate: key, ...O, ...A, ...S }],
  [both, 'revoke', 'Revoke', { source: key, ...O, ...S }],
  [both, 'mint_to', 'MintTo',
    { ...M, account: key, mint_authority: key, ...A, ...S }],
  [both, 'burn', 'Burn', { account: key, ...M, authority: key, ...A, ...S }],
  [both, 'close_account', 'CloseAccount',
    { account: key, destination: key, ...O, ...S }],
  [both, 'freeze_account', 'FreezeAccount',
    { account: key, ...M, freeze_authority: key, ...S }],
  [both, 'thaw_account', 'ThawAccount',
    { account: key, ...M, freeze_authority: key, ...S }],
  [both, 'transfer_checked', 'TransferChecked',
    { source: key, ...M, destination: key, authority: key, ...A, ...D, ...S }],
  [both, 'approve_checked', 'ApproveChecked',
    { source: key, ...M, delegate: key, ...O, ...A, ...D, ...S }],
  [both, 'mint_to_checked', 'MintToChecked',
    { ...M, account: key, mint_authority: key, ...A, ...D, ...S }],
  [both, 'burn_checked', 'BurnChecked',
    { account: key, ...M, authority: key, ...A, ...D, ...S }],
  [both, 'sync_native', 'SyncNative', { account: key }],
  [both, 'initialize_immutable_owner', 'InitializeImmutableOwner', { account: key }],
  [both, 'amount_to_ui_amount', 'AmountToUiAmount', { ...M, ...A }],
  [both, 'ui_amount_to_amount', 'UiAmountToAmount',
    { ...M, ui_amount: () => `${u8()}.${u8()}` }],
  [both, 'unwrap_lamports', 'UnwrapLamports',
    { source: key, destination: key, authority: key, amount: () => maybe(u64), ...S }],
  [only, 'initialize_mint_close_authority', 'InitializeMintCloseAuthority',
    { ...M, close_authority: () => maybe(key) }],
  [only, 'initialize_transfer_fee_config', 'InitializeTransferFeeConfig',
    { ...M, transfer_fee_config_authority: () => maybe(key),
      withdraw_withheld_authority: () => maybe(key), transfer_fee_basis_points: u16,
      maximum_fee: u64 }],
  [only, 'transfer_checked_with_fee', 'TransferCheckedWithFee',
    { source: key, ...M, destination: key, authority: key, ...A, ...D, fee: u64, ...S }],
  [only, 'withdraw_withheld_tokens_from_mint', 'WithdrawWithheldTokensFromMint',
    { ...M, fee_receiver: key, withdraw_withheld_authority: key, ...S }],
  [only, 'harvest_withheld_tokens_to_mint', 'HarvestWithheldTokensToMint',
    { ...M, sources: signers }],
  [only, 'set_transfer_fee', 'SetTransferFee',
    { ...M, transfer_fee_config_authority: key, ...S, transfer_fee_basis_points: u16,
      maximum_fee: u64 }],
  [only, 'reallocate', 'Reallocate',
    { account: key, payer: key,
      extension_types: () => Array.from({ length: below(4) }, () => below(20)),
      ...O, ...S }],
  [only, 'enable_memo_transfers', 'EnableRequiredMemoTransfers',
    { account: key, ...O, ...S }],
  [only, 'disable_memo_transfers', 'DisableRequiredMemoTransfers',
    { account: key, ...O, ...S }],
  [only, 'initialize_non_transferable_mint', 'InitializeNonTransferableMint', { ...M }],
  [only, 'initialize_interest_bearing_mint', 'InitializeInterestBearingMint',
    { ...M, rate_authority: key, rate: i16 }],
  [only, 'enable_cpi_guard', 'EnableCpiGuard', { account: key, ...O, ...S }],
  [only, 'disable_cpi_guard', 'DisableCpiGuard', { account: key, ...O, ...S }],
  [only, 'initialize_permanent_delegate', 'InitializePermanentDelegate',
    { ...M, delegate: key }],
  [only, 'initialize_transfer_hook', 'InitializeTransferHook',
    { ...M, authority: key, program_id: key }],
  [only, 'update_transfer_hook', 'UpdateTransferHook',
    { ...M, authority: key, program_id: key, ...S }],
  [only, 'initialize_metadata_pointer', 'InitializeMetadataPointer',
    { ...M, authority: () => maybe(key), metadata_address: () => maybe(key) }],
  [only, 'update_metadata_pointer', 'UpdateMetadataPointer',
    { ...M, authority: key, metadata_address: () => maybe(key), ...S }],
  [only, 'initialize_group_pointer', 'InitializeGroupPointer',
    { ...M, authority: () => maybe(key), group_address: () => maybe(key) }],
  [only, 'update_group_pointer', 'UpdateGroupPointer',
    { ...M, authority: key, group_address: () => maybe(key), ...S }],
  [only, 'initialize_group_member_pointer', 'InitializeGroupMemberPointer',
    { ...M, authority: () => maybe(key), member_address: () => maybe(key) }],
  [only, 'update_group_member_pointer', 'UpdateGroupMemberPointer',
    { ...M, authority: key, member_address: () => maybe(key), ...S }],
  [only, 'initialize_scaled_ui_amount_mint', 'InitializeScaledUiAmountConfig',
    { ...M, authority: () => maybe(key), multiplier: () => u8() / 4 }],
  [only, 'update_multiplier_scaled_ui_mint', 'UpdateMultiplierData',
    { ...M, authority: key, multiplier: () => u8() / 4,
      effective_timestamp: () => u64() >> 1n, ...S }],
  [only, 'initialize_pausable_config', 'InitializePausableConfig',
    { ...M, authority: () => maybe(key) }],
  [only, 'pause', 'Pause', { ...M, authority: key, ...S }],
  [only, 'resume', 'Resume', { ...M, authority: key, ...S }],
  [only, 'initialize_permissioned_burn', 'InitializePermissionedBurn',
    { ...M, authority: key }],
  [only, 'permissioned_burn', 'PermissionedBurn',
    { account: key, ...M, authority: key, permissioned_burn_authority: key, ...A, ...S }],
  [only, 'permissioned_burn_checked', 'PermissionedBurnChecked',
    { account: key, ...M, authority: key, permissioned_burn_authority: key, ...A, ...D,
      ...S }],
];

// Where the client has another word than the program.
const words = {
  ScaledUiAmountConfig: 'ScaledUiAmount', PausableConfig: 'Pause',
};
const tried = new Set();
const say = (program, name, made, said, expected) => {
  tried.add(made);
  process.stdout.write(JSON.stringify({
    program, name,
    address: said.programId.toString(),
    data: Buffer.from(said.data).toString('hex'),
    keys: said.keys.map((each) => each.pubkey.toString()),
    expected: Object.fromEntries(
      Object.entries(expected).map(([name, value]) => [name, text(value)])),
  }) + '\n');
};
const encode = (program, name, made, values, expected) => {
  const id = program === 'token' ? spl.TOKEN_PROGRAM_ID : spl.TOKEN_2022_PROGRAM_ID;
  say(program, name, made, spl[made](...values, id), expected);
};

const others = (program) => {
  const [account, mint, owner, other] = [key(), key(), key(), signers()];
  const named = (kind) => Object.entries(kind)
    .filter(([, number]) => typeof number === 'number');
  for (const [kind, number] of named(spl.AuthorityType)) {
    if (program === 'token' && number > 3) continue;
    const heir = maybe(key);
    encode(program, 'set_authority', 'createSetAuthorityInstruction',
      [account, owner, number, heir, other],
      { owned: account, owner, authority_type: words[kind] ?? kind, new_authority: heir,
        signers: other });
  }
  if (program === 'token') return;
  const fee = key(), from = signers();
  encode(program, 'withdraw_withheld_tokens_from_accounts',
    'createWithdrawWithheldTokensFromAccountsInstruction',
    [mint, fee, owner, other, from],
    { mint, fee_receiver: fee, withdraw_withheld_authority: owner,
      num_token_accounts: from.length, signers_and_sources: [...other, ...from] });
  say(program, 'create_native_mint', 'createCreateNativeMintInstruction',
    spl.createCreateNativeMintInstruction(owner),
    { payer: owner, native_mint: spl.NATIVE_MINT_2022 });
  for (const [state, number] of named(spl.AccountState)) {
    encode(program, 'initialize_default_account_state',
      'createInitializeDefaultAccountStateInstruction', [mint, number],
      { mint, state });
    encode(program, 'update_default_account_state',
      'createUpdateDefaultAccountStateInstruction', [mint, number, owner, other],
      { mint, state, freeze_authority: owner, signers: other });
  }
};

// Instructions of two interfaces that the program of Token-2022 has, too.
const interfaces = () => {
  const word = () => `é${u8()}`;
  const [account, mint, authority, other, heir] = [key(), key(), key(), key(), key()];
  const long = u64(), name = word(), symbol = word(), uri = word(), idempotent = !below(2);
  const [start, end] = [maybe(u64), maybe(u64)];
  const metadata = { metadata: account, update_authority: authority };
  const group = { group: account, update_authority: authority };
  const made = [
    ['initialize_token_metadata', 'createInitializeInstruction',
      { metadata: account, updateAuthority: authority, mint, mintAuthority: other, name,
        symbol, uri },
      { ...metadata, mint, mint_authority: other, name, symbol, uri }],
    ['remove_token_metadata_key', 'createRemoveKeyInstruction',
      { metadata: account, updateAuthority: authority, key: name, idempotent },
      { ...metadata, key: name, idempotent: Number(idempotent) }],
    ['update_token_metadata_authority', 'createUpdateAuthorityInstruction',
      { metadata: account, oldAuthority: authority, newAuthority: heir },
      { ...metadata, new_update_authority: heir }],
    ['emit_token_metadata', 'createEmitInstruction', { metadata: account, start, end },
      { metadata: account, start, end }],
    ['initialize_token_group', 'createInitializeGroupInstruction',
      { group: account, mint, mintAuthority: other, updateAuthority: heir,
        maxSize: long },
      { group: account, mint, mint_authority: other, update_authority: heir,
        max_size: long }],
    ['update_token_group_max_size', 'createUpdateGroupMaxSizeInstruction',
      { group: account, updateAuthority: authority, maxSize: long },
      { ...group, max_size: long }],
    ['update_token_group_authority', 'createUpdateGroupAuthorityInstruction',
      { group: account, currentAuthority: authority, newAuthority: heir },
      { ...group, new_update_authority: heir }],
    ['initialize_token_group_member', 'createInitializeMemberInstruction',
      { member: account, memberMint: mint, memberMintAuthority: other, group: heir,
        groupUpdateAuthority: authority },
      { member: account, member_mint: mint, member_mint_authority: other, group: heir,
        group_update_authority: authority }],
  ];
  for (const [field, read] of [['Name', 'Name'], ['Uri', 'Uri'], ['Symbol', 'Symbol'],
    [name, `{"Key":["${name}"]}`]]) {
    made.push(['update_token_metadata_field', 'createUpdateFieldInstruction',
      { metadata: account, updateAuthority: authority, field, value: uri },
      { ...metadata, field: read, value: uri }]);
  }
  for (const [called, name, args, expected] of made) {
    const programId = spl.TOKEN_2022_PROGRAM_ID;
    say('token_2022', called, name, spl[name]({ programId, ...args }), expected);
  }
  // This client names the authority twice.
  const rate = i16(), more = signers();
  encode('token_2022', 'update_rate_interest_bearing_mint',
    'createUpdateRateInterestBearingMintInstruction', [mint, authority, rate, more],
    { mint, rate_authority: authority, rate, signers: [authority, ...more] });
};

const associated = () => {
  const [payer, account, owner, mint] = [key(), key(), key(), key()];
  const token = below(2) ? spl.TOKEN_PROGRAM_ID : spl.TOKEN_2022_PROGRAM_ID;
  const expected = {
    payer, associated_account: account, owner, mint, token_program: token,
  };
  for (const [name, made] of [
    ['create', 'createAssociatedTokenAccountInstruction'],
    ['create_idempotent', 'createAssociatedTokenAccountIdempotentInstruction'],
  ]) {
    say('associated_token', name, made, spl[made](payer, account, owner, mint, token),
      expected);
  }
  const nested = { nested_account: key(), nested_mint: key(), destination: key(),
    owner_account: key(), owner_mint: key(), wallet: key() };
  say('associated_token', 'recover_nested', 'createRecoverNestedInstruction',
    spl.createRecoverNestedInstruction(...Object.values(nested), token),
    { ...nested, token_program: token });
};

for (let time = 0; time < Number(process.argv[3]); time += 1) {
  for (const [programs, name, made, params] of calls) {
    for (const program of programs) {
      const values = Object.fromEntries(
        Object.entries(params).map(([name, make]) => [name, make()]));
      const expected = { ...values };
      // An absent key of an extension is all zeroes, and not marked as absent.
      for (const each of ['authority', 'metadata_address', 'group_address',
        'member_address']) {
        if (expected[each] === null) expected[each] = NONE;
      }
      encode(program, name, `create${made}Instruction`, Object.values(values), expected);
    }
  }
  both.forEach(others);
  interfaces();
  associated();
}
const all = Object.keys(spl).filter((name) => /^create.*Instruction$/.test(name));
process.stdout.write(JSON.stringify({
  untried: all.filter((name) => !tried.has(name)).sort(),
}) + '\n');
