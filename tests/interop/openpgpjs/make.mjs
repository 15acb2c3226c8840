// Writes keys and messages with OpenPGP.js: node make.mjs CONTENT OUTPUT-DIRECTORY
// For every kind of key NAME there will be NAME.key (secret, armored) and NAME.*.pgp, each a package of CONTENT.
// OPENPGPJS names the directory that holds node_modules.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const openpgp = createRequire(join(process.env.OPENPGPJS, 'package.json'))('openpgp');
const [content, directory] = process.argv.slice(2);
const binary = new Uint8Array(readFileSync(content));
const { aead, compression, symmetric, hash } = openpgp.enums;

const kinds = {
  rsa: { type: 'rsa', rsaBits: 3072 },
  ed25519Legacy: { type: 'ecc', curve: 'ed25519Legacy' },
  curve25519: { type: 'curve25519' },
  curve448: { type: 'curve448' },
  nistP256: { type: 'ecc', curve: 'nistP256' },
  nistP521: { type: 'ecc', curve: 'nistP521' },
};
// The recipient's key decides on version 1 or 2 of the container, the configuration on the rest.
const modes = {
  'seipd1': {},
  'ocb': { aeadProtect: true, preferredAEADAlgorithm: aead.ocb },
  'eax': { aeadProtect: true, preferredAEADAlgorithm: aead.eax, aeadChunkSizeByte: 0 },
  'gcm': { aeadProtect: true, preferredAEADAlgorithm: aead.gcm, aeadChunkSizeByte: 6 },
  'zlib': { aeadProtect: true, preferredCompressionAlgorithm: compression.zlib },
};

function write(name, data) {
  writeFileSync(join(directory, name), data);
}

async function packages(name, privateKey, announcesAead) {
  const message = async () => openpgp.createMessage({ binary, filename: 'a name' });
  write(`${name}.key`, privateKey.armor());
  write(`${name}.signed.pgp`,
    await openpgp.sign({ message: await message(), signingKeys: privateKey, format: 'binary' }));
  write(`${name}.armored.pgp`, await openpgp.sign({ message: await message(), signingKeys: privateKey }));
  for (const [mode, config] of Object.entries(modes)) {
    if ((mode === 'seipd1') === announcesAead) continue;
    write(`${name}.${mode}.pgp`, await openpgp.encrypt({
      message: await message(), encryptionKeys: privateKey.toPublic(), signingKeys: privateKey, format: 'binary', config }));
    write(`${name}.${mode}.hidden.pgp`, await openpgp.encrypt({
      message: await message(), encryptionKeys: privateKey.toPublic(), signingKeys: privateKey, format: 'binary', config,
      wildcard: true }));
  }
}

for (const [kind, options] of Object.entries(kinds))
  for (const version of [4, 6])
    for (const aeadProtect of [true, false]) {
      if (version === 6 && kind === 'ed25519Legacy') continue;  // RFC 9580 forbids it
      if (version === 6 && !aeadProtect) continue;  // the container for such keys is always of version 2
      const { privateKey } = await openpgp.generateKey({
        ...options, userIDs: [{ name: kind, email: `${kind}-v${version}@example.org` }], format: 'object',
        config: { v6Keys: version === 6, aeadProtect } });
      await packages(`${kind}-v${version}${aeadProtect ? '' : '-mdc'}`, privateKey, aeadProtect);
    }
