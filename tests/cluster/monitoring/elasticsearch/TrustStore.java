import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;

/** Writes the authorities of the system's bundle, a machine's own included, where Java finds them: bundle, target. */
final class TrustStore {
    public static void main(final String[] arguments) throws Exception {
        final KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        int count = 0;
        try (FileInputStream bundle = new FileInputStream(arguments[0])) {
            for (final Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(bundle)) {
                store.setCertificateEntry("authority-" + count++, each);
            }
        }
        try (FileOutputStream target = new FileOutputStream(arguments[1])) {
            store.store(target, "changeit".toCharArray());
        }
    }
}
