package android.app;

public class Activity extends android.content.ContextWrapper {
    public static final int RESULT_CANCELED = 0;
    public static final int RESULT_OK = -1;

    protected void onCreate(android.os.Bundle state) {}

    public void finish() {}

    public android.view.Window getWindow() { return null; }

    public void setContentView(android.view.View view) {}
}
