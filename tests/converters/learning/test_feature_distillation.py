"""Inner maps come nearer to the teacher's, and with both weights 0 nothing is different."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.errors import ModelRefused
from converters.quantized.qat import Qat
from converters.structure.channels import Channels
from converters.structure.collaborate import Collaborate
from converters.structure.lowrank import LowRank
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(160, 32, 32, (8, 8, 2))


def net(seed: int = 3, width: int = 32, activation: str = "relu", strides: int = 2) -> Any:
    from converters import keras2

    keras2.seed(seed)
    layers = keras2.keras.layers
    inputs = keras2.keras.Input((8, 8, 2))
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="first")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="seen")(x)
    x = layers.Conv2D(width, 3, strides, padding="same", activation=activation, name="second")(
        x
    )
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(3, activation="softmax", name="out")(x)
    return keras2.keras.Model(inputs, outputs, name="net")


def feature_distillation(model: Any, teacher: Any, samples: Samples, **settings: Any) -> Any:
    from converters.learning import feature_distillation

    training = settings.pop("training", TRAINING)
    return feature_distillation.compare_maps(
        model, teacher, samples.x_train, training, **settings
    )


def trained(model: Any, teacher: Any, samples: Samples, **settings: Any) -> Any:
    from converters.learning import finetune, objective

    training = settings.pop("training", TRAINING)
    plan = finetune.FineTuneSettings(
        **{"stage": "t", "epochs": 2, "learning_rate": 1e-3, "distillation": 0.5} | settings
    )
    goal = objective.objective(model, training)
    return finetune.fine_tune(model, goal, samples, training, plan, teacher=teacher)


def weights(model: Any) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def test_attention_is_the_distance_of_normalised_mean_squares(samples: Samples) -> None:
    rng = np.random.default_rng(1)
    mine, theirs = rng.normal(size=(5, 4, 3, 6)), rng.normal(size=(5, 4, 3, 9))
    inner = feature_distillation(net(1), net(2, width=16), samples, attention=3.0)
    looks = [(rows**2).mean(-1).reshape(5, 12) for rows in (mine, theirs)]
    looks = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in looks]
    wanted = 3 * ((looks[0] - looks[1]) ** 2).sum(1).mean()
    maps = [[rows.astype(np.float32)] * 2 for rows in (mine, theirs)]
    assert float(inner.loss(*maps)) == pytest.approx(wanted, rel=1e-5)


def test_features_are_errors_over_the_teachers_variance(samples: Samples) -> None:
    student, teacher = net(1), net(2)
    inner = feature_distillation(student, teacher, samples, features=2.0, layers=("second",))
    assert inner.regressors == (None,)
    mine, theirs = (
        np.asarray(model(samples.x_train)[1]) for model in (inner.student, inner.teacher)
    )
    variance = theirs.reshape(-1, 32).var(0).mean()  # 160 rows of 16 places: all are taken
    wanted = 2 * ((mine - theirs) ** 2).mean() / variance
    assert float(inner.loss([mine], [theirs])) == pytest.approx(wanted, rel=1e-4)


def test_a_regressor_starts_at_the_best_linear_map(samples: Samples) -> None:
    inner = feature_distillation(
        net(1, width=8), net(2), samples, features=1.0, layers=("second",)
    )
    mine, theirs = (
        np.asarray(model(samples.x_train)[1]) for model in (inner.student, inner.teacher)
    )
    wide = np.hstack([mine.reshape(-1, 8), np.ones((mine.size // 8, 1))])
    solved = np.linalg.lstsq(wide, theirs.reshape(-1, 32), rcond=None)[0]
    rest = ((wide @ solved - theirs.reshape(-1, 32)) ** 2).mean()
    wanted = rest / theirs.reshape(-1, 32).var(0).mean()
    assert float(inner.loss([mine], [theirs])) == pytest.approx(wanted, rel=1e-3)
    assert wanted < 1
    assert [tuple(v.shape) for v in inner.variables] == [(8, 32), (32,)]


@pytest.mark.parametrize("distillation", [0.0, 0.5])
def test_with_both_weights_zero_training_is_what_it_was(
    samples: Samples, distillation: float
) -> None:
    """The loop written out here, which knows nothing of maps, makes the same bits."""
    from converters import keras2
    from converters.keras2 import keras, tf

    student, teacher, twin = net(1), net(2), net(1)
    trained(student, teacher, samples, distillation=distillation, epochs=1)
    keras2.seed(TRAINING.seed)
    teacher_maps = keras2.predict(teacher, samples.x_train)
    pace = keras.optimizers.schedules.CosineDecay(1e-3, 5, alpha=0.01)
    adam = keras.optimizers.Adam(pace)
    sparse = keras.losses.SparseCategoricalCrossentropy()

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any, soft: Any) -> Any:
        with tf.GradientTape() as tape:
            out = twin(x, training=True)
            loss = tf.reduce_mean(sparse(y, out))
            if distillation:
                raw = [tf.math.log(tf.maximum(rows, 1e-30)) / 4.0 for rows in (soft, out)]
                near = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(raw[0]), raw[1])
                loss = distillation * (16.0 * tf.reduce_mean(near)) + (1 - distillation) * loss
        trained_here = twin.trainable_variables
        adam.apply_gradients(zip(tape.gradient(loss, trained_here), trained_here, strict=True))
        return loss

    order = np.random.default_rng(TRAINING.seed).permutation(160)
    for rows in order.reshape(5, 32):
        step(
            *(
                tf.constant(part[rows])
                for part in (samples.x_train, samples.y_train, teacher_maps)
            )
        )
    for one, other in zip(weights(student), weights(twin), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("augment", [(), ("hflip",)])
@pytest.mark.parametrize("distillation", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["attention", "features"])
def test_maps_come_nearer_than_without(
    samples: Samples, kind: str, distillation: float, augment: tuple[str, ...]
) -> None:
    teacher, training = net(2), replace(TRAINING, augment=augment)
    away = []
    for weight in (0.0, 10.0):
        student = net(1)
        settings = {"distillation": distillation, "training": training, kind: weight}
        trained(student, teacher, samples, **settings)
        inner = feature_distillation(student, teacher, samples, **{kind: 1.0})
        maps = (model(samples.x_test)[1:] for model in (inner.student, inner.teacher))
        away.append(float(inner.loss(*maps)))
    assert away[1] < 0.9 * away[0]


STAGES = [
    Channels(macs=0.6, epochs=1, attention=1.0, features=1.0),
    LowRank(macs=0.7, epochs=1, multiple=4, attention=1.0, features=1.0),
    Collaborate(macs=0.6, epochs=1, attention=1.0, features=1.0),
    Prune(epochs=2, attention=1.0, features=1.0),
    Prune(epochs=1, reconstruct=True, distillation=1.0, features=1.0),
    Cluster(clusters=8, epochs=1, attention=1.0, features=1.0),
    Qat(epochs=3, attention=1.0, features=1.0),
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: type(stage).__name__)
@pytest.mark.parametrize("layers", [(), ("first", "second")])
def test_each_stage_compares_the_layers_of_the_users_model(
    samples: Samples, monkeypatch: pytest.MonkeyPatch, stage: Any, layers: tuple[str, ...]
) -> None:
    from converters.learning import feature_distillation

    model, seen = net(2), []
    original = feature_distillation.compare_maps

    def noted(*given: Any, **settings: Any) -> Any:
        seen.append(original(*given, **settings))
        return seen[-1]

    monkeypatch.setattr(feature_distillation, "compare_maps", noted)
    before = weights(model)
    replace(stage, layers=layers)(Draft(model), samples, replace(TRAINING, original=model))
    assert seen
    for inner in seen:
        # Behind its normalization and activation, wherever those were folded to.
        assert inner.names == ("seen", "second")
        teacher_maps = [np.asarray(part) for part in inner.teacher(samples.x_test)]
        whole = [model.get_layer(name).output for name in ("seen", "second")]
        from converters.keras2 import keras

        wanted = keras.Model(model.inputs, whole)(samples.x_test)
        for one, other in zip(teacher_maps[1:], wanted, strict=True):
            np.testing.assert_allclose(one, np.asarray(other), atol=1e-4)
    assert all((a == b).all() for a, b in zip(before, weights(model), strict=True))


def test_a_trained_quantized_map_starts_near_the_teachers(samples: Samples) -> None:
    """What is compared in training for int8 is the same tensor, rounded: not one before it."""
    from converters.learning import feature_distillation

    model, first = net(2), []
    original = feature_distillation.compare_maps

    def noted(*given: Any, **settings: Any) -> Any:
        inner = original(*given, **settings)
        maps = (each(samples.x_train)[1:] for each in (inner.student, inner.teacher))
        first.append(float(inner.loss(*maps)))
        return inner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_distillation, "compare_maps", noted)
        stage = Qat(epochs=3, features=1.0, distillation=1.0, learning_rate=1e-4)
        stage(Draft(model), samples, replace(TRAINING, original=model))
    assert len(first) == 2
    assert first[1] < 0.05  # after two epochs; 1 is what a constant reaches


def test_another_teacher_is_compared_where_resolutions_meet(samples: Samples) -> None:
    student, teacher = net(1), net(5, width=24)
    for number, layer in enumerate(teacher.layers):
        layer._name = f"other_{number}"
    training = replace(TRAINING, original=student, teacher=teacher)
    inner = feature_distillation(student, teacher, samples, features=1.0, training=training)
    assert inner.names == ("seen", "second")
    shapes = [tuple(part.shape[1:]) for part in inner.teacher.outputs[1:]]
    assert shapes == [(8, 8, 24), (4, 4, 24)]


@pytest.mark.parametrize(
    ("layers", "other", "says"),
    [
        (("secnd",), {}, r"layers: .*Received: 'secnd'; nearest: second"),
        (("second",), {"strides": 1}, r"second: .*\(8, 8\). Received: \(4, 4\)"),
        (("global_average_pooling2d",), {}, "attention wants a map of several places"),
    ],
)
def test_layers_that_cannot_be_compared_are_named(
    samples: Samples, layers: tuple[str, ...], other: dict[str, Any], says: str
) -> None:
    student, teacher = net(1), net(2, **other)
    for each in (student, teacher):
        each.layers[-2]._name = "global_average_pooling2d"
    with pytest.raises(ModelRefused, match=says):
        feature_distillation(student, teacher, samples, attention=1.0, layers=layers)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"attention": 1.0}, "several places .* none; use features, or set attention to 0"),
        ({"features": 1.0}, "none; name layers, or set features to 0"),
    ],
)
def test_nothing_to_compare_is_said(
    samples: Samples, asked: dict[str, float], says: str
) -> None:
    from converters.keras2 import keras

    inputs = keras.Input((8, 8, 2))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(flat))
    with pytest.raises(ModelRefused, match=says):
        feature_distillation(model, model, samples, **asked)


def test_an_input_is_no_layer_to_compare(samples: Samples) -> None:
    model = net(1)
    name = model.layers[0].name
    with pytest.raises(ModelRefused, match=f"not of an input. Received: '{name}'"):
        feature_distillation(model, net(2), samples, features=1.0, layers=(name,))


def test_a_map_that_is_the_same_for_all_rows_is_refused(samples: Samples) -> None:
    teacher = net(2)
    last = teacher.get_layer("second")
    last.set_weights([np.zeros_like(weight) for weight in last.get_weights()])
    with pytest.raises(ModelRefused, match="second: wanted a teacher's map that differs"):
        feature_distillation(net(1), teacher, samples, features=1.0)


@pytest.mark.parametrize("task", ["regression", "reconstruction"])
def test_values_are_learned_with_maps_too(samples: Samples, task: str) -> None:
    from converters import keras2

    layers = keras2.keras.layers

    def made(seed: int) -> Any:
        keras2.seed(seed)
        inputs = keras2.keras.Input((8, 8, 2))
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name="inner")(inputs)
        if task == "reconstruction":
            return keras2.keras.Model(inputs, layers.Conv2D(2, 3, padding="same")(x))
        return keras2.keras.Model(inputs, layers.Dense(1)(layers.GlobalMaxPooling2D()(x)))

    training, teacher, away = replace(TRAINING, task=task), made(1), []
    rows = replace(
        samples,
        y_train=samples.y_train.astype(np.float32),
        y_val=samples.y_val.astype(np.float32),
    )
    for weight in (0.0, 10.0):
        student = made(2)
        trained(student, teacher, rows, training=training, features=weight, learning_rate=1e-2)
        inner = feature_distillation(student, teacher, samples, features=1.0, layers=("inner",))
        maps = (model(samples.x_test)[1:] for model in (inner.student, inner.teacher))
        away.append(float(inner.loss(*maps)))
    assert away[1] < 0.9 * away[0]
