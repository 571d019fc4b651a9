// A TLS client in Java whose key and certificate are on a PKCS#11 token:
//
//   java TlsClient.java LIBRARY SLOT LABEL PIN-FILE CA-FILE URL
//
// Java reaches the token itself (SunPKCS11), without OpenSSL; what AWS IoT Greengrass's nucleus is
// told in config.yaml is told here in the same words. The certificate must be on the token, under
// the key's label and CKA_ID: `hwid import` puts it there, `hwid list` shows SLOT and LABEL. A JDK runs it.

import java.io.InputStream;
import java.net.Socket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;

public class TlsClient {
    // "--" says that it is the configuration itself, and not the name of its file. TLS looks for who
    // signs with such a key among all providers.
    static Provider token(String library, String slot) {
        Provider token = Security.getProvider("SunPKCS11")
            .configure("--name=hwid\nlibrary=" + library + "\nslot=" + slot);
        Security.addProvider(token);
        return token;
    }

    static KeyStore keysOn(Provider token, Path pinFile) throws Exception {
        char[] pin = Files.readString(pinFile).split("\\R", 2)[0].toCharArray();
        try {
            KeyStore keys = KeyStore.getInstance("PKCS11", token);
            keys.load(null, pin); // logs in
            return keys;
        } finally {
            Arrays.fill(pin, '\0');
        }
    }

    // Of all keys on the token the one of that label. Java would else take the first that fits.
    static KeyManager onlyKey(KeyStore keys, String label) throws Exception {
        if (!keys.isKeyEntry(label)) {
            throw new IllegalArgumentException("no key with a certificate is called " + label);
        }
        KeyManagerFactory factory =
            KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(keys, null);
        X509ExtendedKeyManager all = (X509ExtendedKeyManager) factory.getKeyManagers()[0];
        return new X509ExtendedKeyManager() {
            public String chooseEngineClientAlias(String[] types, Principal[] issuers, SSLEngine e) {
                return label;
            }
            public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
                return label;
            }
            public String[] getClientAliases(String type, Principal[] issuers) {
                return new String[] {label};
            }
            public X509Certificate[] getCertificateChain(String alias) {
                return all.getCertificateChain(alias);
            }
            public PrivateKey getPrivateKey(String alias) {
                return all.getPrivateKey(alias); // stands for the key, which stays on the token
            }
            public String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
                return null;
            }
            public String[] getServerAliases(String type, Principal[] issuers) {
                return null;
            }
        };
    }

    static TrustManager[] trustIn(Path caFile) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream in = Files.newInputStream(caFile)) {
            int number = 0;
            for (Certificate ca : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
                trusted.setCertificateEntry("ca-" + number++, ca);
            }
        }
        TrustManagerFactory factory =
            TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(trusted);
        return factory.getTrustManagers();
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 6) {
            System.err.println("usage: TlsClient LIBRARY SLOT LABEL PIN-FILE CA-FILE URL");
            System.exit(2);
        }
        KeyStore keys = keysOn(token(arguments[0], arguments[1]), Path.of(arguments[3]));
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(new KeyManager[] {onlyKey(keys, arguments[2])}, trustIn(Path.of(arguments[4])), null);
        // It also checks that the server's certificate is one for the URL's host.
        HttpsURLConnection connection =
            (HttpsURLConnection) URI.create(arguments[5]).toURL().openConnection();
        connection.setSSLSocketFactory(tls.getSocketFactory());
        try (InputStream answer = connection.getInputStream()) {
            answer.transferTo(System.out);
        }
    }
}
