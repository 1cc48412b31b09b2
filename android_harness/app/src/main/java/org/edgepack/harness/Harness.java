package org.edgepack.harness;

import android.app.Activity;
import android.app.Instrumentation;
import android.content.Intent;
import android.os.Bundle;

import org.edgepack.harness.core.RunRequest;
import org.edgepack.harness.core.Refusal;
import org.edgepack.harness.core.Report;

import java.io.File;
import java.util.HashMap;
import java.util.Map;

/**
 * Started by {@code am instrument -w}: runs one request on one bundle and leaves one report.
 *
 * <p>It reads nothing but the bundle in its own folder, and has no permission to do more.
 */
public final class Harness extends Instrumentation {
    private Bundle arguments;

    @Override
    public void onCreate(Bundle given) {
        super.onCreate(given);
        arguments = given;
        start();
    }

    @Override
    public void onStart() {
        super.onStart();
        Bundle result = new Bundle();
        try {
            RunRequest request = new RunRequest(words(arguments));
            File folder = getTargetContext().getFilesDir();
            Activity screen = foreground();
            Report report = new BenchmarkRun(getTargetContext(), request).run(request.bundleIn(folder));
            File place = request.reportIn(folder);
            report.write(place);
            screen.finish();
            result.putString("report", place.getName());
            finish(Activity.RESULT_OK, result);
        } catch (Refusal refusal) {
            result.putString("error", Report.line(refusal.getMessage()));
            finish(Activity.RESULT_CANCELED, result);
        } catch (java.io.IOException error) {
            result.putString("error", Report.line(error.toString()));
            finish(Activity.RESULT_CANCELED, result);
        }
    }

    /** A visible activity: the scheduler puts background processes on the slow cores. */
    private Activity foreground() {
        Intent intent = new Intent(getTargetContext(), Screen.class);
        intent.addFlags(Intent.FLAG_ACTIVITY_NEW_TASK);
        return startActivitySync(intent);
    }

    private static Map<String, String> words(Bundle given) {
        Map<String, String> words = new HashMap<String, String>();
        for (String key : given.keySet()) {
            words.put(key, given.getString(key));
        }
        return words;
    }
}
