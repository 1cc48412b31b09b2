package org.edgepack.harness.core;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;

/**
 * A bundle whose every byte equals what its manifest vouches for; nothing is unpacked to disk.
 *
 * <p>The same rules as edgepack/bundle.py: no name that leaves its folder, no member twice,
 * none that the manifest does not name, every digest true.
 */
public final class Bundle {
    static final long CEILING_BYTES = 256L * 1024 * 1024;
    private static final int MEMBERS = 512;
    private static final String MANIFEST = "manifest.json";
    private static final String SIGNATURE = "manifest.sig";

    public final String sha256;
    public final String modelSha256;
    public final String name;
    public final String profile;
    private final Map<String, byte[]> files;

    private Bundle(String sha256, Map<String, Object> manifest, Map<String, byte[]> files)
            throws Refusal {
        this.sha256 = sha256;
        this.files = files;
        this.name = word(manifest, "name");
        this.profile = word(manifest, "profile");
        this.modelSha256 = Digest.of(member("model.tflite"));
    }

    /** The bytes of a member. */
    public byte[] member(String name) throws Refusal {
        byte[] data = files.get(name);
        if (data == null) {
            throw new Refusal("the bundle holds no " + name);
        }
        return data;
    }

    /** Read and check the bundle in {@code file}, whose digest the caller already knows. */
    public static Bundle read(File file, String wantedSha256) throws Refusal, IOException {
        if (file.length() > CEILING_BYTES) {
            throw new Refusal(file.getName() + ": larger than " + CEILING_BYTES + " B");
        }
        String sha256;
        try (InputStream in = new FileInputStream(file)) {
            sha256 = Digest.of(in);
        }
        if (!sha256.equals(wantedSha256)) {
            throw new Refusal(file.getName() + ": another digest than the one that was sent");
        }
        Map<String, byte[]> files;
        try (ZipFile zip = new ZipFile(file)) {
            files = extract(zip);
        } catch (ZipException error) {
            throw new Refusal(file.getName() + ": not a bundle: " + error.getMessage());
        } catch (IllegalArgumentException error) { // a member's name that is no UTF-8
            throw new Refusal(file.getName() + ": not a bundle: " + error.getMessage());
        }
        byte[] manifest = files.remove(MANIFEST);
        if (manifest == null) {
            throw new Refusal("not a bundle: it holds no " + MANIFEST);
        }
        files.remove(SIGNATURE);
        Map<String, Object> told = map(Json.parse(new String(manifest, "UTF-8")), MANIFEST);
        if (!"edgepack.bundle/1".equals(told.get("schema"))) {
            throw new Refusal(MANIFEST + ": wanted schema edgepack.bundle/1");
        }
        check(files, map(told.get("files"), "files"));
        return new Bundle(sha256, told, files);
    }

    private static Map<String, byte[]> extract(ZipFile zip) throws Refusal, IOException {
        Map<String, byte[]> files = new LinkedHashMap<String, byte[]>();
        long total = 0;
        for (Enumeration<? extends ZipEntry> all = zip.entries(); all.hasMoreElements(); ) {
            ZipEntry entry = all.nextElement();
            refuseEscape(entry.getName());
            if (files.size() >= MEMBERS || files.containsKey(entry.getName())) {
                throw new Refusal("too many members, or one twice: " + entry.getName());
            }
            byte[] data;
            try (InputStream in = zip.getInputStream(entry)) {
                data = bounded(in, CEILING_BYTES - total, entry.getName());
            }
            total += data.length;
            files.put(entry.getName(), data);
        }
        return files;
    }

    /** The size a zip announces may lie, so what really comes is counted. */
    private static byte[] bounded(InputStream in, long most, String name)
            throws Refusal, IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        byte[] piece = new byte[1 << 16];
        for (int n = in.read(piece); n >= 0; n = in.read(piece)) {
            if (out.size() + (long) n > most) {
                throw new Refusal(name + ": more than " + CEILING_BYTES + " B unpacked");
            }
            out.write(piece, 0, n);
        }
        return out.toByteArray();
    }

    static void refuseEscape(String name) throws Refusal {
        Set<String> parts = new HashSet<String>();
        for (String part : name.split("/", -1)) {
            parts.add(part);
        }
        boolean out = parts.contains("") || parts.contains(".") || parts.contains("..");
        if (out || name.indexOf('\\') >= 0 || name.indexOf('\0') >= 0) {
            throw new Refusal("member '" + name + "' would leave its folder");
        }
    }

    private static void check(Map<String, byte[]> files, Map<String, Object> vouched)
            throws Refusal {
        for (String name : files.keySet()) {
            if (!vouched.containsKey(name)) {
                throw new Refusal(name + " is not named in the manifest");
            }
        }
        for (Map.Entry<String, Object> each : vouched.entrySet()) {
            byte[] data = files.get(each.getKey());
            if (data == null) {
                throw new Refusal(each.getKey() + " is missing");
            }
            String wanted = word(map(each.getValue(), each.getKey()), "sha256");
            if (!Digest.of(data).equals(wanted)) {
                throw new Refusal(each.getKey() + " differs from its digest");
            }
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> map(Object value, String what) throws Refusal {
        if (!(value instanceof Map)) {
            throw new Refusal(what + ": wanted an object");
        }
        return (Map<String, Object>) value;
    }

    private static String word(Map<String, Object> map, String key) throws Refusal {
        Object value = map.get(key);
        if (!(value instanceof String) || ((String) value).isEmpty()) {
            throw new Refusal(key + ": wanted text");
        }
        return (String) value;
    }
}
