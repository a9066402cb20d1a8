"""A small teacher and a small student for the tests of what follows a teacher."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from dap_jax.core import frozen_vectors, train_step
from dap_jax.core.objective import Context
from dap_jax.data import tokenizer, tokenizer_training
from dap_jax.distributed import sharding
from dap_jax.hub import to_hf
from dap_jax.model.from_config import ENCODER_ALONE, make_model
from dap_jax.model.vocabulary import vocabulary_of
from dap_jax.training import build, start
from dap_jax.training.teacher import teachers
from tests.models import drawn, encoder_section, model_section
from tests.test_objectives import VOCABULARY, batch_of

L_T = 32  # the teacher's tokens
OWN = VOCABULARY._replace(size=40, english_ids=None)  # its vocabulary


def section_of(*, width=24, **changes):
  """`model` of a small BERT with mean pooling."""
  sizes = {"layers": 1, "width": width, "heads": 2, "mlp_width": 32, "positions": 40}
  return model_section(encoder=encoder_section(**sizes), **{"projection": False, **changes})


def network_of(vocabulary, *, width, seed=0):
  """A teacher: its network, and random parameters, larger than training begins with."""
  given = ENCODER_ALONE | {"vocabulary": vocabulary, "max_tokens": L_T}
  network = make_model(**given, **section_of(width=width))
  params = drawn(network, seed=seed)
  return network, jax.tree.map(lambda leaf: 3 * leaf if leaf.ndim > 1 else leaf, params)


def write_teacher(folder, texts, *, width, seed=0):
  """A teacher as a folder, with a vocabulary of the texts."""
  tokenizer_training.train(texts, vocabulary_size=32, directory=folder / "tokenizer")
  tokens = tokenizer.Tokenizer.load(folder / "tokenizer", max_tokens=L_T)
  vocabulary = vocabulary_of(tokens, rows=0, english_ids=None)
  section = section_of(width=width)
  section["encoder"]["vocabulary_size"] = tokens.size
  to_hf.write_folder(
    folder / "model",
    params=network_of(vocabulary, width=width, seed=seed)[1],
    model_config=section,
    english_ids=None,
    tokenizer_directory=folder / "tokenizer",
    special_ids={"pad": tokens.pad_id, "cls": tokens.cls_id, "sep": tokens.sep_id},
    max_tokens=L_T,
    readme="A random teacher.",
    dtype="float32",
  )
  return folder / "model"


def context_of(z, vectors, *, side=None, text_hash=None):
  """A context of sentence vectors z [B, K, D] and the teacher's [B, K, D_T]."""
  if text_hash is None:
    text_hash = np.arange(z.shape[0] * z.shape[1]).reshape(z.shape[:2])
  batch = {"teacher_vectors": vectors, "text_hash": jnp.asarray(text_hash)}
  if side is not None:
    batch["teacher_side"] = jnp.asarray(side)[..., None]
  teacher = functools.partial(
    frozen_vectors.teacher_vectors, None, batch, model=None, microbatches=1
  )
  return Context(batch, None, z, VOCABULARY, jax.random.key(0), teacher=teacher)


def taught_batch(lengths, *, padded=12, teacher_padded=L_T, seed=0):
  """A batch with the teacher's ids, of the same lengths, in its own vocabulary."""
  batch = batch_of(lengths, padded=padded, seed=seed)
  rng = np.random.default_rng(seed + 1)
  ids = np.zeros((*np.shape(lengths), teacher_padded), np.int32)
  for place in np.ndindex(np.shape(lengths)):
    length = lengths[place[0]][place[1]]
    ids[(*place, slice(length))] = [2, *rng.integers(5, OWN.size, length - 2), 3]
  return batch | {"teacher_ids": jnp.array(ids), "teacher_mask": jnp.array(ids != 0)}


def parts_of(objectives, *, network, mesh, **model):
  """A student's parts."""
  config = base.get_config().to_dict()
  return build.build(
    vocabulary=VOCABULARY,
    seed=0,
    steps=10,
    max_tokens=12,
    model=section_of(**{"width": 16, **model}),
    decoder=config["decoder"],
    objectives=objectives,
    optimizer=config["optimizer"] | {"learning_rate": 1e-2},
    mesh=mesh,
    teacher=network,
  )


def loss_of(train_program, network, batch):
  """The loss of a batch without dropout, as a function of student's and teacher's parameters."""

  def loss(params, teacher):
    return train_step.loss_fn(
      params,
      batch,
      model=train_program.model,
      objectives=train_program.objectives,
      vocabulary=VOCABULARY,
      key=None,
      frozen=train_step.Frozen(teacher=teacher),
      teacher=network[0],
    )[0]

  return jax.jit(loss)


def trained(objectives, *, network, mesh, workdir, steps=3, **model):
  """The state and the means after some steps, and the teacher's parameters after them."""
  train_program = parts_of(objectives, network=network, mesh=mesh, **model)
  guide = teachers.Teacher(network, extra=None, digest="")
  with jax.set_mesh(train_program.mesh):
    state = train_program.init({})
    kept = start.place_frozen(train_program, state, step=0, workdir=workdir, teacher=guide)
    for step in range(steps):
      lengths = [[5, 9], [7, 4], [6, 6], [9, 3]] * 2
      batch = jax.tree.map(np.asarray, taught_batch(lengths, seed=step))
      rows = sharding.put_batch(batch, train_program.mesh, batch_size=len(lengths))
      state, means = train_program.step(state, rows, kept)
  scores = {name: float(mean.compute()) for name, mean in means.items()}
  return jax.device_get(state), scores, jax.device_get(kept.teacher)


def losses_of_paddings(objectives, *, network, lengths):
  """The loss of the same texts padded to the longest, ours and the teacher's, and further."""
  train_program = parts_of(objectives, network=network, mesh={"data": 8, "fsdp": 1, "model": 1})
  params = train_program.init({}).params
  return [
    loss_of(train_program, network, taught_batch(lengths, **padding))(params, network[1])
    for padding in ({"padded": 9, "teacher_padded": 9}, {})
  ]
