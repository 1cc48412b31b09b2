package org.edgepack.harness.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Raw times of a run in bounded memory, and what they say; as edgepack/device/samples.py. */
public final class Samples {
    public static final int KEPT = 16384;

    private final double[] kept = new double[KEPT];
    private int count;
    private int stride = 1;
    private long seen;

    public void add(double ms) {
        if (seen % stride == 0) {
            if (count == KEPT) {
                for (int i = 0; i < KEPT / 2; i++) {
                    kept[i] = kept[2 * i];
                }
                count = KEPT / 2;
                stride *= 2;
            }
            if (seen % stride == 0) {
                kept[count++] = ms;
            }
        }
        seen++;
    }

    public long seen() {
        return seen;
    }

    public int stride() {
        return stride;
    }

    public List<Object> inOrder() {
        List<Object> list = new ArrayList<Object>(count);
        for (int i = 0; i < count; i++) {
            list.add(kept[i]);
        }
        return list;
    }

    /** The smallest time that at least {@code share} of the kept ones do not exceed. */
    public double percentile(double share) {
        double[] sorted = Arrays.copyOf(kept, count);
        Arrays.sort(sorted);
        double exact = Math.rint(share * count * 1e9) / 1e9;
        return sorted[(int) Math.ceil(exact) - 1];
    }

    public double mean() {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += kept[i];
        }
        return sum / count;
    }

    public Map<String, Object> summary() {
        Map<String, Object> map = new LinkedHashMap<String, Object>();
        map.put("min_ms", percentile(1.0 / count));
        map.put("max_ms", percentile(1));
        map.put("mean_ms", mean());
        map.put("p50_ms", percentile(0.5));
        map.put("p90_ms", percentile(0.9));
        return map;
    }
}
