package android.app;

public class Instrumentation {
    public void onCreate(android.os.Bundle arguments) {}

    public void onStart() {}

    public void start() {}

    public void finish(int code, android.os.Bundle results) {}

    public android.content.Context getTargetContext() { return null; }

    public Activity startActivitySync(android.content.Intent intent) { return null; }
}
