"""Every config key with its unit and its reason. The other configs change a few of these.

Batches, learning rates and lengths are neutral defaults for a base-size encoder from scratch.
`train` refuses a key that nothing reads, so this file lists everything that can be set.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()

  config.seed = 0  # of parameters, data order and dropout: it decides all that is random
  config.steps = 100_000  # updates; the schedule ends there too
  config.batch_size = 1024  # pairs of the GLOBAL batch: each anchor has batch_size - 1 negatives
  config.max_tokens = 32  # ids of a sentence, [CLS] and [SEP] included; longer ones are cut
  config.gradient_accumulation_steps = 1  # only 1: more is another loss, as `train` explains
  # How many steps with a loss or gradient that is not finite a start may skip before it ends.
  config.skip_not_finite = 0
  config.log_steps = 100  # steps between two lines of metrics.jsonl
  config.eval_steps = 5_000  # steps between two held-out retrievals (and one at the end)
  # Also before the first update, where a run starts from a checkpoint: what training gains, and the
  # checkpoint is step 0, which `best` may turn out to be.
  config.eval_at_start = False
  # Benchmarks to run with each, "tatoeba=FOLDER,sts=FOLDER": suites of dap_jax/evals with their
  # default settings. A score's name, as in metrics.jsonl, may be checkpoint.best_metric.
  config.eval_suites = ""
  # Weights, sizes and vocabulary to start from: a hub id, a folder of a checkpoint, or a workdir;
  # "" = random weights, and a vocabulary trained on the data.
  config.init_from = ""

  # What goes before texts, a blank at the end included. `init_from` adds the checkpoint's prompts.
  config.prompts = ConfigDict()
  config.prompts.texts = ConfigDict({"query": "", "document": ""})  # name -> text
  # Names of these: of the texts of each side in training, hard negatives going with the pivot, and
  # of texts that a trained model is given; "" = the last, and then the checkpoint's default.
  config.prompts.pivot = ""
  config.prompts.translation = ""
  config.prompts.default = ""

  config.data = ConfigDict()
  config.data.format = "gettext"  # a reader of dap_jax/data/readers/formats.py
  # The arguments of that reader; which ones there are depends on the format.
  config.data.arguments = ConfigDict({"packages": ("django", "wagtail", "sphinx")})
  config.data.max_line_bytes = 1 << 20  # what is longer is no line of text: an error
  config.data.pivot = "en"  # the language that every pair has on one side and RTL predicts
  config.data.languages = ()  # codes of the languages to keep; empty keeps all
  # Filters of dap_jax/data/cleaning/filters/rules.py, by name; "dap": those of the DAP paper.
  config.data.rules = ()
  # Other rules for some pairs: a language's code, or a pattern of files, -> the rules in place of
  # these. {"th": ("empty", "script"), "*WikiMatrix*": ("dap", "language")}; files count more.
  config.data.rules_for = ConfigDict()
  config.data.markup = False  # strip tags and placeholders: for interface strings
  # Pairs whose texts resemble those of an earlier pair are left out: from which share of equal
  # runs of four characters on, on either side, e.g. 0.8; 0 = only equal ones are.
  config.data.near_duplicates = 0.0
  # Files and folders of evaluation sets: pairs with one of their sentences on a side are left out.
  # "eval_suites" stands for the folders of the key above.
  config.data.guard = ("eval_suites",)
  config.data.drop_characters = ""  # characters that are removed from every text
  config.data.temperature = 2.0  # share of a language ~ pairs ** (1 / temperature)
  config.data.min_pairs = 1  # languages with fewer training pairs are left out
  # Padded lengths of batches, rising to max_tokens: each pair (or row) goes to the shortest length
  # that holds all its texts. The step is compiled once for each. () is one length, max_tokens, as
  # in the paper's runs; for short texts a length every 4 tokens halves what is computed, one every
  # 8 computes a seventh more than that (docs/speed.md).
  config.data.bucket_tokens = ()
  # K, the views of an example in a batch: 2 = a pivot and a translation; more = a pivot and K - 1
  # of its translations, drawn anew each time, from all pairs with that pivot.
  config.data.views = 2
  # Hard negatives beside every pair: texts in the pivot's language that are no translation. In
  # data.arguments a format is told where they are. translation_ranking or split_softmax reads them.
  config.data.hard_negatives = 0
  # A folder in which runs share prepared data (dap_jax/data/cache.py); "" = none.
  config.data.cache = ""
  config.data.dictionaries = ConfigDict()  # which words are synonyms, for token_alignment
  # Files and folders in the formats of dap_jax/data/texts/dictionaries.py: MUSE's, keyed lists.
  config.data.dictionaries.paths = ()
  config.data.dictionaries.cldr_names = True  # names of languages, countries, ... from Babel
  config.data.dictionaries.max_synonyms = 16  # pairs of words in a sentence pair; more are cut
  # An unknown word may stand for a known one that begins with the same letters: how many letters at
  # least (0 = only equal words match), and how many at most may follow in either.
  config.data.dictionaries.prefix_letters = 0
  config.data.dictionaries.ending_letters = 3
  config.data.heldout = ConfigDict()
  config.data.heldout.sentences = 300  # English sentences held out, in every language at once
  config.data.heldout.min_words = 3  # the fewest words of such a sentence
  config.data.heldout.min_languages = 1  # the fewest languages that it is translated into

  config.tokenizer = ConfigDict()
  # Ids of the unigram model that is trained on the training split; not used with init_from.
  config.tokenizer.vocabulary_size = 32_000
  # On how many different texts at most; of more, those with the least hashes.
  config.tokenizer.sample_texts = 200_000
  # Of the vocabulary of init_from keep the ids that the training pairs have so many times, and what
  # keeps all other texts readable (dap_jax/data/tokenizer_pruning.py); 0 = all ids.
  config.tokenizer.prune = 0

  config.model = ConfigDict()
  # What a checkpoint decides: `init_from` replaces this section by that of the checkpoint.
  config.model.encoder = ConfigDict()
  # bert, roberta, xlm-roberta, xlm-roberta-xl, distilbert; modernbert and m2m_100 have other keys
  # beside the sizes, listed at the end of their files in dap_jax/model/architectures/.
  config.model.encoder.model_type = "bert"
  # Rows of the word embedding; 0 = as many as ids. More let it be divided by mesh.model.
  config.model.encoder.vocabulary_size = 0
  config.model.encoder.layers = 12
  config.model.encoder.width = 768
  config.model.encoder.heads = 12
  config.model.encoder.mlp_width = 3072
  config.model.encoder.positions = 512  # rows of the position table; RTL needs 2 * max_tokens
  config.model.encoder.token_types = 2
  config.model.encoder.position_offset = 0  # 0 for BERT, padding id + 1 for XLM-R
  config.model.encoder.norm_eps = 1e-12
  # A dense layer after the pooling, as in LaBSE; width 0 = none. `init_from` replaces it.
  config.model.dense = ConfigDict({"width": 0, "activation": "identity"})  # identity, tanh
  config.model.normalize = True  # sentence vectors have unit length; `init_from` replaces it
  config.model.dropout = 0.1  # of embeddings, attention weights and both residual branches
  # One of dap_jax/model/pooling.py, or several, as in "cls+mean"; "" = the checkpoint's, or cls.
  config.model.pooling = ""
  config.model.projection = True  # Linear + tanh on the pooled vector, in training only
  config.model.compute_dtype = "bfloat16"  # of matmuls; parameters and losses stay float32

  config.decoder = ConfigDict()  # of RTL; left out when its objective is off
  config.decoder.layers = 2  # K of the paper
  config.decoder.english_head = True  # predict only ids of the English side; False: all, tied
  # source = from init_from: its decoder, else its last K layers, its embeddings and its masked-LM
  # head, as in the paper; random = drawn from the seed.
  config.decoder.start = "source"

  # A frozen sentence encoder, for soft_alignment and distillation: either a model or its vectors.
  config.teacher = ConfigDict()
  config.teacher.model = ""  # a hub id, a folder of a checkpoint, or a workdir
  # prepare: its vectors of all texts are computed once, before training, and stored with the data.
  # step: it runs in every step, for a corpus that is too large for that.
  config.teacher.when = "prepare"
  config.teacher.max_tokens = 64  # ids of a text in the teacher's vocabulary; longer ones are cut
  config.teacher.compute_dtype = ""  # float32 or bfloat16; "" = the teacher's own
  # Vectors from elsewhere: a .npy file, float [N, width], and the text file with their N lines. If
  # neither file exists, train writes the texts whose vectors it needs, and stops.
  config.teacher.vectors = ""
  config.teacher.texts = ""
  # Codes of the languages that the teacher reads, the most trusted first, the pivot among them; ()
  # = the pivot alone.
  config.teacher.languages = ()

  config.unmasking = ConfigDict()  # the head of `mexma`; left out when that is off
  config.unmasking.layers = 2  # transformer layers before its masked-LM head

  # The decoder of `vector_translation`; left out when that is off.
  config.vector_decoder = ConfigDict({"layers": 2})

  # Also train prefixes of the sentence vector, e.g. its first (64, 128) dimensions: an objective of
  # sentence vectors alone is summed over these and the whole vector (arXiv 2205.13147).
  config.matryoshka_dimensions = ()

  # name -> weight and settings; weight 0 turns one off. A weight may also be pairs (step, value),
  # linear between them: `with config.ignore_type(): section.weight = ((0, 0.0), (500, 1.0))`.
  config.objectives = ConfigDict()
  config.objectives.translation_ranking = ConfigDict()
  config.objectives.translation_ranking.weight = 1.0
  config.objectives.translation_ranking.temperature = 0.05  # divisor of cosines: scale 20
  config.objectives.translation_ranking.margin = 0.0  # off the positive's logit, after the division
  config.objectives.translation_ranking.direction = "to_pivot"  # to_pivot, from_pivot, both
  # Whether data.hard_negatives join the candidates; False leaves them to split_softmax.
  config.objectives.translation_ranking.hard_negatives = True
  # Whether the others of an anchor's own side join its candidates (arXiv 2306.02516).
  config.objectives.translation_ranking.same_tower_negatives = False
  # What tells false negatives, which are no candidates: text (equal texts alone), model or guide
  # (and those whose cosine, the model's or the teacher's, is above the positive's by the margin).
  config.objectives.translation_ranking.false_negatives = "text"
  # 0.1 of the model in Qwen3 Embedding (arXiv 2506.05176), 0 of a guide in GISTEmbed (2402.16829).
  config.objectives.translation_ranking.false_negative_margin = 0.1
  # The weight of a negative is exp(hardness * its cosine), 0 = all equal (arXiv 2503.04812).
  config.objectives.translation_ranking.hardness = 0.0
  # 1 = the true gradient. N = the released program's on N workers, where TR's is 1/N of it.
  config.objectives.translation_ranking.legacy_world_size = 1
  # Hard negatives in a softmax of their own: its weight is the g of the paper, which is not public,
  # that of translation_ranking, without them, 1 - g.
  config.objectives.split_softmax = ConfigDict()
  config.objectives.split_softmax.weight = 0.0
  config.objectives.split_softmax.temperature = 0.05  # as of translation_ranking; 0.01 in the paper
  config.objectives.representation_translation = ConfigDict()
  config.objectives.representation_translation.weight = 1.0  # lambda of the paper
  config.objectives.representation_translation.mask_ratio = 1.0  # below 1 leaks the answer
  config.objectives.representation_translation.direction = "to_pivot"
  config.objectives.masked_lm = ConfigDict()  # MLM and TLM
  config.objectives.masked_lm.weight = 0.0  # 0.1 beside TR in the DAP paper's TLM baseline
  config.objectives.masked_lm.sequence = "pair"  # pair (TLM), sentence (MLM), both
  config.objectives.masked_lm.mask_ratio = 0.2  # of ordinary tokens; 0.15 in BERT
  config.objectives.mexma = ConfigDict()
  config.objectives.mexma.weight = 0.0  # the paper trains this alone, without translation_ranking
  config.objectives.mexma.mask_ratio = 0.4  # of ordinary tokens, on both sides
  # The share of hidden tokens that become [MASK]; half of the others a random id, half stay.
  config.objectives.mexma.mask_share = 0.8
  config.objectives.mexma.mse_weight = 1.0  # of the squared difference of translations' vectors
  config.objectives.mexma.koleo_weight = 0.01  # of KoLeo, which spreads the vectors
  # XTR of EMS: which tokens a translation has, from the sentence vector.
  config.objectives.bag_of_tokens = ConfigDict()
  config.objectives.bag_of_tokens.weight = 0.0  # 2 in EMS, as much as its contrast
  config.objectives.bag_of_tokens.direction = "both"  # to_pivot, from_pivot, both
  # Translation through the sentence vector, as in SONAR.
  config.objectives.vector_translation = ConfigDict()
  config.objectives.vector_translation.weight = 0.0
  config.objectives.vector_translation.direction = "both"  # to_pivot, from_pivot, both
  config.objectives.vector_translation.mse_weight = 0.1  # of translations' squared difference
  config.objectives.soft_alignment = ConfigDict()
  config.objectives.soft_alignment.weight = 0.0  # the paper trains this alone
  # Whose similarities are the targets: priority (of the side whose language is first in
  # teacher.languages, else the pivot's), average (of both), identity (hard labels, no teacher).
  config.objectives.soft_alignment.strategy = "priority"
  config.objectives.soft_alignment.temperature = 0.1  # divisor of student's and teacher's cosines
  config.objectives.soft_alignment.margin = 0.0  # off the cosine where the teacher's is over 0.95
  config.objectives.soft_alignment.monolingual_weight = 0.0  # within each side; 1 in the paper
  config.objectives.soft_alignment.matrix_mse = False  # squared differences, not cross-entropy
  config.objectives.distillation = ConfigDict()  # needs model.dense.width = the teacher's width
  config.objectives.distillation.weight = 0.0
  config.objectives.token_alignment = ConfigDict()  # VECO 2.0; its numbers are not public
  config.objectives.token_alignment.weight = 0.0
  config.objectives.token_alignment.temperature = 0.1  # divisor of the similarities; ours
  config.objectives.token_alignment.similarity = "cosine"  # cosine, dot; ours
  # Every view of a row against those of other rows; made for data.views above 2.
  config.objectives.multiway = ConfigDict()
  config.objectives.multiway.weight = 0.0
  config.objectives.multiway.temperature = 0.05
  # Weights of positives ~ exp(-hardness * cosine): 0 = all equal; ours, the paper's is not public.
  config.objectives.multiway.hardness = 2.0
  # mu: the weight of the squared distance from the vectors of the initial parameters, for runs with
  # init_from. Every batch is encoded a second time.
  config.objectives.multiway.anchor = 0.0

  config.optimizer = ConfigDict()
  config.optimizer.learning_rate = 5e-5  # the peak
  config.optimizer.schedule_name = "linear"  # linear, cosine (both to 0), constant
  config.optimizer.warmup_steps = 0
  config.optimizer.b1 = 0.9
  config.optimizer.b2 = 0.999
  config.optimizer.eps = 1e-8
  config.optimizer.weight_decay = 0.0  # not on biases and LayerNorms
  config.optimizer.clip_norm = 1.0  # global norm; 0 = no clipping

  config.program = ConfigDict()  # how a step is computed: its memory and its time to compile
  # Chunks of the batch that are encoded one after the other. All pairs are negatives of each other,
  # and the gradient is that of the whole batch; each chunk is computed twice.
  config.program.microbatches = 1
  # What a layer saves for its backward pass: none = everything, no recomputing; layers = only its
  # input; matmuls = the results of its matrix products.
  config.program.remat = "none"
  config.program.scan_layers = False  # layers in a loop: compiles faster, needs more memory; BERT
  config.program.chunk_tokens = 256  # tokens of a device whose logits are in memory at a time

  config.mesh = ConfigDict()
  # Devices along the batch, which share the optimizer's work and moments; -1 = all that the other
  # axes leave.
  config.mesh.data = -1
  # Devices that share all parameters too, and gather them as they need them: less memory.
  config.mesh.fsdp = 1
  config.mesh.model = 1  # devices along wide matrices and the embedding
  # How parameters are sharded, before the rules of dap_jax/distributed/parameters.py: (pattern of
  # paths, (axis or None for each dimension)), e.g. ("word/embedding$", ("model", None)).
  config.sharding_rules = ()

  config.checkpoint = ConfigDict()
  config.checkpoint.save_steps = 1_000  # steps between two checkpoints
  config.checkpoint.keep_last = 2  # how many of the newest checkpoints are kept
  # The checkpoint with this metric's largest value is kept too; "-eval/..." for the smallest.
  config.checkpoint.best_metric = "eval/retrieval/to_pivot_accuracy"
  return config
