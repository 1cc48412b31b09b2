package org.edgepack.harness.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A NumPy array file of plain little-endian numbers in C order; rows are its first axis. */
public final class Npy {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
    private static final Pattern DESCR = Pattern.compile("'descr':\\s*'([<|])([iuf])([1248])'");
    private static final Pattern ORDER = Pattern.compile("'fortran_order':\\s*(True|False)");
    private static final Pattern SHAPE = Pattern.compile("'shape':\\s*\\(([0-9, ]*)\\)");

    public final String dtype;
    public final int rows;
    public final int rowBytes;
    public final int[] rowShape;
    private final byte[] file;
    private final int start;

    private Npy(byte[] file, int start, String dtype, int[] shape, int itemBytes) throws Refusal {
        long values = 1;
        for (int size : shape) {
            values *= size;
            if (values > Bundle.CEILING_BYTES) {
                throw new Refusal("npy: too large");
            }
        }
        if (shape.length == 0 || shape[0] < 1 || values * itemBytes != file.length - start) {
            throw new Refusal("npy: its data do not fill its shape");
        }
        this.file = file;
        this.start = start;
        this.dtype = dtype;
        this.rows = shape[0];
        this.rowBytes = (int) (values / shape[0] * itemBytes);
        this.rowShape = new int[shape.length - 1];
        System.arraycopy(shape, 1, rowShape, 0, rowShape.length);
    }

    public static Npy read(byte[] file) throws Refusal {
        if (file.length < 12) {
            throw new Refusal("npy: too short");
        }
        for (int i = 0; i < MAGIC.length; i++) {
            if (file[i] != MAGIC[i]) {
                throw new Refusal("npy: not an array file");
            }
        }
        ByteBuffer view = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
        boolean first = file[6] == 1;
        long length = first ? view.getShort(8) & 0xFFFF : view.getInt(8) & 0xFFFFFFFFL;
        long start = (first ? 10 : 12) + length;
        if (file[6] < 1 || file[6] > 3 || start > file.length) {
            throw new Refusal("npy: a header of unknown form");
        }
        int from = first ? 10 : 12;
        String head = new String(file, from, (int) length, Charset.forName("UTF-8"));
        Matcher descr = DESCR.matcher(head);
        Matcher order = ORDER.matcher(head);
        Matcher shape = SHAPE.matcher(head);
        if (!descr.find() || !order.find() || !shape.find() || order.group(1).equals("True")) {
            throw new Refusal("npy: wanted plain little-endian numbers in C order");
        }
        int bytes = Integer.parseInt(descr.group(3));
        if (descr.group(2).equals("f") && bytes < 4) {
            throw new Refusal("npy: wanted float32 or float64");
        }
        String kind = descr.group(2).equals("i") ? "int" : descr.group(2).equals("u") ? "uint" : "float";
        return new Npy(file, (int) start, kind + 8 * bytes, sizes(shape.group(1)), bytes);
    }

    private static int[] sizes(String text) throws Refusal {
        String[] words = text.trim().isEmpty() ? new String[0] : text.trim().split("\\s*,\\s*");
        int[] sizes = new int[words.length];
        for (int i = 0; i < words.length; i++) {
            if (!words[i].matches("[0-9]{1,9}")) {
                throw new Refusal("npy: a shape of unknown form");
            }
            sizes[i] = Integer.parseInt(words[i]);
        }
        return sizes;
    }

    /** Put row {@code index} (modulo the number of rows) into {@code into} from its start. */
    public void copyRow(int index, ByteBuffer into) {
        into.clear();
        into.put(file, start + (index % rows) * rowBytes, rowBytes);
        into.rewind();
    }
}
