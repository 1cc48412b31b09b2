package org.edgepack.harness.core;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;

/** The report of one run, of schema/device_report.schema.json. */
public final class Report {
    private static final int LONGEST = 500;

    private final Map<String, Object> map = new LinkedHashMap<String, Object>();

    public Report(RunRequest request, long startedAtMillis) {
        SimpleDateFormat utc = new SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'Z'", Locale.US);
        utc.setTimeZone(TimeZone.getTimeZone("UTC"));
        map.put("schema", "edgepack.device-report/1");
        map.put("identity", request.identity);
        map.put("started_at", utc.format(new Date(startedAtMillis)));
        Map<String, Object> backend = new LinkedHashMap<String, Object>();
        backend.put("name", "app");
        backend.put("version", "1");
        backend.put("sha256", request.apkSha256);
        map.put("backend", backend);
    }

    public Report put(String key, Object value) {
        map.put(key, value);
        return this;
    }

    public Report bundle(Bundle bundle) {
        Map<String, Object> told = new LinkedHashMap<String, Object>();
        told.put("name", line(bundle.name));
        told.put("profile", line(bundle.profile));
        told.put("sha256", bundle.sha256);
        told.put("model_sha256", bundle.modelSha256);
        return put("bundle", told);
    }

    public Report ending(String ending, String says) {
        map.put("ending", ending);
        map.put("says", line(says));
        return this;
    }

    public Report run(RunRequest request, Samples times, double seconds, double initMs, double firstMs) {
        Map<String, Object> run = new LinkedHashMap<String, Object>();
        run.put("delegate", request.delegate);
        run.put("kernels", "default");
        run.put("threads", request.threads);
        run.put("mode", request.minimum.word);
        run.put("warmup", request.warmup);
        run.put("queries", times.seen());
        run.put("seconds", seconds);
        run.put("init_ms", initMs);
        run.put("first_ms", firstMs);
        run.put("stride", times.stride());
        run.put("samples_ms", times.inOrder());
        run.put("summary", times.summary());
        return put("run", run);
    }

    public Report memory(long baselineBytes, long peakBytes) {
        Map<String, Object> memory = new LinkedHashMap<String, Object>();
        memory.put("kind", "pss");
        memory.put("baseline_bytes", baselineBytes);
        memory.put("peak_bytes", peakBytes);
        return put("memory", memory);
    }

    public Report goldens(int rows, int[] shape, String dtype, byte[] outputs) {
        List<Object> sizes = new java.util.ArrayList<Object>();
        for (int size : shape) {
            sizes.add(size);
        }
        Map<String, Object> goldens = new LinkedHashMap<String, Object>();
        goldens.put("rows", rows);
        goldens.put("shape", sizes);
        goldens.put("dtype", dtype);
        goldens.put("outputs_hex", Digest.hex(outputs));
        goldens.put("sha256", Digest.of(outputs));
        return put("goldens", goldens);
    }

    public String text() {
        return Json.text(map);
    }

    /** Put the report in its place whole: beside it first, then renamed. */
    public void write(File place) throws IOException {
        File partial = new File(place.getPath() + ".part");
        try (FileOutputStream out = new FileOutputStream(partial)) {
            out.write(text().getBytes("UTF-8"));
            out.getFD().sync();
        }
        if (!partial.renameTo(place)) {
            throw new IOException(place.getName() + ": cannot be put in its place");
        }
    }

    /** One line without control characters, as the schema's texts are. */
    public static String line(String text) {
        String told = text == null ? "" : text;
        String plain = told.replaceAll("[\\p{Cntrl}\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]+", " ");
        plain = plain.trim().replaceAll("\\s+", " ");
        if (plain.isEmpty()) {
            return "not stated";
        }
        return plain.length() > LONGEST ? plain.substring(0, LONGEST) : plain;
    }
}
