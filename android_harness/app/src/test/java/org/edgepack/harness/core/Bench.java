package org.edgepack.harness.core;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Scanner;

/** The pure parts on a JVM, driven by tests that have their own oracles; prints JSON. */
public final class Bench {
    private Bench() {}

    /** One command a line, its words between tabs; one JSON answer a line. */
    public static void main(String[] none) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, Object> out = new LinkedHashMap<String, Object>();
            try {
                out.put("found", answer(line.split("\t")));
            } catch (Refusal refusal) {
                out.put("refused", refusal.getMessage());
            }
            System.out.println(Json.text(out));
        }
    }

    private static Map<String, Object> answer(String[] words) throws Exception {
        Map<String, Object> out = new LinkedHashMap<String, Object>();
        File file = new File(words[1]);
        if (words[0].equals("bundle")) {
            Bundle bundle = Bundle.read(file, words[2]);
            out.put("name", bundle.name);
            out.put("profile", bundle.profile);
            out.put("model", bundle.modelSha256);
        } else if (words[0].equals("npy")) {
            Npy npy = Npy.read(Files.readAllBytes(file.toPath()));
            ByteBuffer row = ByteBuffer.allocateDirect(npy.rowBytes);
            npy.copyRow(npy.rows + 1, row);
            byte[] data = new byte[npy.rowBytes];
            row.get(data);
            out.put("dtype", npy.dtype);
            out.put("rows", npy.rows);
            out.put("axes", npy.rowShape.length);
            out.put("second_row", Digest.hex(data));
        } else if (words[0].equals("samples")) {
            Samples samples = read(file);
            out.putAll(samples.summary());
            out.put("stride", samples.stride());
            out.put("seen", samples.seen());
            out.put("samples_ms", samples.inOrder());
        } else if (words[0].equals("json")) {
            String text = new String(Files.readAllBytes(file.toPath()), "UTF-8");
            out.put("value", Json.parse(text));
        } else if (words[0].equals("report")) {
            return report(file, words);
        } else {
            throw new IllegalArgumentException(words[0]);
        }
        return out;
    }

    /** report TIMES OUT BUNDLE BUNDLE_SHA DEVICE_JSON KEY=VALUE ... */
    @SuppressWarnings("unchecked")
    private static Map<String, Object> report(File times, String[] words) throws Exception {
        Map<String, String> given = new HashMap<String, String>();
        for (int i = 6; i < words.length; i++) {
            String[] pair = words[i].split("=", 2);
            given.put(pair[0], pair[1]);
        }
        RunRequest request = new RunRequest(given);
        Bundle bundle = Bundle.read(new File(words[3]), words[4]);
        Map<String, Object> told = (Map<String, Object>) Json.parse(words[5]);
        Npy golden = Npy.read(bundle.member("golden/outputs.npy"));
        byte[] answers = new byte[golden.rows * golden.rowBytes];
        ByteBuffer row = ByteBuffer.allocate(golden.rowBytes);
        for (int i = 0; i < golden.rows; i++) {
            golden.copyRow(i, row);
            row.get(answers, i * golden.rowBytes, golden.rowBytes);
        }
        Report report = new Report(request, 1795348800000L).bundle(bundle);
        for (Map.Entry<String, Object> each : told.entrySet()) {
            report.put(each.getKey(), each.getValue());
        }
        report.ending("ok", "ran\n\u202eto its end");
        report.run(request, read(times), Double.parseDouble(given.get("seconds")), 12.5, 80.25);
        report.memory(1L << 20, 3L << 20);
        report.goldens(golden.rows, golden.rowShape, golden.dtype, answers);
        report.write(new File(words[2]));
        return new LinkedHashMap<String, Object>();
    }

    private static Samples read(File file) throws Exception {
        Samples samples = new Samples();
        try (Scanner in = new Scanner(file).useLocale(java.util.Locale.US)) {
            while (in.hasNextDouble()) {
                samples.add(in.nextDouble());
            }
        }
        return samples;
    }
}
