package android.os;

public class BaseBundle {
    public String getString(String key) { return null; }

    public void putString(String key, String value) {}

    public java.util.Set<String> keySet() { return null; }
}
