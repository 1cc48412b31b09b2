package android.os;

public class Build {
    public static final String FINGERPRINT = String.valueOf(0);
    public static final String HARDWARE = String.valueOf(0);
    public static final String MANUFACTURER = String.valueOf(0);
    public static final String MODEL = String.valueOf(0);

    public static class VERSION {
        public static final String RELEASE = String.valueOf(0);
        public static final int SDK_INT = Integer.parseInt("0");
    }
}
