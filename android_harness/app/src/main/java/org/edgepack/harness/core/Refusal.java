package org.edgepack.harness.core;

/** Why a bundle or an argument is not used; one line for a person. */
public final class Refusal extends Exception {
    private static final long serialVersionUID = 1L;

    public Refusal(String says) {
        super(says);
    }
}
