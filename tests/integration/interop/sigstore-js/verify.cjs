// Asks Sigstore's JavaScript verifier about bundles whose key the caller trusts: no certificate, no log, no time.
// In: a JSON list of {bundle, keys: {hint: PEM}} on stdin. Out: for each, null when it verifies, else why it does not.
"use strict";

const { readFileSync } = require("node:fs");
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const NOBODY = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const NOTHING_ELSE = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };

function flaw({ bundle, keys }) {
  const trusted = {};
  for (const [hint, pem] of Object.entries(keys)) {
    trusted[hint] = { rawBytes: Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64") };
  }
  try {
    const verifier = new Verifier(toTrustMaterial(NOBODY, trusted), NOTHING_ELSE);
    verifier.verify(toSignedEntity(bundleFromJSON(bundle)));
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map(flaw)));
