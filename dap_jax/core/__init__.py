"""The numeric core: the loss, one training step and its optimizer, as pure functions of arrays.

May import `model`, `distributed.sharding`, jax and optax; never flax, TensorFlow, SeqIO or torch.
Start with `train_step.py`: it reads from the batch to the next state, top to bottom.
"""
