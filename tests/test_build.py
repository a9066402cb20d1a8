"""Config to jitted step: meshes, optimizer, and mistakes in a config."""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import configs
from configs import demo
from dap_jax.core import optimizer as optim
from dap_jax.core.train_step import Frozen
from dap_jax.distributed import parameters, sharding
from dap_jax.training import build
from dap_jax.utils.errors import UserError
from tests.test_objectives import VOCABULARY, batch_of

# Keys of a config that are arguments of `build.build`.
BUILT = ("seed", "steps", "max_tokens", "model", "decoder", "unmasking", "vector_decoder")
BUILT += ("objectives", "optimizer")


def settings_of(**mesh):
  config = demo.get_config()
  encoder = config.model.encoder
  encoder.layers, encoder.width, encoder.heads, encoder.mlp_width = 1, 16, 2, 32
  config.model.dropout = 0.1
  config.max_tokens, config.mesh = 12, {"data": -1, "fsdp": 1, "model": 1} | mesh
  config = config.to_dict()
  keys = (*BUILT, "mesh")
  return {key: config[key] for key in keys}


def trained(steps=3, **mesh):
  train_program = build.build(vocabulary=VOCABULARY, **settings_of(**mesh))
  state = train_program.init({})
  for step in range(steps):
    batch = jax.tree.map(np.asarray, batch_of([[5, 9], [7, 4]] * 4, seed=step))
    state, means = train_program.step(
      state, sharding.put_batch(batch, train_program.mesh, batch_size=8), Frozen()
    )
  return jax.device_get(state), {name: float(mean.compute()) for name, mean in means.items()}


def test_a_mesh_changes_nothing_but_places():
  """Every axis in turn and all at once, dropout on: the same losses and parameters to 1e-5."""
  state, means = trained(data=8)
  for mesh in ({"model": 4}, {"fsdp": 4}, {"data": 2, "fsdp": 2, "model": 2}):
    other, other_means = trained(**mesh)
    for name in means:
      np.testing.assert_allclose(means[name], other_means[name], rtol=1e-5, err_msg=name)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, other.params
    )


def test_the_same_run_twice_is_equal_bit_for_bit():
  first, second = trained()[0], trained()[0]
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_wide_matrices_are_sharded_and_data_shares_their_moments_and_the_words():
  train_program = build.build(vocabulary=VOCABULARY, **settings_of(data=2, fsdp=2, model=2))
  state = train_program.abstract_state
  adam = state.opt_state[1]
  encoders = [tree["encoder"] for tree in (state.params, adam.m, adam.v)]
  kernels = [tree["layers_0"]["mlp_in"]["kernel"].sharding.spec for tree in encoders]
  assert kernels == [P("fsdp", "model"), *2 * [P(("fsdp", "data"), "model")]]
  words = [tree["embeddings"]["word"]["embedding"].sharding.spec for tree in encoders]
  assert words == 3 * [P("model", ("fsdp", "data"))]
  norms = [tree["layers_0"]["mlp_norm"]["scale"].sharding.spec for tree in encoders]
  assert norms == 3 * [P()]


def test_a_rule_may_have_data_share_a_parameter_itself():
  settings = settings_of(data=2, fsdp=2, model=2)
  settings["sharding_rules"] = [("mlp_in/kernel$", ("data", None))]
  state = build.build(vocabulary=VOCABULARY, **settings).abstract_state
  kernels = [
    tree["encoder"]["layers_0"]["mlp_in"]["kernel"].sharding.spec
    for tree in (state.params, state.opt_state[1].m)
  ]
  assert kernels == 2 * [P("data", None)]


def test_a_parameter_without_a_rule_is_an_error():
  with pytest.raises(ValueError, match="mystery/kernel"):
    parameters.spec_of("mystery/kernel", (2, 2), sharding.make_mesh(data=8, model=1))


def test_own_rules_come_first_and_one_that_matches_nothing_is_told(caplog):
  rules = (("mlp_in/kernel$", (None, "fsdp")), ("no/such/parameter", ("model",)))
  settings = settings_of(data=2, fsdp=2, model=2) | {"sharding_rules": rules}
  params = build.build(vocabulary=VOCABULARY, **settings).abstract_state.params["encoder"]
  layer = params["layers_0"]
  assert layer["mlp_in"]["kernel"].sharding.spec == P(None, "fsdp")
  assert layer["mlp_out"]["kernel"].sharding.spec == P("model", "fsdp")
  messages = [record.getMessage() for record in caplog.records]
  assert messages == ["sharding_rules: 'no/such/parameter' matches no parameter"]


@pytest.mark.parametrize(
  "rule", [("(", ("model",)), ("kernel", ("rows",)), ("kernel", "fsdp"), "x"]
)
def test_rules_that_are_none_are_named(rule):
  with pytest.raises(UserError, match="expected .PATTERN, AXES.*: a regular expression"):
    parameters.parse_rules([("bias$", ()), rule])


