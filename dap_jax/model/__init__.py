"""The networks, in Flax Linen; the only package that imports it.

May import `distributed.sharding`. Start with `dual_alignment.py`, the model that trains;
`from_config.py` makes it of the config's sections, `encoder.py` says what a family of encoders is.

Shape legend: B examples, K views, N = B*K sequences, L tokens, D width, H mlp width,
A heads, V ids, V_en ids of the RTL head.

Parameters are float32; `dtype` is the compute dtype, LayerNorm statistics and softmax stay float32.
"""
