package android.content;

public class ContextWrapper extends Context {
    @Override
    public java.io.File getFilesDir() { return null; }

    @Override
    public Object getSystemService(String name) { return null; }

    @Override
    public Intent registerReceiver(BroadcastReceiver receiver, IntentFilter filter) { return null; }
}
