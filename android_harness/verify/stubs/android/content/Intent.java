package android.content;

public class Intent {
    public static final String ACTION_BATTERY_CHANGED = "android.intent.action.BATTERY_CHANGED";
    public static final int FLAG_ACTIVITY_NEW_TASK = 0x10000000;

    public Intent(Context context, Class<?> kind) {}

    public Intent addFlags(int flags) { return null; }

    public int getIntExtra(String name, int otherwise) { return 0; }
}
