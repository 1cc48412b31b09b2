"""A bundle judged again, from nothing but itself: what was tested is what is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.bundle import archive, signing
from edgepack.bundle.archive import Bundle
from edgepack.errors import InputError
from edgepack.gates import absolute_accuracy, accuracy, sandbox
from edgepack.gates.expected import (
    BUNDLE,
    Origin,
    complete,
    data_gates,
    expected_gates,
    route_of,
)
from edgepack.gates.finding import Finding, How, Outcome, Verdict, failed, inconclusive
from edgepack.gates.static import check
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Facts, Tensor

_PACKS_ROWS: dict[Origin, str] = {
    "keras": "edgepack build MODEL.keras --data DATA --profile P --evidence '8 MiB' lets"
    " some travel along",
    "tflite": "edgepack bundle MODEL.tflite --data DATA --profile P --evidence '8 MiB' lets"
    " some travel along",
}
_PACKS_MORE: dict[Origin, str] = {
    "keras": "and edgepack build MODEL.keras --data DATA --profile P --evidence SIZE lets"
    " more travel along",
    "tflite": "and edgepack bundle MODEL.tflite --data DATA --profile P --evidence SIZE lets"
    " more travel along",
}
_SIGNS: dict[Origin, str] = {
    "keras": "edgepack build MODEL.keras --data DATA --profile P --sign-key KEY signs it",
    "tflite": "edgepack bundle MODEL.tflite --data DATA --profile P --sign-key KEY signs it",
}

RunGates = Callable[[Bundle, Profile], tuple[Finding, ...]]


def profile_of(bundle: Bundle) -> Profile:
    """Return the profile that the bundle was judged against.

    Raises:
        InputError: the bundle's own profile is of another form, or another device's.
    """
    manifest = bundle.manifest
    where = f"{manifest.name}: {archive.PROFILE}"
    profile = archive.parsed(Profile, bundle.files[archive.PROFILE], where)
    if profile.name != manifest.profile:
        raise InputError(
            f"{where}: wanted the device {manifest.profile} of {archive.MANIFEST}."
            f" Received: {profile.name}; get the bundle again"
        )
    return profile


def validate(
    bundle: Bundle,
    profile: Profile,
    runtime: Runtime,
    run_gates: RunGates,
    *,
    oracle: Runtime | None = None,
    trusted_pem: bytes | None = None,
    trusted_name: str = "",
) -> tuple[Facts, Verdict]:
    """Return every gate's answer about an unpacked bundle, whose digests already held.

    Args:
        profile: the bundle's own, or another device's.
        oracle: the runtime that answered the goldens; ``runtime`` unless told.
        trusted_pem: the public key whose signature the bundle must carry; None asks none.
    """
    facts, verdict = check(bundle.model, profile)
    verdict = verdict.plus(
        Finding(
            gate="integrity",
            verdict=Outcome.PASS,
            says=f"{len(bundle.files)} files equal their digests",
        )
    )
    if trusted_pem is not None:
        verdict = verdict.plus(_signature(bundle, trusted_pem, trusted_name))
    verdict = verdict.plus(_goldens(bundle, facts, oracle or runtime))
    verdict = verdict.plus(*_accuracy(bundle, profile, facts, runtime))
    verdict = verdict.plus(*_calibration(bundle, profile))
    verdict = verdict.plus(*run_gates(bundle, profile))
    manifest = bundle.manifest
    asked = expected_gates(
        profile,
        route_of(bundle.files),
        task=manifest.task,
        origin=manifest.origin,
        compared=manifest.fidelity is not None,
        floor=manifest.min_accuracy is not None,
    )
    return facts, complete(verdict, (*asked, *BUNDLE))


def _calibration(bundle: Bundle, profile: Profile) -> tuple[Finding, ...]:
    """Return the build's own finding, or that it does not hold for another device.

    Only the build had the calibration data; its finding is under the digest. It compares
    with its device's limit, so it says nothing about another's.
    """
    kept = {gate.gate: gate for gate in bundle.manifest.findings}
    if "calibration" not in kept or bundle.manifest.origin != "keras":
        return ()
    if profile == profile_of(bundle):
        return (kept["calibration"],)
    return (
        Finding(
            gate="calibration",
            verdict=Outcome.INCONCLUSIVE,
            says=f"judged when it was built, for {bundle.manifest.profile}; the rows do not"
            f" travel along: edgepack build MODEL.keras --data DATA --profile {profile.name}"
            " asks it",
        ),
    )


def _signature(bundle: Bundle, trusted_pem: bytes, name: str) -> Finding:
    mark = bundle.files.get(archive.SIGNATURE)
    text = archive.manifest_bytes(bundle.manifest)
    # Asked of an unsigned bundle too: a file that is no key must not end in a verdict.
    good = signing.verify(text, mark or b"", trusted_pem, name) and mark is not None
    says = "signed by the trusted key"
    if not good:
        says = "signed by another key, or altered since; get it from its maker again"
    return Finding(
        gate="signature_of_maker",
        verdict=Outcome.PASS if good else Outcome.FAIL,
        says=says
        if mark is not None
        else f"not signed, but --trust asks for it; {_SIGNS[bundle.manifest.origin]}",
    )


def goldens_of(bundle: Bundle, facts: Facts) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the golden (inputs, outputs), each of the model's own dtype and shape.

    Raises:
        InputError: absent, or of another form.
    """
    rows = bundle.manifest.golden_rows
    return (
        _form(bundle, "golden/inputs.npy", rows, facts.inputs[0]),
        _form(bundle, "golden/outputs.npy", rows, facts.outputs[0]),
    )