def test_a_large_matrix_that_cannot_be_cut_is_told(caplog):
  """50 rows do not divide by 4: the words stay whole along `model`, which is said once."""
  settings = settings_of(data=2, model=4)
  settings["model"]["encoder"] |= {"width": 2**15}
  train_program = build.build(vocabulary=VOCABULARY, **settings)
  words = train_program.abstract_state.params["encoder"]["embeddings"]["word"]["embedding"]
  assert words.sharding.spec == P(None, ("fsdp", "data"))
  messages = [text for text in caplog.messages if "encoder/embeddings/word/embedding" in text]
  assert messages == [
    "params/encoder/embeddings/word/embedding [50, 32768] is whole along model: not divisible"
  ]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"optimizer": {"learning_rte": 1}}, "unknown config key optimizer.learning_rte"),
    ({"objectives": {"translation_ranking": {"weight": 1, "temprature": 1}}}, "temprature"),
    ({"objectives": {"no_such": {"weight": 1}}}, "no dap_jax/objectives/no_such.py"),
    ({"objectives": {"translation_ranking": {"weight": 0}}}, "no objective has a weight"),
    ({"mesh": {"data": 3, "fsdp": 1, "model": 1}}, "does not cover the 8 devices"),
    ({"model": {"pooling": "mlp"}}, "model.pooling='mlp' is none of cls"),
    ({"model": {"pooling": "cls+cls"}}, "each once"),
    ({"encoder": {"heads": 3}}, "model.encoder.width=16 is not divisible by model.encoder.heads=3"),
    ({"encoder": {"positions": 20}}, "model.encoder.positions=20 is too few"),
    ({"encoder": {"lyers": 2}}, "unknown config key model.encoder.lyers"),
    ({"encoder": {"model_type": "t5"}}, "model.encoder.model_type='t5' is none of bert"),
    ({"encoder": {"vocabulary_size": 7}}, "model.encoder.vocabulary_size=7, but the vocabulary"),
    ({"model": {"compute_dtype": "float16"}}, "compute_dtype='float16'"),
    ({"optimizer": {"schedule_name": "step"}}, "schedule_name"),
  ],
)
def test_mistakes_name_the_key(change, message):
  settings = settings_of()
  for section, keys in change.items():
    if section == "encoder":
      settings["model"]["encoder"] |= keys
    else:
      settings[section] = {**settings[section], **keys} if section != "objectives" else keys
  with pytest.raises(UserError, match=message.replace(".", r"\.")):
    build.build(vocabulary=VOCABULARY, **settings)


def test_a_batch_that_does_not_divide_is_named():
  mesh = sharding.make_mesh(data=8, model=1)
  with pytest.raises(UserError, match="batch_size=12 is not divisible by the 8"):
    sharding.local_rows(mesh, 12)
  assert sharding.local_rows(mesh, 16) == slice(0, 16)


def test_adamw_is_optax_adamw_where_eps_is_small():
  """Without decay and with eps far below the gradients the two definitions agree."""
  params = {"a": jax.random.normal(jax.random.key(0), (4, 3))}
  rate = optax.constant_schedule(0.01)
  ours = optim.adamw(rate, b1=0.9, b2=0.999, eps=1e-12, weight_decay=0.0)
  reference = optax.adam(rate, eps=1e-12)
  states = [ours.init(params), reference.init(params)]
  for seed in range(4):
    grads = {"a": jax.random.normal(jax.random.key(seed), (4, 3))}
    updates = []
    for i, optimizer in enumerate((ours, reference)):
      update, states[i] = optimizer.update(grads, states[i], params)
      updates.append(update["a"])
    np.testing.assert_allclose(*updates, rtol=1e-5)


def test_decay_follows_the_update_and_spares_vectors():
  """g = 0 leaves only decay: p (1 - lr wd) for a matrix, p for a bias."""
  optimizer = optim.adamw(
    optax.constant_schedule(0.1), b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.5
  )
  params = {"kernel": jnp.full((2, 2), 4.0), "bias": jnp.full(2, 4.0)}
  grads = jax.tree.map(jnp.zeros_like, params)
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  np.testing.assert_allclose(params["kernel"] + updates["kernel"], 4.0 * (1 - 0.1 * 0.5), rtol=1e-6)
  np.testing.assert_allclose(params["bias"] + updates["bias"], 4.0)


def test_schedules_by_hand():
  def rates(name, warmup):
    schedule = optim.schedule(name, learning_rate=1.0, warmup_steps=warmup, steps=10)
    return [float(schedule(step)) for step in (0, 1, 2, 6, 10)]

  np.testing.assert_allclose(rates("linear", 0), [1.0, 0.9, 0.8, 0.4, 0.0], atol=1e-6)
  np.testing.assert_allclose(rates("linear", 2), [0.0, 0.5, 1.0, 0.5, 0.0], atol=1e-6)
  np.testing.assert_allclose(rates("cosine", 2), [0.0, 0.5, 1.0, 0.5, 0.0], atol=1e-6)
  np.testing.assert_allclose(rates("constant", 2), [0.0, 0.5, 1.0, 1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(configs.__path__)])
def test_every_config_builds_abstractly(name):
  """All shapes of the real sizes, no memory: the paper's settings are complete."""
  settings = importlib.import_module(f"configs.{name}").get_config().to_dict()
  size = settings["tokenizer"]["vocabulary_size"]
  english = np.arange(5, size // 3, dtype=np.int32)
  keys = (*BUILT, "mesh")
  train_program = build.build(
    vocabulary=VOCABULARY._replace(size=size, english_ids=english),
    languages=40,
    **{key: settings[key] for key in keys},
  )
  word = train_program.abstract_state.params["encoder"]["embeddings"]["word"]["embedding"]
  assert word.shape == (size, settings["model"]["encoder"]["width"])
