package org.edgepack.harness.core;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as maps, lists, strings, doubles and longs; bounded, because it comes from outside. */
public final class Json {
    private static final int DEPTH = 64;

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    public static Object parse(String text) throws Refusal {
        Json json = new Json(text);
        Object value = json.value(0);
        json.blanks();
        if (json.at != text.length()) {
            throw json.wrong("the end");
        }
        return value;
    }

    private Object value(int depth) throws Refusal {
        if (depth > DEPTH) {
            throw wrong("less nesting");
        }
        blanks();
        char next = peek();
        if (next == '{') {
            return object(depth);
        }
        if (next == '[') {
            return array(depth);
        }
        if (next == '"') {
            return string();
        }
        if (next == '-' || (next >= '0' && next <= '9')) {
            return number();
        }
        for (String word : new String[] {"true", "false", "null"}) {
            if (text.startsWith(word, at)) {
                at += word.length();
                return word.equals("null") ? null : Boolean.valueOf(word);
            }
        }
        throw wrong("a value");
    }

    private Map<String, Object> object(int depth) throws Refusal {
        Map<String, Object> found = new LinkedHashMap<String, Object>();
        take('{');
        blanks();
        if (peek() == '}') {
            at++;
            return found;
        }
        while (true) {
            blanks();
            String key = string();
            blanks();
            take(':');
            if (found.containsKey(key)) {
                throw wrong("each key once");
            }
            found.put(key, value(depth + 1));
            blanks();
            if (peek() == ',') {
                at++;
                continue;
            }
            take('}');
            return found;
        }
    }

    private List<Object> array(int depth) throws Refusal {
        List<Object> found = new ArrayList<Object>();
        take('[');
        blanks();
        if (peek() == ']') {
            at++;
            return found;
        }
        while (true) {
            found.add(value(depth + 1));
            blanks();
            if (peek() == ',') {
                at++;
                continue;
            }
            take(']');
            return found;
        }
    }

    private String string() throws Refusal {
        take('"');
        StringBuilder found = new StringBuilder();
        while (true) {
            char next = peek();
            at++;
            if (next == '"') {
                return found.toString();
            }
            if (next < ' ') {
                throw wrong("no control character");
            }
            if (next != '\\') {
                found.append(next);
                continue;
            }
            char escaped = peek();
            at++;
            int place = "\"\\/bfnrt".indexOf(escaped);
            if (place >= 0) {
                found.append("\"\\/\b\f\n\r\t".charAt(place));
            } else if (escaped == 'u' && at + 4 <= text.length()) {
                String digits = text.substring(at, at + 4);
                if (!digits.matches("[0-9a-fA-F]{4}")) {
                    throw wrong("four hexadecimal digits");
                }
                found.append((char) Integer.parseInt(digits, 16));
                at += 4;
            } else {
                throw wrong("an escape");
            }
        }
    }

    private Object number() throws Refusal {
        int start = at;
        while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String word = text.substring(start, at);
        try {
            if (word.matches("-?(0|[1-9][0-9]{0,17})")) {
                return Long.valueOf(word);
            }
            if (word.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")) {
                return Double.valueOf(word);
            }
        } catch (NumberFormatException error) {
            throw wrong("a number");
        }
        throw wrong("a number");
    }

    private void blanks() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private char peek() throws Refusal {
        if (at >= text.length()) {
            throw wrong("more");
        }
        return text.charAt(at);
    }

    private void take(char wanted) throws Refusal {
        if (peek() != wanted) {
            throw wrong("'" + wanted + "'");
        }
        at++;
    }

    private Refusal wrong(String wanted) {
        return new Refusal("JSON: wanted " + wanted + " at character " + at);
    }

    public static String text(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value);
        return out.toString();
    }

    private static void write(StringBuilder out, Object value) {
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof Double || value instanceof Float) {
            double number = ((Number) value).doubleValue();
            if (Double.isNaN(number) || Double.isInfinite(number)) {
                throw new IllegalArgumentException("JSON has no " + number);
            }
            out.append(number);
        } else if (value instanceof Number) {
            out.append(((Number) value).longValue());
        } else if (value instanceof Map) {
            writeMap(out, (Map<?, ?>) value);
        } else if (value instanceof Iterable) {
            out.append('[');
            for (Iterator<?> each = ((Iterable<?>) value).iterator(); each.hasNext(); ) {
                write(out, each.next());
                out.append(each.hasNext() ? "," : "");
            }
            out.append(']');
        } else {
            quote(out, value.toString());
        }
    }

    private static void writeMap(StringBuilder out, Map<?, ?> map) {
        out.append('{');
        for (Iterator<? extends Map.Entry<?, ?>> each = map.entrySet().iterator();
                each.hasNext(); ) {
            Map.Entry<?, ?> entry = each.next();
            quote(out, entry.getKey().toString());
            out.append(':');
            write(out, entry.getValue());
            out.append(each.hasNext() ? "," : "");
        }
        out.append('}');
    }

    private static void quote(StringBuilder out, String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char each = text.charAt(i);
            if (each == '"' || each == '\\') {
                out.append('\\').append(each);
            } else if (each < ' ' || each > '~') {
                out.append(String.format("\\u%04x", (int) each));
            } else {
                out.append(each);
            }
        }
        out.append('"');
    }
}
