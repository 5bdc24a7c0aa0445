// Signs as a wallet adapter does: a message of ours in, a signed transaction out.
// usage: node sign.cjs <as-is|legacy|priced|transfer> <seed in hex>   (message on stdin)
const {
  ComputeBudgetProgram, Keypair, SystemProgram, TransactionMessage, VersionedMessage,
  VersionedTransaction,
} = require('@solana/web3.js');
const { readFileSync } = require('fs');

const [, , how, seed] = process.argv;
const wallet = Keypair.fromSeed(Buffer.from(seed, 'hex'));
let message = VersionedMessage.deserialize(
  Buffer.from(readFileSync(0, 'utf8').trim(), 'base64'));
if (how !== 'as-is') {
  const parts = TransactionMessage.decompile(message);
  if (how === 'priced') {
    parts.instructions[1] =
      ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 77 });
  }
  if (how === 'transfer') {
    parts.instructions.push(SystemProgram.transfer({
      fromPubkey: wallet.publicKey, toPubkey: Keypair.generate().publicKey,
      lamports: 1000,
    }));
  }
  message = how === 'legacy' ? parts.compileToLegacyMessage() : parts.compileToV0Message();
}
const transaction = new VersionedTransaction(message);
transaction.sign([wallet]);
process.stdout.write(Buffer.from(transaction.serialize()).toString('base64'));
