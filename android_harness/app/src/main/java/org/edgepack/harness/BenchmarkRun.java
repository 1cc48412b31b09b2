package org.edgepack.harness;

import android.content.Context;

import org.edgepack.harness.core.Bundle;
import org.edgepack.harness.core.Npy;
import org.edgepack.harness.core.RunRequest;
import org.edgepack.harness.core.Refusal;
import org.edgepack.harness.core.Report;
import org.edgepack.harness.core.Samples;
import org.tensorflow.lite.TensorFlowLite;

import java.io.File;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/** One request carried out: goldens, warm-up, timed inferences, memory; and its report. */
final class BenchmarkRun {
    private static final long PSS_EVERY_NANOS = 2000000000L;

    private final RunRequest request;
    private final Phone phone;

    BenchmarkRun(Context context, RunRequest request) {
        this.request = request;
        this.phone = new Phone(context);
    }

    Report run(File file) throws Refusal, IOException {
        Bundle bundle = Bundle.read(file, request.bundleSha256);
        Npy inputs = Npy.read(bundle.member("golden/inputs.npy"));
        Report report = new Report(request, System.currentTimeMillis()).bundle(bundle);
        report.put("device", phone.device());
        report.put("runtime", runtime());
        report.put("delegates", Delegates.seen());
        report.put("before", phone.conditions());
        try {
            carryOut(report, bundle, inputs);
        } catch (RuntimeException error) { // TFLite's word for a model or delegate it refuses
            report.ending("error", error.toString());
        }
        return report.put("after", phone.conditions());
    }

    private void carryOut(Report report, Bundle bundle, Npy inputs) throws Refusal {
        Delegates.Chosen chosen = Delegates.choose(request);
        if (chosen == null) {
            report.ending("unavailable", request.delegate + " is not run on this device");
            return;
        }
        long baseline = Phone.pssBytes();
        try (Model model = new Model(bundle.member("model.tflite"), chosen)) {
            model.refuseUnfit(inputs);
            model.feed(inputs, 0);
            double firstMs = model.invoke();
            byte[] answers = model.answers(inputs);
            for (int i = 0; i < request.warmup; i++) {
                model.feed(inputs, i);
                model.invoke();
            }
            Samples times = new Samples();
            long peak = Math.max(baseline, Phone.pssBytes());
            long start = System.nanoTime();
            long looked = start;
            while (!request.minimum.reached(times.seen(), System.nanoTime() - start)) {
                model.feed(inputs, (int) (times.seen() % inputs.rows));
                times.add(model.invoke());
                if (System.nanoTime() - looked > PSS_EVERY_NANOS) {
                    peak = Math.max(peak, Phone.pssBytes()); // between the times, not in them
                    looked = System.nanoTime();
                }
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            peak = Math.max(peak, Phone.pssBytes());
            report.run(request, times, seconds, model.initMs, firstMs);
            report.memory(baseline, peak);
            report.goldens(
                    model.rowsIn(answers), model.answerShape(), model.answerType(), answers);
            report.ending("ok", "ran " + times.seen() + " queries");
        }
    }

    private static Map<String, Object> runtime() {
        Map<String, Object> runtime = new LinkedHashMap<String, Object>();
        runtime.put("name", BuildConfig.RUNTIME);
        String own = TensorFlowLite.runtimeVersion();
        runtime.put("version", Report.line(BuildConfig.RUNTIME.equals("tflite")
                ? own : BuildConfig.RUNTIME_VERSION));
        return runtime;
    }
}
