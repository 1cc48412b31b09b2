package org.edgepack.harness.core;

import java.io.File;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** What the caller asked for by {@code am instrument -e}; every word is checked. */
public final class RunRequest {
    private static final List<String> DELEGATES = Arrays.asList("cpu", "xnnpack", "gpu", "nnapi");

    public final String identity;
    public final String bundleSha256;
    public final String apkSha256;
    public final String delegate;
    public final Minimum minimum;
    public final int threads;
    public final int warmup;

    public RunRequest(Map<String, String> given) throws Refusal {
        identity = digest(given, "identity");
        bundleSha256 = digest(given, "bundle_sha256");
        apkSha256 = digest(given, "apk_sha256");
        delegate = given.get("delegate");
        if (!DELEGATES.contains(delegate)) {
            throw new Refusal("delegate: wanted one of " + DELEGATES + ". Received: " + delegate);
        }
        if (given.get("affinity") != null) {
            throw new Refusal("affinity: an app cannot bind itself; take the portable folder");
        }
        minimum = Minimum.of(given.get("mode"));
        threads = whole(given, "threads", 1, 64);
        warmup = whole(given, "warmup", 0, 100000);
    }

    /** The bundle's file: only ever the one of that name in the app's own folder. */
    public File bundleIn(File folder) {
        return new File(folder, bundleSha256 + ".edgepack");
    }

    public File reportIn(File folder) {
        return new File(folder, "report-" + identity + ".json");
    }

    private static String digest(Map<String, String> given, String key) throws Refusal {
        String text = given.get(key);
        if (!Digest.isOne(text)) {
            throw new Refusal(key + ": wanted 64 hexadecimal digits. Received: " + text);
        }
        return text;
    }

    private static int whole(Map<String, String> given, String key, int least, int most)
            throws Refusal {
        String text = given.get(key);
        if (text != null && text.matches("[0-9]{1,6}")) {
            int value = Integer.parseInt(text);
            if (value >= least && value <= most) {
                return value;
            }
        }
        throw new Refusal(key + ": wanted " + least + " to " + most + ". Received: " + text);
    }
}
