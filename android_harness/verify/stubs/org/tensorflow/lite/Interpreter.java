package org.tensorflow.lite;

public final class Interpreter implements AutoCloseable {
    public static class Options {
        public Options setNumThreads(int threads) { return null; }

        public Options setUseXNNPACK(boolean use) { return null; }

        public Options addDelegate(Delegate delegate) { return null; }
    }

    public Interpreter(java.nio.ByteBuffer model, Options options) {}

    public void allocateTensors() {}

    public void run(Object input, Object output) {}

    public int getInputTensorCount() { return 0; }

    public Tensor getInputTensor(int index) { return null; }

    public Tensor getOutputTensor(int index) { return null; }

    @Override
    public void close() {}
}
