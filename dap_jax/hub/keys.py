"""Which keys a folder's JSON files may have: a table a file, and the one check against a table.

A key that can change a vector is honoured, or has only the values that mean what our models do; a
key of no table is refused by name, since nothing here knows what it does. The tables list what
transformers 5 and sentence-transformers 6 read for our model types, and what older versions wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dap_jax.utils.errors import UserError

HONOURED, NO_EFFECT = "honoured", "no effect"
Table = Mapping[str, str | tuple[Any, ...]]


def only(*values: Any) -> tuple[Any, ...]:
  """A rule: the key may be absent, null or one of the values."""
  return (None, *values)


def check_keys(content: Mapping[str, Any], table: Table, *, where: str) -> None:
  """Raises UserError for a key that is not in the table, or a value that its rule does not allow.

  Args:
    content: of the file.
    table: key -> `HONOURED`, `NO_EFFECT` or the values allowed.
    where: the file's name, for errors.
  """
  for key, value in content.items():
    rule = table.get(key)
    if rule is None:
      raise UserError(
        f"{where}: unknown key {key!r}, {shown(value)}: it may change vectors; remove it from the"
        " file if it does not"
      )
    if isinstance(rule, tuple) and value not in rule:
      allowed = " or ".join(repr(one) for one in rule if one is not None)
      has = f"dap_jax has only {allowed}" if allowed else "dap_jax has no such option"
      raise UserError(f"{where}: {key} is {shown(value)}; {has}")


def shown(value: Any) -> str:
  """A value in a message, cut."""
  text = repr(value)
  return text if len(text) <= 60 else f"{text[:57]}..."


def rules(rule: str | tuple[Any, ...], *keys: str) -> dict[str, str | tuple[Any, ...]]:
  """The same rule for several keys."""
  return dict.fromkeys(keys, rule)


# ---- config.json, by model type ----

# Options of generation, which old versions of transformers wrote into every config.
GENERATION = rules(
  NO_EFFECT,
  *("assistant_confidence_threshold", "assistant_lookbehind", "bad_words_ids"),
  *("begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping"),
  *("encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "epsilon_cutoff", "eta_cutoff"),
  *("exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id"),
  *("length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_assistant_tokens"),
  *("num_assistant_tokens_schedule", "num_beam_groups", "num_beams", "num_return_sequences"),
  *("output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate"),
  *("suppress_tokens", "target_lookbehind", "temperature", "top_k", "top_p", "typical_p"),
  "use_cache",
)
COMMON_CONFIG: Table = {
  **GENERATION,
  **rules(HONOURED, "model_type", "vocab_size", "max_position_embeddings", "tokenizer_class"),
  **rules(only(False), "is_decoder", "add_cross_attention", "is_encoder_decoder", "is_causal"),
  **rules(only(), "auto_map", "quantization_config", "per_layer_config"),  # another model
  "pruned_heads": only({}, []),
  "dtype": NO_EFFECT,  # of the stored weights; dap_jax computes in model.compute_dtype
  **rules(
    NO_EFFECT,
    *("torch_dtype", "architectures", "transformers_version", "_name_or_path", "name_or_path"),
    *("_commit_hash", "attn_implementation", "_attn_implementation_autoset", "initializer_range"),
    *("output_attentions", "output_hidden_states", "output_past", "return_dict", "torchscript"),
    *("use_bfloat16", "tf_legacy_loss", "xla_device", "chunk_size_feed_forward", "prefix"),
    *("gradient_checkpointing", "tie_word_embeddings", "tie_weights_", "tie_encoder_decoder"),
    *("cross_attention_hidden_size", "decoder_start_token_id", "bos_token_id", "eos_token_id"),
    *("cls_token_id", "sep_token_id", "mask_token_id", "pad_token_id", "id2label", "label2id"),
    *("num_labels", "problem_type", "classifier_dropout", "finetuning_task"),
    *("task_specific_params", "sentence_transformers"),  # the last of a CrossEncoder
  ),
}
BERT_CONFIG: Table = {
  **COMMON_CONFIG,
  **rules(HONOURED, "hidden_size", "num_hidden_layers", "num_attention_heads"),
  **rules(HONOURED, "intermediate_size", "type_vocab_size", "layer_norm_eps"),
  "hidden_act": only("gelu"),
  "position_embedding_type": only("absolute"),
  **rules(NO_EFFECT, "hidden_dropout_prob", "attention_probs_dropout_prob"),
  **rules(  # multilingual BERT's, of a pooler that is left out
    NO_EFFECT,
    *("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
    *("pooler_size_per_head", "pooler_type"),
  ),
}
ROBERTA_CONFIG: Table = {**BERT_CONFIG, "pad_token_id": HONOURED}  # positions begin behind it
DISTILBERT_CONFIG: Table = {
  **COMMON_CONFIG,
  **rules(HONOURED, "dim", "n_layers", "n_heads", "hidden_dim"),
  "activation": only("gelu"),
  # The table of positions is in the weights, however it was filled first.
  **rules(NO_EFFECT, "sinusoidal_pos_embds", "dropout", "attention_dropout"),
  **rules(NO_EFFECT, "qa_dropout", "seq_classif_dropout"),
}
MODERNBERT_CONFIG: Table = {
  **COMMON_CONFIG,
  **rules(HONOURED, "hidden_size", "num_hidden_layers", "num_attention_heads"),
  **rules(HONOURED, "intermediate_size", "norm_eps", "local_attention", "sliding_window"),
  **rules(HONOURED, "global_attn_every_n_layers", "layer_types", "rope_parameters"),
  **rules(HONOURED, "global_rope_theta", "local_rope_theta"),
  **rules(only("gelu"), "hidden_activation", "classifier_activation"),
  **rules(only(False), "attention_bias", "mlp_bias", "norm_bias", "classifier_bias"),
  "decoder_bias": only(True),
  "rope_scaling": only(),
  **rules(  # BERT's, which ModernBERT's own configs carry along
    NO_EFFECT, "layer_norm_eps", "position_embedding_type", "type_vocab_size", "hidden_act"
  ),
  **rules(
    NO_EFFECT,
    *("attention_dropout", "embedding_dropout", "mlp_dropout", "hidden_dropout_prob"),
    *("attention_probs_dropout_prob", "classifier_pooling", "deterministic_flash_attn"),
    *("sparse_prediction", "sparse_pred_ignore_index", "initializer_cutoff_factor"),
    *("reference_compile", "repad_logits_with_grad"),
  ),
}
M2M100_CONFIG: Table = {
  **COMMON_CONFIG,
  **rules(HONOURED, "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"),
  **rules(HONOURED, "hidden_size", "num_hidden_layers", "num_attention_heads"),  # other names
  **rules(HONOURED, "scale_embedding", "pad_token_id"),
  "activation_function": only("relu"),
  "tie_word_embeddings": only(True),  # untied, the encoder would have words of its own
  "is_encoder_decoder": only(True, False),  # the decoder is left out
  **rules(
    NO_EFFECT,
    *("decoder_layers", "decoder_ffn_dim", "decoder_attention_heads", "decoder_layerdrop"),
    *("encoder_layerdrop", "dropout", "attention_dropout", "activation_dropout", "init_std"),
  ),
}
CONFIGS: dict[str, Table] = {
  "bert": BERT_CONFIG,
  "roberta": ROBERTA_CONFIG,
  "xlm-roberta": ROBERTA_CONFIG,
  "xlm-roberta-xl": ROBERTA_CONFIG,
  "distilbert": DISTILBERT_CONFIG,
  "modernbert": MODERNBERT_CONFIG,
  "m2m_100": M2M100_CONFIG,
}

# ---- sentence-transformers' files ----

MODULE: Table = {  # an entry of modules.json
  **rules(HONOURED, "type", "path", "name"),
  **rules(NO_EFFECT, "idx", "kwargs"),  # arguments that a caller may give
}
SENTENCE_TRANSFORMERS: Table = {  # config_sentence_transformers.json
  **rules(HONOURED, "prompts", "default_prompt_name"),
  "truncate_dim": only(),
  "model_type": only("SentenceTransformer"),
  **rules(NO_EFFECT, "__version__", "similarity_fn_name", "requirements"),
}
TEXT_FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}
TEXT_FORWARDS = (TEXT_FORWARD, TEXT_FORWARD | {"method_output_name": ["last_hidden_state"]})
TRANSFORMER: Table = {  # sentence_bert_config.json and its older names
  "max_seq_length": HONOURED,
  "do_lower_case": only(False),
  "transformer_task": only("feature-extraction"),
  "modality_config": only(*({"text": forward} for forward in TEXT_FORWARDS)),
  "module_output_name": only("token_embeddings"),
  "processing_kwargs": HONOURED,  # by `PROCESSING` and `TEXT_PROCESSING`
  **rules(HONOURED, "tokenizer_args", "processor_kwargs"),  # by `TOKENIZER_ARGUMENTS`
  **rules(HONOURED, "model_args", "model_kwargs"),  # by `MODEL_ARGUMENTS`
  **rules(HONOURED, "config_args", "config_kwargs"),  # by `CONFIG_ARGUMENTS`
  **rules(only(), "query_length", "document_length", "query_expansion"),
  **rules(only(), "tokenizer_name_or_path"),
  **rules(NO_EFFECT, "unpad_inputs", "cache_dir"),
}
PROCESSING: Table = {  # its processing_kwargs; texts meet the first two
  **rules(HONOURED, "common", "text"),
  **rules(NO_EFFECT, "audio", "image", "video", "chat_template"),
}
TEXT_PROCESSING: Table = {
  "max_length": HONOURED,
  "truncation": only(True, "longest_first", "only_first"),
  "padding": only(True, "longest", "max_length"),
  "padding_side": only("right"),
  "add_special_tokens": only(True),
  "return_attention_mask": only(True),
  "split_special_tokens": only(False),
  "return_tensors": only("pt"),
  **rules(NO_EFFECT, "pad_to_multiple_of", "verbose"),
}
TOKENIZER_ARGUMENTS: Table = {
  "model_max_length": HONOURED,
  **rules(only("right"), "truncation_side", "padding_side"),
  **rules(NO_EFFECT, "use_fast", "trust_remote_code", "max_length", "cache_dir"),
}
MODEL_ARGUMENTS: Table = rules(
  NO_EFFECT,
  *("torch_dtype", "dtype", "attn_implementation", "add_pooling_layer", "trust_remote_code"),
  *("low_cpu_mem_usage", "use_safetensors", "device_map", "cache_dir"),
)
CONFIG_ARGUMENTS: Table = rules(NO_EFFECT, "trust_remote_code", "cache_dir", "use_cache")
POOLING: Table = {
  "pooling_mode": HONOURED,
  **rules(HONOURED, "pooling_mode_cls_token", "pooling_mode_mean_tokens"),
  **rules(HONOURED, "pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens"),
  **rules(HONOURED, "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"),
  **rules(NO_EFFECT, "embedding_dimension", "word_embedding_dimension"),
  "include_prompt": HONOURED,  # where it is false, every prompt is refused
}
SENTENCE_VECTOR = rules(only("sentence_embedding"), "module_input_name", "module_output_name")
DENSE: Table = {
  **SENTENCE_VECTOR,
  **rules(HONOURED, "in_features", "out_features", "activation_function"),
  "bias": only(True),
  "use_residual": only(False),
}
NORMALIZE: Table = SENTENCE_VECTOR

# ---- the tokenizer's files: transformers itself reads what is honoured here ----

TOKENIZER: Table = {  # tokenizer_config.json
  **rules(HONOURED, "tokenizer_class", "model_max_length", "max_len", "model_input_names"),
  **rules(HONOURED, "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"),
  **rules(HONOURED, "model_specific_special_tokens", "add_bos_token", "add_eos_token"),
  **rules(
    HONOURED, "do_lower_case", "strip_accents", "tokenize_chinese_chars", "do_basic_tokenize"
  ),
  **rules(HONOURED, "never_split", "wordpieces_prefix", "add_prefix_space", "trim_offsets"),
  **rules(HONOURED, "keep_accents", "remove_space", "sp_model_kwargs", "errors", "unk_id"),
  **rules(HONOURED, "legacy", "from_slow", "fix_mistral_regex"),
  "src_lang": HONOURED,  # NLLB's, of all texts
  "tgt_lang": NO_EFFECT,
  **rules(HONOURED, "language_codes", "num_madeup_words"),  # of a class without tokenizer.json
  "legacy_behaviour": only(False),  # the language behind the text; dap_jax has it before
  **rules(only("right"), "truncation_side", "padding_side"),
  "split_special_tokens": only(False),
  "init_inputs": only([]),
  **rules(only(), "auto_map", "processor_class"),
  **rules(
    NO_EFFECT,
    *("clean_up_tokenization_spaces", "name_or_path", "special_tokens_map_file", "vocab_file"),
    *("tokenizer_file", "merges_file", "full_tokenizer_file", "max_length", "stride"),
    *(
      "truncation_strategy",
      "pad_to_multiple_of",
      "pad_token_type_id",
      "chat_template",
      "backend",
      "is_local",
    ),
    *("local_files_only", "use_fast", "verbose", "trust_remote_code", "response_template"),
    *("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", "_commit_hash"),
  ),
}


def check_tokenizer_keys(content: Mapping[str, Any], *, where: str) -> None:
  """As `check_keys`, for tokenizer_config.json or special_tokens_map.json.

  Any key may name a special token, as `image_token` does; transformers adds it to the vocabulary.
  """
  others = {key: value for key, value in content.items() if not key.endswith("_token")}
  check_keys(others, TOKENIZER, where=where)
  names = content.get("model_input_names")
  if names is not None and not (isinstance(names, list) and "attention_mask" in names):
    raise UserError(
      f"{where}: model_input_names is {shown(names)}; without attention_mask padding would count"
    )
