// Reads messages with OpenPGP.js: node read.mjs KEY MESSAGE... (KEY: secret, armored; it has also signed them)
// Prints one JSON object: for each MESSAGE its content in hexadecimal and the fingerprint of the key that signed it.
// Ends with an error when one cannot be decrypted or its signature is not right.
// OPENPGPJS names the directory that holds node_modules.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const openpgp = createRequire(join(process.env.OPENPGPJS, 'package.json'))('openpgp');
const [keyFile, ...messages] = process.argv.slice(2);
const key = await openpgp.readKey({ armoredKey: readFileSync(keyFile, 'utf8') });

const seen = {};
for (const file of messages) {
  const octets = new Uint8Array(readFileSync(file));
  const message = octets[0] < 0x80 ? await openpgp.readMessage({ armoredMessage: new TextDecoder().decode(octets) })
                                   : await openpgp.readMessage({ binaryMessage: octets });
  const encrypted = message.packets.findPacket(openpgp.enums.packet.symEncryptedIntegrityProtectedData);
  const options = { message, verificationKeys: key.toPublic(), format: 'binary' };
  const { data, signatures } = encrypted ? await openpgp.decrypt({ ...options, decryptionKeys: key })
                                         : await openpgp.verify(options);
  await signatures[0].verified;
  const { packets: [{ issuerFingerprint, version }] } = await signatures[0].signature;
  seen[file] = {
    content: Buffer.from(data).toString('hex'),
    signer: Buffer.from(issuerFingerprint).toString('hex').toUpperCase(),
    signatures: signatures.length,
    signatureVersion: version,
    container: encrypted ? encrypted.version : 0,
  };
}
console.log(JSON.stringify(seen));
