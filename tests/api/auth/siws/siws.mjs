// Sign-In with Solana by the wallet standard's own functions, and keys by @noble/curves.
//
// Reads a list of tasks as JSON from standard input, writes the list of answers:
//   {"sign": input, "seed": hex}           -> {"text", "signature", "publicKey"}
//   {"verify": input, "text", "signature", "publicKey"}  -> true or false

import { readFileSync } from 'node:fs';
import { ed25519 } from '@noble/curves/ed25519';
import { createSignInMessageText, verifySignIn } from '@solana/wallet-standard-util';

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (raw) => Buffer.from(raw).toString('hex');

function sign({ sign: input, seed }) {
    const text = createSignInMessageText(input);
    const signature = ed25519.sign(new TextEncoder().encode(text), bytes(seed));
    return { text, signature: hex(signature), publicKey: hex(ed25519.getPublicKey(bytes(seed))) };
}

function verify({ verify: input, text, signature, publicKey }) {
    return verifySignIn(input, {
        account: { publicKey: bytes(publicKey) },
        signedMessage: new TextEncoder().encode(text),
        signature: bytes(signature),
    });
}

const tasks = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(tasks.map((task) => (task.sign ? sign(task) : verify(task)))));
