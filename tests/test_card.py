"""The model card: what it says is true of the model, and no path of the machine is in it."""

import json

from configs import base, demo, tr
from dap_jax.hub import card

METRICS = {
  "eval/retrieval/to_pivot_accuracy": 0.75,
  "eval/retrieval/to_pivot_accuracy/de": 0.8,
  "eval/retrieval/to_pivot_accuracy_random": 0.003,
  "eval/retrieval/queries": 300.0,
}


def card_of(config, *, pairs=None, before=None, step=100, **changes):
  settings = config.get_config().to_dict() | changes
  return card.model_card(
    name="final",
    step=step,
    metrics=METRICS,
    before=before or {},
    pairs=pairs or {"de": 1200, "zh_Hant": 30},
    max_tokens=24,
    commit="abc",
    config=settings,
    license="mit",
  )


def front_matter(text):
  """The lines between the first two rules: key -> value, or the items below it."""
  values, key = {}, ""
  for line in text.split("---\n")[1].splitlines():
    if line.startswith("- "):
      values[key] = [*(values[key] or []), json.loads(line[2:]) if '"' in line else line[2:]]
    else:
      key, _, value = line.partition(":")
      values[key] = value.strip()
  return values


def test_a_ranking_model_claims_ranking_alone():
  text = card_of(tr)
  assert "trained by dap_jax with translation ranking: sentences" in text
  assert "dual-alignment" not in text and "representation translation" not in text


def test_dap_is_named():
  text = card_of(demo)
  assert "with translation ranking and representation translation learning (as in [dual-" in text


def test_the_example_is_in_its_languages():
  assert 'model.encode(["Egypt", "Ägypten", "埃及"])' in card_of(demo)
  assert 'model.encode(["Egypt", "Egipt"])' in card_of(demo, pairs={"pl": 5})
  assert card.examples(["xx-unknown", "qqq", "aa"]) == ["Egypt"]  # Afar: CLDR has no such name
  assert card.examples(["pt-BR", "sr@latin"])[0] == "Egito"


def test_counts_are_no_results():
  text = card_of(demo)
  assert "| `eval/retrieval/to_pivot_accuracy` | 0.7500 |" in text
  assert "queries" not in text and "_random" not in text and "accuracy/de" not in text


def test_the_step_and_what_training_gained():
  text = card_of(demo, before={"eval/retrieval/to_pivot_accuracy": 0.5, "eval/sts/mean": 0.25})
  assert "The model is step 100 of the run, beside step 0, before training." in text
  assert "| metric | value | before training |\n| --- | --- | --- |\n" in text
  assert "| `eval/retrieval/to_pivot_accuracy` | 0.7500 | 0.5000 |" in text
  assert "| `eval/sts/mean` | – | 0.2500 |" in text
  assert "The model is step 100 of the run.\n" in card_of(demo)
  assert "The model is step 0 of the run, untrained." in card_of(demo, step=0)
  assert card.score_table({}, {}) == "It was not evaluated."


def test_no_path_of_the_machine(tmp_path):
  data = base.get_config().data.to_dict() | {"arguments": {"paths": [f"{tmp_path}/corpus"]}}
  text = card_of(base, data=data, init_from=f"{tmp_path}/mlm/")
  assert str(tmp_path) not in text and '"mlm"' in text and '"corpus"' in text
  assert "base_model" not in front_matter(text)


def test_the_base_model_and_the_languages():
  matter = front_matter(card_of(base, init_from="FacebookAI/xlm-roberta-base@main"))
  assert matter["base_model"] == "FacebookAI/xlm-roberta-base"
  assert matter["language"] == ["de", "en", "zh"] and matter["license"] == "mit"


def test_the_pivot_is_named():
  data = base.get_config().data.to_dict() | {"pivot": "de"}
  assert "Pairs with German: fr 7." in card_of(base, data=data, pairs={"fr": 7})