def _form(bundle: Bundle, name: str, rows: int, tensor: Tensor) -> NDArray[Any]:
    return _array(bundle, name, tensor.dtype, (rows, *tensor.shape[1:]))


def _goldens(bundle: Bundle, facts: Facts, runtime: Runtime) -> Finding:
    """Return whether the goldens come out under reference kernels: integers bit for bit.

    A float output may differ in its last bits between machines, as exp and fused
    multiply-add do; it is held to the limits of that.
    """
    inputs, wanted = goldens_of(bundle, facts)
    got = scoring.answers(runtime, bundle.model, inputs, kernels="reference")
    if wanted.dtype.kind == "f":
        where = f"{runtime.name} (reference kernels) against the bundle"
        return sandbox.goldens("goldens", got, wanted, sandbox.EXACT_FLOAT, where)[0]
    same = got.shape == wanted.shape and bool((got == wanted).all())
    wrong = int((got != wanted).sum()) if got.shape == wanted.shape else wanted.size
    return Finding(
        gate="goldens",
        verdict=Outcome.PASS if same else Outcome.FAIL,
        how=How.EMULATED,
        value=wrong,
        limit=0,
        unit="values",
        says=f"{len(wanted)} golden rows bit for bit on {runtime.name} (reference kernels)"
        if same
        else f"{wrong} of {wanted.size} golden values differ on {runtime.name};"
        " what is here is not what was tested: build it again",
    )


def _accuracy(
    bundle: Bundle, profile: Profile, facts: Facts, runtime: Runtime
) -> tuple[Finding, ...]:
    manifest = bundle.manifest
    if not manifest.evidence_rows:
        says = f"the bundle carries no test rows; {_PACKS_ROWS[manifest.origin]}"
        gates = data_gates(
            profile,
            manifest.task,
            origin="tflite",  # calibration is not asked of test rows
            compared=manifest.fidelity is not None,
            floor=manifest.min_accuracy is not None,
        )
        return tuple(inconclusive(gate, says) for gate in gates)
    rows, before, truth = _evidence(bundle, facts)
    codes = scoring.answers(runtime, bundle.model, rows)
    after = scoring.dequantized(codes, facts.outputs[0])
    if not np.isfinite(after).all():
        says = f"{runtime.name}: some outputs are NaN or infinite; check the model"
        gate = "accuracy_drop" if manifest.fidelity is not None else absolute_accuracy.GATE
        return (failed(gate, says),)
    cut, confidence = manifest.decision_threshold, profile.accuracy.confidence
    compared = None
    if before is not None:
        compared = accuracy.compare(
            manifest.task, truth, before, after, threshold=cut, confidence=confidence
        )
    score = absolute_accuracy.measure(
        manifest.task, truth, after, threshold=cut, confidence=confidence
    )
    found = absolute_accuracy.judge_rows(
        score,
        compared,
        profile.accuracy,
        manifest.min_accuracy,
        labels=manifest.labels,
        kind=facts.precision,
        origin=manifest.origin,
    )
    if manifest.evidence_rows >= manifest.test_rows:
        return found
    more = (
        f"; the bundle carries {manifest.evidence_rows:,} of {manifest.test_rows:,} test rows,"
        f" {_PACKS_MORE[manifest.origin]}"
    )
    return tuple(
        replace(each, says=each.says + more) if each.verdict is Outcome.INCONCLUSIVE else each
        for each in found
    )


def _evidence(
    bundle: Bundle, facts: Facts
) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any]]:
    """Return (inputs, float scores, targets), each of the model's own form.

    No float scores where the bundle was made without a float model.

    Raises:
        InputError: of another dtype, shape, length or range: such rows prove nothing.
    """
    manifest, rows = bundle.manifest, bundle.manifest.evidence_rows
    takes, gives = facts.inputs[0], facts.outputs[0]
    inputs = _array(bundle, "evidence/inputs.npy", takes.dtype, (rows, *takes.shape[1:]))
    scores = None
    if manifest.fidelity is not None:
        shape = (rows, *gives.shape[1:])
        scores = _array(bundle, "evidence/float_scores.npy", "float32", shape)
    if manifest.task != accuracy.CLASSIFICATION:
        shape = (rows, *gives.shape[1:])
        targets = _array(bundle, "evidence/targets.npy", "float32", shape)
        if len(np.unique(targets)) < 2:
            raise InputError(f"{manifest.name}: evidence/targets.npy: every target is the same")
        if manifest.task == accuracy.MULTILABEL and not np.isin(targets, (0, 1)).all():
            raise InputError(f"{manifest.name}: evidence/targets.npy: wanted labels of 0 and 1")
        return inputs, scores, targets
    targets = _array(bundle, "evidence/targets.npy", "int64", (rows,))
    classes = max(2, int(np.prod(gives.shape[1:])))
    if targets.min() < 0 or targets.max() >= classes:
        raise InputError(
            f"{manifest.name}: evidence/targets.npy: wanted classes 0 to {classes - 1}."
            f" Received: {targets.min()} to {targets.max()}"
        )
    return inputs, scores, targets


def _array(bundle: Bundle, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    found = bundle.array(name)
    if str(found.dtype) != dtype or found.shape != shape:
        raise InputError(
            f"{bundle.manifest.name}: {name}: wanted {dtype}{list(shape)}."
            f" Received: {found.dtype}{list(found.shape)}"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise InputError(f"{bundle.manifest.name}: {name}: holds NaN or infinity")
    return found
