package org.edgepack.harness;

import org.edgepack.harness.core.RunRequest;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.gpu.CompatibilityList;
import org.tensorflow.lite.gpu.GpuDelegate;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Which paths there are on this device, and the options of the one that was ordered. */
final class Delegates {
    /** The interpreter's options; {@code close} gives the accelerator back after the model. */
    static final class Chosen {
        final Interpreter.Options options;
        private final GpuDelegate delegate;

        Chosen(Interpreter.Options options, GpuDelegate delegate) {
            this.options = options;
            this.delegate = delegate;
        }

        void close() {
            if (delegate != null) {
                delegate.close();
            }
        }
    }

    private Delegates() {}

    /** The options, or null where this device or this harness has no such path. */
    static Chosen choose(RunRequest request) {
        Interpreter.Options options = new Interpreter.Options();
        options.setNumThreads(request.threads);
        if (request.delegate.equals("cpu")) {
            return new Chosen(options, null); // what the runtime does on its own
        }
        if (request.delegate.equals("xnnpack")) {
            options.setUseXNNPACK(true);
            return new Chosen(options, null);
        }
        if (request.delegate.equals("gpu") && gpu()) {
            GpuDelegate delegate = new GpuDelegate();
            options.addDelegate(delegate);
            return new Chosen(options, delegate);
        }
        return null;
    }

    /** What the device says about each path; NNAPI is recorded only: deprecated in Android 15. */
    static List<Object> seen() {
        List<Object> all = new ArrayList<Object>();
        all.add(seen("cpu", true, "always there"));
        all.add(seen("xnnpack", true, "part of the runtime"));
        all.add(seen("gpu", gpu(), "the runtime's list of compatible devices"));
        boolean nnapi = android.os.Build.VERSION.SDK_INT >= 27;
        all.add(seen("nnapi", nnapi, "API level 27 and later; recorded, never run"));
        return all;
    }

    private static Map<String, Object> seen(String name, boolean available, String says) {
        Map<String, Object> one = new LinkedHashMap<String, Object>();
        one.put("name", name);
        one.put("available", available);
        one.put("says", says);
        return one;
    }

    private static boolean gpu() {
        try (CompatibilityList list = new CompatibilityList()) {
            return list.isDelegateSupportedOnThisDevice();
        } catch (LinkageError error) {
            return false; // no GPU library for this ABI
        }
    }
}
