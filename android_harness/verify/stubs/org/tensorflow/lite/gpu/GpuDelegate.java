package org.tensorflow.lite.gpu;

public class GpuDelegate implements org.tensorflow.lite.Delegate, java.io.Closeable {
    @Override
    public long getNativeHandle() { return 0; }

    @Override
    public void close() {}
}
