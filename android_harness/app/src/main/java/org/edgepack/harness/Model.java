package org.edgepack.harness;

import org.edgepack.harness.core.Npy;
import org.edgepack.harness.core.Refusal;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;

import java.io.Closeable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A model in the runtime that this flavour carries, one row in and one row out. */
final class Model implements Closeable {
    private static final int MOST_OUTPUT_BYTES = 4 * 1024 * 1024; // of golden answers in a report

    private final Delegates.Chosen chosen;
    private final Interpreter interpreter;
    private final ByteBuffer input;
    private final ByteBuffer output;
    final double initMs;

    Model(byte[] tflite, Delegates.Chosen chosen) throws Refusal {
        ByteBuffer bytes = ByteBuffer.allocateDirect(tflite.length).order(ByteOrder.nativeOrder());
        bytes.put(tflite);
        bytes.rewind();
        this.chosen = chosen;
        long start = System.nanoTime();
        interpreter = new Interpreter(bytes, chosen.options);
        interpreter.allocateTensors();
        initMs = Math.max(System.nanoTime() - start, 1) / 1e6;
        if (interpreter.getInputTensorCount() != 1) {
            interpreter.close();
            throw new Refusal("wanted a model of one input tensor");
        }
        input = buffer(interpreter.getInputTensor(0));
        output = buffer(interpreter.getOutputTensor(0));
    }

    private static ByteBuffer buffer(Tensor tensor) {
        return ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder());
    }

    void refuseUnfit(Npy inputs) throws Refusal {
        String wanted = dtype(interpreter.getInputTensor(0).dataType());
        if (inputs.rowBytes != input.capacity() || !inputs.dtype.equals(wanted)) {
            throw new Refusal("golden inputs of " + inputs.dtype + " with " + inputs.rowBytes
                    + " B a row, the model wants " + wanted + " with " + input.capacity() + " B");
        }
    }

    void feed(Npy inputs, int row) {
        inputs.copyRow(row, input);
    }

    /** One inference of what was fed; milliseconds of the runtime's call alone. */
    double invoke() {
        input.rewind();
        output.rewind();
        long start = System.nanoTime();
        interpreter.run(input, output);
        return Math.max(System.nanoTime() - start, 1) / 1e6;
    }

    /** The answers to as many golden rows as a report may hold. */
    byte[] answers(Npy inputs) {
        int rows = Math.max(1, Math.min(inputs.rows, MOST_OUTPUT_BYTES / output.capacity()));
        byte[] all = new byte[rows * output.capacity()];
        for (int row = 0; row < rows; row++) {
            feed(inputs, row);
            invoke();
            output.rewind();
            output.get(all, row * output.capacity(), output.capacity());
        }
        return all;
    }

    int rowsIn(byte[] answers) {
        return answers.length / output.capacity();
    }

    /** The output's shape without its batch of one, as edgepack writes golden outputs. */
    int[] answerShape() {
        int[] shape = interpreter.getOutputTensor(0).shape();
        if (shape.length > 0 && shape[0] == 1) {
            int[] row = new int[shape.length - 1];
            System.arraycopy(shape, 1, row, 0, row.length);
            return row;
        }
        return shape;
    }

    String answerType() {
        return dtype(interpreter.getOutputTensor(0).dataType());
    }

    private static String dtype(DataType type) {
        return type.name().toLowerCase(java.util.Locale.US); // FLOAT32, INT8, UINT8, INT32 ...
    }

    @Override
    public void close() {
        interpreter.close();
        chosen.close();
    }
}
