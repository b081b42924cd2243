// Idempotency keys that nobody else makes.

const KEY_BYTES = 16;
const NODE_CRYPTO = "node:crypto"; // by a variable, so that bundlers for browsers leave it alone

/** 32 hexadecimal digits. */
export async function randomKey() {
  // Node 18 has no global one. `randomUUID` is missing in browsers where a page came without TLS.
  const crypto = globalThis.crypto ?? (await import(/* @vite-ignore */ NODE_CRYPTO)).webcrypto;
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
