package org.edgepack.harness.core;

import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** SHA-256 as 64 hexadecimal digits. */
public final class Digest {
    private static final char[] DIGITS = "0123456789abcdef".toCharArray();

    private Digest() {}

    public static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error); // every Android and every JVM has it
        }
    }

    public static String of(byte[] data) {
        return hex(sha256().digest(data));
    }

    /** The digest of all that the stream gives; the stream is not closed. */
    public static String of(InputStream in) throws IOException {
        MessageDigest digest = sha256();
        byte[] piece = new byte[1 << 16];
        for (int n = in.read(piece); n >= 0; n = in.read(piece)) {
            digest.update(piece, 0, n);
        }
        return hex(digest.digest());
    }

    public static String hex(byte[] data) {
        char[] text = new char[data.length * 2];
        for (int i = 0; i < data.length; i++) {
            text[2 * i] = DIGITS[(data[i] >> 4) & 15];
            text[2 * i + 1] = DIGITS[data[i] & 15];
        }
        return new String(text);
    }

    public static boolean isOne(String text) {
        return text != null && text.matches("[0-9a-f]{64}");
    }
}
