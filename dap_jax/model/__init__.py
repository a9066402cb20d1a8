"""The networks, in Flax Linen; the only folder that imports it.

Shape legend: B examples, K views, N = B*K sequences, L tokens, D width, H mlp width,
A heads, V ids, V_en ids of the RTL head.

Parameters are float32; `dtype` is the compute dtype, LayerNorm statistics and softmax stay float32.
"""
