package android.content;

public abstract class Context {
    public static final String POWER_SERVICE = "power";

    public abstract java.io.File getFilesDir();

    public abstract Object getSystemService(String name);

    public abstract Intent registerReceiver(BroadcastReceiver receiver, IntentFilter filter);
}
