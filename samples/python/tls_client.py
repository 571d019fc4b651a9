#!/usr/bin/env python3
"""An HTTPS client whose key is in hardware, with Python's ssl and nothing else:

    OPENSSL_CONF=/etc/hwid/openssl.cnf python3 tls_client.py CA CERT KEY URL

KEY is the file that stands for the key: `hwid ref hwid://device --out key.pem` writes it. It holds no
secret. Python gives it to OpenSSL, which finds the key by openssl.cnf.
"""

import ssl
import sys
import urllib.request


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    ca, cert, key, url = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    no_proxy = urllib.request.ProxyHandler({})  # it would be asked for a tunnel
    opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
    with opener.open(url, timeout=30) as answer:
        sys.stdout.write(answer.read().decode())


if __name__ == "__main__":
    main()
