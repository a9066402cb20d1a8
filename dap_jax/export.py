"""Writes a model as a Hugging Face and sentence-transformers folder.

    python -m dap_jax.export --workdir=runs/demo --output=runs/demo/final [--step=best]
    python -m dap_jax.export --model=intfloat/multilingual-e5-small --output=e5 --dtype=bfloat16

A workdir of finetune becomes a folder that transformers loads with its head, `AutoModelFor...`.
A masked-LM head is written where the run trained one, so that `AutoModelForMaskedLM` fills masks.
`--prune_vocabulary=de.txt,en.txt` keeps the ids that the texts in these files use, and what keeps
all other texts readable: they have the vectors of before, from a smaller model.
`--quantise=int8` adds an ONNX file for CPUs, `--push_to_hub=ORGANISATION/NAME` uploads the folder:
you alone may read it, unless you say `--public`.
`--include_decoder` adds the RTL decoder and the projection, so that `init_from` can continue from
the folder. On several hosts run the same command on each, with the flags that train takes; process
0 writes.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from etils import epath

from dap_jax.cli import command, distributed_flags, model_flags
from dap_jax.utils.errors import UserError, writing
from dap_jax.utils.json_files import read_json

if TYPE_CHECKING:
  from dap_jax.inference.embedder import Embedder
  from dap_jax.inference.exporting import Export

WORKDIR = flags.DEFINE_string("workdir", None, "A folder that train or finetune wrote.")
MODEL = flags.DEFINE_string("model", None, "A checkpoint's folder or a hub id, in place of it.")
OUTPUT = flags.DEFINE_string("output", None, "The folder to write; it must not exist, or be empty.")
STEP = model_flags.define_step()
MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", None, "Where the exported model cuts texts; as in training by default.", 2
)
LICENSE = flags.DEFINE_string("license", "other", "The model card's licence, as the hub names it.")
DTYPE = flags.DEFINE_enum(
  "dtype",
  "float32",
  ["float32", "float16", "bfloat16"],
  "Of the weights; half the size in 16 bits. PyTorch then computes in it too.",
)
DECODER = flags.DEFINE_bool("include_decoder", False, "Writes RTL decoder and projection too.")
PRUNE = flags.DEFINE_list(
  "prune_vocabulary", [], "Text files: ids that none of their lines uses are left out."
)
QUANTISE = flags.DEFINE_enum(
  "quantise", None, ["int8"], "Also writes an ONNX file whose weights have 8 bits, for CPUs."
)
PUSH = flags.DEFINE_string(
  "push_to_hub", None, "Also uploads the folder to ORGANISATION/NAME on the Hugging Face hub."
)
PUBLIC = flags.DEFINE_bool("public", False, "A new repository there is for all to read.")

logger = logging.getLogger("dap_jax.export")  # __name__ is __main__ here


def readme_of(loaded: Embedder, export: Export) -> str:
  """The model card."""
  from dap_jax.data import manifest
  from dap_jax.hub import card
  from dap_jax.workdir import layout, records

  name = epath.Path(OUTPUT.value).name
  common: dict[str, Any] = {"max_tokens": loaded.max_tokens, "license": LICENSE.value}
  if MODEL.value is not None:
    rows = len(loaded.params["encoder"]["embeddings"]["word"]["embedding"])
    changes = [f"in {DTYPE.value}"]
    if PRUNE.value:
      changes.append(f"with {export.rows:,} of its {rows:,} rows of the vocabulary")
    return card.derived_card(name=name, source=MODEL.value, changes=changes, **common)
  folder = epath.Path(WORKDIR.value or "")
  assert loaded.step is not None  # every checkpoint of a workdir has one
  return card.model_card(
    name=name,
    step=loaded.step,
    metrics=records.scores_at(folder, loaded.step),
    before=records.scores_at(folder, 0) if loaded.step else {},
    pairs=manifest.read_info(folder / "data")["pairs"],
    commit=read_json(folder / "versions.json").get("commit", "unknown"),
    config=layout.read_config(folder),
    **common,
  )


def load() -> tuple[Embedder, Export]:
  """The model that the flags name, and what is to be written of it. All processes call it."""
  from dap_jax.inference import embedder, exporting
  from dap_jax.workdir import layout

  if MODEL.value is not None:
    if layout.is_workdir(MODEL.value):
      raise UserError(f"--model={MODEL.value} is a workdir: say --workdir={MODEL.value}")
    loaded = embedder.load(MODEL.value, max_tokens=MAX_TOKENS.value)
    return loaded, exporting.of_folder(MODEL.value, loaded)
  folder = epath.Path(WORKDIR.value or "")
  if not layout.is_workdir(folder):
    raise UserError(f"--workdir={folder} is no workdir: give a folder that train wrote")
  loaded = embedder.load(folder, step=STEP.value, max_tokens=MAX_TOKENS.value)
  return loaded, exporting.of_workdir(folder, loaded, with_decoder=DECODER.value)


def check_flags() -> None:
  """Ends with status 2 where flags are missing or contradict each other."""
  if OUTPUT.value is None or (WORKDIR.value is None) == (MODEL.value is None):
    command.fail("--output is needed, and --workdir or --model; --help lists the flags", status=2)
  if MODEL.value is not None:
    for flag in (STEP, DECODER):
      if flags.FLAGS[flag.name].present:
        command.fail(f"--{flag.name} has no effect with --model: it is of a workdir", status=2)
  if PUBLIC.value and not PUSH.value:
    command.fail("--public has no effect without --push_to_hub", status=2)
  if "://" in OUTPUT.value and (PUSH.value or QUANTISE.value):
    command.fail("--push_to_hub and --quantise take an --output on this machine", status=2)
  if WORKDIR.value is not None:
    from dap_jax.inference import finetuned

    names = [MAX_TOKENS.name, DECODER.name, PRUNE.name, QUANTISE.name]
    for name in names if finetuned.is_finetuning(WORKDIR.value) else []:
      if flags.FLAGS[name].present:
        command.fail(f"--{name} has no effect on a workdir of finetune", status=2)
  if PRUNE.value and DECODER.value:
    command.fail("--prune_vocabulary and --include_decoder exclude each other", status=2)


def main() -> None:
  check_flags()
  writes = distributed_flags.take_part()
  from dap_jax.hub import push, tokenizer_files
  from dap_jax.inference import exporting, finetuned, onnx_files

  if QUANTISE.value:
    onnx_files.check_packages()
  if PUSH.value:
    push.check(PUSH.value)
  if WORKDIR.value is not None and finetuned.is_finetuning(WORKDIR.value):
    export_finetuned(epath.Path(WORKDIR.value), writes=writes)
    return
  loaded, export = load()
  folder = epath.Path(WORKDIR.value or "")
  # Here, since processes open checkpoints together.
  score = "" if loaded.step is None else exporting.about_step(folder, loaded.step)
  if not writes:
    return
  encoder = loaded.model_config["encoder"]
  if PRUNE.value:
    used = exporting.used_ids(PRUNE.value, export.tokenizer)
    export = exporting.prune(export, used, position_offset=encoder.get("position_offset", 0))
  with tempfile.TemporaryDirectory() as files:
    with writing(f"--output={OUTPUT.value}", cure=""):  # of the same disk, or of one as full
      tokenizer_files.write_tokenizer(export.tokenizer, files)
      for name, content in export.sentencepiece.items():
        (epath.Path(files) / name).write_bytes(content)
    write(loaded, export, tokenizer_directory=files)
  of_step = "" if loaded.step is None else f"step {loaded.step} of "
  logger.info("exported %s%s to %s", of_step, WORKDIR.value or MODEL.value, OUTPUT.value)
  if score:
    logger.info(score)
  tell_limit(loaded)
  upload()


def upload() -> None:
  """Uploads the folder, where a flag asks for it."""
  from dap_jax.hub import push

  if PUSH.value:
    url = push.push(Path(OUTPUT.value or ""), PUSH.value, public=PUBLIC.value)
    logger.info("uploaded to %s", url)


def export_finetuned(folder: epath.Path, *, writes: bool) -> None:
  """Writes the model of a fine-tuning: that of its scores, or of --step."""
  import jax

  from dap_jax.hub import task_card, task_heads
  from dap_jax.inference import finetuned

  loaded = finetuned.load(folder, step=STEP.value if STEP.present else "")
  if not writes:
    return
  about, tokens = loaded.about, loaded.tokenizer
  scores = folder / finetuned.SCORES
  kind = task_heads.kind_in_transformers(about.head, about.model_config)
  task_heads.write_task_folder(
    OUTPUT.value or "",
    params=jax.device_get(loaded.params),
    model_config=about.model_config,
    kind=kind,
    classes=about.classes,
    has_types=about.has_types,
    tokenizer_directory=folder / finetuned.TOKENIZER,
    special_ids={"pad": tokens.pad_id, "cls": tokens.cls_id, "sep": tokens.sep_id},
    max_tokens=about.max_tokens,
    readme=task_card.task_card(
      name=epath.Path(OUTPUT.value or "").name,
      kind=kind,
      classes=about.classes,
      step=loaded.step,
      scores=read_json(scores) if scores.exists() and not STEP.present else {},
      license=LICENSE.value,
    ),
    dtype=DTYPE.value,
  )
  logger.info("exported step %d of %s to %s", loaded.step, folder, OUTPUT.value)
  upload()


def write(loaded: Embedder, export: Export, *, tokenizer_directory: str) -> None:
  """Writes the folder."""
  import jax

  from dap_jax.data.tokenizer import Tokenizer
  from dap_jax.hub import card, to_hf
  from dap_jax.inference import onnx_files

  tokens = Tokenizer.load(tokenizer_directory, max_tokens=loaded.max_tokens)
  encoder = {**loaded.model_config["encoder"], "vocabulary_size": export.rows}
  readme, name = readme_of(loaded, export), epath.Path(OUTPUT.value).name
  if QUANTISE.value:
    config = loaded.model_config
    readme += card.onnx_section(name=name, file=onnx_files.FILE, model_config=config)
  to_hf.write_folder(
    OUTPUT.value,
    params=jax.device_get(export.params),
    model_config={**loaded.model_config, "encoder": encoder},
    english_ids=export.english_ids,
    tokenizer_directory=tokenizer_directory,
    special_ids={"pad": tokens.pad_id, "cls": tokens.cls_id, "sep": tokens.sep_id},
    max_tokens=loaded.max_tokens,
    readme=readme,
    dtype=DTYPE.value,
    prompts=loaded.prompts,
    beside=onnx_files.write_int8 if QUANTISE.value else None,
  )


def tell_limit(loaded: Embedder) -> None:
  """Says so where texts could be longer than in training."""
  from dap_jax.inference import embedder

  if WORKDIR.value is None or MAX_TOKENS.value is not None:
    return
  most = embedder.most_tokens(WORKDIR.value)
  if loaded.max_tokens < most:
    logger.info(
      "it cuts texts at %d tokens, as in training; --max_tokens takes up to %d",
      loaded.max_tokens,
      most,
    )


if __name__ == "__main__":
  command.run(main)
