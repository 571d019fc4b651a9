// An HTTPS client whose key is in hardware, with node's own https:
//
//   OPENSSL_CONF=/etc/hwid/openssl.cnf node --openssl-shared-config tls_client.js CA CERT KEY URL
//
// KEY is the file that stands for the key: `hwid ref hwid://device --out key.pem` writes it. It holds
// no secret. Without the flag node reads only what nodejs_conf names in openssl.cnf, and not what
// openssl_conf names for all other programs; a file from `hwid init` or `hwid enable` has both.
'use strict';

const fs = require('fs');
const https = require('https');

const [ca, cert, key, url] = process.argv.slice(2);
if (!url) {
  console.error('usage: tls_client.js CA CERT KEY URL');
  process.exit(2);
}

const request = https.get(
  url,
  {ca: fs.readFileSync(ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key)},
  (answer) => answer.pipe(process.stdout),
);
request.setTimeout(30000, () => request.destroy(new Error('no answer in 30 seconds')));
request.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
