package org.edgepack.harness.core;

/** The least a run must have done: both hold, as edgepack/device/samples.py says. */
public enum Minimum {
    FULL("full", 1024, 60),
    QUICK("quick", 128, 10);

    public final String word;
    public final int queries;
    public final double seconds;

    Minimum(String word, int queries, double seconds) {
        this.word = word;
        this.queries = queries;
        this.seconds = seconds;
    }

    public static Minimum of(String word) throws Refusal {
        for (Minimum each : values()) {
            if (each.word.equals(word)) {
                return each;
            }
        }
        throw new Refusal("mode: wanted full or quick. Received: " + word);
    }

    public boolean reached(long done, long nanos) {
        return done >= queries && nanos >= (long) (seconds * 1e9);
    }
}
