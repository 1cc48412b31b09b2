package org.edgepack.harness;

import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.os.Build;
import android.os.Debug;
import android.os.PowerManager;

import org.edgepack.harness.core.Report;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What the device is and how it feels; what it does not tell stays out of the report. */
final class Phone {
    private static final int THERMAL_STATUS_SINCE = 29;
    private static final String CPUS = "/sys/devices/system/cpu/cpu";

    private final Context context;

    Phone(Context context) {
        this.context = context;
    }

    Map<String, Object> device() {
        Map<String, Object> device = new LinkedHashMap<String, Object>();
        device.put("manufacturer", Report.line(Build.MANUFACTURER));
        device.put("model", Report.line(Build.MODEL));
        device.put("fingerprint", Report.line(Build.FINGERPRINT));
        device.put("sdk", Build.VERSION.SDK_INT);
        device.put("release", Report.line(Build.VERSION.RELEASE));
        // what this process runs as: a 64-bit phone may have been given the 32-bit libraries
        device.put("abi", Report.line(System.getProperty("os.arch")));
        device.put("cpus", Runtime.getRuntime().availableProcessors());
        Long ram = memTotalBytes();
        if (ram != null) {
            device.put("ram_bytes", ram);
        }
        device.put("emulated", emulated());
        return device;
    }

    private static boolean emulated() {
        String words = (Build.FINGERPRINT + " " + Build.HARDWARE).toLowerCase(Locale.US);
        for (String mark : new String[] {"generic", "sdk_gphone", "emulator", "vbox", "ranchu",
            "goldfish"}) {
            if (words.contains(mark)) {
                return true;
            }
        }
        return false;
    }

    Map<String, Object> conditions() {
        Map<String, Object> state = new LinkedHashMap<String, Object>();
        PowerManager power = (PowerManager) context.getSystemService(Context.POWER_SERVICE);
        if (Build.VERSION.SDK_INT >= THERMAL_STATUS_SINCE) {
            state.put("thermal_status", power.getCurrentThermalStatus());
        }
        state.put("power_save", power.isPowerSaveMode());
        battery(state);
        String governor = line(CPUS + "0/cpufreq/scaling_governor");
        if (governor != null) {
            state.put("governor", Report.line(governor));
        }
        List<Object> clocks = new ArrayList<Object>();
        for (int i = 0; i < Runtime.getRuntime().availableProcessors(); i++) {
            Long khz = number(line(CPUS + i + "/cpufreq/scaling_cur_freq"));
            if (khz != null) {
                clocks.add(khz);
            }
        }
        state.put("clocks_khz", clocks);
        return state;
    }

    private void battery(Map<String, Object> state) {
        IntentFilter changed = new IntentFilter(Intent.ACTION_BATTERY_CHANGED);
        Intent battery = context.registerReceiver(null, changed); // sticky: answers at once
        if (battery == null) {
            return;
        }
        int level = battery.getIntExtra("level", -1);
        int scale = battery.getIntExtra("scale", -1);
        if (level >= 0 && scale > 0 && level <= scale) {
            state.put("battery_percent", 100 * level / scale);
        }
        int tenths = battery.getIntExtra("temperature", Integer.MIN_VALUE);
        if (tenths > -600 && tenths < 2500) {
            state.put("battery_c", tenths / 10.0);
        }
        state.put("plugged", battery.getIntExtra("plugged", 0) != 0);
    }

    /** Memory of this process with shared pages divided, in bytes. */
    static long pssBytes() {
        return Debug.getPss() * 1024L;
    }

    private static Long memTotalBytes() {
        String line = line("/proc/meminfo"); // its first line is MemTotal
        if (line == null || !line.startsWith("MemTotal:")) {
            return null;
        }
        Long kib = number(line.replaceAll("[^0-9]", ""));
        return kib == null ? null : kib * 1024L;
    }

    private static Long number(String text) {
        return text != null && text.matches("[0-9]{1,15}") ? Long.valueOf(text) : null;
    }

    /** The first line of a file; null where the system does not let an app read it. */
    private static String line(String path) {
        try (BufferedReader in =
                new BufferedReader(
                        new InputStreamReader(new FileInputStream(new File(path)), "UTF-8"))) {
            String line = in.readLine();
            return line == null ? null : line.trim();
        } catch (IOException error) {
            return null;
        }
    }
}
