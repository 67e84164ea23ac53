// Lets Sigstore's JavaScript library make bundles with a key of the caller's: no certificate, no log, no time.
// In: a JSON list of {payloadType, payload, key, hint} on stdin, the payload in base64, the key as PEM (PKCS #8).
// Out: for each, the envelope in its bundle, as the library writes it in JSON.
"use strict";

const { createPrivateKey, createPublicKey, sign } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { envelopeToJSON } = require("@sigstore/bundle");
const { DSSEBundleBuilder } = require("@sigstore/sign");

const DIGESTS = { ed25519: null, ec: "sha256" }; // Ed25519 has its own

function signer(pem, hint) {
  const key = createPrivateKey(pem);
  const publicKey = createPublicKey(key).export({ type: "spki", format: "pem" });
  return {
    sign: async (data) => ({
      signature: sign(DIGESTS[key.asymmetricKeyType], data, key),
      key: { $case: "publicKey", publicKey, hint },
    }),
  };
}

async function envelope({ payloadType, payload, key, hint }) {
  const builder = new DSSEBundleBuilder({ signer: signer(key, hint), witnesses: [] });
  const bundle = await builder.create({ data: Buffer.from(payload, "base64"), type: payloadType });
  return JSON.stringify(envelopeToJSON(bundle.content.dsseEnvelope));
}

Promise.all(JSON.parse(readFileSync(0, "utf-8")).map(envelope)).then((made) =>
  process.stdout.write(JSON.stringify(made)),
);
